"""Reading the label of a case: what can be put right is put right and described by a ``Fix``."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import first_few
from .dataset import Dataset
from .formats.picture import is_picture
from .formats.volume_file import VolumeFile
from .images import covers, geometry_distance, image_like, open_source, overlaps, resample_onto, same_geometry
from .reading import read_volumes, size_text
from .rules import Fix, UnusableCase
from .segmentations import Segment, class_of_value, read_segments, repeated_names

NOT_WHOLE = 1e-3
"""Floating-point voxels of a label may be this far from whole numbers."""


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
    for name, count in repeated_names(segments):
        fixes.append(Fix("label-name", f"{count} segments of the label are called {name!r}; they are read as one."))
    indices = np.zeros(arrays[0].shape, np.uint8)
    for layer, array in enumerate(arrays):
        here = [s for s in segments if s.layer == layer]
        meaning, renamed = class_of_value(dataset, here)
        fixes += [Fix("label-name", sentence) for sentence in renamed]
        found = _class_indices(array, meaning, {s.value: s.name for s in here}, path)
        if layer and np.any((found != 0) & (indices != 0) & (found != indices)):
            raise UnusableCase("overlap", f"{path} has overlapping segments; a voxel can have one class only.")
        indices = np.maximum(indices, found)
    # a picture says nothing about where it lies: its pixels are those of the image
    grid = image if is_picture(path) and stored.GetSize() == image.GetSize() else stored
    label, moved = _fit_label(image_like(indices, grid), image, path, cropped=bool(segments))
    return sitk.GetArrayFromImage(label), fixes + moved


def label_values(path: Path | str) -> set[int]:
    """The values other than 0 in a label file.

    Raises:
        UnusableCase: missing, unreadable, not a volume, or not whole numbers.
    """
    arrays, _ = _layers(_read_label_file(path)[0], path)
    return {int(value) for array in arrays for value in distinct_values(array)} - {0}


def _read_label_file(path: Path | str) -> tuple[sitk.Image, list[Segment]]:
    """A label file: 3D, with several components only where they are layers of segments; and its segments."""
    segments: list[Segment] = []
    layers, source = 1, open_source(path)
    if isinstance(source, VolumeFile):
        segments = read_segments(source.header, path)
        layers = source.header.GetNumberOfComponents() if segments else 1
    image = read_volumes(path, source, layers)
    return (image[:, :, :, 0] if image.GetDimension() == 4 else image), segments


def _layers(image: sitk.Image, path: Path | str) -> tuple[list[np.ndarray], list[Fix]]:
    """The layers of a label as (k, j, i) arrays of whole numbers."""
    array = sitk.GetArrayFromImage(image)
    fixes = []
    if array.dtype.kind == "f":
        whole = np.rint(array)
        if not np.all(np.isfinite(array)) or np.any(np.abs(array - whole) > NOT_WHOLE) or np.abs(whole).max() >= 2**31:
            raise UnusableCase(
                "label-not-whole",
                f"{path} has values that are not whole numbers; a label is neither interpolated nor a probability.",
            )
        array = whole.astype(np.int32)
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
        other = next(value for value in values if value not in meaning)
        raise UnusableCase(
            "label-values",
            f"{path} has values outside the classes: {first_few(unknown)}.",
            f'Correct the label, or say in dataset.json which class a value means: "label_values": {{"{other}": '
            f"VALUE OF A CLASS}}, 0 for background.",
        )
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
            f"{path} {apart}: {size_text(label)} voxels from {_point(label)} mm, "
            f"the image {size_text(image)} voxels from {_point(image)} mm.",
        )
    if label.GetSize() == image.GetSize():
        what = f"The label's header differs from the image's by {geometry_distance(image, label):.2g} voxels"
    else:
        what = f"The label has a grid of its own ({size_text(label)} voxels, the image {size_text(image)})"
    fix = Fix("label-resampled", f"{what}; it is resampled onto the image grid (nearest neighbour).")
    return resample_onto(label, image, sitk.sitkNearestNeighbor), [fix]


def _point(image: sitk.Image) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in image.GetOrigin()) + ")"
