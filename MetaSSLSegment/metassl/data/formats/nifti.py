"""NIfTI files (.nii, .nii.gz): what their headers promise, and the grid of those that ITK does not take as they are."""

import gzip
import math
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..geometry import geometry_problem
from ..rules import UnusableCase, unreadable
from .stored import Stored

HEADER = 348
NUMBERS = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 32: "c8", 64: "f8", 128: "u1", 256: "i1", 512: "u2", 768: "u4", 1024: "i8",
    1280: "u8", 1792: "c16", 2304: "u1",
}  # fmt: skip
"""Numpy's names of the data types; 128 and 2304 are colours of 3 and 4 numbers."""
COLOURS = {128: 3, 2304: 4}
UNITS = {1: 1000.0, 3: 0.001}
"""Millimetres in the units of length that are not millimetres."""
SAME_SPACING = 0.01
"""Relative difference of the two spacings of a header that is put down to rounding."""
SAME_DIRECTION = 1e-3
TO_LPS = np.array([[-1], [-1], [1]])
"""Signs of the rows of a matrix; NIfTI's coordinates run to the right, anterior and superior."""
SCANNER = 1
"""Code of coordinates in the scanner; higher ones are those after an alignment, which may shear."""


@dataclass(frozen=True)
class NiftiGrid:
    """The grid that the header's matrix gives to a volume: (i, j, k) mm; columns of directions (LPS); mm (LPS)."""

    spacing: np.ndarray
    direction: np.ndarray
    origin: np.ndarray


class NiftiFile:
    """The header of a NIfTI file.

    Raises:
        UnusableCase: it is none, or contradicts itself.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        try:
            with open(path, "rb") as file:
                self.packed = file.read(2) == b"\x1f\x8b"
            with (gzip.open if self.packed else open)(path, "rb") as file:
                self.header = file.read(HEADER)
        except (EOFError, OSError, zlib.error) as error:
            raise unreadable(path, error) from error
        if self.packed and not self.path.name.lower().endswith(".gz"):
            raise UnusableCase(
                "unreadable",
                f"{path} cannot be read as an image: it is compressed.",
                "Rename it: its name must end with .nii.gz.",
            )
        self.order = next((o for o in "<>" if self.header[:4] == struct.pack(o + "i", HEADER)), None)
        if self.order is None or len(self.header) < HEADER or self.header[344:348] != b"n+1\0":
            raise unreadable(path, "it does not begin like a NIfTI file of version 1.")

    def _get(self, kind: str, place: int) -> tuple:
        return struct.unpack_from(self.order + kind, self.header, place)

    def stored(self) -> Stored:
        """How the voxels are stored."""
        count, *sizes = self._get("8h", 40)
        (kind, bits), (start, slope, intercept) = self._get("2h", 70), self._get("3f", 108)
        sizes = sizes[: max(count, 0)]
        if not 1 <= count <= 7 or min(sizes) < 1:
            raise unreadable(self.path, f"its header states the sizes {' x '.join(map(str, sizes)) or 'of no axis'}.")
        if kind not in NUMBERS:
            raise unreadable(self.path, f"its header states the unknown data type {kind}.")
        dtype, colours = np.dtype(self.order + NUMBERS[kind]), COLOURS.get(kind, 1)
        if bits != 8 * dtype.itemsize * colours:
            raise unreadable(self.path, f"its header states {bits} bits for the data type {kind}.")
        if not HEADER <= start < 2**31 or start % 1:
            raise unreadable(self.path, f"its header lets the voxels begin at byte {start:g}.")
        scaled = slope != 0 and math.isfinite(slope) and math.isfinite(intercept)
        return Stored(
            (self.path,),
            0 if self.packed else int(start),
            (*([colours] if colours > 1 else []), *sizes),
            dtype,
            packing="gzip" if self.packed else "",
            lead=int(start) if self.packed else 0,
            slope=slope if scaled else 1.0,
            intercept=intercept if scaled else 0.0,
        )

    def grid(self) -> NiftiGrid | None:
        """The grid that counts when it is that of the matrix; with coordinates in the scanner it always is.

        Raises:
            UnusableCase: no volume can have it, or the header states another spacing as well.
        """
        qform, sform = self._get("2h", 252)
        unit = UNITS.get(self.header[123] & 7, 1.0)
        matrix = np.reshape(self._get("12f", 280), (3, 4)) * TO_LPS * unit
        flat = self._get("h", 40)[0] < 3
        if sform <= 0 or (sform != SCANNER and qform > 0) or flat or not matrix[:, :3].any():
            return None
        stated = np.abs(self._get("3f", 80)) * unit
        spacing = np.linalg.norm(matrix[:, :3], axis=0)
        with np.errstate(all="ignore"):
            direction = matrix[:, :3] / spacing
        if problem := geometry_problem(spacing, direction, matrix[:, 3]):
            raise UnusableCase(problem[0], f"{self.path} has {problem[1]}.")
        if not np.allclose(spacing, stated, rtol=SAME_SPACING, atol=0):
            both = (" x ".join(f"{s:g}" for s in spacings) for spacings in (stated, spacing))
            raise UnusableCase(
                "spacing",
                "{} contradicts itself: by its header the voxels are {} mm, by its matrix {} mm.".format(
                    self.path, *both
                ),
            )
        left, _, right = np.linalg.svd(direction)
        return NiftiGrid(spacing, left @ right, matrix[:, 3])

    def not_stated(self) -> list[str]:
        """What the header does not say about the grid."""
        return [] if max(self._get("2h", 252)) > 0 else ["position", "directions"]

    def mended_header(self, grid: NiftiGrid) -> bytes:
        """The header with a matrix of right angles that ITK takes."""
        header = bytearray(self.header)
        matrix = np.column_stack([grid.direction * grid.spacing, grid.origin]) * TO_LPS
        struct.pack_into(self.order + "3f", header, 80, *grid.spacing)
        struct.pack_into(self.order + "2h", header, 252, 0, SCANNER)
        struct.pack_into(self.order + "12f", header, 280, *matrix.ravel())
        header[123] = header[123] & ~7 | 2  # millimetres
        return bytes(header)


def is_on_grid(grid: NiftiGrid, header: sitk.ImageFileReader) -> bool:
    """Whether ITK took the grid of the matrix; it may take another one when that is not quite orthogonal."""
    axes = header.GetDimension()
    direction = np.reshape(header.GetDirection(), (axes, axes))[:3, :3]
    return (
        np.abs(direction - grid.direction).max() <= SAME_DIRECTION
        and np.allclose(header.GetSpacing()[:3], grid.spacing, rtol=SAME_SPACING)
        and np.abs(np.subtract(header.GetOrigin()[:3], grid.origin)).max() <= SAME_SPACING * grid.spacing.min()
    )


@contextmanager
def mended_copy(file: NiftiFile, grid: NiftiGrid, voxels: bool) -> Iterator[Path]:
    """A temporary copy whose header has right angles, with or without the voxels."""
    with tempfile.TemporaryDirectory(prefix="metassl-") as folder:
        copy = Path(folder, "volume.nii")
        with (gzip.open if file.packed else open)(file.path, "rb") as source, open(copy, "wb") as target:
            source.seek(HEADER)
            target.write(file.mended_header(grid))
            if voxels:
                shutil.copyfileobj(source, target, 2**20)
            else:
                target.write(source.read(4))
        yield copy
