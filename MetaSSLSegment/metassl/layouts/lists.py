"""A dataset.json that lists its files: Medical Segmentation Decathlon, MONAI and Auto3DSeg, nnU-Net 2."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..data.images import stem
from . import tree
from .channels import describe_channels
from .folder import FoundCase, Layout, Source, absolute, say_each, why_gone
from .naming import CHANNEL_NAME, equal_name, folder_kind
from .unlisted import add_unlisted

ACCEPTS = (
    'Medical Segmentation Decathlon, MONAI: dataset.json with the lists "training", "validation", "testing" or "test"\n'
    '  nnU-Net 2: dataset.json that lists its files as "dataset"'
)
MEASURED = {"training": False, "train": False, "validation": True, "val": True, "testing": True, "test": True}
"""Names of lists -> whether their labelled cases are for measuring."""
KEYS = (*MEASURED, "dataset")
IMAGE_KEYS = ("image", "images")
LABEL_KEYS = ("label", "labels", "mask", "seg", "segmentation")


def read_layout(source: Source) -> Layout | None:
    """The cases that dataset.json lists and that exist, and those that lie beside them; None when it lists none."""
    description = source.description
    if not any(isinstance(description.get(key), list | dict) and description[key] for key in KEYS):
        return None
    layout = Layout("a Medical Segmentation Decathlon task or MONAI list", channels=describe_channels(description))
    layout.described, layout.others = description.get("labels"), "dataset.json does not list them"
    beside = tree.read_layout(Source(source.contents))
    known = {path: case for case in beside.cases for path in case.files}
    where = f"listed in {source.described_in.name}"
    missing, without, strange, again = [], [], [], []
    seen = set()
    for name, entry, test in _entries(description):
        image, label = _files(entry, source.folder)
        if not image:
            strange.append(str(entry)[:100])
        elif tuple(image) in seen:
            again.append(str(image[0]))
        elif lost := [path for path in image if why_gone(path)]:
            missing.append(f"{lost[0]} is {where} but {why_gone(lost[0])}")
        else:
            seen.add(tuple(image))
            if label is not None and (why := why_gone(label)):
                without.append(f"{label} is {where} but {why}")
                label = None
            elif label is None and test:  # labelsTs beside imagesTs, which no list names
                label = _label_in_folder(known.get(image[0]), source.folder)
            layout.cases.append(FoundCase(name or "", dict(enumerate(image)), label, test))
    layout.notes += say_each("{}; the case is left out.", missing)
    layout.notes += say_each("{}; the case is unlabelled.", without)
    layout.notes += say_each(f"{{}} is {where} twice; the first place counts.", again)
    layout.notes += say_each(f"{{}}, {where}, names no image and is left out.", strange)
    _name_cases(layout, known)
    _count_channels(layout)
    if layout.cases:
        add_unlisted(layout, beside, source)
    return layout


def _entries(description: dict[str, Any]) -> Iterator[tuple[str | None, Any, bool]]:
    """Name, entry and whether it is for measuring, of every listed case."""
    listed = description.get("dataset")
    if isinstance(listed, dict):
        yield from ((str(name), entry, False) for name, entry in listed.items())
    elif isinstance(listed, list):
        yield from ((None, entry, False) for entry in listed)
    for key, test in MEASURED.items():
        entries = description.get(key)
        yield from ((None, entry, test) for entry in (entries if isinstance(entries, list) else ()))


def _files(entry: Any, folder: Path) -> tuple[list[Path], Path | None]:
    """The images of an entry, none when it cannot be understood, and its label."""
    if isinstance(entry, str):
        return [_path(entry, folder)], None
    if not isinstance(entry, dict):
        return [], None
    images = next((entry[key] for key in IMAGE_KEYS if entry.get(key)), [])
    label = next((entry[key] for key in LABEL_KEYS if entry.get(key)), None)
    images = [images] if isinstance(images, str) else images
    label = label[0] if isinstance(label, list) and len(label) == 1 else label
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        return [], None
    return [_path(image, folder) for image in images], _path(label, folder) if isinstance(label, str) else None


def _path(text: str, folder: Path) -> Path:
    """A listed path; it may have been written on Windows, and may name variables of the environment."""
    path = absolute(folder / os.path.expandvars(text))
    other = absolute(folder / os.path.expandvars(text).replace("\\", "/"))
    return other if why_gone(path) and not why_gone(other) else path


def _label_in_folder(case: FoundCase | None, folder: Path) -> Path | None:
    """The label of a case where it lies in a folder of labels."""
    if case is None or case.label is None:
        return None
    return case.label if folder_kind(case.label.relative_to(folder).parts[:-1])[0] == "label" else None


def _name_cases(layout: Layout, known: dict[Path, FoundCase]) -> None:
    """Name the cases that the list does not name: by file, by the way to it where files have equal names."""
    nameless = [case for case in layout.cases if not case.name]
    for case in nameless:
        case.name = _common_name([equal_name(stem(path)) for path in case.files])
    counts = Counter(case.name for case in layout.cases)
    for case in nameless:
        if counts[case.name] > 1 and case.files[0] in known:
            case.name = known[case.files[0]].name


def _common_name(names: list[str]) -> str:
    """The words that the names of all channels have in common: c0 of c0_t1 and c0_t2."""
    if len(names) == 1:
        match = CHANNEL_NAME.match(names[0])
        return match[1] if match and match[2] == "0000" else names[0]
    words = [re.split(r"([ ._-]+)", name) for name in names]
    common = [together[0] for together in zip(*words) if len(set(together)) == 1]
    return "".join(common).strip(" ._-") or names[0]


def _count_channels(layout: Layout) -> None:
    """Trust the lists where they name more files per case than the description has channels."""
    counts = {len(case.images) for case in layout.cases}
    if len(counts) == 1 and 1 < max(counts) != len(layout.channels) > 0:
        layout.notes.append(
            f"dataset.json names {len(layout.channels)} channel(s), but lists {max(counts)} images per case; they are "
            "called channel 1, channel 2 ..."
        )
        layout.channels = []
