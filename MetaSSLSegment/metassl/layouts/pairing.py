"""Which label belongs to which case."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import takewhile
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
    folders = zip(*(place[1:-1] for place, _ in placed))
    shared = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, folders))
    # folders that all images have in common say nothing, in dicom/patient1/study/series and labels/patient1 "dicom"
    shorter = [_Places([((place[0], *place[1 + n :]), case) for place, case in placed]) for n in range(shared + 1)]
    several = []
    for label, (above, *names) in sorted(labels.items()):
        ways = [(*above, name) if name else above for name in dict.fromkeys(names)]
        cases = next((cases for places in shorter if (cases := places.at(label, ways))), [])
        if cases and all(case.label is None for case in cases):
            for case in cases:
                case.label = label
        elif cases:
            several.append(f"{cases[0].name} has several labels; {cases[0].label} is used, {label} is not")
            layout.said.add(label)
    layout.notes += say_each("{}.", several)


class _Places:
    """The cases by their places."""

    def __init__(self, placed: list[tuple[Place, FoundCase]]):
        self._placed = placed
        self._exact = defaultdict(list)
        for place, case in placed:
            self._exact[place].append(case)

    def at(self, label: Path, ways: list[Place]) -> list[FoundCase]:
        """The cases in the place of a label, else the only one near it."""
        return next((self._exact[way] for way in ways if way in self._exact), None) or self._only_near(label, ways)

    def _only_near(self, label: Path, ways: list[Place]) -> list[FoundCase]:
        """The only case of that name in a folder below, or below the place itself; or whose series the label is in."""
        for way in ways:
            *above, name = way[1:] or ("",)
            same = [
                case
                for place, case in self._placed
                if place[1 : 1 + len(above)] == tuple(above) and name in (place[-1], IMAGE_NAME.sub("", place[-1]))
            ]
            below = [case for place, case in self._placed if place[1 : len(way)] == way[1:] and len(place) > len(way)]
            inside = [case for _, case in self._placed if label.parent in case.images.values()]
            for found in (same, below, inside):
                if len(found) == 1:
                    return found
        return []
