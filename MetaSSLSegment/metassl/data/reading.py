"""Reading the images and the label of a case: every rule about which files can be used, in one place.

What breaks a rule raises ``UnusableCase``; what can be put right is put right and described by a ``Fix``.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .dataset import IGNORE, Case, Dataset
from .images import geometry_distance, read_header, read_image, same_geometry

MOST_VOXELS = 1_500_000_000
"""Larger volumes are refused: they would need more than 6 GB as float32, several times."""
THINNEST = 4
"""Smallest size of a volume along any axis, in voxels."""
CHANNEL_TOLERANCE = 0.1
"""Channels of a case may lie this many voxels apart (rounded headers)."""
SINGULAR = 1e-3
"""Smallest volume that the three axis directions (unit vectors) must span."""


class UnusableCase(InputError):
    """A case that must not be used; ``code`` is a short name of the rule that it breaks."""

    def __init__(self, code: str, message: str, hint: str):
        super().__init__(message, hint)
        self.code = code


@dataclass(frozen=True)
class Fix:
    """Something wrong with a file that reading puts right; ``code`` is a short name of it."""

    code: str
    message: str


@dataclass(frozen=True)
class Segment:
    """One segment as a .seg.nrrd file describes it.

    Attributes:
        name: as shown in Slicer.
        value: voxel value in the segment's layer.
        layer: component of the voxels that holds the segment.
        colour: RGB, 0-255, or None.
        terminology: Slicer's serialized terminology entry, or None.
    """

    name: str
    value: int
    layer: int
    colour: tuple[int, int, int] | None
    terminology: str | None


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
                "channel-geometry",
                f"The channels {case.images[0]} and {path} do not lie on the same grid.",
                "Resample all channels of the case onto the grid of the first.",
            )
        channel.CopyInformation(channels[0])
    return channels


def read_label(path: Path | str, dataset: Dataset, reference: sitk.Image) -> np.ndarray:
    """The class of every voxel of ``reference``, read from a label file.

    Args:
        path: label file; the values are those of the data set's classes, a .seg.nrrd is read by segment names.
        dataset: says which value or segment name is which class.
        reference: the image; the label is brought onto its grid with nearest neighbours.

    Returns:
        (z, y, x) uint8: 0 background, k for ``dataset.classes[k - 1]``, ``IGNORE`` where ``dataset.ignore_value``.

    Raises:
        UnusableCase: missing, unreadable, not a volume, not whole numbers, values outside the classes, overlapping
            segments, or not where the image is.
    """
    return read_label_with_fixes(path, dataset, reference)[0]


def read_label_with_fixes(path: Path | str, dataset: Dataset, reference: sitk.Image) -> tuple[np.ndarray, list[Fix]]:
    """What ``read_label`` returns, and what had to be put right for it."""
    image = _read_label_file(path)
    segments = read_segments(image, path)
    arrays, fixes = _layers(image, path)
    indices = np.zeros(arrays[0].shape, np.uint8)
    for layer, array in enumerate(arrays):
        here = [s for s in segments if s.layer == layer]
        meaning, renamed = _meaning(dataset, here)
        fixes += renamed
        found = _class_indices(array, meaning, {s.value: s.name for s in here}, path)
        if layer and np.any((found != 0) & (indices != 0)):
            raise UnusableCase(
                "overlap",
                f"{path} has overlapping segments; a voxel can have one class only.",
                "Remove the overlap in Slicer's Segment Editor (Logical operators: subtract) and save it again.",
            )
        indices = np.maximum(indices, found)
    label = sitk.GetImageFromArray(indices)
    label.CopyInformation(image)
    label, moved = _onto(label, reference, path, cropped=bool(segments))
    return sitk.GetArrayFromImage(label), fixes + moved


def label_values(path: Path | str) -> set[int]:
    """The values other than 0 in a label file.

    Raises:
        UnusableCase: missing, unreadable, not a volume, or not whole numbers.
    """
    arrays, _ = _layers(_read_label_file(path), path)
    return {int(value) for array in arrays for value in distinct_values(array)} - {0}


def read_segments(image: sitk.Image | sitk.ImageFileReader, path: Path | str) -> list[Segment]:
    """The segments that the metadata of a .seg.nrrd describe; none for other files.

    See "Segmentation file format" in 3D Slicer's developer guide (keys ``SegmentN_Name``, ``SegmentN_LabelValue``,
    ``SegmentN_Layer``, ``SegmentN_Color``, ``SegmentN_Tags``).

    Raises:
        UnusableCase: the metadata are damaged.
    """

    def text(key: str, default: str = "") -> str:
        return image.GetMetaData(key).strip() if image.HasMetaDataKey(key) else default

    segments = []
    while image.HasMetaDataKey(f"Segment{len(segments)}_LabelValue"):
        key = f"Segment{len(segments)}_"
        tags = [tag.partition(":") for tag in text(key + "Tags").split("|")]
        try:
            rgb = tuple(round(255 * float(c)) for c in text(key + "Color").split())
            segment = Segment(
                name=text(key + "Name") or text(key + "ID", f"segment {len(segments)}"),
                value=int(text(key + "LabelValue")),
                layer=int(text(key + "Layer", "0")),
                colour=rgb if len(rgb) == 3 and all(0 <= c <= 255 for c in rgb) else None,
                terminology=next((value for name, _, value in tags if name == "TerminologyEntry"), None),
            )
        except ValueError as error:
            raise UnusableCase(
                "unreadable",
                f"{path} describes segment {len(segments)} in a damaged way: {error}.",
                "Load it into Slicer and save it again.",
            ) from error
        segments.append(segment)
    return segments


def _require_channels(case: Case) -> None:
    for number, path in enumerate(case.images, 1):
        if not Path(path).exists():
            raise UnusableCase(
                "missing-channel",
                f"Channel {number} of {len(case.images)} is missing: {path} does not exist.",
                "Add the file, or set the case's role to ignored.",
            )


def _read_channels(path: str, count: int) -> list[sitk.Image]:
    """The ``count`` channels that a file or DICOM folder holds, each 3D and float32."""
    image = _open(path, count)
    if min(image.GetSize()[:3]) < THINNEST:
        raise UnusableCase(
            "tiny",
            f"{path} has {_size(image)} voxels; at least {THINNEST} along every axis are needed.",
            "Use the whole volume, not a slice of it.",
        )
    if image.GetDimension() == 4:
        size = [*image.GetSize()[:3], 0]
        channels = [sitk.Extract(image, size, [0, 0, 0, c]) for c in range(count)]
    elif image.GetNumberOfComponentsPerPixel() > 1:
        channels = [sitk.VectorIndexSelectionCast(image, c) for c in range(count)]
    else:
        channels = [image]
    return [sitk.Cast(channel, sitk.sitkFloat32) for channel in channels]


def _read_label_file(path: Path | str) -> sitk.Image:
    """A label file: 3D, with several components only where they are layers of segments."""
    layers = 1
    if Path(path).is_file():
        header = _header(path)
        layers = header.GetNumberOfComponents() if read_segments(header, path) else 1
    image = _open(path, layers)
    return image[:, :, :, 0] if image.GetDimension() == 4 else image


def _open(path: Path | str, count: int) -> sitk.Image:
    """Read a file or DICOM folder that holds ``count`` volumes; what can be refused by its header is not read."""
    path = Path(path)
    if not path.exists():
        raise UnusableCase("missing-file", f"{path} does not exist.", "Put the file back, or make dataset.json again.")
    if path.is_file():
        header = _header(path)
        _require_volumes(path, header.GetSize(), header.GetNumberOfComponents(), count)
        _require_geometry(path, header)
    try:
        image = read_image(path)
    except InputError as error:
        raise UnusableCase("unreadable", str(error), error.hint) from error
    _require_volumes(path, image.GetSize(), image.GetNumberOfComponentsPerPixel(), count)
    return image


def _header(path: Path | str) -> sitk.ImageFileReader:
    try:
        return read_header(path)
    except InputError as error:
        raise UnusableCase("unreadable", str(error), error.hint) from error


def _require_volumes(path: Path | str, size: tuple[int, ...], components: int, count: int) -> None:
    """Refuse what is not ``count`` 3D volumes: along the fourth axis, or as components of a voxel."""
    if len(size) < 3:
        raise UnusableCase("2d", f"{path} is a 2D image; MetaSSL segments volumes.", "Give it the 3D volume.")
    volumes = int(np.prod(size[3:], dtype=np.int64)) * components
    if volumes == 1 < count:
        raise UnusableCase(
            "missing-channel",
            f"{path} holds one channel, but the data set has {count}.",
            "Give the case all channels, or set its role to ignored.",
        )
    if len(size) > 3 and (volumes != count or components > 1):
        raise UnusableCase(
            "4d",
            f"{path} is {len(size)}D with {volumes} volumes, expected {count}.",
            "Export one 3D volume (one time point) per file.",
        )
    if volumes != count:
        raise UnusableCase(
            "vector",
            f"{path} has {components} values per voxel (a colour, complex or vector image), expected {count}.",
            "Export it as a grey-value volume; a segmentation as a labelmap.",
        )
    if np.prod(size[:3], dtype=np.int64) > MOST_VOXELS:
        raise UnusableCase(
            "huge",
            f"{path} has {' x '.join(map(str, size[:3]))} voxels, more than {MOST_VOXELS / 1e9:g} billion.",
            "Crop it to the region of interest or resample it to a coarser grid.",
        )


def _require_geometry(path: Path | str, header: sitk.ImageFileReader) -> None:
    """Refuse spacings that are not positive, and axes that span no volume (SimpleITK's own words are cryptic)."""
    axes = header.GetDimension()
    spacing = np.array(header.GetSpacing()[:3])  # a fourth axis has no length that matters
    direction = np.array(header.GetDirection()).reshape(axes, axes)[:3, :3]
    shown = " x ".join(f"{s:g}" for s in spacing)
    if not np.all(np.isfinite(spacing)) or np.any(spacing <= 0):
        raise UnusableCase(
            "spacing",
            f"{path} has the impossible voxel spacing {shown} mm.",
            "Correct the spacing (Slicer: Volumes module, Volume information) and save it again.",
        )
    determinant = np.linalg.det(direction)
    if not abs(determinant) >= SINGULAR:  # also when it is not a number
        raise UnusableCase(
            "direction",
            f"{path} has axis directions that span no volume (determinant {determinant:g}).",
            "Correct the orientation in the file's header and save it again.",
        )
    if not np.all(np.isfinite(header.GetOrigin())):
        raise UnusableCase(
            "origin", f"{path} has the impossible origin {header.GetOrigin()}.", "Correct it and save it again."
        )


def _require_contrast(image: sitk.Image, path: str) -> None:
    voxels = sitk.GetArrayViewFromImage(image)
    low, high = float(voxels.min()), float(voxels.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UnusableCase(
            "not-finite",
            f"{path} has voxels that are not numbers (NaN) or infinite.",
            "Export it again, or replace those voxels by the background value.",
        )
    if low == high:
        raise UnusableCase(
            "constant", f"{path} is constant: every voxel is {low:g}.", "Export it again, or leave the case out."
        )


def _layers(image: sitk.Image, path: Path | str) -> tuple[list[np.ndarray], list[Fix]]:
    """The layers of a label as (z, y, x) arrays of whole numbers."""
    array = sitk.GetArrayFromImage(image)
    fixes = []
    if array.dtype.kind == "f":
        if not np.all(np.isfinite(array)) or np.any(array != np.rint(array)) or np.abs(array).max() > 2**31 - 1:
            raise UnusableCase(
                "label-not-whole",
                f"{path} has values that are not whole numbers; a label must not be interpolated or a probability.",
                "Export it again with nearest-neighbour interpolation.",
            )
        array = array.astype(np.int32)
        fixes.append(Fix("label-float", "The label has floating-point voxels that are whole numbers; they are used."))
    if image.GetNumberOfComponentsPerPixel() == 1:
        return [array], fixes
    return [array[..., layer] for layer in range(array.shape[-1])], fixes


def distinct_values(array: np.ndarray) -> list[int]:
    """The distinct values, found slice by slice to need little memory."""
    return sorted(set().union(*(np.unique(plane).tolist() for plane in array)))


def _meaning(dataset: Dataset, segments: list[Segment]) -> tuple[dict[int, int], list[Fix]]:
    """Voxel value -> class index: by segment name, by the data set's value where the name is not a class."""
    by_value = {0: 0, **{c.value: k for k, c in enumerate(dataset.classes, 1)}}
    if dataset.ignore_value is not None:
        by_value[dataset.ignore_value] = IGNORE
    by_name = {_key(c.name): k for k, c in enumerate(dataset.classes, 1)}
    named = {s.value: by_name[_key(s.name)] for s in segments if _key(s.name) in by_name}
    # A class found by its name is not looked for by its value as well: that value may be another segment's.
    meaning = {v: k for v, k in by_value.items() if k not in named.values()} | named
    fixes = []
    for segment in segments:
        index = meaning.get(segment.value, IGNORE)
        if segment.value not in named and index != IGNORE:
            name = dataset.classes[index - 1].name
            text = f"The segment {segment.name!r} is no class; it is read as {name!r}, which has its value."
            fixes.append(Fix("label-name", text))
    return meaning, fixes


def _class_indices(array: np.ndarray, meaning: dict[int, int], names: dict[int, str], path: Path | str) -> np.ndarray:
    """(z, y, x) uint8 class indices of the values; ``names`` are those of segments, for the message."""
    values = distinct_values(array)
    unknown = [
        f"{value} ({names[value]})" if value in names else str(value) for value in values if value not in meaning
    ]
    if unknown:
        raise UnusableCase(
            "label-values",
            f"{path} has values outside the classes: {', '.join(unknown[:10])}{', ...' if len(unknown) > 10 else ''}.",
            "Correct the label, or add these values as classes to dataset.json.",
        )
    indices = np.zeros(array.shape, np.uint8)
    for value in values:
        if meaning[value]:
            indices[array == value] = meaning[value]
    return indices


def _onto(label: sitk.Image, reference: sitk.Image, path: Path | str, cropped: bool) -> tuple[sitk.Image, list[Fix]]:
    """The label on the grid of the reference.

    Args:
        cropped: whether the file may be smaller than the image, with background around it: Slicer crops .seg.nrrd
            files to what is segmented.
    """
    if same_geometry(reference, label):
        return label, []
    if not _covers(label, reference) and not (cropped and _covers(reference, label)):
        apart = "covers only a part of the image" if _overlap(label, reference) else "does not overlap the image"
        raise UnusableCase(
            "label-geometry",
            f"{path} {apart}: {_size(label)} voxels from {_point(label)} mm, "
            f"the image {_size(reference)} voxels from {_point(reference)} mm.",
            "Export the label again with the image as reference geometry; when the voxels correspond, copy the "
            "image's origin, spacing and directions to it.",
        )
    if label.GetSize() == reference.GetSize():
        what = f"The label's header differs from the image's by {geometry_distance(reference, label):.2g} voxels"
    else:
        what = f"The label has a grid of its own ({_size(label)} voxels, the image {_size(reference)})"
    fix = Fix("label-resampled", f"{what}; it is resampled onto the image grid (nearest neighbour).")
    return sitk.Resample(label, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8), [fix]


def _corners(image: sitk.Image, other: sitk.Image) -> np.ndarray:
    """Centres of the eight corner voxels of ``image`` as continuous indices (x, y, z) of ``other``, (8, 3)."""
    corners = [[c * (n - 1.0) for c, n in zip(corner, image.GetSize())] for corner in np.ndindex(2, 2, 2)]
    points = [image.TransformContinuousIndexToPhysicalPoint(corner) for corner in corners]
    return np.array([other.TransformPhysicalPointToContinuousIndex(point) for point in points])


def _covers(outer: sitk.Image, inner: sitk.Image) -> bool:
    """Whether all voxel centres of ``inner`` lie at most half a voxel outside ``outer``."""
    corners = _corners(inner, outer)
    return bool(np.all(corners >= -1) and np.all(corners <= np.array(outer.GetSize())))


def _overlap(a: sitk.Image, b: sitk.Image) -> bool:
    """Whether the bounding box of ``a`` along the axes of ``b`` meets ``b``."""
    corners = _corners(a, b)
    return bool(np.all(corners.max(axis=0) >= -0.5) and np.all(corners.min(axis=0) <= np.array(b.GetSize()) - 0.5))


def _size(image: sitk.Image) -> str:
    return " x ".join(map(str, image.GetSize()))


def _point(image: sitk.Image) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in image.GetOrigin()) + ")"


def _key(name: str) -> str:
    return name.strip().casefold()
