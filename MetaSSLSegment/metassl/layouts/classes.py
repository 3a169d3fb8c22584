"""The classes of label files, where no description names them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ..data.dataset import COLOURS, SegmentClass
from ..data.images import read_header
from ..data.labels import label_values
from ..data.segmentations import Segment, name_key, read_segments
from ..errors import InputError, first_few
from .folder import Layout


def find_classes(layout: Layout, progress: Callable[[int, int, str], None] | None = None) -> list[SegmentClass]:
    """The classes that the label files name (.seg.nrrd) or hold as values; what cannot be used is noted.

    Args:
        layout: the cases.
        progress: called with (labels read, number of labels, case).

    Raises:
        InputError: segments of different files contradict each other.
    """
    labels = [(case.name, case.label) for case in layout.cases if case.label is not None]
    segments: dict[Path, list[Segment]] = {}
    values: set[int] = set()
    for done, (name, label) in enumerate(labels, 1):
        try:
            segments[label] = read_segments(read_header(label), label) if label.is_file() else []
            found = set() if segments[label] else label_values(label)
            values |= {value for value in found if 1 <= value <= 255}
            if outside := sorted(value for value in found if not 1 <= value <= 255):
                layout.notes.append(f"{label} has values that cannot be classes (1 to 255): {first_few(outside)}.")
        except InputError as error:
            layout.notes.append(f"{error} It was not used to find the classes.")
        if progress is not None:
            progress(done, len(labels), name)
    classes = _segment_classes(segments)
    for value in sorted(values - {c.value for c in classes}):
        classes.append(SegmentClass(f"class {value}", value, COLOURS[len(classes) % len(COLOURS)]))
    return classes


def _segment_classes(segments: Mapping[Path, list[Segment]]) -> list[SegmentClass]:
    """One class per segment name.

    Layers of one file may use the same value for two names: labels are read by name, so such a class takes a free one.

    Raises:
        InputError: two files give one name different values, or one value different names.
    """
    classes: dict[str, tuple[Path, Segment]] = {}
    by_value: dict[int, tuple[Path, Segment]] = {}
    layered = []
    for path, listed in segments.items():
        if any(segment.layer for segment in listed):
            layered += [(path, segment) for segment in listed]
            continue
        for segment in listed:
            same_name = classes.setdefault(name_key(segment.name), (path, segment))
            same_value = by_value.setdefault(segment.value, (path, segment))
            for other_path, other in (same_name, same_value):
                if (name_key(other.name), other.value) != (name_key(segment.name), segment.value):
                    raise InputError(
                        f"{other_path} has the segment {other.name!r} with the value {other.value}, {path} has "
                        f"{segment.name!r} with the value {segment.value}; a class has one name and one value in "
                        "all files.",
                        "Export the segmentations as labelmaps with one colour table for all cases.",
                    )
    for path, segment in layered:
        if name_key(segment.name) not in classes:
            free = next(v for v in (segment.value, *range(1, 256)) if v not in by_value)
            classes[name_key(segment.name)] = by_value[free] = path, replace(segment, value=free)
    found = sorted((segment for _, segment in classes.values()), key=lambda segment: segment.value)
    return [
        SegmentClass(s.name.strip(), s.value, s.colour or COLOURS[n % len(COLOURS)], s.terminology)
        for n, s in enumerate(found)
    ]
