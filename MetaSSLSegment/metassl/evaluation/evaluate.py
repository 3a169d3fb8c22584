"""Folders of predictions against labels: the metrics of every case and class, and their means over the cases."""

import csv
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..data.dataset import COLOURS, Dataset, SegmentClass
from ..data.images import is_image_file, read_image, same_geometry, stem
from ..data.labels import read_label
from ..errors import InputError, first_few
from ..files import replacing, write_json
from .metrics import CaseMetrics, evaluate_case

TITLES = {"dice": "Dice", "hd95": "HD95 mm", "assd": "ASSD mm", "volume_difference_ml": "volume diff. ml"}
"""The metrics that are summed up, as people call them."""
ENDINGS = ("_seg", "_prediction", "_pred")
"""Endings of predicted files' names that the label's name does not have."""


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
        names, cases = (dict.fromkeys(getattr(row, key) for row in self.rows) for key in ("name", "case"))
        groups = {name: [[row] for row in self.rows if row.name == name] for name in names}
        groups["mean"] = [[row for row in self.rows if row.case == case] for case in cases]
        return {
            name: {m: _spread([_mean([getattr(row, m) for row in rows]) for rows in found]) for m in TITLES}
            for name, found in groups.items()
        }

    def table(self) -> str:
        """The summary as text."""
        lines = [f"{len({r.case for r in self.rows})} cases, mean +- standard deviation over cases", ""]
        summary = self.summary()
        width = max(5, *(len(name) for name in summary))
        lines.append(f"{'':<{width}}  " + "".join(f"{title:>19}" for title in TITLES.values()))
        for name, found in summary.items():
            cells = ["-" if s["mean"] is None else f"{s['mean']:.3f} +- {s['sd']:.3f}" for s in found.values()]
            lines.append(f"{name:<{width}}  " + "".join(f"{cell:>19}" for cell in cells))
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
    if not labels.is_dir() and labels.suffix != ".json":
        raise InputError(
            f"{labels} is neither a folder nor a dataset.json.",
            "Give the folder that holds the labels, or dataset.json.",
        )
    dataset = None if labels.is_dir() else Dataset.load(labels)
    drawn = {case.id: Path(case.label) for case in dataset.cases if case.label} if dataset else _volumes_in(labels)
    predicted, notes = _match_names(predictions, labels, drawn)
    dataset = dataset or _dataset_of(labels, drawn)
    rows = []
    for number, (case, path) in enumerate(predicted.items(), 1):
        image, label = read_image(path), read_image(drawn[case])
        if not same_geometry(label, image, 0.01):
            raise InputError(
                f"{path} and {drawn[case]} do not have the same size and position.",
                "Predict from the image that the label was drawn on.",
            )
        arrays = [read_label(file, dataset, label) for file in (path, drawn[case])]
        rows += evaluate_case(case, *arrays, dataset.classes, label.GetSpacing()[::-1])
        if progress:
            progress(number, len(predicted), case)
    return Evaluation(tuple(rows), notes)


def _volumes_in(folder: Path) -> dict[str, Path]:
    return {stem(path): path for path in sorted(folder.iterdir()) if is_image_file(path)}


def _match_names(predictions: Path, labels: Path, drawn: dict[str, Path]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Case id -> prediction, in the order of the labels, and notes on what has no counterpart.

    ``NAME_seg`` takes precedence over ``NAME``, which may be the image; regions and confidence are no predictions.
    """
    files = _volumes_in(predictions)
    names = {case: next((case + e for e in (*ENDINGS, "") if case + e in files), None) for case in drawn}
    predicted = {case: files[name] for case, name in names.items() if name is not None}
    left = [name for name in files.keys() - set(names.values()) if not name.endswith(("_regions", "_confidence"))]
    without = {next((name.removesuffix(e) for e in ENDINGS if name.endswith(e)), name) for name in left}
    without, lacking = sorted(without - set(predicted)), sorted(set(drawn) - set(predicted))
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
    said = {"Predictions without a label": without, "Labels without a prediction": lacking}
    return predicted, tuple(f"{what}: {first_few(cases)}." for what, cases in said.items() if cases)


def _dataset_of(folder: Path, labels: dict[str, Path]) -> Dataset:
    """A data set whose classes are the values that occur in the label files."""
    arrays = (sitk.GetArrayFromImage(read_image(path)) for path in labels.values())
    values = sorted({int(v) for array in arrays for v in np.unique(array) if v > 0})
    if not values:
        raise InputError(
            f"All labels in {folder} are empty.", "Give dataset.json instead of the folder: it names the classes."
        )
    classes = tuple(SegmentClass(f"class {v}", v, COLOURS[n % len(COLOURS)]) for n, v in enumerate(values))
    return Dataset("labels", ("image",), classes, ())


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [v for v in values if v is not None]
    return statistics.fmean(defined) if defined else None


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and standard deviation (n - 1; 0 for one value) of the defined values, and how many are not."""
    defined = [v for v in values if v is not None]
    sd = None if not defined else statistics.stdev(defined) if len(defined) > 1 else 0.0
    return {"mean": _mean(defined), "sd": sd, "undefined": len(values) - len(defined)}
