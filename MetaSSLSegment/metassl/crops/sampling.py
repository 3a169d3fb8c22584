"""Which crops a training step sees: drawn from the seed and the step alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import IGNORE
from ..planning.cache import CachedCase
from .augmentation import MARGIN

FOREGROUND_SHARE = 0.5
"""Share of the crops that are centred on foreground; the others fall anywhere."""


@dataclass(frozen=True)
class Crops:
    """Crops of one step before augmentation, labelled crops first.

    Attributes:
        images: (N, C, k, j, i) float16, zero outside the volume.
        labels: (N, k, j, i) uint8, ``dataset.IGNORE`` outside the volume; 0 inside unlabelled crops.
        seeds: one per crop, for its augmentation.
        cases: number of every crop's case in its stream.
    """

    images: Tensor
    labels: Tensor
    seeds: tuple[int, ...]
    cases: tuple[int, ...]

    def first(self, count: int) -> "Crops":
        """The first crops."""
        return Crops(self.images[:count], self.labels[:count], self.seeds[:count], self.cases[:count])

    def to(self, device: torch.device) -> "Crops":
        """The crops on a device; from page-locked memory nobody waits for that."""
        images, labels = (part.to(device, non_blocking=True) for part in (self.images, self.labels))
        return Crops(images, labels, self.seeds, self.cases)


class CropSampler:
    """Draws the crops of any step.

    Every stream runs through its cases in a new random order each epoch. A crop depends on the seed, its stream and its
    number in that stream alone, not on earlier steps: a resumed run goes on as if nothing had happened, and several
    ranks together draw what one with their joint batch would.

    Half of the labelled crops are centred on a foreground voxel of a random class. Half of the unlabelled crops are
    centred where, relative to its volume, a labelled case has foreground.

    Args:
        labelled, unlabelled: cached cases.
        batch: labelled and unlabelled crops per step and rank.
        patch: patch size in voxels (k, j, i); crops are ``MARGIN`` times larger, of one slice where the patch is.
        seed: the run's seed.
        rank, ranks: number of this process, and how many share every step.
    """

    def __init__(
        self,
        labelled: Sequence[CachedCase],
        unlabelled: Sequence[CachedCase],
        batch: tuple[int, int],
        patch: Sequence[int],
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ):
        self.streams = (labelled, unlabelled)
        self.batch = batch if unlabelled else (batch[0], 0)
        self.size = tuple(int(np.ceil(n * MARGIN)) if n > 1 else 1 for n in patch)
        self.seed = seed
        self.rank, self.ranks = rank, ranks

    def crops(self, step: int) -> Crops:
        """The crops of one step (0, 1, ...)."""
        share = step * self.ranks + self.rank
        drawn = [self._crop(stream, share * size + n) for stream, size in enumerate(self.batch) for n in range(size)]
        images, labels, seeds, cases = zip(*drawn)
        return Crops(torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels)), seeds, cases)

    def _crop(self, stream: int, number: int) -> tuple[np.ndarray, np.ndarray, int, int]:
        cases = self.streams[stream]
        epoch, position = divmod(number, len(cases))
        index = int(np.random.default_rng((self.seed, stream, epoch)).permutation(len(cases))[position])
        case = cases[index]
        random = np.random.default_rng((self.seed, stream, number, 1))
        image = case.image()
        shape = np.array(image.shape[1:])
        start = self._centre(case, stream, shape, random) - np.array(self.size) // 2
        label = case.label() if stream == 0 else None
        return (
            cut_box(image, start, self.size, 0),
            cut_box(np.broadcast_to(np.uint8(0), shape) if label is None else label, start, self.size, IGNORE),
            int(random.integers(2**62)),
            index,
        )

    def _centre(self, case: CachedCase, stream: int, shape: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Near foreground or anywhere, but so that the patch within the crop lies inside the volume where it fits."""
        reach = np.minimum(np.array(self.size) / MARGIN, shape) / 2
        if random.random() < FOREGROUND_SHARE:
            model = case if stream == 0 else self.streams[0][random.integers(len(self.streams[0]))]
            places = [p for p in model.foreground().values() if len(p)]
            if places:
                voxels = places[random.integers(len(places))]
                voxel = voxels[random.integers(len(voxels))]
                centre = voxel / np.array(model.shape) * shape
                return np.clip(centre, np.floor(reach), np.ceil(shape - reach)).astype(int)
        return random.uniform(reach, shape - reach + 1e-6).astype(int)


def cut_box(array: np.ndarray, start: Sequence[int], size: Sequence[int], fill: float) -> np.ndarray:
    """Copy a box out of the last three axes of a (memory-mapped) array; places outside get ``fill``."""
    result = np.full((*array.shape[:-3], *size), fill, dtype=array.dtype)
    source, target = [...], [...]
    for first, extent, available in zip(start, size, array.shape[-3:]):
        low, high = max(int(first), 0), min(int(first) + extent, available)
        if low >= high:
            return result
        source.append(slice(low, high))
        target.append(slice(low - int(first), high - int(first)))
    result[tuple(target)] = array[tuple(source)]
    return result
