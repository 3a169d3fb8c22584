"""The Dice that a prediction is likely to have: the agreement of the two, calibrated on hold-out cases if any.

Agreement orders cases better than the confidence does, see docs/benchmarks.md.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ..data.dataset import Dataset
from ..data.labels import read_label
from ..data.overlap import dice_per_class
from ..errors import InputError
from ..files import read_json, write_json
from ..inference.model import METADATA, Model
from ..inference.volume import VolumePrediction
from .calibration import Calibration, fit_calibration
from .cases import UNWATCHED, Watch, class_indices, predict_cases
from .quality import measure_quality


def expected_quality(model: Model, prediction: VolumePrediction) -> dict[str, Any]:
    """How good a prediction is likely to be.

    Args:
        model: that made it.
        prediction: with regions and confidence.

    Returns:
        JSON-ready: "mean" over the classes that were found, None without any; "classes", class name -> expected Dice
        (0-1), None where neither prediction has the class; "calibrated_on", number of hold-out cases, 0: the numbers
        order cases but are too high; "error", mean absolute error of the calibration, or None; "measures", class name
        -> ``ClassQuality`` as a dictionary.
    """
    measures = measure_quality(prediction, model.classes)
    stored = model.metadata.get("metassl", {}).get("calibration")
    try:
        calibration = Calibration({}, 0, None) if stored is None else Calibration.from_dict(stored)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"The calibration in {METADATA.name} is damaged.", "Copy the model again.") from error
    classes = {
        c.name: None if m.agreement is None else round(calibration(c.name, m.agreement), 4)
        for c, m in zip(model.classes, measures)
    }
    known = [dice for dice in classes.values() if dice is not None]
    return {
        "mean": round(float(np.mean(known)), 4) if known else None,
        "classes": classes,
        "calibrated_on": calibration.cases,
        "error": calibration.error,
        "measures": {c.name: m.to_dict() for c, m in zip(model.classes, measures)},
    }


def calibrate_model(folder: Path | str, model: Model, dataset: Dataset, watch: Watch = UNWATCHED) -> Calibration | None:
    """Compare what a model says of the hold-out cases with their labels, and keep it in the model folder.

    Args:
        folder: the model folder.
        model: loaded from it.
        dataset: that it was trained on.
        watch: follows.

    Returns:
        The calibration, None when there is no hold-out case to make it from.

    Raises:
        Stopped, OutOfMemoryError, DiskError: as they say.
    """
    said, true = [], []
    for case, images, prediction in predict_cases(model, dataset.with_role("hold-out"), watch, []):
        try:
            label = read_label(case.label, dataset, images[0])
        except InputError as error:
            watch.warn(f"{case.id} is left out: {error} {error.hint}")
            continue
        dice = dice_per_class(class_indices(prediction.labelmap, model, dataset), label, len(dataset.classes))
        measures = measure_quality(prediction, model.classes)
        said.append({c.name: m.agreement for c, m in zip(model.classes, measures)})
        true.append({c.name: d for c, d in zip(dataset.classes, dice)})
    calibration = fit_calibration(said, true)
    if calibration is not None:
        metadata = read_json(Path(folder) / METADATA)
        metadata["metassl"]["calibration"] = calibration.to_dict()
        write_json(Path(folder) / METADATA, metadata)
    return calibration
