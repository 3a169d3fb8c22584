"""The heterogeneous loss of MetaSSL (Zhao et al., IEEE TMI 2025, arXiv 2509.01144)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..data.dataset import IGNORE
from ..distributed import sum_over_ranks
from .quadripartition import LABELLED, REFERENCE, SUPERVISED, UNLABELLED, Branch, region_map
from .thresholds import AdaptiveThresholds
from .voxels import blocks, one_hot

BACKGROUND_UC = 5
"""Code of UC background voxels inside the loss, where UC counts as two regions; 1 is then UC foreground."""

PAPER_LABELLED = (1.0, 1 / 1.5, 1 / 1.5**2, 1 / 1.5**3)
REGION_WEIGHTS = {
    # The paper's labelled weights in both streams: discrepant voxels, where thin structures lie, still teach. See
    # docs/benchmarks.md.
    "mild": (PAPER_LABELLED, PAPER_LABELLED),
    # Zhao et al.'s released code, divided by its 50: unlabelled 1, 1/r, 1/(r 25 r 5 r), 1/(r 5 r) with r = 1.25;
    # labelled 1/r^n with r = 1.5.
    "released-code": (
        (1.0, 1 / 1.5, 1 / 1.5**3, 1 / 1.5**2),
        (1.0, 1 / 1.25, 1 / (1.25 * 25 * 1.25 * 5 * 1.25), 1 / (1.25 * 5 * 1.25)),
    ),
    # The paper's order UC > US > DC > DS: the same numbers with DC and DS exchanged.
    "paper": (
        PAPER_LABELLED,
        (1.0, 1 / 1.25, 1 / (1.25 * 5 * 1.25), 1 / (1.25 * 25 * 1.25 * 5 * 1.25)),
    ),
}
"""Preset -> (labelled, unlabelled) -> weights of UC, US, DC, DS."""

CODES = 6
"""Ignored voxels and five regions."""


class _WeightedCrossEntropy(torch.autograd.Function):
    """(N,) sums over the voxels of each crop of - weight log p at the target, p being (N, classes, ...)."""

    @staticmethod
    def forward(ctx: Any, log_probability: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(target, weight)
        ctx.shape = log_probability.shape
        sums = []
        for log_p, label, w in blocks(log_probability, target, weight):
            sums.append(one_hot(label, ctx.shape[1]).mul_(w.unsqueeze(1)).mul_(log_p).sum((1, 2)))
        return -torch.cat(sums).view(len(target), -1).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        target, weight = ctx.saved_tensors
        result = weight.new_empty(ctx.shape)
        factor = -gradient.view(-1, *[1] * (weight.ndim - 1))
        for here, label, w in blocks(result, target, weight * factor):
            torch.mul(one_hot(label, ctx.shape[1]), w.unsqueeze(1), out=here)
        return result, None, None


def voxel_weights(count: Tensor, weights: Tensor, reduction: str) -> Tensor:
    """Weight of a voxel of every code, so that the loss is the sum of weight times cross-entropy.

    Args:
        count: (..., 6) voxels with code 0 ignored, 1 UC foreground, 2 US, 3 DC, 4 DS, 5 UC background.
        weights: (..., 4) weights of UC, US, DC, DS.
        reduction: "region" divides a region's weight by its size + 1 (the released code);
            "voxel" divides every weight by the number of counted voxels + 1, so that the order of the weights
            holds for voxels.

    Returns:
        float32, shape of ``count``.
    """
    table = torch.cat((torch.zeros_like(weights[..., :1]), weights, weights[..., :1]), -1)
    size = count if reduction == "region" else count[..., 1:].sum(-1, keepdim=True)
    return table / (size + 1)


@dataclass(frozen=True)
class HeterogeneousTerms:
    """Result of one step.

    Attributes:
        labelled, unlabelled: scalar losses.
        shares: (2, 4) share of UC, US, DC, DS among the counted voxels of the labelled and the unlabelled stream.
    """

    labelled: Tensor
    unlabelled: Tensor
    shares: Tensor


class HeterogeneousLoss(nn.Module):
    """Cross-entropy weighted by the region of each voxel.

    L = sum over regions R of w_R sum over v in R of CE(v) / (|R| + 1), UC foreground and background being two regions
    of the same weight. Per direction there is one cross-entropy map against one target (annotation on labelled
    crops, the other prediction's label on unlabelled crops) and one weight map.

    Unlabelled crops: the regions are those of the prediction that gives the pseudo-label (the reference). Labelled
    crops: those of the trained prediction, compared with the annotation (``partition="annotation"``) or with the
    other prediction (``partition="networks"``, as in the released code).

    Args:
        classes: number of classes including background.
        region_weights: a key of ``REGION_WEIGHTS``.
        reduction: "voxel" or "region", see ``voxel_weights``.
        partition: "annotation" or "networks".
        alpha, cap: see ``AdaptiveThresholds``.

    Raises:
        ValueError: an unknown region_weights, reduction or partition.
    """

    def __init__(
        self,
        classes: int,
        region_weights: str = "mild",
        reduction: str = "voxel",
        partition: str = "annotation",
        alpha: float = 0.5,
        cap: float = 0.9,
    ):
        super().__init__()
        for name, value, allowed in (
            ("region_weights", region_weights, tuple(REGION_WEIGHTS)),
            ("reduction", reduction, ("voxel", "region")),
            ("partition", partition, ("annotation", "networks")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
        self.reduction = reduction
        self.partition = partition
        self.thresholds = AdaptiveThresholds(classes, alpha, cap)
        self.register_buffer("region_weights", torch.tensor(REGION_WEIGHTS[region_weights]), persistent=False)

    def forward(
        self,
        pairs: list[tuple[Branch, Branch]],
        labels: Tensor,
        labelled: int,
        symmetric: bool,
        pasted: Tensor | None = None,
        trust: Tensor | None = None,
    ) -> HeterogeneousTerms:
        """Update the thresholds with this step, then weigh its voxels.

        Args:
            pairs: (supervised, reference) branches (N, classes, ...), labelled crops first.
            labels: (N, ...) annotation of the labelled crops; ``dataset.IGNORE`` marks voxels that do not count, also
                in unlabelled crops.
            labelled: number of labelled crops.
            symmetric: whether the reference is trained by the supervised prediction as well.
            pasted: (N - labelled, ...) bool, voxels of the unlabelled crops whose label is the annotation; they are
                certain targets and no part of the region shares. None: no such voxels.
            trust: (N, ...) factor of every voxel's weight, see ``annotation_trust``. None: 1.

        Returns:
            Losses averaged over pairs (and directions), with gradient to the trained predictions only.
        """
        labels = labels.to(torch.uint8)
        valid = labels != IGNORE
        self.thresholds.update(pairs, valid, labelled)
        directions = [(a, b, SUPERVISED, REFERENCE) for a, b in pairs]
        if symmetric:
            directions += [(b, a, REFERENCE, SUPERVISED) for a, b in pairs]
        results = [self._direction(*d, labels, valid, labelled, pasted, trust) for d in directions]
        loss, shares = (torch.stack(values).mean(0) for values in zip(*results))
        loss = sum_over_ranks(loss)
        return HeterogeneousTerms(loss[LABELLED], loss[UNLABELLED], shares)

    def _direction(
        self,
        trained: Branch,
        target: Branch,
        side: int,
        other: int,
        labels: Tensor,
        valid: Tensor,
        labelled: int,
        pasted: Tensor | None,
        trust: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """(2,) losses and (2, 4) region shares of training one branch by the other (and by the annotation)."""
        first, rest = slice(None, labelled), slice(labelled, None)
        with torch.no_grad():
            teaches, certainty = target.label[rest], target.confidence[rest]
            if pasted is not None:
                teaches = torch.where(pasted & valid[rest], labels[rest], teaches)
                certainty = torch.maximum(certainty, pasted.to(certainty))
            seen, confidence = trained.label[first], trained.confidence[first]
            compared = labels[first] if self.partition == "annotation" else target.label[first]
            codes = (
                region_map(seen, compared, confidence, self.thresholds.used(LABELLED, side)),
                region_map(teaches, trained.label[rest], certainty, self.thresholds.used(UNLABELLED, other)),
            )
            background = torch.cat((seen, teaches)) == 0
            code = torch.cat(codes)
            code += ((code == 1) & background).view(torch.uint8) * (BACKGROUND_UC - 1)
            code *= valid.view(torch.uint8)
            count = _counts(code, labelled)
            table = voxel_weights(count, self.region_weights, self.reduction)
            streams = zip(table, code.tensor_split([labelled]))
            weight = torch.cat([w.index_select(0, c.flatten().int()) for w, c in streams]).view(code.shape)
            if trust is not None:
                weight *= trust
            if pasted is not None:
                code[rest] *= (~pasted).view(torch.uint8)
                count = _counts(code, labelled)
            counted = count[:, 1:]
            regions = torch.cat((counted[:, :1] + counted[:, 4:], counted[:, 1:4]), 1)
            shares = regions / counted.sum(1, keepdim=True).clamp(min=1)
        expected = torch.cat((labels[first], teaches))
        loss = _WeightedCrossEntropy.apply(trained.log_probability, expected, weight)
        return torch.stack((loss[first].sum(), loss[rest].sum())), shares


def _counts(code: Tensor, labelled: int) -> Tensor:
    """(2, 6) voxels of every code in the labelled and the unlabelled stream."""
    counts = [c.numel() - torch.count_nonzero(c ^ k) for c in code.tensor_split([labelled]) for k in range(CODES)]
    return sum_over_ranks(torch.stack(counts).view(2, CODES))
