"""checkpoint.pt: everything that a stopped run needs to go on as if it had not stopped."""

from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..files import replacing
from ..inference.older import method_of_version_1
from ..inference.tensors import load_tensors, save_tensors

VERSION = 2


def save_checkpoint(path: Path | str, content: dict[str, Any]) -> None:
    """Write tensors, numbers, texts and dictionaries of them, replacing the file in one step.

    Raises:
        DiskError: the file cannot be written; the previous checkpoint is still there.
    """
    with replacing(path) as temporary:
        save_tensors({"version": VERSION, **content}, temporary)


def load_checkpoint(path: Path | str, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint, of version 1 too, without running any code from it.

    Raises:
        InputError: missing, damaged or of a version that this MetaSSL does not know.
    """
    content = load_tensors(path, device)
    version = content.get("version") if isinstance(content, dict) else None
    if version not in (1, VERSION):
        raise InputError(
            f"{path} is not a checkpoint of version 1 to {VERSION} (found {version!r}).", "Train again from the start."
        )
    if version == 1 and isinstance(content.get("method"), dict):
        content["method"] = method_of_version_1(content["method"])
    return content
