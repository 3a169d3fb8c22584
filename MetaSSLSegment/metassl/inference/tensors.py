"""Files of tensors: written without losing a full disk's error, read without running anything in them."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError


def save_tensors(content: Any, path: Path) -> None:
    """torch.save that reports a full disk as OSError (torch raises RuntimeError)."""
    try:
        torch.save(content, path)
    except RuntimeError as error:
        raise OSError(str(error).splitlines()[0]) from error


def load_tensors(path: Path | str, device: torch.device | str) -> Any:
    """torch.load of tensors and plain data only; a pickled object is refused, not run.

    Raises:
        InputError: missing, damaged, or holding anything else.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except (RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile, EOFError, ValueError, KeyError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{path} is damaged or holds something other than weights: {reason}",
            "Get the file again from where it came from; nothing in it was run.",
        ) from error
