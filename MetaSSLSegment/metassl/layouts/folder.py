"""What the layouts share: found cases, the volumes of a folder, and which label and which channels belong together."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.dataset import COLOURS, SegmentClass
from ..data.images import is_image_file, stem
from ..errors import InputError, first_few

LABEL_NAME = re.compile(r"[ ._-](seg|segmentation|label|labels|labelmap|mask)$", re.IGNORECASE)
CHANNEL_NAME = re.compile(r"(.+)_(\d{4})$")
Description = dict[str, Any]
"""The content of a layout's own dataset.json; empty when there is none."""


@dataclass
class FoundCase:
    """One case as a folder shows it.

    Attributes:
        name: unique once ``recognise_layout`` returns it.
        images: channel number -> file or DICOM folder; one file with several channels is named for each.
        label: the label file, or None.
        test: whether the layout keeps the case for testing.
    """

    name: str
    images: dict[int, Path]
    label: Path | None = None
    test: bool = False


@dataclass
class Layout:
    """What a folder says about itself.

    Attributes:
        name: of the layout, for people.
        cases: in the order of the folder.
        channels: names of the image channels; without a description empty until ``recognise_layout`` counts them.
        classes, ignore_value: as the layout's dataset.json says; empty and None without one.
        notes: sentences on what was decided or left out.
    """

    name: str
    cases: list[FoundCase] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    classes: list[SegmentClass] = field(default_factory=list)
    ignore_value: int | None = None
    notes: list[str] = field(default_factory=list)


def describe_layout(name: str, description: Description) -> Layout:
    """A layout without cases, with the channels and classes of its dataset.json (nnU-Net 1 and 2, Decathlon).

    Raises:
        InputError: they cannot be read.
    """
    channels = description.get("channel_names") or description.get("modality") or {}
    labels = description.get("labels") or {}
    layout = Layout(name)
    try:
        layout.channels = [str(channels[number]) for number in sorted(channels, key=int)]
        for key, value in labels.items():
            number, label = (int(key), str(value)) if re.fullmatch(r"\d+", key) else (_label_value(key, value), key)
            if label.casefold() == "ignore":
                layout.ignore_value = number
            elif number:
                colour = COLOURS[len(layout.classes) % len(COLOURS)]
                layout.classes.append(SegmentClass(label, number, colour))
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"dataset.json has channels or labels that MetaSSL cannot read: {json.dumps([channels, labels])[:300]}",
            'Write them as {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}}.',
        ) from error
    return layout


def _label_value(name: str, value: Any) -> int:
    if isinstance(value, list):
        raise InputError(
            f"dataset.json defines the label {name!r} as a region of several values {value}; MetaSSL needs one value "
            "per class.",
            "List every value as a class of its own, and combine the classes after segmenting.",
        )
    return int(value)


def find_folder(parent: Path, name: str) -> Path | None:
    """The sub-folder of that name, whatever its capitals."""
    return next((e for e in sorted(parent.iterdir()) if e.name.casefold() == name.casefold() and e.is_dir()), None)


def list_volumes(folder: Path | None, ending: str = "") -> list[Path]:
    """Volume files directly in a folder, sorted by name; none when there is no folder."""
    if folder is None:
        return []
    return sorted(p for p in folder.iterdir() if is_image_file(p) and p.name.lower().endswith(ending.lower()))


def is_label(file: Path) -> bool:
    """Whether a file is named like the label of another."""
    return file.name.lower().endswith(".seg.nrrd") or LABEL_NAME.search(stem(file)) is not None


def labels_by_image(files: Iterable[Path], notes: list[str]) -> dict[str, Path]:
    """The label files among ``files`` by the name of the image that they belong to."""
    labels: dict[str, Path] = {}
    for file in filter(is_label, files):
        image = LABEL_NAME.sub("", stem(file))
        if labels.setdefault(image, file) != file:
            notes.append(f"{image} has several labels; {labels[image]} is used, {file} is not.")
    return labels


def pair_files(images: list[Path], labels: dict[str, Path], notes: list[str], test: bool = False) -> list[FoundCase]:
    """Group image files into cases with channels (``_0000``) and give them the labels of the same name.

    A trailing ``_0001`` is part of the name, not a channel, when a label has it as well.
    """
    names = [stem(image) for image in images]
    suffixed = not any(name in labels for name in names) and any(name.endswith("_0000") for name in names)
    cases: dict[str, list[FoundCase]] = {}
    for image, name in zip(images, names):
        match = CHANNEL_NAME.match(name) if suffixed else None
        name, channel = (match[1], int(match[2])) if match else (name, 0)
        same_name = cases.setdefault(name, [])
        incomplete = next((case for case in same_name if channel not in case.images), None)
        if incomplete is None:
            same_name.append(FoundCase(name, {channel: image}, labels.get(name), test))
        else:
            incomplete.images[channel] = image
    note_lost_labels((label for name, label in labels.items() if name not in cases), notes)
    return [case for same_name in cases.values() for case in same_name]


def note_lost_labels(labels: Iterable[Path], notes: list[str]) -> None:
    """Say which label files belong to no image."""
    lost = sorted(label.name for label in labels)
    if lost:
        notes.append(f"{len(lost)} label(s) belong to no image and are not used: {first_few(lost)}.")
