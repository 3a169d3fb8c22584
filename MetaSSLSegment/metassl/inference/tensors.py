"""Files of tensors: written without losing a full disk's error, read without running anything in them and without
taking more memory than their size promises."""

import math
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, is_out_of_memory

SHARED = 4
"""Tensors may be so many times as large together as their file: some share their numbers."""


def save_tensors(content: Any, path: Path) -> None:
    """torch.save that reports a full disk as OSError (torch's own RuntimeError speaks of positions)."""
    try:
        with open(path, "wb") as file:
            torch.save(content, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise OSError(str(error).splitlines()[0]) from error


def load_tensors(path: Path | str, device: torch.device | str) -> Any:
    """torch.load of finite tensors and plain data only; a pickled object is refused, not run.

    Raises:
        InputError: missing, damaged, or holding anything else.
    """
    try:
        size = os.path.getsize(path)
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored or sum(entry.file_size for entry in entries) > size:
                raise ValueError("its parts are compressed, or larger than the whole")
            if archive.testzip() is not None:  # torch reads damaged numbers without a word
                raise ValueError("its checksum is wrong")
        content = torch.load(path, map_location=device, weights_only=True)
        _require_plain(content, SHARED * size)
        return content
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except (
        RuntimeError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        EOFError,
        ValueError,
        LookupError,
        OSError,
    ) as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{path} is damaged or holds something other than weights: {reason}",
            "Get the file again from where it came from; nothing in it was run.",
        ) from error


def _require_plain(content: Any, most_bytes: int) -> None:
    """Raise ValueError for anything but finite numbers, texts, and lists and dictionaries of them."""
    waiting, seen = [content], set()
    while waiting:
        part = waiting.pop()
        if isinstance(part, Tensor):
            if part.layout != torch.strided or part.is_quantized or part.is_meta or part.is_complex():
                raise ValueError("a tensor of an unusual kind")
            most_bytes -= part.numel() * part.element_size()
            if most_bytes < 0:
                raise ValueError("tensors that are larger than the file")
            if not math.isfinite(part.sum(dtype=torch.float32)):
                raise ValueError("numbers that are not finite (NaN or infinite)")
        elif isinstance(part, (dict, list, tuple)):
            if id(part) not in seen:  # parts may occur many times, and in themselves
                seen.add(id(part))
                waiting += [*part, *part.values()] if isinstance(part, dict) else part
        elif isinstance(part, float) and not math.isfinite(part):
            raise ValueError("numbers that are not finite (NaN or infinite)")
        elif part is not None and not isinstance(part, (int, float, str)):
            raise ValueError(f"a {type(part).__name__}")
