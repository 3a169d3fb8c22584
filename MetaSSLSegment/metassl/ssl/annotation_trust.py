"""How much the annotation of each labelled case teaches, so that a few bad annotations do not spoil the model."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..data.dataset import IGNORE
from ..distributed import sum_over_ranks
from .quadripartition import Branch

POWER = 20
TRUSTED = 0.75
"""Cases whose agreement reaches this share of the best ones' are trusted fully: those that are only hard reach it."""
LEAST = 0.1
"""Every case is learnt at least so much; one that can be learnt beside the others gains trust again."""
BEST = 0.75
"""Quantile of the cases' agreement that stands for the best ones."""


class AnnotationTrust(nn.Module):
    """One factor per labelled case, from the overlap of its annotation with what the model predicts there.

    trust = min(1, a / (0.75 A))^(20 ramp), but at least 0.1. a is the case's running agreement, foreground Dice times
    the smaller by the larger of the predicted and the annotated volume; A is the upper quartile of a over the cases
    and ramp rises over the training: first all cases are learnt, hard ones, which come later, as
    well. The method's regions judge single voxels; an annotation that is wrong as a whole (shifted, too large, too
    small) shows in its case's overlap and volume. Not part of the article; see docs/benchmarks.md.

    Args:
        cases: number of labelled cases.
    """

    def __init__(self, cases: int):
        super().__init__()
        # running sizes of the intersection, the annotation and the prediction
        self.register_buffer("voxels", torch.zeros(3, cases))

    def forward(self, cases: Sequence[int], ramp: float) -> Tensor:
        """(n,) factors, 0.1 to 1, of the labelled cases with these numbers; 1 where nothing is known yet."""
        # without a question to the device, for whose answer the CPU would have to wait
        smaller, larger = self.voxels[1:].aminmax(dim=0)
        agreement, seen = self.dice() * smaller / larger.clamp(min=1e-9), larger > 0
        enough = TRUSTED * agreement.where(seen, torch.nan).nanquantile(BEST).clamp(min=1e-9)
        factors = (agreement / enough).clamp(max=1).pow(POWER * ramp).clamp(min=LEAST).where(seen, 1)
        return torch.stack([factors[case] for case in cases])

    def dice(self) -> Tensor:
        """(cases,) running Dice of annotation and prediction; 0 where nothing is known yet."""
        common, annotated, found = self.voxels
        return 2 * common / (annotated + found).clamp(min=1e-9)

    @torch.no_grad()
    def update(self, predictions: list[Branch], labels: Tensor, cases: Sequence[int]) -> None:
        """Follow the overlap over about the last ten crops of every case, on all ranks.

        Args:
            predictions: branches (N, classes, ...), labelled crops first.
            labels: (n, ...) annotation of the labelled crops.
            cases: number of every labelled crop's case.
        """
        now = torch.zeros_like(self.voxels)
        counted = labels != IGNORE
        annotated = counted & (labels > 0)
        for prediction in predictions:
            predicted = prediction.label[: len(labels)]
            found = counted & (predicted > 0)
            sizes = [v.flatten(1).sum(1) for v in (annotated & (predicted == labels), annotated, found)]
            for case, found in zip(cases, torch.stack(sizes).to(now).unbind(1)):
                now[:, case] += found
        now = sum_over_ranks(now)
        self.voxels.copy_(torch.where(now[1:].sum(0) > 0, self.voxels.lerp(now, 0.1), self.voxels))
