"""Augmentation of a batch of crops on the training device: one geometry, a weak and a strong view of its intensities.

All random numbers of a crop come from that crop's own seed, so that a crop looks the same in whatever batch, process or
resumed run it occurs. Volumes are in LPS orientation; a positive k, j, i step goes to the superior, posterior, left.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..data.dataset import IGNORE

MARGIN = 1.25
"""Crops are read this much larger than the patch, so that rotated patches still see real voxels."""
ROTATION = math.radians(15)
SCALE = math.log(1.25)
ELASTIC_CELL = 16
"""Distance between the nodes of the elastic deformation, in voxels."""
ELASTIC_SHIFT = 2.0
"""Standard deviation of the nodes' shifts, in voxels."""
MIRROR_AXES = {"IS": 0, "PA": 1, "LR": 2}


def perturb_images(images: Tensor) -> Tensor:
    """A fixed mild perturbation (contrast and noise) of images (N, C, k, j, i): the second view at inference."""
    generator = torch.Generator(images.device).manual_seed(0)
    noise = torch.randn(images.shape[1:], generator=generator, device=images.device)
    return images * 0.85 + noise * 0.1


class Augmentation:
    """Random geometry and intensities for a batch.

    Args:
        patch: size of the result in voxels (k, j, i).
        spacing: voxel spacing in mm (k, j, i); rotation and scaling happen in mm. Where it is anisotropic by more
            than a factor of 3, patches rotate within the fine plane only.
        mirror: anatomical axes along which a crop is mirrored half of the time, of "LR", "PA", "IS".
    """

    def __init__(self, patch: Sequence[int], spacing: Sequence[float], mirror: Sequence[str] = ()):
        self.patch = tuple(patch)
        self.spacing = np.asarray(spacing, dtype=float)
        self.mirror = [MIRROR_AXES[name] for name in mirror]

    def __call__(self, images: Tensor, labels: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Augment crops.

        Args:
            images: (N, C, k, j, i) float, crops of any one size.
            labels: (N, k, j, i) integer class indices or ``dataset.IGNORE``.
            seeds: one per crop.

        Returns:
            weak view, strong view: (N, C, *patch) float32; labels: (N, *patch) int64.
        """
        randoms = [np.random.default_rng(seed) for seed in seeds]
        images, labels = self._deform(images.float(), labels, randoms)
        return self._weak(images, randoms), self._strong(images, randoms, seeds), labels

    def _deform(self, images: Tensor, labels: Tensor, randoms: list[np.random.Generator]) -> tuple[Tensor, Tensor]:
        grid = self._grid(images.shape[2:], randoms, images.device)
        images = functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        # shifted so that the zeros beyond the crop mean "ignore"
        shifted = labels.unsqueeze(1).float() - IGNORE
        shifted = functional.grid_sample(shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False)
        return images, (shifted.squeeze(1) + IGNORE).round_().long()

    def _grid(self, size: Sequence[int], randoms: list[np.random.Generator], device: torch.device) -> Tensor:
        """(N, *patch, 3) sampling positions in the crop, in grid_sample's convention (i, j, k in [-1, 1]).

        Made on the device, from one small matrix and one coarse field of shifts per crop.
        """
        matrices = torch.from_numpy(np.stack([self._matrix(r) for r in randoms])).float()
        nodes = [max(2, round(n / ELASTIC_CELL)) for n in self.patch]
        shifts = np.stack([r.normal(0, ELASTIC_SHIFT * r.uniform(), (3, *nodes)) for r in randoms])
        # voxels of the patch to voxels of the crop, both between -1 and 1 along every axis
        matrices = matrices * torch.tensor(self.patch) / torch.tensor(size).unsqueeze(1)
        theta = functional.pad(matrices.flip(1, 2), (0, 1)).to(device)
        grid = functional.affine_grid(theta, [len(randoms), 1, *self.patch], align_corners=False)
        field = torch.from_numpy(shifts).float() * (2 / torch.tensor(size)).view(3, 1, 1, 1)
        field = functional.interpolate(field.to(device), size=self.patch, mode="trilinear", align_corners=True)
        return grid.add_(field.flip(1).permute(0, 2, 3, 4, 1))

    def _matrix(self, random: np.random.Generator) -> np.ndarray:
        """(3, 3) matrix from a patch's voxel offsets to a crop's voxel offsets."""
        angles = random.uniform(-ROTATION, ROTATION, 3)
        scales = np.exp(random.uniform(-SCALE, SCALE) + random.uniform(-0.08, 0.08, 3))
        coarsest = int(self.spacing.argmax())
        if self.spacing[coarsest] > 3 * self.spacing.min():
            angles[np.arange(3) != coarsest] = 0
        flips = np.ones(3)
        for axis in self.mirror:
            flips[axis] = random.choice((-1, 1))
        matrix = np.diag(scales * flips)
        for axis, angle in enumerate(angles):
            a, b = (n for n in range(3) if n != axis)
            rotation = np.eye(3)
            rotation[a, a] = rotation[b, b] = math.cos(angle)
            rotation[a, b], rotation[b, a] = -math.sin(angle), math.sin(angle)
            matrix = rotation @ matrix
        return matrix * self.spacing[None, :] / self.spacing[:, None]

    @staticmethod
    def _weak(images: Tensor, randoms: list[np.random.Generator]) -> Tensor:
        contrast = _per_crop(images, [r.uniform(0.9, 1.1) for r in randoms])
        brightness = _per_crop(images, [r.normal(0, 0.05) for r in randoms])
        return images * contrast + brightness

    @staticmethod
    def _strong(images: Tensor, randoms: list[np.random.Generator], seeds: Sequence[int]) -> Tensor:
        def sometimes(random: np.random.Generator, probability: float, value: float, otherwise: float) -> float:
            return value if random.random() < probability else otherwise

        # low resolution, blur, noise, contrast, brightness, gamma: each crop draws all of them, some have no effect
        factors = [sometimes(r, 0.25, r.uniform(0.5, 1), 1.0) for r in randoms]
        result = torch.stack([_low_resolution(image, factor) for image, factor in zip(images, factors)])
        result = _blur(result, _per_crop(images, [sometimes(r, 0.25, r.uniform(0, 0.6), 0.0) for r in randoms]))
        result = result * _per_crop(images, [r.uniform(0.7, 1.4) for r in randoms])
        result = result + _per_crop(images, [r.normal(0, 0.2) for r in randoms])
        result = _gamma(
            result, _per_crop(images, [sometimes(r, 0.5, math.exp(r.uniform(-0.4, 0.4)), 1.0) for r in randoms])
        )
        noise = torch.stack(
            [
                torch.randn(image.shape, generator=torch.Generator(image.device).manual_seed(seed), device=image.device)
                for image, seed in zip(images, (int(s) % 2**63 for s in seeds))
            ]
        )
        return result + noise * _per_crop(images, [sometimes(r, 0.5, r.uniform(0, 0.25), 0.0) for r in randoms])


def _per_crop(images: Tensor, values: Sequence[float]) -> Tensor:
    """One number per crop, broadcastable to (N, C, k, j, i)."""
    return torch.tensor(values, dtype=images.dtype, device=images.device).view(-1, 1, 1, 1, 1)


def _low_resolution(image: Tensor, factor: float) -> Tensor:
    """Shrink (C, k, j, i) by a factor and enlarge it again."""
    if factor >= 1:
        return image
    small = functional.interpolate(image[None], scale_factor=factor, mode="nearest-exact")
    return functional.interpolate(small, size=image.shape[1:], mode="trilinear", align_corners=False)[0]


def _blur(images: Tensor, weight: Tensor) -> Tensor:
    """Mix every voxel with its neighbours on each axis, by a weight of 0 (none) to 1 (mean of three)."""
    if not weight.any():
        return images
    for axis in (2, 3, 4):
        size = images.shape[axis]
        index = torch.arange(size, device=images.device)
        before, after = (
            images.index_select(axis, (index - 1).clamp(min=0)),
            images.index_select(axis, (index + 1).clamp(max=size - 1)),
        )
        images = (images + weight * (before + after)) / (1 + 2 * weight)
    return images


def _gamma(images: Tensor, exponent: Tensor) -> Tensor:
    """Raise intensities, scaled to 0-1 per crop and channel, to a power, and keep their range."""
    low, high = images.amin((2, 3, 4), keepdim=True), images.amax((2, 3, 4), keepdim=True)
    extent = (high - low).clamp(min=1e-6)
    return ((images - low) / extent).clamp(0, 1) ** exponent * extent + low
