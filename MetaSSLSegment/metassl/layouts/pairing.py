"""Which label belongs to which case."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from .folder import FoundCase, Layout, say_each
from .naming import IMAGE_NAME

Place = tuple[str, ...]
"""Part of the data set, then the folders and the name on the way to a case."""


def give_labels(
    placed: list[tuple[Place, FoundCase]], labels: Mapping[Path, tuple[Place, str, str]], layout: Layout
) -> None:
    """Give every label to the case that its place tells; what belongs to none is left for the account.

    Args:
        placed: the cases.
        labels: file -> part and folders, its name, and its name without the word that says "label".
        layout: where it is noted that a case has several labels.
    """
    exact = defaultdict(list)
    for place, case in placed:
        exact[place].append(case)
    several = []
    for label, (above, *names) in sorted(labels.items()):
        ways = [(*above, name) if name else above for name in dict.fromkeys(names)]
        cases = next((exact[way] for way in ways if exact.get(way)), None) or _only_near(label, ways, placed)
        if cases and all(case.label is None for case in cases):
            for case in cases:
                case.label = label
        elif cases:
            several.append(f"{cases[0].name} has several labels; {cases[0].label} is used, {label} is not")
            layout.said.add(label)
    layout.notes += say_each("{}.", several)


def _only_near(label: Path, ways: list[Place], placed: list[tuple[Place, FoundCase]]) -> list[FoundCase]:
    """The only case of the label's name in a folder below, or below the place itself; or whose series it lies in."""
    for way in ways:
        *above, name = way[1:] or ("",)
        same = [
            case
            for place, case in placed
            if place[1 : 1 + len(above)] == tuple(above) and name in (place[-1], IMAGE_NAME.sub("", place[-1]))
        ]
        below = [case for place, case in placed if place[1 : len(way)] == way[1:] and len(place) > len(way)]
        inside = [case for _, case in placed if label.parent in case.images.values()]
        for found in (same, below, inside):
            if len(found) == 1:
                return found
    return []
