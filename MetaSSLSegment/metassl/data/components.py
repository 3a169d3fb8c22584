"""Connected components of the classes of a label; corners connect."""

from collections.abc import Collection, Iterator

import numpy as np
import SimpleITK as sitk


def largest_components(label: np.ndarray, classes: Collection[int] | None = None) -> np.ndarray:
    """Every class reduced to its largest component of voxels that touch; the rest is background.

    Args:
        label: (k, j, i) uint8.
        classes: those that are reduced; None: all.
    """
    result = label.copy()
    for _, box, parts in _components(label, classes):
        result[box][parts > 1] = 0
    return result


def largest_shares(label: np.ndarray, classes: Collection[int] | None = None) -> dict[int, float]:
    """Class -> share of its voxels that lie in its largest component.

    Args:
        label: (k, j, i) uint8.
        classes: those that are looked at; None: all.
    """
    found = _components(label, classes)
    return {k: np.count_nonzero(parts == 1) / np.count_nonzero(parts) for k, _, parts in found}


def _components(
    label: np.ndarray, classes: Collection[int] | None
) -> Iterator[tuple[int, tuple[slice, ...], np.ndarray]]:
    """For every class: its box, and there the number of the component of each of its voxels, 1 the largest, else 0."""
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.ComputePerimeterOff()
    shapes.Execute(sitk.GetImageFromArray(label))
    for k in shapes.GetLabels():
        if classes is not None and k not in classes:
            continue
        start, size = np.array(shapes.GetBoundingBox(k)).reshape(2, 3)
        box = tuple(slice(a, a + n) for a, n in zip(start[::-1], size[::-1]))
        components = sitk.ConnectedComponent(sitk.GetImageFromArray((label[box] == k).astype(np.uint8)), True)
        yield k, box, sitk.GetArrayFromImage(sitk.RelabelComponent(components, sortByObjectSize=True))
