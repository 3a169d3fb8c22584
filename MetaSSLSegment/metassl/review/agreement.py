"""How far the two predictions of a case agree with confidence, and what the hold-out cases tell of that.

Agreement orders cases; it is no estimate of their Dice, see docs/benchmarks.md.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..data.dataset import IGNORE, Dataset, SegmentClass
from ..data.labels import read_label
from ..errors import InputError
from ..files import read_json, write_json
from ..inference.model import METADATA, Model
from ..inference.volume import VolumePrediction
from ..regions import REGIONS
from .calibration import Reliability
from .cases import UNWATCHED, Watch, class_indices, leave_out, predict_cases

VALUES = 256
UNANIMOUS_CONFIDENT = REGIONS[0].value


def class_agreement(prediction: VolumePrediction, classes: Sequence[SegmentClass]) -> dict[str, float | None]:
    """Class name -> share, 0-1, of the voxels that either prediction gives to it on which both agree with confidence.

    A class that neither prediction has is None. Why confidence counts: networks that were trained to agree do so also
    where both are wrong, see docs/benchmarks.md.

    Args:
        prediction: with regions.
        classes: of the model.
    """
    either, agreed = np.zeros((2, VALUES), np.int64)
    images = prediction.labelmap, prediction.other, prediction.regions
    planes = zip(*(sitk.GetArrayViewFromImage(image) for image in images))  # so that large volumes fit, too
    for label, other, regions in planes:
        either += np.bincount(label.ravel(), minlength=VALUES)
        either += np.bincount(other[other != label], minlength=VALUES)
        agreed += np.bincount(label[(regions == UNANIMOUS_CONFIDENT) & (label == other)], minlength=VALUES)
    return {c.name: float(agreed[c.value] / either[c.value]) if either[c.value] else None for c in classes}


def agreement_of(model: Model, prediction: VolumePrediction) -> dict[str, Any]:
    """How far the two predictions of a case agree with confidence.

    Args:
        model: that made them.
        prediction: with regions.

    Returns:
        JSON-ready: "mean" over the classes that were found, None without any; "classes", see ``class_agreement``;
        "hold_out_cases", number of hold-out cases that the model was trained with; "agree_less", on how many of them
        the predictions agree less than here, None without a mean or such cases.
    """
    classes = class_agreement(prediction, model.classes)
    mean, known = _mean(classes), model.hold_out_agreement
    return {
        "mean": mean,
        "classes": {name: value if value is None else round(value, 4) for name, value in classes.items()},
        "hold_out_cases": len(known),
        "agree_less": sum(other < mean for other in known) if known and mean is not None else None,
    }


def keep_hold_out_facts(folder: Path | str, model: Model, dataset: Dataset, watch: Watch = UNWATCHED) -> None:
    """Measure agreement and reliability of the confidence on the hold-out cases, and keep them in the model folder.

    Args:
        folder: the model folder.
        model: loaded from it, still without a temperature.
        dataset: that it was trained on.
        watch: follows.

    Raises:
        Stopped, OutOfMemoryError, DiskError: as they say.
    """
    means, reliability, failed = [], Reliability(), []
    for case, images, prediction in predict_cases(model, dataset.with_role("hold-out"), watch, failed):
        means.append(_mean(class_agreement(prediction, model.classes)))
        try:
            annotated = read_label(case.label, dataset, images[0])
        except InputError as error:
            leave_out(case, error, watch, failed)
            continue
        predicted = class_indices(prediction.labelmap, model, dataset)
        reliability.add(sitk.GetArrayViewFromImage(prediction.confidence), predicted, annotated, IGNORE)
    metadata = read_json(Path(folder) / METADATA)
    metadata["metassl"]["hold_out_confident_agreement"] = sorted(mean for mean in means if mean is not None)
    metadata["metassl"]["confidence_temperature"] = reliability.temperature()
    write_json(Path(folder) / METADATA, metadata)


def _mean(classes: dict[str, float | None]) -> float | None:
    known = [value for value in classes.values() if value is not None]
    return round(float(np.mean(known)), 4) if known else None
