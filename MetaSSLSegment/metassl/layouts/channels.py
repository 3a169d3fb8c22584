"""Which channels the cases of a layout have in common."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..data.images import open_source
from ..errors import InputError, first_few
from .folder import FoundCase, Layout, say_each
from .naming import file_name

MOST_STACKED = 8
"""A 4D file with more volumes is a time series and not a set of channels."""


def describe_channels(description: dict[str, Any]) -> list[str]:
    """The channel names of a foreign dataset.json: nnU-Net 1 and 2, Decathlon, MONAI; none when it has none.

    Raises:
        InputError: they cannot be read.
    """
    channels = description.get("channel_names") or description.get("modality") or {}
    try:
        if isinstance(channels, dict):
            return [str(channels[number]) for number in sorted(channels, key=int)]
        return [channels] if isinstance(channels, str) else [str(name) for name in channels]
    except (TypeError, ValueError) as error:
        raise InputError(
            f"dataset.json has channels or labels that MetaSSL cannot read: {json.dumps(channels)[:300]}",
            'Write them as {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}}.',
        ) from error


def complete_channels(layout: Layout, needed: int | None = None) -> None:
    """Name the channels, and leave out the cases that miss one.

    Args:
        layout: the cases.
        needed: channels that a model needs; files are grouped by it instead of looking into them.
    """
    if needed == 1 and not layout.channels:
        _ungroup(layout)
    elif needed is None and not layout.channels:
        _unstack(layout)
    numbers = set().union(*(case.images for case in layout.cases))
    expected = list(range(len(layout.channels) or needed or 0)) or _usual_channels(layout.cases)
    names = layout.channels or (["image"] if len(expected) == 1 else [f"channel {n + 1}" for n in expected])
    if numbers - set(expected):
        extra = ", ".join(f"_{n:04d}" for n in sorted(numbers - set(expected)))
        why = "most cases do not have" if needed is None else "the model does not need"
        why = "dataset.json does not name" if layout.channels else why
        layout.notes.append(f"Channels that {why} are not used: {extra}.")
        unused = [path.name for case in layout.cases for n, path in case.images.items() if n not in expected]
        layout.notes.append(f"Not used for that reason: {first_few(unused, 5)}.")
    complete, incomplete = [], []
    single = all(set(case.images) == {0} for case in layout.cases)
    for case in layout.cases:
        if single:  # a file may hold them all
            case.images = dict.fromkeys(range(needed or len(names)), case.images[0])
            complete.append(case)
        elif missing := [name for n, name in zip(expected, names) if n not in case.images]:
            incomplete.append(f"Case {case.name} lacks the channel(s) {', '.join(missing)}")
        else:
            case.images = {n: case.images[n] for n in expected}
            complete.append(case)
    layout.notes += say_each("{} and is left out.", incomplete)
    layout.cases, layout.channels = complete, names


def _ungroup(layout: Layout) -> None:
    """For a model with one channel, files called ``_0000``, ``_0001`` are cases of their own."""
    cases = []
    for case in layout.cases:
        if len(case.images) == 1:
            cases.append(case)
        else:
            above = case.name.removesuffix(_grouped_name(case))
            cases += [FoundCase(above + file_name(path), {0: path}, test=case.test) for path in case.files]
    layout.cases = cases


def _grouped_name(case: FoundCase) -> str:
    """The part of a case's name that its files' names have."""
    return file_name(case.files[0]).rpartition("_")[0]


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
        source = open_source(path)
    except InputError:
        return 0
    return source.components * (source.size[3] if len(source.size) == 4 else 1)
