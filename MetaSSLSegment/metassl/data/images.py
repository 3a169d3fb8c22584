"""Images on disk: reading, writing and comparing their geometry. Image I/O is SimpleITK's."""

import gzip
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import enough_memory, is_out_of_memory
from ..files import replacing, require_whole
from .access import require_access
from .formats.dicom import DicomSeries, find_series
from .formats.picture import PICTURES
from .formats.volume_file import VolumeFile

SUFFIXES = (".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
"""File name endings of the volumes that MetaSSL looks for in folders, longest first."""

SCL_SLOPE = 112
"""Where a NIfTI-1 header has the factor of its voxels, float32 in the byte order of the machine that writes it."""


def stem(path: Path | str) -> str:
    """File name without its image suffix: ``a/case.nii.gz`` -> ``case``."""
    name = Path(path).name
    for suffix in (*SUFFIXES, *PICTURES):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def is_image_file(path: Path) -> bool:
    """Whether the file's name ends like that of a volume or picture."""
    endings = (*SUFFIXES, *PICTURES)
    return os.path.isfile(path) and path.name.lower().endswith(endings) and not path.name.startswith(".")


def dicom_series(folder: Path | str) -> list[str]:
    """UIDs of the series of images in the DICOM files directly in ``folder``, empty when there are none.

    Raises:
        UnusableCase: the folder may not be read, or an image in it is damaged.
    """
    return list(find_series(folder))


def open_source(path: Path | str) -> VolumeFile | DicomSeries:
    """A file, or a folder that holds one DICOM series; the header only, ``read()`` gives the volume.

    Raises:
        UnusableCase: missing, not an image, cut off, or a folder with no or several series.
    """
    require_access(path)
    return DicomSeries(path) if Path(path).is_dir() else VolumeFile(path)


def read_header(path: Path | str) -> sitk.ImageFileReader:
    """Dimension, size, geometry and metadata of an image file, but no voxels.

    Raises:
        UnusableCase: not an image, or cut off.
    """
    return VolumeFile(path).header


def read_image(path: Path | str) -> sitk.Image:
    """Read a volume from a file, or from a folder that holds one DICOM series.

    Raises:
        UnusableCase: missing, not an image, cut off, damaged, or a folder with no or several series.
    """
    return open_source(path).read()


@dataclass(frozen=True)
class VolumeHeader:
    """Size and spacing (mm) of a volume in array order (k, j, i) after it is brought into LPS orientation.

    Attributes:
        axes: unit vector (LPS) of each array axis.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    axes: tuple[tuple[float, float, float], ...]


def flat_axis(size: Sequence[int]) -> int | None:
    """The axis along which a single slice has one voxel; None of what is a volume."""
    flat = [axis for axis, voxels in enumerate(size[:3]) if voxels == 1]
    return flat[0] if len(flat) == 1 else None


def volume_header(path: Path | str) -> VolumeHeader:
    """Size and spacing of a volume without reading its voxels; of a DICOM series from all of its slices.

    Raises:
        UnusableCase: not a volume.
    """
    source = open_source(path)
    return oriented_header(source.size, source.spacing, source.direction.ravel())


def oriented_header(size: Sequence[int], spacing: Sequence[float], direction: Sequence[float]) -> VolumeHeader:
    """The header of a grid whose size, spacing and directions are those of its voxel axes (i, j, k)."""
    order = patient_axes(direction)[::-1]
    axes = []
    for column, anatomical in zip(_cosines(direction).T[order], (2, 1, 0)):
        axes.append(tuple((column if column[anatomical] >= 0 else -column).tolist()))
    return VolumeHeader(tuple(int(size[a]) for a in order), tuple(float(spacing[a]) for a in order), tuple(axes))


def patient_axes(direction: Sequence[float]) -> list[int]:
    """The voxel axis (0 is i) nearest to each of the patient's axes right-left, anterior-posterior, inferior-superior.

    Each voxel axis is taken once, as by ``SimpleITK.DICOMOrient``. A fourth axis does not count.
    """
    cosines = _cosines(direction).ravel().tolist()
    towards = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(cosines)  # as "LPS"
    return [next(axis for axis in range(3) if towards[axis] in ends) for ends in ("RL", "AP", "IS")]


def _cosines(direction: Sequence[float]) -> np.ndarray:
    """(3, 3), a column per voxel axis (i, j, k)."""
    axes = math.isqrt(len(direction))
    return np.reshape(direction, (axes, axes))[:3, :3]


def write_image(image: sitk.Image, path: Path | str, slope: float = 1.0) -> None:
    """Write a compressed volume, replacing ``path`` in one step once every voxel is on the disk.

    Args:
        image: the volume.
        path: its ending says the format.
        slope: what readers multiply the voxels by; other than 1 for ``.nii.gz`` only.

    Raises:
        DiskError: the file cannot be written.
        OutOfMemoryError: as it says.
    """
    with replacing(path) as temporary, enough_memory(f"Not enough memory to write {path}."):
        try:
            if slope == 1:
                sitk.WriteImage(image, str(temporary), useCompression=True)
            else:
                _write_scaled(image, temporary, slope)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise OSError(f"{str(error).strip().splitlines()[-1]}") from error
        voxel_bytes = image.GetNumberOfComponentsPerPixel() * image.GetSizeOfPixelComponent()
        require_whole(temporary, image.GetNumberOfPixels() * voxel_bytes)


def _write_scaled(image: sitk.Image, path: Path, slope: float) -> None:
    """Write a .nii.gz file whose header has a slope, which SimpleITK reads but cannot write."""
    plain = path.with_name(path.name.removesuffix(".gz"))
    try:
        sitk.WriteImage(image, str(plain))
        with open(plain, "rb+") as file, open(path, "wb") as packed:
            file.seek(SCL_SLOPE)
            file.write(np.float32(slope).tobytes())
            file.seek(0)
            # level 6 takes twice as long and saves 1 to 3 %
            with gzip.GzipFile("", "wb", compresslevel=2, fileobj=packed, mtime=0) as content:
                shutil.copyfileobj(file, content, 2**20)
    finally:
        plain.unlink(missing_ok=True)


def same_geometry(a: sitk.Image, b: sitk.Image, tolerance: float = 1e-3) -> bool:
    """Whether two volumes have the same size and place every voxel within ``tolerance`` voxels of each other."""
    return a.GetSize() == b.GetSize() and geometry_distance(a, b) <= tolerance


def geometry_distance(a: sitk.Image, b: sitk.Image) -> float:
    """Largest distance between corresponding corners of two volumes, in units of the smallest voxel edge of ``a``."""
    return float(np.linalg.norm(_corners(a) - _corners(b), axis=1).max() / min(a.GetSpacing()))


def covers(outer: sitk.Image, inner: sitk.Image) -> bool:
    """Whether all voxel centres of ``inner`` lie at most half a voxel outside ``outer``."""
    corners = _corners_in(outer, inner)
    return bool(np.all(corners >= -1) and np.all(corners <= np.array(outer.GetSize())))


def overlaps(a: sitk.Image, b: sitk.Image) -> bool:
    """Whether the bounding box of ``a`` along the axes of ``b`` meets ``b``."""
    corners = _corners_in(b, a)
    return bool(np.all(corners.max(axis=0) >= -0.5) and np.all(corners.min(axis=0) <= np.array(b.GetSize()) - 0.5))


def _corners(image: sitk.Image) -> np.ndarray:
    """(8, 3) mm, the centres of the corner voxels."""
    last = np.array(image.GetSize()) - 1.0
    return np.array([image.TransformContinuousIndexToPhysicalPoint(c * last) for c in np.ndindex(2, 2, 2)])


def _corners_in(grid: sitk.Image, image: sitk.Image) -> np.ndarray:
    """(8, 3) continuous voxel indices (i, j, k) on the grid, the centres of the corner voxels of the image."""
    return np.array([grid.TransformPhysicalPointToContinuousIndex(point) for point in _corners(image)])


def image_like(array: np.ndarray, grid: sitk.Image) -> sitk.Image:
    """The array (k, j, i) as an image with the geometry of ``grid``."""
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(grid)
    return image


def resample_onto(image: sitk.Image, target: sitk.Image, interpolator: int, *, extend: bool = False) -> sitk.Image:
    """The image on the grid of the target; beyond the image lies 0, with ``extend`` the value of the nearest voxel."""
    return sitk.Resample(image, target, sitk.Transform(), interpolator, 0, image.GetPixelID(), extend)
