"""Making a data set from a folder: recognising how its files are laid out."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..data.dataset import COLOURS, Case, Dataset, SegmentClass, unique_names
from ..data.images import dicom_series, is_image_file, read_header, stem
from ..data.reading import label_values
from ..data.roles import choose_roles
from ..data.segmentations import Segment, name_key, read_segments
from ..errors import InputError, first_few
from ..files import read_json

LAYOUTS = """accepted layouts:
  nnU-Net raw: imagesTr/ labelsTr/ [imagesTs/ labelsTs/ dataset.json], images named CASE_0000.nii.gz
  Medical Segmentation Decathlon: dataset.json with the lists "training" and "test"
  images/ and labels/ with equal file names (an image without a label is unlabelled)
  a folder of volumes with labels named like the image: CASE_seg.nii.gz, CASE-label.nrrd, CASE.seg.nrrd
  DICOM: one series per sub-folder, a label beside it named like it: NAME.seg.nrrd, NAME_seg.nii.gz"""
LABEL_NAME = re.compile(r"[ ._-](seg|segmentation|label|labels|labelmap|mask)$", re.IGNORECASE)
CHANNEL_NAME = re.compile(r"(.+)_(\d{4})$")
MOST_STACKED = 8
"""A 4D file with more volumes is a time series and not a set of channels."""

Progress = Callable[[int, int, str], None]


@dataclass
class _Found:
    """One case as the folder shows it: ``images`` by channel number."""

    name: str
    images: dict[int, Path]
    label: Path | None = None
    test: bool = False


@dataclass
class _Layout:
    """What a layout says: cases, and channels and classes where it has a description of them."""

    name: str
    cases: list[_Found]
    channels: list[str] = field(default_factory=list)
    classes: list[SegmentClass] = field(default_factory=list)
    ignore_value: int | None = None
    notes: list[str] = field(default_factory=list)


def prepare(
    source: Path | str,
    *,
    name: str | None = None,
    roles: Mapping[str, Sequence[str]] | None = None,
    progress: Progress | None = None,
) -> tuple[Dataset, list[str]]:
    """Make a data set from a folder in one of ``LAYOUTS``; nothing is written.

    Cases with a label are labelled, test cases with a label are hold-out cases, the others are unlabelled, unless
    ``roles`` says otherwise. Classes come from the layout's dataset.json, else from the segments of .seg.nrrd files,
    else from the values in the label files.

    Args:
        source: the folder; for nnU-Net and the Decathlon also its dataset.json.
        name: of the data set; the folder's name when None.
        roles: role -> selectors, see ``roles.choose_roles``.
        progress: called with (labels read, number of labels, case) while label files are read to find the classes.

    Returns:
        The data set, and sentences on what was decided or left out.

    Raises:
        InputError: unknown layout, nothing usable in it, or a selector that fits no case.
    """
    source = Path(source).absolute()
    if not source.exists():
        raise InputError(f"{source} does not exist.", "Check the path.")
    folder = source if source.is_dir() else source.parent
    layout = _recognise(folder, _description(source))
    channels = _complete(layout)
    if not layout.cases:
        raise InputError(f"{source}: no case is left. {' '.join(layout.notes)}", LAYOUTS)
    if not layout.classes:
        layout.classes = _find_classes(layout, progress)
    if not layout.classes:
        raise InputError(
            f"{source}: no class was found in {sum(c.label is not None for c in layout.cases)} label file(s). "
            + " ".join(layout.notes),
            "At least one case needs a label with whole numbers from 1 to 255.\n" + LAYOUTS,
        )
    cases = tuple(
        Case(
            id=case_id,
            images=tuple(str(found.images[channel]) for channel in sorted(found.images)),
            label=None if found.label is None else str(found.label),
            role="unlabelled" if found.label is None else "hold-out" if found.test else "labelled",
        )
        for case_id, found in zip(unique_names((case.name for case in layout.cases), longest=200), layout.cases)
    )
    notes = [f"{source} is read as {layout.name}.", *layout.notes, *_test_notes(cases, layout.cases)]
    if roles:
        cases, decided = choose_roles(cases, roles)
        notes += decided
    dataset = Dataset(name or folder.name, tuple(channels), tuple(layout.classes), cases, layout.ignore_value)
    return dataset, list(dict.fromkeys(notes))


def _description(source: Path) -> dict[str, Any]:
    """The layout's own dataset.json, empty when there is none (or only one that MetaSSL wrote there)."""
    path = source / "dataset.json" if source.is_dir() else source
    if source.is_dir() and not path.is_file():
        return {}
    if path.suffix.lower() != ".json":
        raise InputError(f"{source} is a file.", "Give the folder that holds the cases.\n" + LAYOUTS)
    content = read_json(path)
    if not isinstance(content, dict) or "cases" in content:
        return {}
    return content


def _recognise(folder: Path, description: dict[str, Any]) -> _Layout:
    notes = []
    for read in (_decathlon, _nnunet, _images_and_labels, _dicom, _flat):
        layout = read(folder, description)
        if layout is not None and layout.cases:
            return layout
        notes += layout.notes if layout is not None else []
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    shown = ", ".join(entry.name + ("/" if entry.is_dir() else "") for entry in entries[:8])
    more = f" and {len(entries) - 8} more" if len(entries) > 8 else ""
    found = f"{folder} has no layout that MetaSSL knows; it holds: {shown or 'nothing'}{more}."
    raise InputError(" ".join([found, *notes]), LAYOUTS)


def _decathlon(folder: Path, description: dict[str, Any]) -> _Layout | None:
    """Medical Segmentation Decathlon: a list of training pairs; several channels are stacked in one 4D file."""
    training = description.get("training")
    if not isinstance(training, list):
        return None
    layout = _described("a Medical Segmentation Decathlon task", description)
    test_labels = {stem(path): path for path in _volumes(_folder(folder, "labelsTs"))}
    for entry in training:
        if isinstance(entry, dict) and "image" in entry:
            label = folder / str(entry["label"]) if entry.get("label") else None
            _add_listed(layout, folder / str(entry["image"]), label, test=False)
    for entry in description.get("test") or []:
        image = folder / str(entry["image"] if isinstance(entry, dict) else entry)
        _add_listed(layout, image, test_labels.get(stem(image)), test=True)
    return layout


def _add_listed(layout: _Layout, image: Path, label: Path | None, test: bool) -> None:
    """Add a case that dataset.json lists, when its files exist."""
    if not image.is_file():
        layout.notes.append(f"{image} is listed in dataset.json but does not exist; the case is left out.")
        return
    if label is not None and not label.is_file():
        layout.notes.append(f"{label} is listed in dataset.json but does not exist; the case is unlabelled.")
        label = None
    images = dict.fromkeys(range(max(1, len(layout.channels))), image)
    layout.cases.append(_Found(stem(image), images, label, test))


def _nnunet(folder: Path, description: dict[str, Any]) -> _Layout | None:
    training = _folder(folder, "imagesTr")
    if training is None:
        return None
    layout = _described("an nnU-Net raw data set", description)
    ending = str(description.get("file_ending", ""))
    parts = [
        (_volumes(_folder(folder, f"images{part}"), ending), _volumes(_folder(folder, f"labels{part}"), ending))
        for part in ("Tr", "Ts")
    ]
    if ending and not parts[0][0]:
        raise InputError(
            f"{training} holds no volume that ends with {ending}, the file_ending of its dataset.json.",
            "MetaSSL reads NIfTI, NRRD and MetaImage volumes; convert other formats.",
        )
    for (images, labels), test in zip(parts, (False, True)):
        layout.cases += _pair(images, {stem(path): path for path in labels}, layout.notes, test)
    return layout


def _images_and_labels(folder: Path, description: dict[str, Any]) -> _Layout | None:
    images, labels = _folder(folder, "images"), _folder(folder, "labels")
    if images is None or labels is None:
        return None
    layout = _described("images/ and labels/", description)
    layout.cases = _pair(_volumes(images), {stem(path): path for path in _volumes(labels)}, layout.notes)
    return layout


def _flat(folder: Path, description: dict[str, Any]) -> _Layout | None:
    files = _volumes(folder)
    layout = _described("a folder of volumes", description)
    labels = _named_labels(files, layout.notes)
    layout.cases = _pair([file for file in files if not _is_label(file)], labels, layout.notes)
    return layout


def _dicom(folder: Path, description: dict[str, Any]) -> _Layout | None:
    """Sub-folders with one DICOM series each; a label beside the folder, or beside one that holds nothing else."""
    layout = _described("a folder of DICOM series", description)
    levels: dict[Path, list[Path]] = {}  # series -> its folder and those above it, below the source
    for path in _dicom_folders(folder):
        count = len(dicom_series(path))
        if count == 1:
            levels[path] = [level for level in (path, *path.parents) if folder in level.parents]
        else:
            layout.notes.append(f"{path} holds {count} DICOM series, expected one per folder; it is left out.")
    series_in = Counter(level for above in levels.values() for level in above)
    labels = {parent: _named_labels(_volumes(parent), layout.notes) for parent in {level.parent for level in series_in}}
    for path, above in levels.items():
        beside = [labels[level.parent].get(level.name) for level in above if series_in[level] == 1]
        name = "_".join(path.relative_to(folder).parts) or path.name
        layout.cases.append(_Found(name, {0: path}, next((label for label in beside if label), None)))
    every_label = {label for named in labels.values() for label in named.values()}
    _note_lost_labels(every_label - {case.label for case in layout.cases}, layout.notes)
    return layout


def _dicom_folders(folder: Path) -> list[Path]:
    """All folders below ``folder``, itself included, that hold DICOM files directly; links to folders are followed."""
    found, seen = [], set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if real not in seen else []
        if real not in seen and any(_is_dicom(Path(root, name)) for name in files):
            found.append(Path(root))
        seen.add(real)
    return found


def _is_dicom(path: Path) -> bool:
    """Whether a file starts like DICOM part 10: 128 bytes, then DICM."""
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR" or is_image_file(path):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _folder(parent: Path, name: str) -> Path | None:
    """The sub-folder of that name, whatever its capitals."""
    return next((e for e in sorted(parent.iterdir()) if e.name.casefold() == name.casefold() and e.is_dir()), None)


def _volumes(folder: Path | None, ending: str = "") -> list[Path]:
    """Volume files directly in a folder, sorted by name."""
    if folder is None:
        return []
    return sorted(p for p in folder.iterdir() if is_image_file(p) and p.name.lower().endswith(ending.lower()))


def _is_label(file: Path) -> bool:
    return file.name.lower().endswith(".seg.nrrd") or LABEL_NAME.search(stem(file)) is not None


def _named_labels(files: Iterable[Path], notes: list[str]) -> dict[str, Path]:
    """Label files by the name of the image that they belong to."""
    labels: dict[str, Path] = {}
    for file in files:
        if _is_label(file):
            image = LABEL_NAME.sub("", stem(file))
            if labels.setdefault(image, file) != file:
                notes.append(f"{image} has several labels; {labels[image]} is used, {file} is not.")
    return labels


def _pair(images: list[Path], labels: dict[str, Path], notes: list[str], test: bool = False) -> list[_Found]:
    """Group image files into cases with channels (``_0000``) and give them the labels of the same name.

    A trailing ``_0001`` is part of the name, not a channel, when a label has it as well.
    """
    names = [stem(image) for image in images]
    suffixed = not any(name in labels for name in names) and any(name.endswith("_0000") for name in names)
    cases: dict[str, list[_Found]] = {}
    for image, name in zip(images, names):
        match = CHANNEL_NAME.match(name) if suffixed else None
        name, channel = (match[1], int(match[2])) if match else (name, 0)
        same_name = cases.setdefault(name, [])
        incomplete = next((case for case in same_name if channel not in case.images), None)
        if incomplete is None:
            same_name.append(_Found(name, {channel: image}, labels.get(name), test))
        else:
            incomplete.images[channel] = image
    _note_lost_labels({label for name, label in labels.items() if name not in cases}, notes)
    return [case for same_name in cases.values() for case in same_name]


def _note_lost_labels(labels: Iterable[Path], notes: list[str]) -> None:
    lost = sorted(label.name for label in labels)
    if lost:
        notes.append(f"{len(lost)} label(s) belong to no image and are not used: {first_few(lost)}.")


def _complete(layout: _Layout) -> list[str]:
    """Leave out the cases that miss a channel; returns the names of the channels."""
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
            layout.notes.append(f"Case {case.name} misses the channel(s) {', '.join(missing)} and is left out.")
        else:
            case.images = {n: case.images[n] for n in expected}
            complete.append(case)
    layout.cases = complete
    return names


def _usual_channels(cases: Iterable[_Found]) -> list[int]:
    """The set of channel numbers that most cases have; of equally frequent ones the largest."""
    sets = Counter(frozenset(case.images) for case in cases)
    return sorted(max(sets, key=lambda numbers: (sets[numbers], len(numbers))))


def _unstack(layout: _Layout) -> None:
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


def _described(name: str, description: dict[str, Any]) -> _Layout:
    """A layout with the channels and classes of its dataset.json (nnU-Net 1 and 2, Decathlon)."""
    channels = description.get("channel_names") or description.get("modality") or {}
    labels = description.get("labels") or {}
    layout = _Layout(name, [])
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


def _find_classes(layout: _Layout, progress: Progress | None) -> list[SegmentClass]:
    """The classes that the label files name (.seg.nrrd) or hold as values."""
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


def _test_notes(cases: Sequence[Case], found: Sequence[_Found]) -> list[str]:
    test = [case for case, source in zip(cases, found) if source.test]
    held_out = sum(case.role == "hold-out" for case in test)
    notes = []
    if held_out:
        notes.append(f"{held_out} test case(s) with a label are hold-out cases: they only measure.")
    if len(test) > held_out:
        notes.append(f"{len(test) - held_out} test case(s) without a label are used as unlabelled cases.")
    return notes
