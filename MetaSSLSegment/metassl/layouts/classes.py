"""The classes of a layout: what a description says about the labels, else what the label files hold."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..data.dataset import COLOURS, MOST_CLASSES, SegmentClass
from ..data.images import read_header
from ..data.labels import label_values
from ..data.segmentations import Segment, means_ignore, name_key, read_segments, repeated_names
from ..errors import InputError, first_few
from .folder import Layout, say_each

COMMON = 0.5
"""A value above 255 that at least this share of the label files have is a class; a rarer one may be a mistake."""


@dataclass
class FoundClasses:
    """The classes, and what other values in label files mean; see ``Dataset``."""

    classes: list[SegmentClass] = field(default_factory=list)
    ignore_value: int | None = None
    label_values: dict[int, int] = field(default_factory=dict)


class Entry(NamedTuple):
    """A name and the values that label files give it, the preferred first."""

    name: str
    values: Sequence[int]
    colour: tuple[int, int, int] | None = None
    terminology: str | None = None


def classes_of(layout: Layout, progress: Callable[[int, int, str], None] | None = None) -> FoundClasses:
    """The classes of a layout; what was decided about them is noted there.

    Args:
        layout: the cases, and what their dataset.json says.
        progress: called with (labels read, number of labels, case) while label files are read.

    Raises:
        InputError: the description cannot be read, or there are too many classes.
    """
    if layout.classes:
        return FoundClasses(layout.classes, layout.ignore_value, layout.label_values)
    described = FoundClasses()
    _add_by_value(described, [e for e in _described_entries(layout.described or {}) if e.values != [0]], layout.notes)
    if described.classes:
        return described
    labels = {case.label: case.name for case in layout.cases if case.label is not None}
    found = find_classes(labels, layout.notes, progress=progress)
    found.ignore_value = described.ignore_value
    return found


def _described_entries(labels: Any) -> list[Entry]:
    """The labels of nnU-Net 1 and Decathlon, {"1": "liver"}, of nnU-Net 2, {"liver": 1}, or a list of names.

    Raises:
        InputError: they cannot be read, or one is a region of several values.
    """
    try:
        if isinstance(labels, list):
            return [Entry(str(name), [value]) for value, name in enumerate(labels)]
        pairs = list(labels.items())
        number = re.compile(r"-?\d+")
        names_by_value = all(number.fullmatch(key) and isinstance(value, str) for key, value in pairs)
        entries = []
        for key, value in pairs:
            if names_by_value or (isinstance(value, str) and number.fullmatch(key) and not number.fullmatch(value)):
                entries.append(Entry(value, [int(key)]))
            else:
                entries.append(Entry(key, [_whole(key, value)]))
        return entries
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"dataset.json has channels or labels that MetaSSL cannot read: {json.dumps(labels)[:300]}",
            'Write them as {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}}.',
        ) from error


def _whole(name: str, value: Any) -> int:
    if isinstance(value, list) and len(value) != 1:
        raise InputError(
            f"dataset.json defines the label {name!r} as a region of several values {value}; MetaSSL needs one value "
            "per class.",
            "List every value as a class of its own, and combine the classes after segmenting.",
        )
    value = value[0] if isinstance(value, list) else value
    if isinstance(value, bool) or int(value) != float(value):
        raise ValueError(f"{value} is no whole number")
    return int(value)


def find_classes(
    labels: Mapping[Path, str],
    notes: list[str],
    *,
    names: Mapping[int, str] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> FoundClasses:
    """The classes that label files name (.seg.nrrd) or hold as values; what cannot be used is noted.

    Args:
        labels: label files, and the names of their cases.
        notes: gets sentences.
        names: of values in files that do not name them.
        progress: called with (labels read, number of labels, case).

    Raises:
        InputError: there are too many classes.
    """
    segments: dict[Path, list[Segment]] = {}
    plain: dict[Path, set[int]] = {}
    bad = []
    for done, (label, case) in enumerate(labels.items(), 1):
        try:
            listed = read_segments(read_header(label), label) if label.is_file() else []
            values = set() if listed else label_values(label)
            if len(values) > MOST_CLASSES:
                raise InputError(f"{label} has {len(values)} different values, so it is no labelmap.")
            (segments if listed else plain)[label] = listed or values
        except InputError as error:
            bad.append(str(error))
        if progress is not None:
            progress(done, len(labels), case)
    notes += say_each("{} It was not used to find the classes.", bad)
    repeated = [(path, *repeat) for path, listed in segments.items() for repeat in repeated_names(listed)]
    notes += say_each(
        "{}; they are one class.", [f"{path} has {n} segments called {name!r}" for path, name, n in repeated]
    )
    found = FoundClasses()
    by_name, by_value = _segment_entries(segments), _plain_entries(plain, names or {}, notes)
    _add_by_name(found, by_name, taken={v for entry in (*by_name, *by_value) for v in entry.values})
    known = {c.value: c.name for c in found.classes}
    if plain and any(len(entry.values) > 1 for entry in by_name):
        read = ", ".join(f"{value} {name}" for value, name in known.items())
        notes.append(
            f"{first_few(list(plain), 3)}: without names, these values are read as {read}; other label files use "
            "other values for the same names."
        )
    _add_by_value(found, [entry for entry in by_value if entry.values[0] not in known], notes)
    return found


def _segment_entries(segments: Mapping[Path, list[Segment]]) -> list[Entry]:
    """One entry per segment name, in the order of their values; files are read by name, whatever value they use."""
    first: dict[str, Segment] = {}
    values: dict[str, Counter] = defaultdict(Counter)
    for listed in segments.values():
        for segment in listed:
            first.setdefault(name_key(segment.name), segment)
            values[name_key(segment.name)][segment.value] += 1
    ordered = sorted((s for s in first.values() if not means_ignore(s.name)), key=lambda segment: segment.value)
    used = {key: [value for value, _ in counter.most_common()] for key, counter in values.items()}
    return [Entry(s.name.strip(), used[name_key(s.name)], s.colour, s.terminology) for s in ordered]


def _plain_entries(plain: Mapping[Path, set[int]], names: Mapping[int, str], notes: list[str]) -> list[Entry]:
    """One entry per value of files that do not name their values; values that may be mistakes are noted instead."""
    files = Counter(value for values in plain.values() for value in values)
    drawn = sum(bool(values) for values in plain.values())
    usable = {v for v, count in files.items() if 1 <= v <= 255 or (v > 255 and count >= COMMON * drawn)}
    strange = [
        f"{path} has values that cannot be classes (1 to 255): {first_few(sorted(values - usable))}."
        for path, values in plain.items()
        if values - usable
    ]
    notes += say_each("{}", strange)
    if strange:
        example = min(value for values in plain.values() for value in values - usable)
        notes.append(
            f'To use such labels, say in dataset.json what the values mean: "label_values": {{"{example}": 0}}; '
            "0 is background, other numbers are values of classes."
        )
    return [Entry(names.get(value, f"class {value}"), [value]) for value in sorted(usable)]


def _add_by_name(found: FoundClasses, entries: Iterable[Entry], taken: set[int]) -> None:
    """Add classes that files give by name: where values differ or are no class's, any will do."""
    for name, values, colour, terminology in entries:
        used = {c.value for c in found.classes}
        free = next((v for v in (*values, *_free(found, taken)) if 1 <= v <= 255 and v not in used), None)
        _add(found, name, free, colour, terminology)


def _add_by_value(found: FoundClasses, entries: Sequence[Entry], notes: list[str]) -> None:
    """Add classes that files give by value; values above 255 or below 0 get a class value that is free."""
    taken = {value for entry in entries for value in entry.values}
    changed = []
    for name, (value, *_), *_ in entries:
        same = next((c for c in found.classes if c.name == name), None)
        if means_ignore(name):
            found.ignore_value = value if found.ignore_value is None else found.ignore_value
            if value != found.ignore_value:
                found.label_values[value] = found.ignore_value
        elif same is not None:
            found.label_values[value] = same.value
            changed.append(f"{value} is the class {name!r} too")
        else:
            given = value if 1 <= value <= 255 else next(_free(found, taken), None)
            _add(found, name or f"class {value}", given)
            if given != value:
                found.label_values[value] = given
                changed.append(f"{value} is the class {name!r}, whose value is {given}")
    notes += say_each("In label files {} (label_values in dataset.json).", changed)


def _free(found: FoundClasses, taken: Collection[int]) -> Iterator[int]:
    """The class values that nothing has, the lowest first."""
    used = {c.value for c in found.classes}
    return (value for value in range(1, 256) if value not in taken and value not in used)


def _add(
    found: FoundClasses,
    name: str,
    value: int | None,
    colour: tuple[int, int, int] | None = None,
    terminology: str | None = None,
) -> None:
    """Add a class.

    Raises:
        InputError: there is no value left.
    """
    if value is None or len(found.classes) == MOST_CLASSES:
        raise InputError(
            f"The labels have more than {MOST_CLASSES} classes, which is the most that a model can have.",
            "Join some of them, or leave out labels that are none.",
        )
    found.classes.append(SegmentClass(name, value, colour or COLOURS[len(found.classes) % len(COLOURS)], terminology))
