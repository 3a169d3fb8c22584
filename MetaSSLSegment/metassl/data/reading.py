"""Reading the images of a case by every rule of a usable file: what breaks one raises ``UnusableCase``."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .dataset import Case
from .formats.dicom import MODALITY, DicomSeries
from .formats.volume_file import STORED_2D, VolumeFile
from .geometry import geometry_problem
from .images import flat_axis, image_like, open_source, same_geometry
from .rules import LOAD_IN_SLICER, Fix, UnusableCase

MOST_VOXELS = 1_500_000_000
"""Larger volumes are refused: they would need more than 6 GB as float32, several times."""
THINNEST = 4
"""Smallest size of a volume along any axis, and of a single slice along the two that it has, in voxels."""
CHANNEL_TOLERANCE = 0.1
"""Channels of a case may lie this many voxels apart (rounded headers)."""

FEW_VOXELS = 1_000_000
"""ITK's threads cost smaller volumes more time than they save."""


def read_images(case: Case, fixed: Callable[[Fix], None] | None = None) -> list[sitk.Image]:
    """The channels of a case as float32 volumes with one geometry; those of a DICOM series know their modality.

    A single slice is a volume with one voxel along one axis; it knows whether its file has two dimensions.

    A 4D file, or one with several components per voxel, holds all channels when the case names it once per channel.

    Args:
        case: the case.
        fixed: called with what was put right or assumed.

    Raises:
        UnusableCase: a file is missing, unreadable, not a volume, constant, not finite, too large or too thin, its
            geometry is impossible, or the channels do not lie on the same grid.
    """
    if len(set(case.images)) == 1:
        channels = _read_channels(case.images[0], len(case.images), fixed)
    else:
        _require_channels(case)
        channels = [channel for path in case.images for channel in _read_channels(path, 1, fixed)]
    for path, channel in zip(case.images, channels):
        if not same_geometry(channels[0], channel, CHANNEL_TOLERANCE):
            raise UnusableCase(
                "channel-geometry", f"The channels {case.images[0]} and {path} do not lie on the same grid."
            )
        channel.CopyInformation(channels[0])
    return channels


def _require_channels(case: Case) -> None:
    for number, path in enumerate(case.images, 1):
        if not Path(path).exists():
            raise UnusableCase(
                "missing-channel", f"Channel {number} of {len(case.images)} is missing: {path} does not exist."
            )


def _read_channels(path: str, count: int, fixed: Callable[[Fix], None] | None) -> list[sitk.Image]:
    """The ``count`` channels that a file or DICOM folder holds, each 3D and float32."""
    image = open_volumes(path, count, fixed)
    size = image.GetSize()[:3]
    if min(np.delete(size, flat_axis(size)) if flat_axis(size) is not None else size) < THINNEST:
        raise UnusableCase(
            "tiny", f"{path} has {size_text(image)} voxels; at least {THINNEST} along every axis are needed."
        )
    if image.GetDimension() == 4:
        size = [*image.GetSize()[:3], 0]
        channels = [sitk.Extract(image, size, [0, 0, 0, c]) for c in range(count)]
    elif image.GetNumberOfComponentsPerPixel() > 1:
        channels = [sitk.VectorIndexSelectionCast(image, c) for c in range(count)]
    else:
        channels = [image]
    known = {key: image.GetMetaData(key) for key in (MODALITY, STORED_2D) if image.HasMetaDataKey(key)}
    for channel in channels:
        _require_contrast(channel, path)
    return [_as_float(channel, known) for channel in channels]


def _as_float(image: sitk.Image, known: dict[str, str]) -> sitk.Image:
    if image.GetNumberOfPixels() > FEW_VOXELS:
        image = sitk.Cast(image, sitk.sitkFloat32)
    elif image.GetPixelID() != sitk.sitkFloat32:
        image = image_like(sitk.GetArrayViewFromImage(image).astype(np.float32), image)
    for key, value in known.items():
        image.SetMetaData(key, value)
    return image


def open_volumes(path: Path | str, count: int, fixed: Callable[[Fix], None] | None = None) -> sitk.Image:
    """Read a file or DICOM folder that holds ``count`` volumes; what can be refused by its header is not read.

    Raises:
        UnusableCase: see ``read_images``.
    """
    return read_volumes(path, open_source(path), count, fixed)


def read_volumes(
    path: Path | str, source: VolumeFile | DicomSeries, count: int, fixed: Callable[[Fix], None] | None = None
) -> sitk.Image:
    """As ``open_volumes``, of what is open already."""
    _require_volumes(path, source.size, source.components, count)
    _require_geometry(path, source.spacing, source.direction.ravel(), source.origin)
    image = source.read()
    _require_volumes(path, image.GetSize(), image.GetNumberOfComponentsPerPixel(), count)
    _require_geometry(path, image.GetSpacing(), image.GetDirection(), image.GetOrigin())
    for fix in source.fixes if fixed else ():
        fixed(fix)
    return image


def _require_volumes(path: Path | str, size: tuple[int, ...], components: int, count: int) -> None:
    """Refuse what is not ``count`` 3D volumes: along the fourth axis, or as components of a voxel."""
    volumes = int(np.prod(size[3:], dtype=np.int64)) * components
    if volumes == 1 < count:
        raise UnusableCase("missing-channel", f"{path} holds one channel, but the data set has {count}.")
    if len(size) > 3 and (volumes != count or components > 1):
        raise UnusableCase("4d", f"{path} is {len(size)}D with {volumes} volumes, expected {count}.")
    if volumes != count:
        raise UnusableCase(
            "vector", f"{path} has {components} values per voxel (a colour, complex or vector image), expected {count}."
        )
    if np.prod(size[:3], dtype=np.int64) > MOST_VOXELS:
        raise UnusableCase(
            "huge", f"{path} has {' x '.join(map(str, size[:3]))} voxels, more than {MOST_VOXELS / 1e9:g} billion."
        )


def _require_geometry(
    path: Path | str, spacing: Sequence[float], direction: Sequence[float], origin: Sequence[float]
) -> None:
    axes = len(spacing)
    cosines = np.reshape(direction, (axes, axes))[:3, :3]
    # a fourth axis has no length that matters
    if problem := geometry_problem(spacing[:3], cosines, origin[:3]):
        hint = LOAD_IN_SLICER if problem[0] == "shear" and Path(path).is_dir() else ""
        raise UnusableCase(problem[0], f"{path} has {problem[1]}.", hint)


def _require_contrast(image: sitk.Image, path: str) -> None:
    voxels = sitk.GetArrayViewFromImage(image)
    low, high = float(voxels.min()), float(voxels.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UnusableCase("not-finite", f"{path} has voxels that are not numbers (NaN) or infinite.")
    if low == high:
        raise UnusableCase("constant", f"{path} is constant: every voxel is {low:g}.")


def size_text(image: sitk.Image) -> str:
    return " x ".join(map(str, image.GetSize()))
