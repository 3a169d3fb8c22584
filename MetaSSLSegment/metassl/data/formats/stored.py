"""Whether a file has the voxels that its header promises, and whether they are those that were written."""

import gzip
import math
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import SimpleITK as sitk

from ..access import require_access
from ..rules import COPY_AGAIN, UnusableCase

MOST_PACKED = 1040
"""gzip and zlib pack no bytes to less than a 1032th."""
BLOCK = 2**20
BLANK = b"\0\n\r \x1a"
"""Bytes with which some programs fill a file up."""


@dataclass(frozen=True)
class Stored:
    """How a file holds its voxels, as its header says.

    Attributes:
        files: that hold them, in order.
        start: byte of the file where they, or what they are packed into, begin; -1: they end with the file.
        shape: numbers along every axis, the fastest first.
        dtype: of the numbers, with their byte order.
        packing: "", "gzip", "zlib", "text" for numbers in letters, or "other".
        packed: bytes of what they are packed into; None for all up to the end of the file.
        lead: bytes before the voxels in what is packed.
        slope, intercept: voxels are the stored numbers times slope plus intercept.
    """

    files: tuple[Path, ...]
    start: int
    shape: tuple[int, ...]
    dtype: np.dtype
    packing: str = ""
    packed: int | None = None
    lead: int = 0
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def size(self) -> int:
        """Bytes of the voxels, unpacked."""
        return math.prod(self.shape) * self.dtype.itemsize


def require_whole(path: Path | str, stored: Stored) -> bool:
    """Raise when the file is too short, or too long, for what its header promises.

    Returns:
        Whether the checksums of the voxels are found to be right on the way.

    Raises:
        UnusableCase: a data file is missing, or more or fewer voxels are there than promised.
    """
    for file in stored.files:
        try:
            require_access(file)
        except UnusableCase as error:
            if file == Path(path):
                raise
            raise UnusableCase(error.code, f"{path} lacks its voxels: {error}") from error
        if not file.is_file():
            raise UnusableCase("unreadable", f"{path} cannot be read as an image: its data file {file} is a folder.")
    sizes = [file.stat().st_size for file in stored.files]
    present = sum(sizes) - max(stored.start, 0)
    if stored.packing == "text":
        if present < 2 * math.prod(stored.shape) - 1:
            raise _cut_off(path)
    elif stored.packing == "":
        if present < stored.size:
            raise _cut_off(path)
        if present > stored.size and stored.start >= 0:
            _require_blank(path, stored, present - stored.size)
    elif stored.packing in ("gzip", "zlib"):
        if (stored.packed or 0) > present:
            raise _cut_off(path)
        if stored.lead + stored.size > MOST_PACKED * present:
            raise _damaged(path, "its header promises more voxels than it can hold")
        one_gzip = stored.packing == "gzip" and len(stored.files) == 1
        # it ends with the size of its content, or with that of its last part only
        if one_gzip and _last_numbers(stored)[1] != (stored.lead + stored.size) % 2**32:
            _require_contents(path, stored)
            return True
    return False


def require_sound(path: Path | str, stored: Stored, image: sitk.Image) -> None:
    """Raise when the checksum of packed voxels is not that of the voxels that were read.

    The checksum of what ITK read is compared, which takes a tenth of the time of reading; only where ITK gives the
    voxels in another form is the file unpacked once more.

    Raises:
        UnusableCase: the voxels are not those that were written.
    """
    if stored.packing in ("gzip", "zlib") and len(stored.files) == 1 and not _is_sum_of(image, stored):
        _require_contents(path, stored)


def _is_sum_of(image: sitk.Image, stored: Stored) -> bool:
    voxels = sitk.GetArrayViewFromImage(image).reshape(-1)
    if voxels.size != math.prod(stored.shape):
        return False
    try:
        if stored.packing == "gzip":
            add, expected = zlib.crc32, _last_numbers(stored)[0]
            total = add(next(_contents(stored, stored.lead))) if stored.lead else 0
        else:
            add, expected = zlib.adler32, _adler_of(stored)
            total = 1
    except (EOFError, OSError, zlib.error, StopIteration):
        return False
    changed = (stored.slope, stored.intercept) != (1.0, 0.0)
    with np.errstate(all="ignore"):  # voxels that are no numbers, where the stored ones are whole
        for n in range(0, voxels.size, BLOCK):
            part = voxels[n : n + BLOCK]
            if changed:
                part = np.rint((part.astype(np.float64) - stored.intercept) / stored.slope)
            total = add(part.astype(stored.dtype, copy=False), total)
    return total == expected


def _require_contents(path: Path | str, stored: Stored) -> None:
    """Unpack all, which compares the checksums, and count."""
    found = 0
    try:
        for block in _contents(stored):
            found += len(block)
    except EOFError:
        raise _cut_off(path) from None
    except (OSError, zlib.error) as error:
        raise _damaged(path, f"its voxels do not fit their checksum ({error})") from error
    if found < stored.lead + stored.size:
        raise _cut_off(path)
    if found - stored.lead - stored.size >= _slowest(stored):
        raise _too_long(path, found - stored.lead - stored.size)


def _contents(stored: Stored, block: int = BLOCK) -> Iterator[bytes]:
    """The unpacked content in blocks."""
    with open(stored.files[0], "rb") as file:
        file.seek(stored.start)
        if stored.packing == "gzip":
            with gzip.GzipFile(fileobj=file) as content:
                while part := content.read(block):
                    yield part
        else:
            yield from _inflated(file, stored.packed, block)


def _inflated(file: BinaryIO, left: int | None, block: int) -> Iterator[bytes]:
    inflate = zlib.decompressobj()
    while not inflate.eof:
        packed = file.read(block if left is None else min(block, left))
        if not packed:
            raise EOFError
        left = None if left is None else left - len(packed)
        while packed and not inflate.eof:  # in pieces: a block may hold a thousand times its size
            yield inflate.decompress(packed, block)
            packed = inflate.unconsumed_tail


def _last_numbers(stored: Stored) -> tuple[int, int]:
    """Checksum and size (modulo 2^32) with which a gzip file ends."""
    with open(stored.files[0], "rb") as file:
        file.seek(-8, os.SEEK_END)
        last = np.frombuffer(file.read(8), "<u4")
    return int(last[0]), int(last[1])


def _adler_of(stored: Stored) -> int:
    """The checksum with which a zlib stream ends."""
    with open(stored.files[0], "rb") as file:
        end = file.seek(0, os.SEEK_END) if stored.packed is None else stored.start + stored.packed
        file.seek(end - 4)
        return int.from_bytes(file.read(4), "big")


def _require_blank(path: Path | str, stored: Stored, extra: int) -> None:
    """Raise when the bytes after the last voxel are more than filling."""
    with open(stored.files[-1], "rb") as file:
        file.seek(-min(extra, BLOCK), os.SEEK_END)
        blank = not file.read().strip(BLANK)
    if extra >= _slowest(stored) or extra > BLOCK or not blank:
        raise _too_long(path, extra)


def _slowest(stored: Stored) -> int:
    """Bytes of one position along the slowest axis: a plane of a volume."""
    return max(1, stored.size // stored.shape[-1])


def _cut_off(path: Path | str) -> UnusableCase:
    return UnusableCase("unreadable", f"{path} ends before its last voxel.", COPY_AGAIN)


def _damaged(path: Path | str, how: str) -> UnusableCase:
    return UnusableCase("unreadable", f"{path} is damaged: {how}.", COPY_AGAIN)


def _too_long(path: Path | str, extra: int) -> UnusableCase:
    message = f"{path} has {extra} bytes more than its header promises."
    return UnusableCase("unreadable", message, "Export it again, so that its header fits its voxels.")
