"""How good a prediction is likely to be, without a reference."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..data.dataset import SegmentClass
from ..inference.volume import VolumePrediction
from .places import DISCREPANT, SUSPICIOUS

VALUES = 256


@dataclass(frozen=True)
class ClassQuality:
    """What the two predictions say of one class of one case.

    Attributes:
        agreement: Dice of the class between the two predictions, 0-1; None where neither has it.
        soft_dice: the Dice that the class has if every voxel is right as often as its confidence says, 0-1; None where
            the class was not found.
        discrepant, suspicious: shares of the class's voxels where the predictions contradict each other, or the
            confidence is below the threshold; None where the class was not found.
    """

    agreement: float | None
    soft_dice: float | None
    discrepant: float | None
    suspicious: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, four decimals."""
        return {name: None if value is None else round(value, 4) for name, value in asdict(self).items()}


def measure_quality(prediction: VolumePrediction, classes: Sequence[SegmentClass]) -> list[ClassQuality]:
    """What a prediction says of its own quality, class by class.

    Args:
        prediction: with regions and confidence.
        classes: of the model.
    """
    mine, theirs, both, suspicious, certain = np.zeros((5, VALUES))
    missed = np.zeros(VALUES)  # probability of each class where another one was chosen
    unassigned = 0.0
    for label, other, region, confidence in _planes(prediction):
        agree = ~np.isin(region, DISCREPANT)
        doubtful = np.isin(region, SUSPICIOUS)
        mine += np.bincount(label, minlength=VALUES)
        theirs += np.bincount(other, minlength=VALUES)
        both += np.bincount(label[agree], minlength=VALUES)
        suspicious += np.bincount(label[doubtful], minlength=VALUES)
        certain += np.bincount(label, confidence, minlength=VALUES)
        missed += np.bincount(other[~agree], 1 - confidence[~agree], minlength=VALUES)
        unassigned += float((1 - confidence[agree & (label == 0)]).sum())
    foreground = max(mine[1:].sum(), 1)
    found = []
    for c in classes:
        k, present = c.value, mine[c.value] > 0
        total = mine[k] + theirs[k]
        expected = certain[k] + missed[k] + unassigned * mine[k] / foreground
        found.append(
            ClassQuality(
                agreement=float(2 * both[k] / total) if total else None,
                soft_dice=float(2 * certain[k] / (mine[k] + expected)) if present else None,
                discrepant=float(1 - both[k] / mine[k]) if present else None,
                suspicious=float(suspicious[k] / mine[k]) if present else None,
            )
        )
    return found


def _planes(prediction: VolumePrediction) -> Iterator[tuple[np.ndarray, ...]]:
    """Label, other, region and confidence of one plane after the other, flat: a large volume needs no more memory."""
    images = prediction.labelmap, prediction.other, prediction.regions, prediction.confidence
    for label, other, region, confidence in zip(*(sitk.GetArrayViewFromImage(image) for image in images)):
        yield label.ravel(), other.ravel(), region.ravel(), np.nan_to_num(confidence).ravel()
