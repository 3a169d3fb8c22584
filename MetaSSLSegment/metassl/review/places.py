"""Where to look first: the places of a volume with most doubt, the strongest first."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..data.dataset import SegmentClass
from ..inference.volume import VolumePrediction
from ..regions import REGIONS

MOST = 20
"""Places that are named."""
SMOOTHING = 1.5
"""Doubt is summed over a Gaussian neighbourhood this wide, in voxel edges: single voxels and thin rims count little."""
RADIUS = 4.0
"""A place reaches so far, in voxel edges, and no second one is named in it."""
DOUBTFUL = 0.25
"""A voxel with so much doubt counts as doubtful."""
CONTRADICTED = 0.5
"""Doubt where the predictions contradict each other: one of them is wrong, however sure it is."""
DISCREPANT = tuple(r.value for r in REGIONS if r.code in ("DC", "DS"))
SUSPICIOUS = tuple(r.value for r in REGIONS if r.code in ("US", "DS"))
BACKGROUND = "background"


@dataclass(frozen=True)
class Place:
    """A spot of doubtful voxels.

    Attributes:
        position: in mm, right-anterior-superior, as Slicer shows it.
        classes: names of the two classes between which most of it is in doubt; what is there now comes first.
        volume_ml: of its doubtful voxels.
        certainty: their mean doubt, 0-1.
    """

    position: tuple[float, float, float]
    classes: tuple[str, str]
    volume_ml: float
    certainty: float

    def to_dict(self) -> dict[str, Any]:
        """The place as JSON-ready dictionary."""
        return asdict(self)


def doubt_of(prediction: VolumePrediction) -> np.ndarray:
    """(k, j, i) float32, how likely every voxel of a prediction is wrong by its own account, 0-1.

    1 - confidence, and at least a half where the two predictions contradict each other.

    Args:
        prediction: with regions and confidence.
    """
    doubt = 1 - np.nan_to_num(sitk.GetArrayViewFromImage(prediction.confidence))
    regions = sitk.GetArrayViewFromImage(prediction.regions)
    for plane, region in zip(doubt, regions):
        np.maximum(plane, CONTRADICTED, out=plane, where=np.isin(region, DISCREPANT))
    return doubt


def places_of_prediction(prediction: VolumePrediction, classes: Sequence[SegmentClass]) -> list[Place]:
    """Where a prediction is in doubt most.

    Args:
        prediction: with regions and confidence.
        classes: of the model.
    """
    label, other = (sitk.GetArrayViewFromImage(image) for image in (prediction.labelmap, prediction.other))
    names = {0: BACKGROUND, **{c.value: c.name for c in classes}}
    return find_places(doubt_of(prediction), label, other, names, prediction.labelmap)


def find_places(
    doubt: np.ndarray,
    label: np.ndarray,
    other: np.ndarray,
    names: dict[int, str],
    grid: sitk.Image,
    most: int = MOST,
) -> list[Place]:
    """The places with most doubt in a Gaussian neighbourhood, the one with most doubtful volume first.

    Between neighbours lies at least ``RADIUS``; a voxel belongs to one place.

    Args:
        doubt: (k, j, i) float32, 0-1.
        label, other: (k, j, i) what every voxel is now, and what it may be instead; where both are equal, a voxel may
            be what is near.
        names: value -> class.
        grid: has the geometry of the arrays.
        most: so many at most.
    """
    spacing = np.array(grid.GetSpacing()[::-1])
    edge = float(np.prod(spacing) ** (1 / 3))
    box = _box_of(doubt >= DOUBTFUL, np.ceil(RADIUS * edge / spacing).astype(int))
    if box is None:
        return []
    start = np.array([s.start for s in box])
    strength = np.where(doubt[box] >= DOUBTFUL, _smoothed(doubt[box], SMOOTHING * edge / spacing), 0)
    found = []
    while len(found) < most:
        peak = np.unravel_index(int(strength.argmax()), strength.shape)
        if strength[peak] <= 0:
            break
        around, ball = _ball(peak, strength.shape, RADIUS * edge / spacing)
        doubtful = ball & (strength[around] > 0)  # what belongs to no stronger place
        strength[around][ball] = 0
        here = tuple(slice(s.start + a, s.stop + a) for s, a in zip(around, start))
        amounts = doubt[here][doubtful]
        point = grid.TransformIndexToPhysicalPoint([int(n) for n in (peak + start)[::-1]])
        found.append(
            Place(
                position=tuple(round(sign * x, 2) for sign, x in zip((-1, -1, 1), point)),
                classes=_pair(label[here], other[here], ball, doubtful, amounts, names),
                volume_ml=round(float(doubtful.sum() * np.prod(spacing)) / 1000, 4),
                certainty=round(float(amounts.mean()), 3),
            )
        )
    return sorted(found, key=lambda place: -place.volume_ml * place.certainty)


def _pair(
    label: np.ndarray,
    other: np.ndarray,
    ball: np.ndarray,
    doubtful: np.ndarray,
    amounts: np.ndarray,
    names: dict[int, str],
) -> tuple[str, str]:
    """The two classes between which there is most doubt."""
    pairs = label[doubtful].astype(np.int64) * 256 + other[doubtful]
    sums = np.bincount(pairs, amounts, minlength=2**16).reshape(256, 256)
    now = int(sums.sum(1).argmax())
    sums[now, now] = 0
    instead = int(sums[now].argmax())
    if sums[now, instead] == 0:  # nothing contradicts it: what is in doubt is where its border lies
        near = np.bincount(label[ball], minlength=256)
        near[now] = 0
        instead = int(near.argmax()) if near.any() else 0
    return names.get(now, BACKGROUND), names.get(instead, BACKGROUND)


def _box_of(mask: np.ndarray, margin: np.ndarray) -> tuple[slice, ...] | None:
    """The smallest box around a mask, with a margin in voxels; None when the mask is empty."""
    box = []
    for axis in range(3):
        where = np.flatnonzero(mask.any(tuple(a for a in range(3) if a != axis)))
        if not len(where):
            return None
        box.append(slice(max(0, where[0] - margin[axis]), min(mask.shape[axis], where[-1] + 1 + margin[axis])))
    return tuple(box)


def _smoothed(array: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Sums over a Gaussian neighbourhood; sigma in voxels, (k, j, i)."""
    image = sitk.GetImageFromArray(array)
    variance = [float(s) ** 2 for s in sigma[::-1]]
    return sitk.GetArrayFromImage(sitk.DiscreteGaussian(image, variance, 16, 0.05, False))


def _ball(centre: Sequence[int], shape: Sequence[int], radii: np.ndarray) -> tuple[tuple[slice, ...], np.ndarray]:
    """The part of an array around a voxel, and which of its voxels lie within the radii (voxels)."""
    around = tuple(slice(max(0, int(c - r)), min(n, int(c + r) + 1)) for c, r, n in zip(centre, radii, shape))
    steps = np.ogrid[around]
    return around, sum(((step - c) / r) ** 2 for step, c, r in zip(steps, centre, radii)) <= 1
