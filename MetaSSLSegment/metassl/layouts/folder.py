"""What the layouts share: found cases, and which channels of which image belong together."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.dataset import Case, SegmentClass
from ..errors import first_few
from .contents import Contents
from .naming import CHANNEL_NAME, file_name

MOST_LINES = 3
"""Findings of one kind that get a note each."""


@dataclass
class FoundCase:
    """One case as a folder shows it.

    Attributes:
        name: unique once ``recognise_layout`` returns it.
        images: channel number -> file or DICOM folder; one file with several channels is named for each.
        label: the label file, or None.
        test: whether the layout keeps the case for testing or validation.
        fixed_role: the role that the folder states, or None: then ``role`` follows from label and test.
    """

    name: str
    images: dict[int, Path]
    label: Path | None = None
    test: bool = False
    fixed_role: str | None = None

    @property
    def role(self) -> str:
        """What the case is for."""
        if self.fixed_role is not None:
            return self.fixed_role
        return "unlabelled" if self.label is None else "hold-out" if self.test else "labelled"

    @property
    def files(self) -> list[Path]:
        """The images by channel."""
        return [self.images[channel] for channel in sorted(self.images)]


@dataclass
class Layout:
    """What a folder says about itself.

    Attributes:
        name: of the layout, for people.
        title: of the data set, empty when nothing says it.
        cases: in the order of the folder.
        channels: names of the image channels; without a description empty until ``recognise_layout`` counts them.
        described: the labels of a foreign dataset.json as they stand there.
        classes, ignore_value, label_values, intensities: what MetaSSL's own dataset.json says; empty without one.
        notes: sentences on what was decided or left out.
        said: files that are no case, but that a note names already.
        others: why other volumes are no cases.
    """

    name: str
    title: str = ""
    cases: list[FoundCase] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    described: Any = None
    classes: list[SegmentClass] = field(default_factory=list)
    ignore_value: int | None = None
    label_values: dict[int, int] = field(default_factory=dict)
    intensities: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    said: set[Path] = field(default_factory=set)
    others: str = "they lie in no folder of images"


@dataclass(frozen=True)
class Source:
    """What the layouts look at.

    Attributes:
        contents: what lies below the folder.
        description: the content of the folder's dataset.json; empty when there is none.
        described_in: the path of that file, or None.
        asked_for: whether that file was given instead of the folder.
        damage: why the folder's dataset.json is not used, empty when it is or there is none.
    """

    contents: Contents
    description: dict[str, Any] = field(default_factory=dict)
    described_in: Path | None = None
    asked_for: bool = False
    damage: str = ""

    @property
    def folder(self) -> Path:
        """The folder, absolute."""
        return self.contents.folder


def absolute(path: Path | str) -> Path:
    """The path without "." and "..", so that equal paths are equal; links are not followed."""
    return Path(os.path.abspath(path))


def why_gone(path: Path) -> str:
    """Why there is nothing at a path, as the end of a sentence that names it; empty when there is something."""
    try:
        os.stat(path)
    except PermissionError as error:
        return f"cannot be opened ({error.strerror})"
    except (OSError, ValueError):  # also of a path that no file can have
        return "does not exist"
    return ""


def found_case(case: Case, name: str = "") -> FoundCase:
    """A case of a data set as if a folder showed it, under another name if one is given."""
    images = {channel: absolute(path) for channel, path in enumerate(case.images)}
    label = None if case.label is None else absolute(case.label)
    return FoundCase(name or case.id, images, label, fixed_role=case.role)


def say_each(sentence: str, items: Sequence[str], most: int = MOST_LINES) -> list[str]:
    """The sentence with each item in place of ``{}``; of many items the first, then the others in one line."""
    if len(items) <= most:
        return [sentence.replace("{}", item) for item in items]
    return [sentence.replace("{}", items[0]), f"The same holds for {len(items) - 1} more: {first_few(items[1:])}."]


def group_channels(images: Sequence[Path], labelled: Collection[str] = (), test: bool = False) -> list[FoundCase]:
    """Group the image files of one folder into cases with channels (``_0000``).

    A trailing ``_0001`` is part of the name, not a channel, where more labels have it than have not.

    Args:
        images: files of one folder.
        labelled: names of the labels that may belong to them.
        test: see ``FoundCase``.
    """
    names = [file_name(image) for image in images]
    plain = sum(name in labelled for name in set(names))
    stripped = {match[1] for match in map(CHANNEL_NAME.match, names) if match}
    suffixed = any(name.endswith("_0000") for name in names) and sum(n in labelled for n in stripped) >= plain
    cases: dict[str, list[FoundCase]] = {}
    for image, name in zip(images, names):
        match = CHANNEL_NAME.match(name) if suffixed else None
        name, channel = (match[1], int(match[2])) if match else (name, 0)
        same_name = cases.setdefault(name, [])
        incomplete = next((case for case in same_name if channel not in case.images), None)
        if incomplete is None:
            same_name.append(FoundCase(name, {channel: image}, test=test))
        else:
            incomplete.images[channel] = image
    return [case for same_name in cases.values() for case in same_name]
