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
from ..devices import upload

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
        spacing: voxel spacing in mm (k, j, i); rotation, scale and elastic shifts are in mm. Where it is anisotropic
            by more than a factor of 3, patches rotate within the fine plane only; those of one slice within that
            slice, and nothing is moved out of it.
        mirror: anatomical axes along which a crop is mirrored half of the time, of "LR", "PA", "IS".
    """

    def __init__(self, patch: Sequence[int], spacing: Sequence[float], mirror: Sequence[str] = ()):
        self.patch = tuple(patch)
        self.flat = np.array(self.patch) == 1
        self.spacing = np.array(spacing, dtype=float)
        if self.flat.any() and not self.flat.all():  # thickness means nothing then
            self.spacing[self.flat] = self.spacing[~self.flat].min()
        self.mirror = [MIRROR_AXES[name] for name in mirror]
        self.nodes = [max(2, round(n / ELASTIC_CELL)) for n in self.patch]

    def __call__(self, images: Tensor, labels: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Augment crops. All that is drawn reaches the device in one small transfer, which nobody waits for.

        Args:
            images: (N, C, k, j, i) float, crops of any one size.
            labels: (N, k, j, i) integer class indices or ``dataset.IGNORE``.
            seeds: one per crop.

        Returns:
            weak view, strong view: (N, C, *patch) float32; labels: (N, *patch) int64.
        """
        drawn = [self._draw(np.random.default_rng(seed), images.shape[2:]) for seed in seeds]
        theta, shifts, factors = upload(images.device, *(np.stack(values) for values in zip(*drawn)))
        images, labels = self._deform(images.float(), labels, self._grid(theta, shifts))
        contrast, brightness, *strong = factors.view(len(seeds), -1, 1, 1, 1, 1).unbind(1)
        resolutions = [float(row[RESOLUTION]) for _, _, row in drawn]
        blurred = any(row[BLUR] for _, _, row in drawn)
        return images * contrast + brightness, _strong(images, resolutions, blurred, *strong[1:], seeds), labels

    def _draw(self, random: np.random.Generator, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What makes one crop's views: affine matrix (3, 4) and elastic shifts (3, nodes) in grid_sample's convention
        (i, j, k in [-1, 1]), and the factors of its intensities."""
        matrix = self._matrix(random) * np.array(self.patch) / np.reshape(size, (3, 1))
        shift = ELASTIC_SHIFT * self.spacing.min() / self.spacing * ~self.flat  # as many mm along every axis
        shifts = random.normal(0, np.reshape(shift, (3, 1, 1, 1)) * random.uniform(), (3, *self.nodes))
        shifts *= 2 / np.reshape(size, (3, 1, 1, 1))
        return np.pad(matrix[::-1, ::-1], ((0, 0), (0, 1))), shifts[::-1], _intensity_factors(random)

    def _grid(self, theta: Tensor, shifts: Tensor) -> Tensor:
        """(N, *patch, 3) sampling positions in the crop, in grid_sample's convention."""
        grid = functional.affine_grid(theta, [len(theta), 1, *self.patch], align_corners=False)
        field = functional.interpolate(shifts, size=self.patch, mode="trilinear", align_corners=True)
        return grid.add_(field.permute(0, 2, 3, 4, 1))

    @staticmethod
    def _deform(images: Tensor, labels: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        images = functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        # shifted so that the zeros beyond the crop mean "ignore"
        shifted = labels.unsqueeze(1).float() - IGNORE
        shifted = functional.grid_sample(shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False)
        return images, (shifted.squeeze(1) + IGNORE).round_().long()

    def _matrix(self, random: np.random.Generator) -> np.ndarray:
        """(3, 3) matrix from a patch's voxel offsets to a crop's voxel offsets."""
        angles = random.uniform(-ROTATION, ROTATION, 3)
        scales = np.exp(random.uniform(-SCALE, SCALE) + random.uniform(-0.08, 0.08, 3))
        coarsest = int(self.spacing.argmax())
        if self.spacing[coarsest] > 3 * self.spacing.min():
            angles[np.arange(3) != coarsest] = 0
        scales[self.flat] = 1
        flips = np.ones(3)
        for axis in self.mirror:
            flips[axis] = random.choice((-1, 1))
        matrix = np.diag(scales * flips)
        for axis, angle in enumerate(angles):
            a, b = (n for n in range(3) if n != axis)
            if self.flat[a] or self.flat[b]:
                continue
            rotation = np.eye(3)
            rotation[a, a] = rotation[b, b] = math.cos(angle)
            rotation[a, b], rotation[b, a] = -math.sin(angle), math.sin(angle)
            matrix = rotation @ matrix
        return matrix * self.spacing[None, :] / self.spacing[:, None]


RESOLUTION, BLUR = 2, 3
"""Where these are among a crop's factors."""


def _intensity_factors(random: np.random.Generator) -> np.ndarray:
    """Of the weak view: contrast, brightness; of the strong one: resolution, blur, contrast, brightness, gamma, noise.

    Every crop draws all of them; some have no effect.
    """

    def sometimes(probability: float, value: float, otherwise: float) -> float:
        return value if random.random() < probability else otherwise

    return np.array(
        [
            random.uniform(0.9, 1.1),
            random.normal(0, 0.05),
            sometimes(0.25, random.uniform(0.5, 1), 1.0),
            sometimes(0.25, random.uniform(0, 0.6), 0.0),
            random.uniform(0.7, 1.4),
            random.normal(0, 0.2),
            sometimes(0.5, math.exp(random.uniform(-0.4, 0.4)), 1.0),
            sometimes(0.5, random.uniform(0, 0.25), 0.0),
        ]
    )


def _strong(
    images: Tensor,
    resolutions: Sequence[float],
    blurred: bool,
    blur: Tensor,
    contrast: Tensor,
    brightness: Tensor,
    gamma: Tensor,
    noise: Tensor,
    seeds: Sequence[int],
) -> Tensor:
    result = torch.stack([_low_resolution(image, factor) for image, factor in zip(images, resolutions)])
    if blurred:
        result = _blur(result, blur)
    result = _gamma(result * contrast + brightness, gamma)
    random = [
        torch.randn(image.shape, generator=torch.Generator(image.device).manual_seed(seed), device=image.device)
        for image, seed in zip(images, (int(s) % 2**63 for s in seeds))
    ]
    return result + torch.stack(random) * noise


def _low_resolution(image: Tensor, factor: float) -> Tensor:
    """Shrink (C, k, j, i) by a factor and enlarge it again."""
    if factor >= 1:
        return image
    factors = tuple(factor if n > 1 else 1.0 for n in image.shape[1:])
    small = functional.interpolate(image[None], scale_factor=factors, mode="nearest-exact")
    return functional.interpolate(small, size=image.shape[1:], mode="trilinear", align_corners=False)[0]


def _blur(images: Tensor, weight: Tensor) -> Tensor:
    """Mix every voxel with its neighbours on each axis, by a weight of 0 (none) to 1 (mean of three)."""
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
