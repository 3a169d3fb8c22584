"""The loss against annotations: Dice + cross-entropy."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..data.dataset import IGNORE
from ..distributed import sum_over_ranks
from .voxels import blocks, one_hot

DICE_SMOOTH = 1e-5


def dice_ce_loss(log_probability: Tensor, labels: Tensor, trust: Tensor | None = None) -> Tensor:
    """0.5 (cross-entropy + Dice) against the annotation.

    Dice counts the background, squares the denominator's terms and takes the whole batch as one volume.

    Args:
        log_probability: (N, classes, ...) log-softmax.
        labels: (N, ...) class indices; voxels with ``dataset.IGNORE`` do not count.
        trust: (N, ...) weight of every voxel, 0 to 1; None: 1.

    Returns:
        A scalar.
    """
    weight = (labels != IGNORE).to(log_probability)
    count = weight.sum()
    if trust is not None:
        weight *= trust
    sums = _DiceSums.apply(log_probability, labels.to(torch.uint8), weight)
    *sums, count = sum_over_ranks(torch.cat((sums.flatten(), count.view(1)))).split([sums.shape[1]] * 3 + [1])
    agreement, common, size = sums
    dice = 1 - (common + DICE_SMOOTH) / (size + DICE_SMOOTH)
    return 0.5 * (dice.mean() - agreement.sum() / count.clamp(min=1)).squeeze()


class _DiceSums(torch.autograd.Function):
    """What cross-entropy and Dice are made of: (3, classes) sums over the voxels of log-probabilities.

    With probability p, weight w and t = w where the label is the class, else 0: t log p, 2 t p, w p^2 + t.
    """

    @staticmethod
    def forward(ctx: Any, log_probability: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(log_probability, labels, weight)
        sums = log_probability.new_zeros(3, log_probability.shape[1])
        for log_p, label, w in blocks(log_probability, labels, weight):
            w = w.unsqueeze(1)
            t = one_hot(label, len(sums[0])).mul_(w)
            p = log_p.exp()
            parts = (t * log_p, 2 * t * p, p.square_().mul_(w).add_(t))
            sums += torch.stack([part.sum((0, 2)) for part in parts])
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        log_probability, labels, weight = ctx.saved_tensors
        result = torch.empty_like(log_probability)
        cross_entropy, common, size = gradient.unsqueeze(-1)
        for here, log_p, label, w in blocks(result, log_probability, labels, weight):
            # d log p + (2 t d common + 2 w p d size) p, since dp = p d log p
            w = w.unsqueeze(1)
            t = one_hot(label, len(common)).mul_(w)
            p = log_p.exp()
            torch.mul(p, w, out=here).mul_(2 * size).add_(t * (2 * common)).mul_(p).add_(t.mul_(cross_entropy))
        return result, None, None
