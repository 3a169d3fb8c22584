"""From volumes to network input and its labels: orientation, intensities, spacing.

A volume is brought into LPS orientation (its axes then run along the patient's as closely as they can), or that of the
plan's alignment, and resampled to the plan's spacing. Arrays are (k, j, i).
"""

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from ..data.alignment import align
from ..data.images import image_like
from .intensities import normalise_intensities
from .plan import Intensity, Plan

SAME_SPACING = 0.01
"""Relative difference below which an axis is not resampled."""
SMOOTH_FROM = 1.5
"""An axis that becomes coarser by more than this factor is smoothed first, against aliasing."""


def to_grid(images: Sequence[sitk.Image], plan: Plan) -> tuple[np.ndarray, sitk.Image]:
    """Channels of one case as network input.

    Args:
        images: float32 volumes of one geometry.
        plan: alignment, spacing and intensities.

    Returns:
        (channels, k, j, i) float32, and an image whose geometry is that of the array (its voxels mean nothing).
    """
    array = None
    for channel, (image, rule) in enumerate(zip(images, plan.intensities)):
        resampled = _channel_to_grid(image, rule, plan)
        if array is None:
            array = np.empty((len(images), *resampled.GetSize()[::-1]), np.float32)
        array[channel] = sitk.GetArrayViewFromImage(resampled)
    return array, resampled


def _channel_to_grid(image: sitk.Image, rule: Intensity, plan: Plan) -> sitk.Image:
    # intensities first: resampling would blur the constant background that the statistics leave out
    normalised = normalise_intensities(sitk.GetArrayViewFromImage(image), rule)
    image = image_like(normalised, image)
    del normalised
    return _to_spacing(align(image, plan.alignment), plan, sitk.sitkLinear)


def oriented_grid(image: sitk.Image, plan: Plan) -> sitk.Image:
    """The voxels of an image in the order and direction of those of the network's grid, as a uint8 image of zeros."""
    blank = sitk.Image(image.GetSize(), sitk.sitkUInt8)
    blank.CopyInformation(image)
    return align(blank, plan.alignment)


def label_to_grid(label: np.ndarray, grid: sitk.Image, plan: Plan) -> np.ndarray:
    """Class indices (k, j, i) on the grid of an image -> uint8 on the network's grid, by nearest neighbours."""
    image = align(image_like(label, grid), plan.alignment)
    return sitk.GetArrayFromImage(_to_spacing(image, plan, sitk.sitkNearestNeighbor))


def _to_spacing(image: sitk.Image, plan: Plan, interpolator: int) -> sitk.Image:
    """The image on a grid of the plan's spacing that covers the same box; see ``SAME_SPACING``."""
    old, spacing = image.GetSpacing(), list(plan.spacing[::-1])
    if plan.single_slices:
        spacing[2 - plan.flat_axis] = old[2 - plan.flat_axis]
    new = [o if abs(o - n) <= SAME_SPACING * n else n for o, n in zip(old, spacing)]
    if new == list(old):
        return image
    size = [max(1, round(s * o / n)) for s, o, n in zip(image.GetSize(), old, new)]
    if interpolator != sitk.sitkNearestNeighbor:
        for axis, (o, n) in enumerate(zip(old, new)):
            if n > SMOOTH_FROM * o:
                image = sitk.RecursiveGaussian(image, 0.4 * n, False, sitk.RecursiveGaussianImageFilter.ZeroOrder, axis)
    # the outer corner of the first voxel stays where it is
    origin = image.TransformContinuousIndexToPhysicalPoint([(n / o - 1) / 2 for o, n in zip(old, new)])
    direction, kind = image.GetDirection(), image.GetPixelID()
    return sitk.Resample(image, size, sitk.Transform(), interpolator, origin, new, direction, 0, kind, True)
