"""Reading the images and the label of a case: every rule about which files can be used, in one place.

What breaks a rule raises ``UnusableCase``; what can be put right is put right and described by a ``Fix``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, first_few
from .dataset import Case, Dataset
from .geometry import GEOMETRY_REMEDIES, geometry_problem
from .images import (
    covers,
    geometry_distance,
    image_like,
    overlaps,
    read_header,
    read_image,
    resample_onto,
    same_geometry,
)
from .segmentations import Segment, class_of_value, read_segments

MOST_VOXELS = 1_500_000_000
"""Larger volumes are refused: they would need more than 6 GB as float32, several times."""
THINNEST = 4
"""Smallest size of a volume along any axis, in voxels."""
CHANNEL_TOLERANCE = 0.1
"""Channels of a case may lie this many voxels apart (rounded headers)."""
REMEDIES = {
    "missing-file": "Put the file back, or make dataset.json again.",
    "missing-channel": "Add the missing channel, or set the case's role to ignored.",
    "2d": "Use the whole 3D volume.",
    "4d": "Export one 3D volume (one time point) per file.",
    "vector": "Export it as a grey-value volume; a segmentation as a labelmap.",
    "huge": "Crop it to the region of interest, or resample it to a coarser grid.",
    "tiny": "Use the whole volume, not a slice of it.",
    **GEOMETRY_REMEDIES,
    "channel-geometry": "Resample all channels of the case onto the grid of the first.",
    "not-finite": "Export it again, or replace those voxels by the background value.",
    "constant": "Export it again, or leave the case out.",
    "label-not-whole": "Export it again with nearest-neighbour interpolation.",
    "label-values": "Correct the label, or add these values as classes to dataset.json.",
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


@dataclass(frozen=True)
class Fix:
    """Something wrong with a file that reading puts right; ``code`` is a short name of it."""

    code: str
    message: str


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


def read_label(path: Path | str, dataset: Dataset, image: sitk.Image) -> np.ndarray:
    """The class of every voxel of an image, read from a label file.

    Args:
        path: label file; the values are those of the data set's classes, a .seg.nrrd is read by segment names.
        dataset: says which value or segment name is which class.
        image: the image; the label is brought onto its grid with nearest neighbours.

    Returns:
        (k, j, i) uint8: 0 background, k for ``dataset.classes[k - 1]``, ``IGNORE`` where ``dataset.ignore_value``.

    Raises:
        UnusableCase: missing, unreadable, not a volume, not whole numbers, values outside the classes, overlapping
            segments, or not where the image is.
    """
    return read_label_with_fixes(path, dataset, image)[0]


def read_label_with_fixes(path: Path | str, dataset: Dataset, image: sitk.Image) -> tuple[np.ndarray, list[Fix]]:
    """What ``read_label`` returns, and what had to be put right for it."""
    stored, segments = _read_label_file(path)
    arrays, fixes = _layers(stored, path)
    indices = np.zeros(arrays[0].shape, np.uint8)
    for layer, array in enumerate(arrays):
        here = [s for s in segments if s.layer == layer]
        meaning, renamed = class_of_value(dataset, here)
        fixes += [Fix("label-name", sentence) for sentence in renamed]
        found = _class_indices(array, meaning, {s.value: s.name for s in here}, path)
        if layer and np.any((found != 0) & (indices != 0)):
            raise UnusableCase("overlap", f"{path} has overlapping segments; a voxel can have one class only.")
        indices = np.maximum(indices, found)
    label, moved = _fit_label(image_like(indices, stored), image, path, cropped=bool(segments))
    return sitk.GetArrayFromImage(label), fixes + moved


def label_values(path: Path | str) -> set[int]:
    """The values other than 0 in a label file.

    Raises:
        UnusableCase: missing, unreadable, not a volume, or not whole numbers.
    """
    arrays, _ = _layers(_read_label_file(path)[0], path)
    return {int(value) for array in arrays for value in distinct_values(array)} - {0}


def _require_channels(case: Case) -> None:
    for number, path in enumerate(case.images, 1):
        if not Path(path).exists():
            raise UnusableCase(
                "missing-channel", f"Channel {number} of {len(case.images)} is missing: {path} does not exist."
            )


def _read_channels(path: str, count: int) -> list[sitk.Image]:
    """The ``count`` channels that a file or DICOM folder holds, each 3D and float32."""
    image = _open(path, count)
    if min(image.GetSize()[:3]) < THINNEST:
        raise UnusableCase(
            "tiny", f"{path} has {_size(image)} voxels; at least {THINNEST} along every axis are needed."
        )
    if image.GetDimension() == 4:
        size = [*image.GetSize()[:3], 0]
        channels = [sitk.Extract(image, size, [0, 0, 0, c]) for c in range(count)]
    elif image.GetNumberOfComponentsPerPixel() > 1:
        channels = [sitk.VectorIndexSelectionCast(image, c) for c in range(count)]
    else:
        channels = [image]
    return [sitk.Cast(channel, sitk.sitkFloat32) for channel in channels]


def _read_label_file(path: Path | str) -> tuple[sitk.Image, list[Segment]]:
    """A label file: 3D, with several components only where they are layers of segments; and its segments."""
    segments: list[Segment] = []
    layers = 1
    with _refuse_unreadable():
        if Path(path).is_file():
            header = read_header(path)
            segments = read_segments(header, path)
            layers = header.GetNumberOfComponents() if segments else 1
    image = _open(path, layers)
    return (image[:, :, :, 0] if image.GetDimension() == 4 else image), segments


def _open(path: Path | str, count: int) -> sitk.Image:
    """Read a file or DICOM folder that holds ``count`` volumes; what can be refused by its header is not read."""
    path = Path(path)
    if not path.exists():
        raise UnusableCase("missing-file", f"{path} does not exist.")
    with _refuse_unreadable():
        if path.is_file():
            header = read_header(path)
            _require_volumes(path, header.GetSize(), header.GetNumberOfComponents(), count)
            _require_geometry(path, header)
        image = read_image(path)
    _require_volumes(path, image.GetSize(), image.GetNumberOfComponentsPerPixel(), count)
    _require_geometry(path, image)
    return image


@contextmanager
def _refuse_unreadable() -> Iterator[None]:
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


def _layers(image: sitk.Image, path: Path | str) -> tuple[list[np.ndarray], list[Fix]]:
    """The layers of a label as (k, j, i) arrays of whole numbers."""
    array = sitk.GetArrayFromImage(image)
    fixes = []
    if array.dtype.kind == "f":
        if not np.all(np.isfinite(array)) or np.any(array != np.rint(array)) or np.abs(array).max() > 2**31 - 1:
            raise UnusableCase(
                "label-not-whole",
                f"{path} has values that are not whole numbers; a label is neither interpolated nor a probability.",
            )
        array = array.astype(np.int32)
        fixes.append(Fix("label-float", "The label has floating-point voxels that are whole numbers; they are used."))
    if image.GetNumberOfComponentsPerPixel() == 1:
        return [array], fixes
    return [array[..., layer] for layer in range(array.shape[-1])], fixes


def distinct_values(array: np.ndarray) -> list[int]:
    """The distinct values, found slice by slice to need little memory."""
    return sorted(set().union(*(np.unique(plane).tolist() for plane in array)))


def _class_indices(array: np.ndarray, meaning: dict[int, int], names: dict[int, str], path: Path | str) -> np.ndarray:
    """(k, j, i) uint8 class indices of the values; ``names`` are those of segments, for the message."""
    values = distinct_values(array)
    unknown = [
        f"{value} ({names[value]})" if value in names else str(value) for value in values if value not in meaning
    ]
    if unknown:
        raise UnusableCase("label-values", f"{path} has values outside the classes: {first_few(unknown)}.")
    indices = np.zeros(array.shape, np.uint8)
    for value in values:
        if meaning[value]:
            indices[array == value] = meaning[value]
    return indices


def _fit_label(label: sitk.Image, image: sitk.Image, path: Path | str, cropped: bool) -> tuple[sitk.Image, list[Fix]]:
    """The label on the grid of the image.

    Args:
        cropped: whether the file may be smaller than the image, with background around it: Slicer crops .seg.nrrd
            files to what is segmented.
    """
    if same_geometry(image, label):
        return label, []
    if not covers(label, image) and not (cropped and covers(image, label)):
        apart = "covers only a part of the image" if overlaps(label, image) else "does not overlap the image"
        raise UnusableCase(
            "label-geometry",
            f"{path} {apart}: {_size(label)} voxels from {_point(label)} mm, "
            f"the image {_size(image)} voxels from {_point(image)} mm.",
        )
    if label.GetSize() == image.GetSize():
        what = f"The label's header differs from the image's by {geometry_distance(image, label):.2g} voxels"
    else:
        what = f"The label has a grid of its own ({_size(label)} voxels, the image {_size(image)})"
    fix = Fix("label-resampled", f"{what}; it is resampled onto the image grid (nearest neighbour).")
    return resample_onto(label, image, sitk.sitkNearestNeighbor), [fix]


def _size(image: sitk.Image) -> str:
    return " x ".join(map(str, image.GetSize()))


def _point(image: sitk.Image) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in image.GetOrigin()) + ")"
