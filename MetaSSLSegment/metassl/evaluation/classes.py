"""The classes of labels and predictions together, and what the values on each side mean."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..data.dataset import COLOURS, MOST_CLASSES, Dataset, SegmentClass
from ..data.images import read_header, stem
from ..data.labels import label_values
from ..data.segmentations import name_key, read_segments
from ..errors import InputError, first_few
from ..files import read_json
from ..layouts.classes import FoundClasses, find_classes
from .matching import Drawn


@dataclass
class SharedClasses:
    """The classes that labels or predictions have.

    Attributes:
        found: the classes and what values in label files mean.
        meanings: case -> what the values of its prediction mean, as index in ``found.classes``.
        unusable: case -> why its prediction cannot be compared.
    """

    found: FoundClasses
    meanings: dict[str, dict[int, int]] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)

    def of_labels(self) -> Dataset:
        """A data set by which label files are read."""
        return self._dataset(self.found.classes, self.found.ignore_value, self.found.label_values)

    def of_prediction(self, case: str) -> Dataset:
        """A data set by which the prediction of a case is read: the same classes, with the values that it uses."""
        values = {index: value for value, index in self.meanings[case].items()}
        free = (value for value in range(1, 256) if value not in self.meanings[case])
        classes = enumerate(self.found.classes)
        return self._dataset([SegmentClass(c.name, values.get(n) or next(free), c.colour) for n, c in classes])

    def _dataset(self, classes: list[SegmentClass], *meanings) -> Dataset:
        return Dataset("evaluated", ("image",), tuple(classes), (), *meanings)


def share_classes(drawn: Drawn, predicted: Mapping[str, Path], notes: list[str]) -> SharedClasses:
    """Find the classes of both sides; a class that only a prediction has is added, so that it counts as an error.

    The values of a prediction mean what the JSON file beside it says; without one, or when it knows none of the labels'
    names, what they mean in the labels.

    Args:
        drawn: the labels, with their classes where something names them.
        predicted: case -> prediction.
        notes: gets sentences.

    Raises:
        InputError: the labels have too many classes.
    """
    tables = {case: _classes_beside(path) for case, path in predicted.items()}
    known = {value: name for table in tables.values() for value, name in table.items()}
    found = drawn.classes
    if not found.classes:
        files = {label: case for case, label in drawn.labels.items()}
        ignore, found = found.ignore_value, find_classes(files, notes, names=known)
        found.ignore_value = ignore
    shared = SharedClasses(found)
    for case, path in predicted.items():
        try:
            shared.meanings[case] = _meanings(path, tables[case], found)
        except InputError as error:
            shared.unusable[case] = str(error)
    return shared


def _classes_beside(prediction: Path) -> dict[int, str]:
    """Value -> class name, as ``metassl predict`` writes it; empty for other predictions."""
    name = stem(prediction)
    beside = prediction.with_name(name.removesuffix("_seg") + ".json")
    try:
        content = read_json(beside) if name.endswith("_seg") and beside.is_file() else {}
    except InputError:
        content = {}
    classes = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(classes, dict) or not all(type(value) is int for value in classes.values()):
        return {}
    return {value: name for name, value in classes.items()}


def _meanings(path: Path, table: dict[int, str], found: FoundClasses) -> dict[int, int]:
    """Value -> index in the classes, which get those that only this prediction has.

    Raises:
        InputError: the file cannot be read, or is no labelmap.
    """
    segments = read_segments(read_header(path), path)
    table = {segment.value: segment.name for segment in segments} if segments else table
    values = {segment.value for segment in segments} or label_values(path)
    by_value = {c.value: index for index, c in enumerate(found.classes)}
    by_name = {name_key(c.name): index for index, c in enumerate(found.classes)}
    if by_name.keys().isdisjoint(map(name_key, table.values())):  # other names for the same values
        table = {}
    meanings = {value: by_name.get(name_key(name)) for value, name in table.items()}
    meanings |= {value: by_value.get(value) for value in values - set(table)}
    new = [value for value in sorted(values) if meanings[value] is None]
    if len(found.classes) + len(new) > MOST_CLASSES or any(not 1 <= value <= 255 for value in new):
        raise InputError(f"{path} has values that no class has: {first_few(new)}; it is no labelmap.")
    for value in new:
        name = table.get(value, f"class {value}")
        taken = {c.value for c in found.classes} | set(found.label_values) | {found.ignore_value}
        own = next(v for v in (value, *range(1, 256)) if v not in taken)
        found.classes.append(SegmentClass(name, own, COLOURS[len(found.classes) % len(COLOURS)]))
        meanings[value] = len(found.classes) - 1
    return {value: index for value, index in meanings.items() if index is not None}
