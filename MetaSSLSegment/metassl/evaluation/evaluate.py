"""Folders of predictions against labels: the metrics of every case and class, and their means over the cases."""

import csv
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..data.images import read_image
from ..data.labels import read_label, read_label_with_fixes
from ..errors import InputError, first_few
from ..files import replacing, write_json
from ..layouts.folder import say_each
from .classes import SharedClasses, share_classes
from .matching import find_labels, match_predictions
from .metrics import CaseMetrics, evaluate_case

TITLES = {"dice": "Dice", "hd95": "HD95 mm", "assd": "ASSD mm", "volume_difference_ml": "volume diff. ml"}
"""The metrics that are summed up, as people call them."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of many cases.

    Attributes:
        rows: one per case and class, case by case.
        notes: what a person should know, such as labels without a prediction.
        failed: case -> why it could not be measured.
    """

    rows: tuple[CaseMetrics, ...]
    notes: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)

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
        rows = [asdict(row) for row in self.rows]
        content = {"summary": self.summary(), "rows": rows, "notes": list(self.notes), "failed": self.failed}
        write_json(folder / "metrics.json", content)


def evaluate_folder(
    predictions: Path | str, labels: Path | str, *, progress: Callable[[int, int, str], None] | None = None
) -> Evaluation:
    """Compare all predictions of a folder with their labels, which are read as training reads them.

    Labels are brought onto the grid of the prediction. A class that only the prediction has counts as an error. A case
    that cannot be measured is left out and noted, as are labels without a prediction and predictions without a label.

    Args:
        predictions: folder of labelmaps, ``NAME_seg.nii.gz`` or ``NAME.*``.
        labels: folder of label files ``NAME.*``, folder in a layout that ``prepare`` reads, or a dataset.json, which
            also gives class names and values.
        progress: called with finished and all cases and the case's id.

    Raises:
        InputError: nothing matches, or nothing can be measured.
    """
    predictions, labels = Path(predictions), Path(labels)
    for path in (predictions, labels):
        if not path.exists():
            raise InputError(f"{path} does not exist.", "Check the path.")
    if not predictions.is_dir():
        raise InputError(f"{predictions} is not a folder.", "Give the folder that holds the predictions.")
    if not labels.is_dir() and labels.suffix.lower() != ".json":
        raise InputError(
            f"{labels} is neither a folder nor a dataset.json.",
            "Give the folder that holds the labels, or dataset.json.",
        )
    drawn = find_labels(labels)
    predicted, unmatched = match_predictions(predictions, drawn.labels)
    notes = [*unmatched, *drawn.notes]
    shared = share_classes(drawn, predicted, notes)
    failed = dict(shared.unusable)
    if not shared.found.classes and not failed:
        raise InputError(
            f"All labels in {labels} are empty, and so are the predictions.",
            "Give dataset.json instead of the folder: it names the classes.",
        )
    rows, moved = [], []
    for number, (case, path) in enumerate(predicted.items(), 1):
        if case not in failed:
            try:
                found, resampled = _measure(case, path, drawn.labels[case], shared)
                rows += found
                moved += [case] if resampled else []
            except InputError as error:
                failed[case] = str(error)
        if progress:
            progress(number, len(predicted), case)
    if moved:
        notes.append(f"{len(moved)} label(s) were brought onto the grid of the prediction: {first_few(moved)}.")
    notes += say_each("{}", [f"{case} is not measured: {reason}" for case, reason in failed.items()])
    if not rows:
        raise InputError(f"No case can be measured. {' '.join(notes)}", "Correct the files that are named.")
    return Evaluation(tuple(rows), tuple(notes), failed)


def _measure(case: str, prediction: Path, label: Path, shared: SharedClasses) -> tuple[list[CaseMetrics], bool]:
    """The metrics of a case, and whether its label had to be brought onto the prediction's grid.

    Raises:
        InputError: a file cannot be used.
    """
    image = read_image(prediction)
    predicted = read_label(prediction, shared.of_prediction(case), image)
    expected, fixes = read_label_with_fixes(label, shared.of_labels(), image)
    rows = evaluate_case(case, predicted, expected, shared.found.classes, image.GetSpacing()[::-1])
    return rows, any(fix.code == "label-resampled" for fix in fixes)


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [v for v in values if v is not None]
    return statistics.fmean(defined) if defined else None


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and standard deviation (n - 1; 0 for one value) of the defined values, and how many are not."""
    defined = [v for v in values if v is not None]
    sd = None if not defined else statistics.stdev(defined) if len(defined) > 1 else 0.0
    return {"mean": _mean(defined), "sd": sd, "undefined": len(values) - len(defined)}
