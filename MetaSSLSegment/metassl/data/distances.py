"""Distances between the surfaces of a predicted and an annotated class, by MONAI.

Where neither has the class they are 0; where only one has it they are undefined: None.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

from .dataset import IGNORE
from .images import flat_axis


def hd95(predicted: np.ndarray, expected: np.ndarray, spacing: Sequence[float]) -> float | None:
    """95th percentile of the Hausdorff distance, mm.

    Args:
        predicted, expected: masks (k, j, i); of a single slice, all voxels of which lie at its surface, distances
            within it are meant.
        spacing: mm, (k, j, i).
    """
    return _distance(compute_hausdorff_distance, predicted, expected, spacing, percentile=95)


def assd(predicted: np.ndarray, expected: np.ndarray, spacing: Sequence[float]) -> float | None:
    """Average symmetric surface distance, mm; arguments as of ``hd95``."""
    return _distance(compute_average_surface_distance, predicted, expected, spacing, symmetric=True)


def hd95_per_class(
    prediction: np.ndarray, label: np.ndarray, classes: int, spacing: Sequence[float]
) -> list[float | None]:
    """``hd95`` of classes 1 to ``classes``.

    Args:
        prediction, label: class indices (k, j, i); voxels whose label is ``IGNORE`` do not count.
        classes: number of foreground classes.
        spacing: mm, (k, j, i).
    """
    counted = label != IGNORE
    return [hd95((prediction == k) & counted, label == k, spacing) for k in range(1, classes + 1)]


def _distance(
    measure: Callable[..., torch.Tensor],
    predicted: np.ndarray,
    expected: np.ndarray,
    spacing: Sequence[float],
    **options: Any,
) -> float | None:
    found = bool(predicted.any()), bool(expected.any())
    if not all(found):
        return None if any(found) else 0.0
    axis = flat_axis(predicted.shape)
    if axis is not None:
        predicted, expected, spacing = predicted.squeeze(axis), expected.squeeze(axis), np.delete(spacing, axis)
    pair = [torch.from_numpy(mask)[None, None] for mask in (predicted, expected)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 warns about a call of its own
        return float(measure(*pair, include_background=True, spacing=[float(s) for s in spacing], **options))
