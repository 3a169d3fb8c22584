"""How well one prediction fits its label: Dice, HD95, ASSD and volume difference. The distances are MONAI's.

Empty structures: where neither prediction nor label has the class, Dice is 1 and both distances are 0. Where only one
has it, Dice is 0 and the distances are undefined: they are left empty, counted, and do not enter the means.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.dataset import IGNORE, SegmentClass
from ..data.distances import assd, hd95
from ..data.overlap import dice_per_class


@dataclass(frozen=True)
class CaseMetrics:
    """One class of one case.

    Attributes:
        case, name: case id and class name.
        dice: 0 to 1.
        hd95, assd: 95th percentile of the Hausdorff distance and average symmetric surface distance in mm; None when
            only one of prediction and label has the class.
        volume_difference_ml: prediction minus label.
        label_ml: volume of the label.
    """

    case: str
    name: str
    dice: float
    hd95: float | None
    assd: float | None
    volume_difference_ml: float
    label_ml: float


def evaluate_case(
    case: str, prediction: np.ndarray, label: np.ndarray, classes: Sequence[SegmentClass], spacing: Sequence[float]
) -> list[CaseMetrics]:
    """Metrics of every class.

    Args:
        case: case id.
        prediction, label: (k, j, i) class indices, class k being ``classes[k - 1]``; voxels whose label is
            ``dataset.IGNORE`` do not count.
        classes: the foreground classes.
        spacing: mm, (k, j, i).
    """
    prediction = np.where(label == IGNORE, 0, prediction)
    voxel_ml = float(np.prod(spacing)) / 1000
    found = []
    for k, (segment, dice) in enumerate(zip(classes, dice_per_class(prediction, label, len(classes))), 1):
        predicted, expected = prediction == k, label == k
        sizes = int(predicted.sum()), int(expected.sum())
        distances = hd95(predicted, expected, spacing), assd(predicted, expected, spacing)
        difference = (sizes[0] - sizes[1]) * voxel_ml
        found.append(CaseMetrics(case, segment.name, dice, *distances, difference, sizes[1] * voxel_ml))
    return found
