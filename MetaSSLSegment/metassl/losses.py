"""The supervised loss and the heterogeneous loss of MetaSSL."""

from dataclasses import dataclass

import torch
from monai.networks.utils import one_hot
from torch import Tensor, nn
from torch.nn import functional

from .dataset import IGNORE
from .distributed import sum_over_ranks
from .quadripartition import (
    LABELLED,
    REFERENCE,
    SUPERVISED,
    UNLABELLED,
    AdaptiveThresholds,
    Branch,
    pseudo_labellers,
    region_map,
)

BACKGROUND_UC = 5
"""Code of UC background voxels inside the loss, where UC counts as two regions; 1 is then UC foreground."""

REGION_WEIGHTS = {
    # Zhao et al.'s released code: unlabelled w, w/r, w/(r 25 r 5 r), w/(r 5 r) with r = 1.25; labelled w/r^n, r = 1.5.
    "released-code": (
        (50.0, 50 / 1.5, 50 / 1.5**3, 50 / 1.5**2),
        (50.0, 50 / 1.25, 50 / (1.25 * 25 * 1.25 * 5 * 1.25), 50 / (1.25 * 5 * 1.25)),
    ),
    # The paper's order UC > US > DC > DS: the same numbers with DC and DS exchanged.
    "paper": (
        (50.0, 50 / 1.5, 50 / 1.5**2, 50 / 1.5**3),
        (50.0, 50 / 1.25, 50 / (1.25 * 5 * 1.25), 50 / (1.25 * 25 * 1.25 * 5 * 1.25)),
    ),
}
"""Preset -> (labelled, unlabelled) -> weights of UC, US, DC, DS."""

DICE_SMOOTH = 1e-5


def supervised_loss(log_probability: Tensor, labels: Tensor, trust: Tensor | None = None) -> Tensor:
    """0.5 (cross-entropy + Dice) against the annotation.

    Dice counts the background, squares the denominator's terms and takes the whole batch as one volume.

    Args:
        log_probability: (N, classes, ...) log-softmax.
        labels: (N, ...) class indices; voxels with ``dataset.IGNORE`` do not count.
        trust: (N, ...) weight of every voxel, 0 to 1; None: 1.

    Returns:
        A scalar.
    """
    valid = (labels != IGNORE).unsqueeze(1)
    weight = valid if trust is None else valid * trust.unsqueeze(1)
    cross_entropy = functional.nll_loss(log_probability, labels, ignore_index=IGNORE, reduction="none")
    probability = log_probability.exp()
    target = weight * one_hot(labels.unsqueeze(1).where(valid, 0), probability.shape[1], dtype=probability.dtype)
    over = (0, *range(2, probability.ndim))
    sums = (
        (weight[:, 0] * cross_entropy).sum().view(1),
        valid.sum().to(probability).view(1),
        2 * (probability * target).sum(over),
        (weight * probability.square() + target).sum(over),
    )
    cross_entropy, count, common, size = sum_over_ranks(torch.cat(sums)).split([len(s) for s in sums])
    dice = 1 - (common + DICE_SMOOTH) / (size + DICE_SMOOTH)
    return 0.5 * (cross_entropy / count.clamp(min=1) + dice.mean()).squeeze()


def weight_map(code: Tensor, weights: Tensor, normalisation: str) -> Tensor:
    """Weight of every voxel of one stream, so that the loss is the sum of weight times cross-entropy.

    Args:
        code: (...) integer, 0 ignored, 1 UC foreground, 2 US, 3 DC, 4 DS, 5 UC background.
        weights: (4,) weights of UC, US, DC, DS.
        normalisation: "region" divides a region's weight by its size + 1 (the released code);
            "voxel" divides every weight by the number of counted voxels + 1, so that the order of the weights
            holds for voxels.

    Returns:
        float32, shape of ``code``.
    """
    count = sum_over_ranks(torch.bincount(code.flatten(), minlength=6)).to(weights)
    table = weights.new_zeros(6)
    table[1:5] = weights
    table[BACKGROUND_UC] = weights[0]
    size = count if normalisation == "region" else count[1:].sum()
    return (table / (size + 1))[code]


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
    """MetaSSL: cross-entropy weighted by the region of each voxel (Zhao et al., IEEE TMI 2025).

    L = sum over regions R of w_R sum over v in R of CE(v) / (|R| + 1), UC foreground and background being two regions
    of the same weight. Per direction there is one cross-entropy map against one target (annotation on labelled
    crops, the other prediction's label on unlabelled crops) and one weight map.

    Unlabelled crops: the regions are those of the prediction that gives the pseudo-label (the reference). Labelled
    crops: those of the trained prediction, compared with the annotation (``partition="annotation"``) or with the
    other prediction (``partition="networks"``, as in the released code).

    Args:
        classes: number of classes including background.
        weights: a key of ``REGION_WEIGHTS``.
        normalisation: "voxel" or "region", see ``weight_map``.
        partition: "annotation" or "networks".
        alpha, cap: see ``AdaptiveThresholds``.
        reliability: "worst-class" scales the loss by ``reliability()``, "off" leaves it as published.

    Raises:
        ValueError: an unknown weights, normalisation, partition or reliability.
    """

    def __init__(
        self,
        classes: int,
        weights: str = "paper",
        normalisation: str = "voxel",
        partition: str = "annotation",
        alpha: float = 0.5,
        cap: float = 0.9,
        reliability: str = "worst-class",
    ):
        super().__init__()
        for name, value, allowed in (
            ("weights", weights, tuple(REGION_WEIGHTS)),
            ("normalisation", normalisation, ("voxel", "region")),
            ("partition", partition, ("annotation", "networks")),
            ("reliability", reliability, ("worst-class", "off")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
        self.normalisation = normalisation
        self.partition = partition
        self.scaled = reliability == "worst-class"
        self.thresholds = AdaptiveThresholds(classes, alpha, cap)
        # running intersections and sizes of the classes, for the Dice in ``reliability``
        self.register_buffer("agreement", torch.zeros(2, classes))
        self.register_buffer("weights", torch.tensor(REGION_WEIGHTS[weights]), persistent=False)

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
        valid = labels != IGNORE
        if pasted is None:
            pasted = torch.zeros_like(valid[labelled:])
        self.thresholds.update(pairs, valid, labelled)
        self._measure_agreement(pseudo_labellers(pairs, symmetric), labels[:labelled])
        directions = [(a, b, SUPERVISED, REFERENCE) for a, b in pairs]
        if symmetric:
            directions += [(b, a, REFERENCE, SUPERVISED) for a, b in pairs]
        results = [self._direction(*d, labels, valid, labelled, pasted, trust) for d in directions]
        loss, shares = (torch.stack(values).mean(0) for values in zip(*results))
        loss = sum_over_ranks(loss)
        if self.scaled:
            loss = loss * self.reliability()
        return HeterogeneousTerms(loss[LABELLED], loss[UNLABELLED], shares)

    def reliability(self) -> Tensor:
        """Factor of the loss, 0 to 1: the fourth power of the pseudo-labels' Dice of the worst class.

        The Dice is that of recent labelled crops: pseudo-labels teach only as far as their source has learnt every
        class from the annotations. Without this a class that is hard to learn is unlearnt in short runs (not part of
        the article; see docs/benchmarks.md).
        """
        dice = self.agreement[0] / self.agreement[1].clamp(min=1e-9)
        return dice[1:].where(self.agreement[1, 1:] > 0, 1).min().pow(4)

    @torch.no_grad()
    def _measure_agreement(self, references: list[Branch], labels: Tensor) -> None:
        """Follow the references' overlap with the annotation over about the last ten steps, on all ranks."""
        classes = self.agreement.shape[1]
        counted = labels != IGNORE
        expected = labels[counted]
        now = torch.zeros_like(self.agreement)
        for reference in references:
            predicted = reference.label[: len(labels)][counted]
            now[0] += 2 * torch.bincount(expected[predicted == expected], minlength=classes)
            now[1] += torch.bincount(expected, minlength=classes) + torch.bincount(predicted, minlength=classes)
        now = sum_over_ranks(now)
        self.agreement.lerp_(now, 0.1)

    def _direction(
        self,
        trained: Branch,
        target: Branch,
        side: int,
        other: int,
        labels: Tensor,
        valid: Tensor,
        labelled: int,
        pasted: Tensor,
        trust: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """(2,) losses and (2, 4) region shares of training one branch by the other (and by the annotation)."""
        first, rest = slice(None, labelled), slice(labelled, None)
        with torch.no_grad():
            teaches = torch.where(pasted, labels[rest], target.label[rest]).where(valid[rest], 0)
            compared = labels[first] if self.partition == "annotation" else target.label[first]
            regions = torch.cat(
                (
                    region_map(
                        trained.label[first],
                        compared,
                        trained.confidence[first],
                        self.thresholds.used(LABELLED, side),
                    ),
                    region_map(
                        teaches,
                        trained.label[rest],
                        target.confidence[rest].masked_fill(pasted, 1),
                        self.thresholds.used(UNLABELLED, other),
                    ),
                )
            )
            expected = torch.cat((labels[first].where(valid[first], 0), teaches))
            background = (regions == 1) & (torch.cat((trained.label[first], teaches)) == 0)
            code = regions.masked_fill(background, BACKGROUND_UC).masked_fill(~valid, 0).long()
            weight = torch.cat(
                [weight_map(code[crops], self.weights[s], self.normalisation) for s, crops in ((0, first), (1, rest))]
            )
            if trust is not None:
                weight *= trust
        cross_entropy = functional.nll_loss(trained.log_probability, expected, reduction="none")
        weighted = weight * cross_entropy
        loss = torch.stack((weighted[first].sum(), weighted[rest].sum()))
        return loss, torch.stack((_shares(code[first]), _shares(code[rest].masked_fill(pasted, 0))))


def _shares(code: Tensor) -> Tensor:
    """(4,) share of UC, US, DC, DS among the counted voxels."""
    count = sum_over_ranks(torch.bincount(code.flatten(), minlength=6))[1:].float()
    return torch.stack((count[0] + count[4], count[1], count[2], count[3])) / count.sum().clamp(min=1)


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of values (N, ...) over the valid voxels (N, ...) bool."""
    return sum_over_ranks((values * valid).sum()) / sum_over_ranks(valid.sum()).clamp(min=1)
