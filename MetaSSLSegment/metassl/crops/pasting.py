"""Pasting parts of labelled crops into unlabelled ones: the strong view then holds voxels whose class is known.

CutMix (Yun et al., ICCV 2019) between the two streams, as bidirectional copy-paste (Bai et al., CVPR 2023) does. The
weak view stays whole, so that the pseudo-labels come from an undisturbed image.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

SIDES = (0.4, 0.75)
"""Range of a box's sides, as shares of the patch."""


def paste_labelled(
    strong: Tensor, labels: Tensor, trust: Tensor, labelled: int, seeds: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Replace a box of every unlabelled crop, or everything around it, by the same voxels of a labelled crop.

    Args:
        strong: (N, C, k, j, i) strong views, labelled crops first.
        labels: (N, k, j, i) class indices, see ``methods.base.Streams``.
        trust: (N, k, j, i), see ``methods.base.Streams``.
        labelled: number of labelled crops.
        seeds: one per crop.

    Returns:
        strong view, labels and trust with the pasted voxels, and where they are: (N - labelled, k, j, i) bool.
    """
    strong, labels, trust = strong.clone(), labels.clone(), trust.clone()
    size = strong.shape[2:]
    pasted = torch.zeros(len(labels) - labelled, *size, dtype=torch.bool, device=labels.device)
    for crop, here in enumerate(pasted, labelled):
        random = np.random.default_rng((int(seeds[crop]) % 2**63, 1))
        partner = random.integers(labelled)
        box = [max(1, round(n * random.uniform(*SIDES))) for n in size]
        start = [random.integers(n - b + 1) for n, b in zip(size, box)]
        here[tuple(slice(a, a + b) for a, b in zip(start, box))] = True
        if random.random() < 0.5:
            here.logical_not_()
        strong[crop] = torch.where(here, strong[partner], strong[crop])
        labels[crop] = torch.where(here, labels[partner], labels[crop])
        trust[crop] = torch.where(here, trust[partner], trust[crop])
    return strong, labels, trust, pasted
