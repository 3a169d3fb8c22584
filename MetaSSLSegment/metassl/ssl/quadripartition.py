"""The quadripartition: regions of agreement and confidence of two predictions.

Source: Zhao et al., MetaSSL, IEEE TMI 2025 (arXiv 2509.01144). A region is a number, see ``regions.py``:
1 UC, 2 US, 3 DC, 4 DS; 0 is outside.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .voxels import keep_higher

LABELLED, UNLABELLED = 0, 1
"""Index of the stream in the thresholds."""
SUPERVISED, REFERENCE = 0, 1
"""Index of the branch in the thresholds."""


@dataclass(frozen=True)
class Branch:
    """One prediction of every voxel, read once.

    Attributes:
        log_probability: (N, classes, ...) float32 log-softmax, with gradient where the logits have it.
        label: (N, ...) uint8, argmax (the first of equals); without gradient.
        confidence: (N, ...) float32, largest probability; without gradient.
    """

    log_probability: Tensor
    label: Tensor
    confidence: Tensor

    @classmethod
    def of(cls, logits: Tensor) -> "Branch":
        """Read logits (N, classes, ...) of any floating type; all that follows is float32."""
        log_probability = logits.float().log_softmax(1)
        first, *others = log_probability.detach().unbind(1)
        highest, label = first.clone(), torch.zeros_like(first, dtype=torch.uint8)
        for k, values in enumerate(others, 1):
            keep_higher(label, highest, values, k)
        return cls(log_probability, label, highest.exp_())


def pseudo_labellers(pairs: list[tuple[Branch, Branch]], symmetric: bool) -> list[Branch]:
    """The branches of (supervised, reference) pairs whose labels teach: the references, of symmetric methods both."""
    return [branch for pair in pairs for branch in (pair if symmetric else pair[1:])]


def region_map(label: Tensor, other_label: Tensor, confidence: Tensor, thresholds: Tensor) -> Tensor:
    """Region of every voxel seen from one branch.

    Unanimous: ``label == other_label``. Confident: ``confidence > thresholds[label]``.

    Args:
        label, other_label: class indices of equal shape.
        confidence: confidence of ``label``, same shape.
        thresholds: (classes,).

    Returns:
        uint8, same shape: 1 UC, 2 US, 3 DC, 4 DS.
    """
    threshold = thresholds.to(confidence).index_select(0, label.flatten().int()).view_as(confidence)
    suspicious = (confidence <= threshold).view(torch.uint8)
    return (label != other_label).view(torch.uint8).mul_(2).add_(suspicious).add_(1)
