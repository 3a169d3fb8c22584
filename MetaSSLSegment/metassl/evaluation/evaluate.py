"""Predictions against labels: Dice, HD95, ASSD and volume difference per case and class. The metrics are MONAI's.

Empty structures: where neither prediction nor label has the class, Dice is 1 and both distances are 0. Where only one
has it, Dice is 0 and the distances are undefined: they are left empty, counted, and do not enter the means.
"""

import csv
import math
import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

from ..data.dataset import COLOURS, IGNORE, Dataset, SegmentClass
from ..data.images import is_image_file, read_image, same_geometry, stem
from ..data.overlap import dice_per_class
from ..data.reading import read_label
from ..errors import InputError, first_few
from ..files import replacing, write_json

ENDINGS = ("_seg", "_prediction", "_pred")
"""Endings of predicted files' names that the label's name does not have."""


@dataclass(frozen=True)
class CaseMetrics:
    """One class of one case.

    Attributes:
        case, name: case id and class name.
        dice: 0 to 1.
        hd95, assd: 95th percentile of the Hausdorff distance and average symmetric surface distance in mm; None when
            only one of prediction and label has the class.
        volume_difference_ml: prediction minus label.
        reference_ml: volume of the label.
    """

    case: str
    name: str
    dice: float
    hd95: float | None
    assd: float | None
    volume_difference_ml: float
    reference_ml: float


METRICS = ("dice", "hd95", "assd", "volume_difference_ml")
TITLES = {"dice": "Dice", "hd95": "HD95 mm", "assd": "ASSD mm", "volume_difference_ml": "volume diff. ml"}


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
    dice = dice_per_class(prediction, label, len(classes))
    for k, segment in enumerate(classes, 1):
        mine, theirs = prediction == k, label == k
        sizes = int(mine.sum()), int(theirs.sum())
        if all(sizes):
            hd95, assd = _distances(mine, theirs, spacing)
        else:
            hd95 = assd = None if any(sizes) else 0.0
        difference = (sizes[0] - sizes[1]) * voxel_ml
        found.append(CaseMetrics(case, segment.name, dice[k - 1], hd95, assd, difference, sizes[1] * voxel_ml))
    return found


def _distances(mine: np.ndarray, theirs: np.ndarray, spacing: Sequence[float]) -> tuple[float, float]:
    """HD95 and ASSD of two non-empty masks, mm."""
    pair = [torch.from_numpy(mask)[None, None] for mask in (mine, theirs)]
    options = {"include_background": True, "spacing": [float(s) for s in spacing]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 warns about a call of its own
        hd95 = compute_hausdorff_distance(*pair, percentile=95, **options)
        assd = compute_average_surface_distance(*pair, symmetric=True, **options)
    return float(hd95), float(assd)


@dataclass(frozen=True)
class Evaluation:
    """Metrics of many cases.

    Attributes:
        rows: one per case and class, case by case.
        notes: what a person should know, such as labels without a prediction.
    """

    rows: tuple[CaseMetrics, ...]
    notes: tuple[str, ...] = ()

    def summary(self) -> dict[str, dict[str, Any]]:
        """Per class, and for "mean" over the classes of each case: mean, standard deviation, undefined values."""
        names = list(dict.fromkeys(row.name for row in self.rows))
        cases = list(dict.fromkeys(row.case for row in self.rows))
        result = {
            name: {m: _spread([getattr(r, m) for r in self.rows if r.name == name]) for m in METRICS} for name in names
        }
        result["mean"] = {
            m: _spread([_mean([getattr(r, m) for r in self.rows if r.case == case]) for case in cases]) for m in METRICS
        }
        return result

    def table(self) -> str:
        """The summary as text."""
        lines = [f"{len({r.case for r in self.rows})} cases, mean +- standard deviation over cases", ""]
        summary = self.summary()
        width = max(5, *(len(name) for name in summary))
        lines.append(f"{'':<{width}}  " + "".join(f"{TITLES[m]:>19}" for m in METRICS))
        for name, found in summary.items():
            cells = []
            for m in METRICS:
                spread = found[m]
                text = "-" if spread["mean"] is None else f"{spread['mean']:.3f} +- {spread['sd']:.3f}"
                cells.append(f"{text:>19}")
            lines.append(f"{name:<{width}}  " + "".join(cells))
        undefined = sum(row.hd95 is None for row in self.rows)
        if undefined:
            lines.append(f"\nDistances undefined (class in prediction or label only), not in the means: {undefined}")
        return "\n".join([*lines, *self.notes])

    def write(self, folder: Path | str) -> None:
        """Write metrics.csv (a row per case and class) and metrics.json (the same, and the summary)."""
        folder = Path(folder)
        with replacing(folder / "metrics.csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(CaseMetrics)])
            writer.writeheader()
            writer.writerows(asdict(row) for row in self.rows)
        content = {"summary": self.summary(), "rows": [asdict(row) for row in self.rows], "notes": list(self.notes)}
        write_json(folder / "metrics.json", content)


def evaluate_folder(
    predictions: Path | str, labels: Path | str, *, progress: Callable[[int, int, str], None] | None = None
) -> Evaluation:
    """Compare all predictions of a folder with their labels.

    Args:
        predictions: folder of labelmaps, ``NAME_seg.nii.gz`` or ``NAME.*``.
        labels: folder of label files ``NAME.*``, or a dataset.json, which also gives class names and values.
        progress: called with finished and all cases and the case's id.

    Raises:
        InputError: nothing matches, a label of a folder has no prediction (of a dataset.json: a note), a file cannot be
            used, or the geometries of prediction and label differ.
    """
    predictions, labels = Path(predictions), Path(labels)
    for path in (predictions, labels):
        if not path.exists():
            raise InputError(f"{path} does not exist.", "Check the path.")
    if not predictions.is_dir():
        raise InputError(f"{predictions} is not a folder.", "Give the folder that holds the predictions.")
    if labels.is_dir():
        references = {stem(p): str(p) for p in sorted(labels.iterdir()) if is_image_file(p)}
    elif labels.suffix == ".json":
        known = Dataset.load(labels)
        references = {case.id: case.label for case in known.cases if case.label}
    else:
        raise InputError(
            f"{labels} is neither a folder nor a dataset.json.",
            "Give the folder that holds the labels, or dataset.json.",
        )
    files = {stem(p): p for p in sorted(predictions.iterdir()) if is_image_file(p)}
    predicted = _matched(files, references)
    used = {stem(path) for path in predicted.values()}
    without = sorted({_case_name(name) for name in files.keys() - used if _is_labelmap(name)} - set(predicted))
    lacking = sorted(set(references) - set(predicted))
    if not predicted:
        raise InputError(
            f"No prediction in {predictions} has the name of a label in {labels}.",
            f"Predictions: {first_few(without) or 'none'}. Labels: {first_few(lacking) or 'none'}.",
        )
    if lacking and labels.is_dir():
        raise InputError(
            f"{len(lacking)} labels in {labels} have no prediction in {predictions}: {first_few(lacking)}.",
            "Predict them too, or compare with a folder that holds the labels of the predicted cases only.",
        )
    dataset = _dataset_of(labels, references) if labels.is_dir() else known
    notes = [f"Predictions without a label: {first_few(without)}."] if without else []
    notes += [f"Labels without a prediction: {first_few(lacking)}."] if lacking else []
    rows = []
    for number, name in enumerate(predicted, 1):
        image = read_image(predicted[name])
        reference = read_image(references[name])
        if not same_geometry(reference, image, 0.01):
            raise InputError(
                f"{predicted[name]} and {references[name]} do not have the same size and position.",
                "Predict from the image that the label was drawn on.",
            )
        spacing = reference.GetSpacing()[::-1]
        arrays = [read_label(path, dataset, reference) for path in (predicted[name], references[name])]
        rows += evaluate_case(name, *arrays, dataset.classes, spacing)
        if progress:
            progress(number, len(predicted), name)
    return Evaluation(tuple(rows), tuple(notes))


def _matched(files: dict[str, Path], references: dict[str, str]) -> dict[str, Path]:
    """Case id -> prediction, in the order of the labels; ``NAME_seg`` goes before ``NAME``, which may be the image."""
    found = {}
    for case in references:
        name = next((case + ending for ending in (*ENDINGS, "") if case + ending in files), None)
        if name is not None:
            found[case] = files[name]
    return found


def _case_name(name: str) -> str:
    return next((name[: -len(e)] for e in ENDINGS if name.endswith(e)), name)


def _is_labelmap(name: str) -> bool:
    """Whether the file may be a prediction: not the regions or confidence beside it."""
    return not name.endswith(("_regions", "_confidence"))


def _dataset_of(folder: Path, references: dict[str, str]) -> Dataset:
    """A data set whose classes are the values that occur in the label files."""
    values: set[int] = set()
    for path in references.values():
        values |= {int(v) for v in np.unique(sitk.GetArrayFromImage(read_image(path))) if v > 0}
    if not values:
        raise InputError(
            f"All labels in {folder} are empty.", "Give dataset.json instead of the folder: it names the classes."
        )
    classes = tuple(SegmentClass(f"class {v}", v, COLOURS[n % len(COLOURS)]) for n, v in enumerate(sorted(values)))
    return Dataset("labels", ("image",), classes, ())


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [v for v in values if v is not None]
    return statistics.fmean(defined) if defined else None


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and standard deviation (n - 1; 0 for one value) of the defined values, and how many are not."""
    defined = [v for v in values if v is not None and not math.isnan(v)]
    return {
        "mean": _mean(defined),
        "sd": (statistics.stdev(defined) if len(defined) > 1 else 0.0) if defined else None,
        "undefined": len(values) - len(defined),
    }
