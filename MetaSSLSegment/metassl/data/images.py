"""Images on disk: reading, writing and comparing their geometry. Image I/O is SimpleITK's."""

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..files import replacing

SUFFIXES = (".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
"""File name endings of the volumes that MetaSSL looks for in folders, longest first."""


def stem(path: Path | str) -> str:
    """File name without its image suffix: ``a/case.nii.gz`` -> ``case``."""
    name = Path(path).name
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def is_image_file(path: Path) -> bool:
    """Whether the file's name ends like that of a volume."""
    return path.is_file() and path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def dicom_series(folder: Path | str) -> list[str]:
    """Series UIDs of the DICOM files directly in ``folder``, empty when there are none."""
    return list(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)))


def read_header(path: Path | str) -> sitk.ImageFileReader:
    """Read dimension, size, geometry and metadata of an image file, but no voxels.

    Raises:
        InputError: not an image.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    return reader


def read_image(path: Path | str) -> sitk.Image:
    """Read a volume from a file, or from a folder that holds one DICOM series.

    Raises:
        InputError: missing, not an image, cut off, or a folder with no or several series.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist.", "Check the path, or make dataset.json again.")
    try:
        if path.is_dir():
            series = dicom_series(path)
            if len(series) != 1:
                raise InputError(
                    f"{path} holds {len(series)} DICOM series, expected one.",
                    "Put each series into a folder of its own.",
                )
            return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path), series[0]))
        if path.name.lower().endswith((".nii", ".nii.gz")) and not _is_whole(path):
            raise InputError(f"{path} ends before its last voxel.", "Copy, download or export it again.")
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise _unreadable(path, error) from error


def _is_whole(path: Path) -> bool:
    """Whether a NIfTI file has all the bytes that its header promises; ITK would read missing voxels as zeros."""
    header = read_header(path)
    if not header.HasMetaDataKey("vox_offset"):
        return True
    sizes = (int(header.GetMetaData(f"dim[{d}]")) for d in range(1, 1 + int(header.GetMetaData("dim[0]"))))
    promised = int(float(header.GetMetaData("vox_offset")))
    promised += math.prod(max(1, n) for n in sizes) * int(header.GetMetaData("bitpix")) // 8
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(-4, 2)
        last = int.from_bytes(file.read(), "little")
        if not compressed:
            return file.tell() >= promised
    if last == promised % 2**32:  # a gzip file ends with the size of its content
        return True
    found = 0  # or with that of its last part only
    try:
        with gzip.open(path) as content:
            while block := content.read(2**20):
                found += len(block)
    except (EOFError, OSError, zlib.error):
        return False
    return found >= promised


def _unreadable(path: Path | str, error: RuntimeError) -> InputError:
    reason = str(error).strip().splitlines()[-1].strip()
    return InputError(
        f"{path} cannot be read as an image: {reason}", "The file is damaged or of an unknown format; export it again."
    )


@dataclass(frozen=True)
class VolumeHeader:
    """Size and spacing (mm) of a volume in array order (k, j, i) after it is brought into LPS orientation."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]


def volume_header(path: Path | str) -> VolumeHeader:
    """Size and spacing of a volume without reading its voxels; of a DICOM series from its first and last slice.

    Raises:
        InputError: not a volume.
    """
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path)) if Path(path).is_dir() else (str(path),)
    if not files:
        raise InputError(f"{path} holds no DICOM series.", "Check the path, or make dataset.json again.")
    source = read_header(files[0])
    size, spacing = list(source.GetSize()), list(source.GetSpacing())
    if len(files) > 1:
        length = np.linalg.norm(np.subtract(read_header(files[-1]).GetOrigin(), source.GetOrigin()))
        size[2], spacing[2] = len(files), length / (len(files) - 1)
    order = patient_axes(source)[::-1]
    return VolumeHeader(tuple(size[a] for a in order), tuple(float(spacing[a]) for a in order))


def patient_axes(source: sitk.Image | sitk.ImageFileReader) -> list[int]:
    """The voxel axis (0 is x) nearest to each of the patient's axes right-left, anterior-posterior, inferior-superior.

    Each voxel axis is taken once. A fourth axis does not count.
    """
    dimension = source.GetDimension()
    direction = np.abs(np.array(source.GetDirection()).reshape(dimension, dimension)[:3, :3])
    axes = [0, 1, 2]
    for _ in range(3):
        patient, axis = np.unravel_index(direction.argmax(), (3, 3))
        axes[patient] = int(axis)
        direction[patient, :] = direction[:, axis] = -1
    return axes


def write_image(image: sitk.Image, path: Path | str) -> None:
    """Write a compressed volume, replacing ``path`` in one step.

    Raises:
        DiskError: the file cannot be written.
    """
    with replacing(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            raise OSError(f"{str(error).strip().splitlines()[-1]}") from error


def same_geometry(a: sitk.Image, b: sitk.Image, tolerance: float = 1e-3) -> bool:
    """Whether two volumes have the same size and place every voxel within ``tolerance`` voxels of each other."""
    return a.GetSize() == b.GetSize() and geometry_distance(a, b) <= tolerance


def geometry_distance(a: sitk.Image, b: sitk.Image) -> float:
    """Largest distance between corresponding corners of two volumes, in units of the smallest voxel edge of ``a``."""
    distance = 0.0
    for corner in np.ndindex(2, 2, 2):
        points = [
            np.array(
                image.TransformContinuousIndexToPhysicalPoint([c * (n - 1.0) for c, n in zip(corner, image.GetSize())])
            )
            for image in (a, b)
        ]
        distance = max(distance, float(np.linalg.norm(points[0] - points[1])))
    return distance / min(a.GetSpacing())


def image_like(array: np.ndarray, reference: sitk.Image) -> sitk.Image:
    """The array (z, y, x) as an image with the geometry of ``reference``."""
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(reference)
    return image
