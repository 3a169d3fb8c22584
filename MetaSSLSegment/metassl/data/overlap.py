"""Overlap of predicted and annotated classes."""

import numpy as np

from .dataset import IGNORE


def dice_per_class(prediction: np.ndarray, label: np.ndarray, classes: int) -> list[float]:
    """Dice of classes 1 to ``classes``, 0 to 1; 1 where neither has the class.

    Args:
        prediction, label: class indices of equal shape; voxels whose label is ``IGNORE`` do not count.
        classes: number of foreground classes.
    """
    counted = label != IGNORE
    scores = []
    for k in range(1, classes + 1):
        a, b = (prediction == k) & counted, label == k
        size = int(a.sum()) + int(b.sum())
        scores.append(2 * int((a & b).sum()) / size if size else 1.0)
    return scores
