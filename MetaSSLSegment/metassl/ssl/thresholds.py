"""Adaptive confidence thresholds: what counts as confident follows the network.

Source: Zhao et al., MetaSSL, IEEE TMI 2025 (arXiv 2509.01144).
"""

import torch
from torch import Tensor, nn

from ..distributed import sum_over_ranks
from .quadripartition import LABELLED, UNLABELLED, Branch
from .voxels import blocks, mask_labels, one_hot


class AdaptiveThresholds(nn.Module):
    """One confidence threshold per stream, branch and class, following the batches' mean confidence.

    tau_k <- alpha m_k + (1 - alpha) tau_k with m_k = sum(c [l = k]) / (count[l = k] + 1). A class that is absent from
    a batch keeps its threshold. The state is a buffer, so it is saved with the checkpoint; under torch.distributed the
    sums run over all ranks, so that every rank has the same thresholds.

    Args:
        classes: number of classes including background.
        alpha: share of the newest batch, in (0, 1].
        cap: upper bound when used.
        initial: value before the first batch.

    Raises:
        ValueError: alpha or cap out of range.
    """

    def __init__(self, classes: int, alpha: float = 0.5, cap: float = 0.9, initial: float = 0.9):
        super().__init__()
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha is {alpha}; it must be above 0 and at most 1")
        if not 0 < cap <= 1:
            raise ValueError(f"cap is {cap}; it must be above 0 and at most 1")
        self.alpha = alpha
        self.cap = cap
        self.register_buffer("tau", torch.full((2, 2, classes), float(initial)))

    @torch.no_grad()
    def update(self, pairs: list[tuple[Branch, Branch]], valid: Tensor, labelled: int) -> None:
        """Move the thresholds towards one step's mean confidences.

        Args:
            pairs: (supervised, reference) branches, labelled crops first.
            valid: (N, ...) bool, voxels that count.
            labelled: number of labelled crops.
        """
        sums = torch.zeros(2, *self.tau.shape, device=self.tau.device)
        streams = ((LABELLED, slice(None, labelled)), (UNLABELLED, slice(labelled, None)))
        for pair in pairs:
            for side, branch in enumerate(pair):
                label = mask_labels(branch.label, valid)
                for stream, crops in streams:
                    for here, confidence in blocks(label[crops], branch.confidence[crops]):
                        found = one_hot(here, self.tau.shape[-1])
                        sums[1, stream, side] += found.sum((0, 2))
                        sums[0, stream, side] += found.mul_(confidence.unsqueeze(1)).sum((0, 2))
        total, count = sum_over_ranks(sums)
        moved = self.alpha * total / (count + 1) + (1 - self.alpha) * self.tau
        self.tau.copy_(torch.where(count > 0, moved, self.tau))

    def used(self, stream: int, branch: int) -> Tensor:
        """(classes,) float32 thresholds of one stream and branch, capped."""
        return self.tau[stream, branch].clamp(max=self.cap)
