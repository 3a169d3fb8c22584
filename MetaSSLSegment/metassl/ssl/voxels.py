"""Arithmetic over voxels for losses, thresholds and labels: block by block, class by class."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..data.dataset import IGNORE
from ..distributed import sum_over_ranks

BLOCK = 2**15
"""Voxels of a block on a CPU."""
LARGE_BLOCK = 2**20
"""Voxels of a block elsewhere: what 26 classes need of one are then 0.1 GiB, of a whole batch of 128^3 crops 0.9."""


def mask_labels(label: Tensor, valid: Tensor) -> Tensor:
    """Labels (uint8) with ``dataset.IGNORE`` (all bits set) where valid (bool) is false."""
    return label | (~valid).view(torch.uint8) * IGNORE


def blocks(*volumes: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Aligned parts of volumes (N, [classes,] ...), flattened to (n, [classes,] voxels).

    On a CPU they are so small that what is computed with a part stays in the processor's cache, which makes arithmetic
    several times faster; elsewhere they are as large as does not matter beside the rest.
    """
    flat = [v.flatten(1 if v.ndim == volumes[-1].ndim else 2) for v in volumes]
    block = BLOCK if flat[0].device.type == "cpu" else LARGE_BLOCK
    for crop in zip(*(v.split(1) for v in flat)):
        yield from zip(*(v.split(block, -1) for v in crop))


def one_hot(label: Tensor, classes: int) -> Tensor:
    """(n, classes, voxels) float32, 1 where the label (n, voxels) is the class; other labels give 0 everywhere."""
    numbers = torch.arange(classes, dtype=label.dtype, device=label.device).unsqueeze(1)
    result = torch.empty(len(label), classes, label.shape[-1], device=label.device)
    return torch.eq(label.unsqueeze(1), numbers, out=result)  # into float32 it is faster than bool and a conversion


def keep_higher(label: Tensor, highest: Tensor, values: Tensor, k: int) -> None:
    """A step of argmax over classes, in place: where the values of class k are higher, the label becomes k.

    With labels in uint8 several times faster than torch's max over the classes of a CPU tensor, which gives int64.

    Args:
        label: uint8, the class of the highest value so far; only classes below k.
        highest: that value, same shape.
        values: of class k, same shape.
    """
    torch.maximum(label, (values > highest).view(torch.uint8) * k, out=label)
    torch.maximum(highest, values, out=highest)


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of values (N, ...) over the valid voxels (N, ...) bool."""
    return sum_over_ranks((values * valid).sum()) / sum_over_ranks(valid.sum()).clamp(min=1)
