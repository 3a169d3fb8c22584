"""checkpoint.pt: everything that a stopped run needs to go on as if it had not stopped.

The one before is kept too, since a disk may damage a file that was written well.
"""

import os
import reprlib
from pathlib import Path
from typing import Any

import torch

from ..errors import DiskError, InputError
from ..files import replacing
from ..inference.older import method_of_version_1
from ..inference.tensors import load_tensors, save_tensors

VERSION = 2


def save_checkpoint(path: Path, content: dict[str, Any], earlier: Path | None = None) -> None:
    """Write tensors, numbers, texts and dictionaries of them, replacing the file in one step.

    Args:
        path: of the file.
        content: what to write.
        earlier: where the checkpoint that is there goes; where there is no room for both, it goes altogether.

    Raises:
        DiskError: the file cannot be written; the previous checkpoint is still there.
    """
    try:
        _write(path, content, earlier)
    except DiskError:
        if earlier is None or not (earlier.exists() and path.exists()):  # never remove the only one
            raise
        earlier.unlink()
        _write(path, content, earlier)


def _write(path: Path, content: dict[str, Any], earlier: Path | None) -> None:
    with replacing(path) as temporary:
        save_tensors({"version": VERSION, **content}, temporary)
        if earlier is not None and path.exists():
            os.replace(path, earlier)


def load_checkpoint(path: Path | str, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint, of version 1 too, without running any code from it.

    Raises:
        InputError: missing, damaged or of a version that this MetaSSL does not know.
    """
    content = load_tensors(path, device)
    version = content.get("version") if isinstance(content, dict) else None
    if version not in (1, VERSION):
        raise InputError(
            f"{path} is not a checkpoint of version 1 to {VERSION} (found {reprlib.repr(version)}).",
            "Train again from the start.",
        )
    if version == 1 and isinstance(content.get("method"), dict):
        content["method"] = method_of_version_1(content["method"])
    return content


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take an optimiser's moments from a checkpoint; its settings stay those of the job.

    Raises:
        ValueError, LookupError, TypeError: the moments are not those of its weights.
    """
    optimizer.load_state_dict({**state, "param_groups": optimizer.state_dict()["param_groups"]})
    for weights, moments in optimizer.state.items():
        if any(moment.ndim and moment.shape != weights.shape for moment in moments.values()):
            raise ValueError("the optimiser's moments have other shapes than the weights")
