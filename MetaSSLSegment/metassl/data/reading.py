"""Reading the images of a case, and every rule of a usable file: what breaks one raises ``UnusableCase``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .dataset import Case
from .geometry import GEOMETRY_REMEDIES, geometry_problem
from .images import read_header, read_image, same_geometry

MOST_VOXELS = 1_500_000_000
"""Larger volumes are refused: they would need more than 6 GB as float32, several times."""
THINNEST = 4
"""Smallest size of a volume along any axis, in voxels."""
CHANNEL_TOLERANCE = 0.1
"""Channels of a case may lie this many voxels apart (rounded headers)."""
REMEDIES = {
    "missing-file": "Put the file back, or make dataset.json again.",
    "missing-channel": "Add the missing channel, or set the case's role to ignored.",
    "2d": "Use the whole 3D volume; X-rays, photographs and other single images cannot be used.",
    "4d": "Export one 3D volume (one time point) per file.",
    "vector": "Export it as a grey-value volume; a segmentation as a labelmap.",
    "huge": "Crop it to the region of interest, or resample it to a coarser grid.",
    "tiny": "Use the whole volume, not a slice of it.",
    **GEOMETRY_REMEDIES,
    "channel-geometry": "Resample all channels of the case onto the grid of the first.",
    "not-finite": "Export it again, or replace those voxels by the background value.",
    "constant": "Export it again, or leave the case out.",
    "label-not-whole": "Export it again with nearest-neighbour interpolation.",
    "label-values": "Correct the label, or say in dataset.json which class each value means (label_values).",
    "label-geometry": "Export the label again on the grid of the image; when the voxels correspond, copy the image's "
    "origin, spacing and directions to it.",
    "overlap": "Remove the overlap in Slicer's Segment Editor (Logical operators: subtract) and save it again.",
}
"""Every rule by its code, and what to do when a file breaks it."""


class UnusableCase(InputError):
    """A case that must not be used.

    Args:
        code: short name of the rule that it breaks, in ``REMEDIES`` or "unreadable".
        message: what is wrong, naming the file.
        hint: the rule's remedy when empty.
    """

    def __init__(self, code: str, message: str, hint: str = ""):
        super().__init__(message, hint or REMEDIES[code])
        self.code = code


def read_images(case: Case) -> list[sitk.Image]:
    """The channels of a case as float32 volumes with one geometry.

    A 4D file, or one with several components per voxel, holds all channels when the case names it once per channel.

    Raises:
        UnusableCase: a file is missing, unreadable, not a volume, constant, not finite, too large or too thin, its
            geometry is impossible, or the channels do not lie on the same grid.
    """
    if len(set(case.images)) == 1:
        channels = _read_channels(case.images[0], len(case.images))
    else:
        _require_channels(case)
        channels = [channel for path in case.images for channel in _read_channels(path, 1)]
    for path, channel in zip(case.images, channels):
        _require_contrast(channel, path)
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


def _read_channels(path: str, count: int) -> list[sitk.Image]:
    """The ``count`` channels that a file or DICOM folder holds, each 3D and float32."""
    image = open_volumes(path, count)
    if min(image.GetSize()[:3]) == 1:
        raise UnusableCase("2d", f"{path} is a single slice ({size_text(image)} voxels); MetaSSL segments volumes.")
    if min(image.GetSize()[:3]) < THINNEST:
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
    return [sitk.Cast(channel, sitk.sitkFloat32) for channel in channels]


def open_volumes(path: Path | str, count: int) -> sitk.Image:
    """Read a file or DICOM folder that holds ``count`` volumes; what can be refused by its header is not read."""
    path = Path(path)
    if not path.exists():
        raise UnusableCase("missing-file", f"{path} does not exist.")
    with refuse_unreadable():
        if path.is_file():
            header = read_header(path)
            _require_volumes(path, header.GetSize(), header.GetNumberOfComponents(), count)
            _require_geometry(path, header)
        image = read_image(path)
    _require_volumes(path, image.GetSize(), image.GetNumberOfComponentsPerPixel(), count)
    _require_geometry(path, image)
    return image


@contextmanager
def refuse_unreadable() -> Iterator[None]:
    """A file that cannot be read makes its case unusable."""
    try:
        yield
    except UnusableCase:
        raise
    except InputError as error:
        code = "shear" if error.hint == REMEDIES["shear"] else "unreadable"  # ITK refuses a NIfTI file that shears
        raise UnusableCase(code, str(error), error.hint) from error


def _require_volumes(path: Path | str, size: tuple[int, ...], components: int, count: int) -> None:
    """Refuse what is not ``count`` 3D volumes: along the fourth axis, or as components of a voxel."""
    if len(size) < 3:
        raise UnusableCase("2d", f"{path} is a 2D image; MetaSSL segments volumes.")
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


def _require_geometry(path: Path | str, source: sitk.Image | sitk.ImageFileReader) -> None:
    axes = source.GetDimension()
    direction = np.array(source.GetDirection()).reshape(axes, axes)[:3, :3]
    # a fourth axis has no length that matters
    if problem := geometry_problem(source.GetSpacing()[:3], direction, source.GetOrigin()[:3]):
        raise UnusableCase(problem[0], f"{path} has {problem[1]}.")


def _require_contrast(image: sitk.Image, path: str) -> None:
    voxels = sitk.GetArrayViewFromImage(image)
    low, high = float(voxels.min()), float(voxels.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UnusableCase("not-finite", f"{path} has voxels that are not numbers (NaN) or infinite.")
    if low == high:
        raise UnusableCase("constant", f"{path} is constant: every voxel is {low:g}.")


def size_text(image: sitk.Image) -> str:
    return " x ".join(map(str, image.GetSize()))
