"""Images on disk: reading, writing and comparing their geometry. Image I/O is SimpleITK's."""

import gzip
import math
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import SMALLER_VOLUME, InputError, MetaSSLError, OutOfMemoryError, enough_memory, is_out_of_memory
from ..files import replacing, require_whole
from .geometry import GEOMETRY_REMEDIES

SUFFIXES = (".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
"""File name endings of the volumes that MetaSSL looks for in folders, longest first."""

SCL_SLOPE = 112
"""Where a NIfTI-1 header has the factor of its voxels, float32 in the byte order of the machine that writes it."""


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
        OutOfMemoryError: as it says.
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
            return _read_series(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path), series[0]))
        if path.name.lower().endswith((".nii", ".nii.gz")) and not _is_whole(path):
            raise InputError(f"{path} ends before its last voxel.", "Copy, download or export it again.")
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise _unreadable(path, error) from error


def _read_series(files: tuple[str, ...]) -> sitk.Image:
    """Read the slices of a DICOM series; the third axis runs from the first to the last, also when that is aslant.

    ITK would straighten the axes of a tilted gantry without a word; newer versions of SimpleITK could be told not to.
    """
    image = sitk.ReadImage(files)
    if image.GetDimension() == 3:
        way = np.subtract(read_header(files[-1]).GetOrigin(), image.GetOrigin())
        if length := np.linalg.norm(way):
            direction = np.array(image.GetDirection()).reshape(3, 3)
            direction[:, 2] = way / length
            image.SetDirection(direction.ravel().tolist())
    return image


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


def _unreadable(path: Path | str, error: RuntimeError) -> MetaSSLError:
    if is_out_of_memory(error):
        return OutOfMemoryError(f"Not enough memory to read {path}.", SMALLER_VOLUME)
    reason = str(error).strip().splitlines()[-1].strip()
    if "orthonormal" in reason:  # ITK's word for a NIfTI matrix that shears
        return InputError(f"{path} has axes that are not at right angles.", GEOMETRY_REMEDIES["shear"])
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
    """The voxel axis (0 is i) nearest to each of the patient's axes right-left, anterior-posterior, inferior-superior.

    Each voxel axis is taken once, as by ``SimpleITK.DICOMOrient``. A fourth axis does not count.
    """
    dimension = source.GetDimension()
    direction = np.array(source.GetDirection()).reshape(dimension, dimension)[:3, :3]
    towards = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction.ravel().tolist())  # as "LPS"
    return [next(axis for axis in range(3) if towards[axis] in ends) for ends in ("RL", "AP", "IS")]


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
            # higher levels take longer and save 1 %
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
