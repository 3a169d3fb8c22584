"""Which prediction belongs to which label."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..data.dataset import Dataset, result_names
from ..data.formats.picture import is_picture
from ..data.images import is_image_file
from ..errors import InputError, first_few
from ..files import read_json
from ..layouts.classes import FoundClasses, classes_of
from ..layouts.contents import look_through
from ..layouts.naming import LABEL_NAME, file_name, plain_folders
from ..layouts.recognise import recognise_layout

ENDINGS = ("_seg", "_prediction", "_pred")
"""Endings of predicted files' names that the label's name does not have."""


@dataclass
class Drawn:
    """The labels to compare with.

    Attributes:
        labels: case id -> label file; the ids are those of ``find_cases``.
        classes: what their values mean; without classes when only the files can tell.
        notes: sentences about them.
    """

    labels: dict[str, Path]
    classes: FoundClasses = field(default_factory=FoundClasses)
    notes: list[str] = field(default_factory=list)


def find_labels(source: Path) -> Drawn:
    """The labels of a dataset.json, of a folder in a layout that ``prepare`` reads, or of a folder of labels alone.

    Raises:
        InputError: the dataset.json or list cannot be used.
    """
    if source.is_file() and isinstance(content := read_json(source), dict) and "cases" in content:
        dataset = Dataset.load(source)
        names = zip(result_names(case.id for case in dataset.cases), dataset.cases)
        labels = {name: Path(case.label) for name, case in names if case.label is not None}
        return Drawn(labels, FoundClasses(list(dataset.classes), dataset.ignore_value, dataset.label_values))
    try:
        layout = recognise_layout(source)
    except InputError:
        if source.is_file():
            raise
        return _only_labels(source)
    labels = {case.name: case.label for case in layout.cases if case.label is not None}
    if not labels and source.is_dir():
        return _only_labels(source)
    described = classes_of(layout) if layout.classes or layout.described else FoundClasses()
    return Drawn(labels, described, list(dict.fromkeys(layout.notes)))


def _only_labels(folder: Path) -> Drawn:
    """Every volume below a folder as a label, named like the case whose image lies in the same place elsewhere."""
    volumes = look_through(folder.absolute()).volumes
    folders = [plain_folders(path.relative_to(folder.absolute()).parts[:-1]) for path in volumes]
    names = result_names("_".join((*above, file_name(path))) for above, path in zip(folders, volumes))
    return Drawn(dict(zip(names, volumes)))


def match_predictions(predictions: Path, labels: Mapping[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """Case id -> prediction, in the order of the labels, and notes on what has no counterpart.

    ``NAME_seg`` takes precedence over ``NAME``, which may be the image; regions and confidence are no predictions.

    Raises:
        InputError: nothing matches.
    """
    found = sorted(filter(is_image_file, predictions.iterdir()), key=lambda path: (not is_picture(path), path))
    files = {file_name(path): path for path in found}  # of one name the volume and not its picture
    names = {case: _prediction_of(case, files) for case in labels}
    predicted = {case: files[name] for case, name in names.items() if name is not None}
    left = [name for name in files.keys() - set(names.values()) if not name.endswith(("_regions", "_confidence"))]
    without = {next((name.removesuffix(e) for e in ENDINGS if name.endswith(e)), name) for name in left}
    without, lacking = sorted(without - set(predicted)), sorted(set(labels) - set(predicted))
    if not predicted:
        raise InputError(
            f"No prediction in {predictions} has the name of a label.",
            f"Predictions: {first_few(without) or 'none'}. Labels: {first_few(lacking) or 'none'}.",
        )
    said = {"Predictions without a label": without, "Labels without a prediction": lacking}
    return predicted, [f"{what}: {first_few(cases)}." for what, cases in said.items() if cases]


def _prediction_of(case: str, files: Mapping[str, Path]) -> str | None:
    bare = LABEL_NAME.sub("", case)
    return next((name + e for name in dict.fromkeys((case, bare)) for e in (*ENDINGS, "") if name + e in files), None)
