"""What a prediction measures: volumes, mean confidence and region shares."""

from typing import Any

import numpy as np
import SimpleITK as sitk

from ..inference.model import Model
from ..inference.volume import VolumePrediction
from ..regions import REGIONS

LABELS = 256
"""Values that a labelmap may have."""


def measure_prediction(model: Model, prediction: VolumePrediction) -> dict[str, Any]:
    """Voxel value and volume in ml of each class, and per region its share and volume, overall and in each class."""
    labels = sitk.GetArrayViewFromImage(prediction.labelmap)
    voxel_ml = float(np.prod(prediction.labelmap.GetSpacing())) / 1000
    counts = sum(np.bincount(plane.ravel(), minlength=LABELS) for plane in labels)
    found: dict[str, Any] = {"classes": {c.name: c.value for c in model.classes}}
    found["volume_ml"] = {c.name: round(float(counts[c.value]) * voxel_ml, 4) for c in model.classes}
    if prediction.confidence is not None:
        pairs = zip(labels, sitk.GetArrayViewFromImage(prediction.confidence))
        sums = sum(np.bincount(plane.ravel(), values.ravel(), LABELS) for plane, values in pairs)
        found["mean_confidence"] = {
            c.name: round(float(sums[c.value] / counts[c.value]), 4) if counts[c.value] else None for c in model.classes
        }
    if prediction.regions is not None:
        most = len(REGIONS) + 1
        pairs = zip(labels, sitk.GetArrayViewFromImage(prediction.regions))
        table = sum(
            np.bincount((plane.astype(np.int64) * most + region).ravel(), minlength=LABELS * most)
            for plane, region in pairs
        ).reshape(LABELS, most)
        parts = {"all": table.sum(0)} | {c.name: table[c.value] for c in model.classes}
        found["regions"] = {name: _shares(part.tolist(), voxel_ml) for name, part in parts.items()}
    return found


def _shares(counts: list[int], voxel_ml: float) -> dict[str, dict[str, float]]:
    """Share and volume of every region, of the numbers of voxels that have its value."""
    total = max(sum(counts[1:]), 1)
    return {
        r.code: {"share": round(counts[r.value] / total, 5), "volume_ml": round(counts[r.value] * voxel_ml, 4)}
        for r in REGIONS
    }
