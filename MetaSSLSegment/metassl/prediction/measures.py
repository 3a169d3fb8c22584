"""What a prediction measures: volumes, mean confidence and region shares."""

from typing import Any

import numpy as np
import SimpleITK as sitk

from ..inference.model import Model
from ..inference.volume import VolumePrediction
from ..regions import REGIONS


def measure_prediction(model: Model, prediction: VolumePrediction) -> dict[str, Any]:
    """Voxel value and volume in ml of each class, and per region its share and volume, overall and in each class."""
    labels = sitk.GetArrayViewFromImage(prediction.labelmap)
    voxel_ml = float(np.prod(prediction.labelmap.GetSpacing())) / 1000
    counts = np.bincount(labels.ravel(), minlength=256).tolist()
    found: dict[str, Any] = {"classes": {c.name: c.value for c in model.classes}}
    found["volume_ml"] = {c.name: round(counts[c.value] * voxel_ml, 4) for c in model.classes}
    if prediction.confidence is not None:
        certainty = sitk.GetArrayViewFromImage(prediction.confidence)
        found["mean_confidence"] = {
            c.name: round(float(certainty[labels == c.value].mean()), 4) if counts[c.value] else None
            for c in model.classes
        }
    if prediction.regions is not None:
        region = sitk.GetArrayViewFromImage(prediction.regions)
        parts = {"all": slice(None)} | {c.name: labels == c.value for c in model.classes}
        found["regions"] = {name: _shares(region[part], voxel_ml) for name, part in parts.items()}
    return found


def _shares(region: np.ndarray, voxel_ml: float) -> dict[str, dict[str, float]]:
    counts = np.bincount(region.ravel(), minlength=5).tolist()
    total = max(sum(counts[1:]), 1)
    return {
        r.code: {"share": round(counts[r.value] / total, 5), "volume_ml": round(counts[r.value] * voxel_ml, 4)}
        for r in REGIONS
    }
