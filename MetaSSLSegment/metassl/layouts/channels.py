"""Which channels the cases of a layout have in common."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ..data.images import read_header
from ..errors import InputError
from .folder import FoundCase, Layout

MOST_STACKED = 8
"""A 4D file with more volumes is a time series and not a set of channels."""


def complete_channels(layout: Layout) -> None:
    """Name the channels, and leave out the cases that miss one."""
    if not layout.channels:
        _unstack(layout)
    numbers = set().union(*(case.images for case in layout.cases))
    expected = list(range(len(layout.channels))) or _usual_channels(layout.cases)
    names = layout.channels or (["image"] if len(expected) == 1 else [f"channel {n + 1}" for n in expected])
    if numbers - set(expected):
        extra = ", ".join(f"_{n:04d}" for n in sorted(numbers - set(expected)))
        why = "dataset.json does not name" if layout.channels else "most cases do not have"
        layout.notes.append(f"Channels that {why} are not used: {extra}.")
    complete = []
    for case in layout.cases:
        missing = [name for n, name in zip(expected, names) if n not in case.images]
        if missing:
            layout.notes.append(f"Case {case.name} lacks the channel(s) {', '.join(missing)} and is left out.")
        else:
            case.images = {n: case.images[n] for n in expected}
            complete.append(case)
    layout.cases, layout.channels = complete, names


def _usual_channels(cases: Iterable[FoundCase]) -> list[int]:
    """The set of channel numbers that most cases have; of equally frequent ones the largest."""
    sets = Counter(frozenset(case.images) for case in cases)
    return sorted(max(sets, key=lambda numbers: (sets[numbers], len(numbers))))


def _unstack(layout: Layout) -> None:
    """When every case is one 4D file with equally many volumes, these are its channels: name the file for each."""
    if any(len(case.images) != 1 for case in layout.cases):
        return
    counts = {_volume_count(path) for case in layout.cases for path in case.images.values()} - {0}
    if len(counts) == 1 and 1 < (count := counts.pop()) <= MOST_STACKED:
        for case in layout.cases:
            case.images = dict.fromkeys(range(count), *case.images.values())
        layout.notes.append(f"Every image file holds {count} volumes; they are read as {count} channels.")


def _volume_count(path: Path) -> int:
    """Number of volumes in a file by its header, 0 when it cannot be read (checking will say so)."""
    if path.is_dir():
        return 1
    try:
        header = read_header(path)
    except InputError:
        return 0
    return header.GetNumberOfComponents() * (header.GetSize()[3] if header.GetDimension() == 4 else 1)
