"""Which cases to annotate before any model exists: those that stand for the most others."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import SimpleITK as sitk

from ..planning.intensities import normalise_intensities
from ..planning.plan import Intensity

BINS = np.linspace(-3, 3, 17)
"""Edges of the histogram of normalised intensities."""
SIDE = 8
"""Voxels along every axis of the small copy of a volume."""


def cheap_features(images: Sequence[sitk.Image]) -> tuple[np.ndarray, ...]:
    """What a case looks like without any network.

    Args:
        images: float32 channels of one geometry.

    Returns:
        Logarithms of size and spacing (i, j, k; mm), and of every channel the histogram (16,) of its normalised
        intensities and a small copy (512,).
    """
    oriented = [sitk.DICOMOrient(image, "LPS") for image in images]
    spacing = np.array(oriented[0].GetSpacing())
    size = spacing * oriented[0].GetSize()
    parts = [np.log(size), np.log(spacing)]
    for image in oriented:
        array = normalise_intensities(sitk.GetArrayViewFromImage(image), Intensity("zscore"))
        counts, _ = np.histogram(np.clip(array, BINS[0], BINS[-1]), BINS)
        parts += [counts / array.size, _small(array).ravel()]
    return tuple(parts)


def _small(array: np.ndarray) -> np.ndarray:
    """Means over 8 x 8 x 8 equal boxes; a shorter axis repeats its voxels."""
    for axis in range(3):
        edges = np.linspace(0, array.shape[axis], SIDE + 1)
        parts = [(int(low), max(int(low) + 1, int(np.ceil(high)))) for low, high in pairwise(edges)]
        array = np.stack([array.take(range(*part), axis).mean(axis) for part in parts], axis)
    return array


def distances_between(features: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """How far cases are from each other, on average over the parts of their features.

    Args:
        features: of every case some vectors; those at the same place have one length.

    Returns:
        (n, n) Euclidean distances, each part's divided by its mean: 1 is usual, 0 the same.
    """
    found = []
    for part in zip(*features):
        table = np.asarray(part, dtype=np.float64)
        apart = np.stack([np.sqrt(((table - row) ** 2).sum(1)) for row in table])
        found.append(apart / max(apart.sum() / max(len(table) * (len(table) - 1), 1), 1e-12))
    return np.mean(found, axis=0)


def typical_order(apart: np.ndarray, chosen: Sequence[int] = ()) -> tuple[list[int], list[int]]:
    """Cases in the order in which to annotate them, so that every case has a similar one among the first.

    Greedy: the next case is the one that brings all cases nearest to one that is annotated. The first is the most
    typical of all; others of its kind wait until every kind has one.

    Args:
        apart: (n, n) distances.
        chosen: cases that are annotated already.

    Returns:
        The other cases in order (among equals the first), and for each of them for how many cases, itself included, it
        is the nearest one of those annotated by then.
    """
    left = [n for n in range(len(apart)) if n not in set(chosen)]
    worst = 2 * apart.max(initial=0) + 1
    nearest = apart[:, list(chosen)].min(1, initial=worst)
    order, stands_for = [], []
    while left:
        gains = np.maximum(nearest[:, None] - apart[:, left], 0).sum(0)
        best = left.pop(int(np.argmax(np.round(gains, 9))))
        order.append(best)
        stands_for.append(int((apart[:, best] <= nearest).sum()))
        nearest = np.minimum(nearest, apart[:, best])
    return order, stands_for
