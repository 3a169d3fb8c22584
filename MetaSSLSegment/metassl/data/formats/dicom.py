"""DICOM series: the position and the orientation of every slice, and whether together they are a volume."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..access import require_access
from ..rules import Fix, UnusableCase, unreadable
from .volume_file import itk_errors

STRAY = 0.2
"""Slices may lie so many voxels from where equal distances would put them (rounded headers, a table that jerks)."""
SAME_PLACE = 0.02
"""Slices that lie closer together than this share of the usual distance lie at one position."""
NO_DISTANCE = 1e-3
"""Millimetres that are put down to rounding."""
SAME_DIRECTION = 1e-3
MODALITY = "0008|0060"
NO_IMAGES = ("PR", "SR", "KO", "REG", "SEG", "DOC", "FID", "PLAN", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD")
"""Modalities of what is stored beside images."""
CLASS = re.compile(rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.([\d.]+)")
NO_IMAGE_CLASSES = re.compile(rb"(9|11|66|67|88|104|200|481\.[2-9])(\.|$)")
"""Ends of the UIDs of good files that are no images: reports, presentations, structures."""


@dataclass(frozen=True)
class Slice:
    """One file of a series: a slice, or all of a multi-frame image; spacing and position in mm, (i, j, k)."""

    path: str
    instance: str
    size: tuple[int, ...]
    spacing: tuple[float, ...]
    position: tuple[float, ...] | None
    direction: np.ndarray
    components: int
    number: int
    modality: str


class DicomSeries:
    """A folder with the slices of one volume.

    Args:
        folder: its files are looked at, those in sub-folders are not.

    Attributes:
        size, spacing, origin: (i, j, k); mm.
        direction: (3, 3); the third column runs from the first to the last slice, also when that is aslant.
        components: numbers per voxel.
        modality: as "CT".
        fixes: slices that are there twice.

    Raises:
        UnusableCase: no or several series, or slices that are no volume.
    """

    def __init__(self, folder: Path | str):
        self.path = Path(folder)
        series = find_series(self.path)
        if len(series) != 1:
            raise UnusableCase(
                "unreadable",
                f"{folder} holds {len(series)} DICOM series, expected one.",
                "Put each series into a folder of its own.",
            )
        slices, twice = _without_copies(*series.values())
        self.fixes = (
            (Fix("slice-twice", f"{twice} slices of {folder} are there twice; one of each is used."),) if twice else ()
        )
        self.components, self.modality = slices[0].components, slices[0].modality
        self.spacing, self.direction = slices[0].spacing, slices[0].direction
        self.size, self.origin = slices[0].size, slices[0].position or (0.0, 0.0, 0.0)
        if len(slices) > 1:
            slices = self._in_order(slices)
            self._stack(slices)
        self._files = [s.path for s in slices]
        # ITK takes the numbers of the first slice for all, and others may be scaled to fractions (PET)
        self._one_type = len({s.number for s in slices}) == 1

    def _in_order(self, slices: Sequence[Slice]) -> list[Slice]:
        first = slices[0]
        for other in slices:
            if other.position is None:
                raise UnusableCase(
                    "slices-nowhere", f"{self.path} has slices without a position, such as {Path(other.path).name}."
                )
            what = _difference(first, other)
            if what:
                raise UnusableCase(
                    "slices-differ", f"{self.path} has slices of different {what}; they are no single volume."
                )
        return sorted(slices, key=lambda s: float(np.dot(s.position, _normal(first))))

    def _stack(self, slices: Sequence[Slice]) -> None:
        """Size, spacing and direction of all slices in order together."""
        places = np.array([s.position for s in slices])
        depths = places @ _normal(slices[0])
        gaps, count = np.diff(depths), len(slices)
        usual = np.median(gaps[gaps > NO_DISTANCE]) if gaps.max() > NO_DISTANCE else np.inf
        together = int((gaps < SAME_PLACE * usual).sum())
        if together:
            raise UnusableCase(
                "slices-together",
                f"{self.path} has {count} images at {count - together} position(s): several echoes, time points or "
                "scans in one series.",
            )
        step = (places[-1] - places[0]) / (count - 1)
        stray = places - places[0] - np.outer(np.arange(count), step)
        along = np.abs(stray @ _normal(slices[0])).max() / gaps.mean()
        across = np.abs(stray @ self.direction[:, :2] / self.spacing[:2]).max()
        if along > STRAY:
            raise UnusableCase("slices-apart", f"{self.path} has slices at unequal distances, {_describe(gaps)}.")
        if across > STRAY:
            raise UnusableCase("slices-apart", f"{self.path} has slices that are shifted against each other.")
        length = float(np.linalg.norm(step))
        self.size, self.spacing = (*self.size[:2], count), (*self.spacing[:2], length)
        self.origin = tuple(places[0].tolist())
        self.direction = np.column_stack([self.direction[:, :2], step / length])

    def read(self) -> sitk.Image:
        """The volume, with the modality in its metadata."""
        with itk_errors(self.path):
            if len(self._files) == 1:
                image = sitk.ReadImage(self._files[0], imageIO="GDCMImageIO")
            else:
                reader = sitk.ImageSeriesReader()
                reader.SetImageIO("GDCMImageIO")
                reader.SetFileNames(self._files)
                if not self._one_type:
                    reader.SetOutputPixelType(sitk.sitkFloat64)
                image = reader.Execute()
                image.SetSpacing(self.spacing)
                image.SetOrigin(self.origin)
                image.SetDirection(self.direction.ravel().tolist())
        if self.modality:
            image.SetMetaData(MODALITY, self.modality)
        return image


def find_series(folder: Path | str) -> dict[str, list[Slice]]:
    """Series UID -> files of images directly in a folder, in the order of their names.

    Raises:
        UnusableCase: the folder may not be read, or an image in it is damaged.
    """
    require_access(folder)
    found: dict[str, list[Slice]] = {}
    with itk_errors(folder):
        names = sorted(e.name for e in os.scandir(folder) if e.is_file() and not e.name.startswith("."))
    for name in names:
        path = Path(folder, name)
        begin = _begin_of(path)
        if begin is None:
            continue
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            kind = CLASS.search(begin)
            if kind and NO_IMAGE_CLASSES.match(kind[1]):
                continue
            raise unreadable(path, error) from error
        with itk_errors(path):
            series, entry = _slice_of(path, reader)
        if entry.modality not in NO_IMAGES:
            found.setdefault(series, []).append(entry)
    return found


def _begin_of(path: Path) -> bytes | None:
    """The first bytes of a DICOM file; None of other files."""
    require_access(path)
    with itk_errors(path), open(path, "rb") as file:
        begin = file.read(4096)
    is_dicom = begin[128:132] == b"DICM" or begin[:2] == b"\x08\0"  # old files begin with their first group
    return begin if is_dicom and path.name.upper() != "DICOMDIR" else None


def _slice_of(path: Path, header: sitk.ImageFileReader) -> tuple[str, Slice]:
    def text(tag: str) -> str:
        return header.GetMetaData(tag).strip(" \0") if header.HasMetaDataKey(tag) else ""

    axes = header.GetDimension()
    direction = np.reshape(header.GetDirection(), (axes, axes))
    flat = axes == 3 and header.GetSize()[2] == 1
    return text("0020|000e"), Slice(
        path=str(path),
        instance=text("0008|0018"),
        size=header.GetSize(),
        spacing=header.GetSpacing(),
        position=header.GetOrigin() if text("0020|0032") or not flat else None,
        direction=direction,
        components=header.GetNumberOfComponents(),
        number=header.GetPixelID(),
        modality=text(MODALITY).upper(),
    )


def _without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], int]:
    """The slices without those that are the same image in another file, and how many these are."""
    kept = {(s.instance or s.path, s.position): s for s in reversed(slices)}
    return list(reversed(kept.values())), len(slices) - len(kept)


def _difference(a: Slice, b: Slice) -> str:
    """What keeps two slices from being of one volume."""
    if len(b.size) != 3 or b.size[2] != 1:
        return "kinds"
    if (a.size, a.components) != (b.size, b.components):
        return "sizes"
    if not np.allclose(a.spacing[:2], b.spacing[:2], rtol=0.01, atol=0):
        return "voxel spacings"
    if np.abs(a.direction[:, :2] - b.direction[:, :2]).max() > SAME_DIRECTION:
        return "orientations"
    return ""


def _normal(of: Slice) -> np.ndarray:
    return np.cross(of.direction[:, 0], of.direction[:, 1])


def _describe(gaps: np.ndarray) -> str:
    """The distances, and how many slices seem to be missing."""
    text = f"{gaps.min():.3g} to {gaps.max():.3g} mm"
    multiples = gaps / np.median(gaps)
    if np.abs(multiples - np.round(multiples)).max() < STRAY and multiples.min() > 0.5:
        return f"{text}: {int(np.round(multiples).sum()) - len(gaps)} seem to be missing"
    return text
