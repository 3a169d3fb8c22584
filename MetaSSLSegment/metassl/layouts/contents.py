"""What lies below a folder, found by one walk, so that every volume can be accounted for."""

import os
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..data.formats.picture import PICTURES
from ..data.images import SUFFIXES
from .naming import folder_kind, is_label_name

OTHER_VOLUMES = (
    *(".mgz", ".mgh", ".hdr", ".img", ".img.gz", ".gipl", ".gipl.gz", ".mnc"),
    *(".vtk", ".vti"),
)
"""File name endings of volumes that MetaSSL names but does not read."""
DICOM = (".dcm", ".ima")
NO_DICOM = (
    *(".json", ".jsonl", ".txt", ".csv", ".tsv", ".md", ".xml", ".yaml", ".log", ".pdf", ".xlsx", ".html", ".py"),
    *(".npy", ".npz", ".pt", ".pth", ".zip", ".raw", ".zraw", ".bval", ".bvec", ".mrml", *PICTURES),
)
"""Endings of files that are not opened to see whether they are DICOM."""
DESCRIPTION = "dataset.json"


@dataclass
class Contents:
    """The volumes below a folder; hidden files and folders are not looked at.

    Attributes:
        folder: the folder, absolute.
        volumes: files that end like a volume, and the pictures that are taken for single slices, sorted.
        series: folders that hold DICOM files directly, sorted.
        nested: folders with a dataset.json of their own, and how many volumes lie below each.
        unusable: why something cannot be opened -> files and folders of which that is true.
        pictures: all of them, PNG, JPEG ...
    """

    folder: Path
    volumes: list[Path] = field(default_factory=list)
    series: list[Path] = field(default_factory=list)
    nested: dict[Path, int] = field(default_factory=dict)
    unusable: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    pictures: list[Path] = field(default_factory=list)

    def shown(self, path: Path) -> str:
        """The path below the folder, for a message."""
        relative = path.relative_to(self.folder) if path.is_relative_to(self.folder) else path
        return printable(relative.as_posix())


def printable(text: str) -> str:
    """The text with the bytes that are not UTF-8 written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def is_utf8(path: Path | str) -> bool:
    """Whether a path can be stored and opened: file systems take any bytes, JSON and SimpleITK do not."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def look_through(folder: Path) -> Contents:
    """Find every volume below a folder.

    Links are followed, folders nearer to the top first; what was met under another name already is not entered again.
    """
    contents = Contents(folder)
    waiting: deque[tuple[Path, Path | None]] = deque([(folder, None)])
    seen = set()
    while waiting:
        here, nested = waiting.popleft()
        if (real := os.path.realpath(here)) in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            contents.unusable[f"it cannot be opened ({error.strerror})"].append(here)
            continue
        if here != folder and nested is None and any(entry.name == DESCRIPTION for entry in entries):
            nested = here
        files = []
        for entry in entries:
            path = here / entry.name
            if entry.name.startswith("."):
                continue
            if not is_utf8(entry.name):
                if _ask(entry.is_dir) or entry.name.lower().endswith(SUFFIXES):
                    contents.unusable["the name is not UTF-8 (rename it)"].append(path)
            elif _ask(entry.is_dir):
                waiting.append((path, nested))
            elif _ask(entry.is_file):
                files.append(path)
            elif entry.name.lower().endswith(SUFFIXES):
                what = "it is a link to nothing" if entry.is_symlink() else "it is no ordinary file"
                contents.unusable[what].append(path)
        _sort_files(contents, here, files, nested)
    _take_pictures(contents)
    contents.volumes.sort()
    contents.series.sort()
    return contents


def _sort_files(contents: Contents, here: Path, files: list[Path], nested: Path | None) -> None:
    volumes = [path for path in files if path.name.lower().endswith(SUFFIXES)]
    series = any(_is_dicom(path) for path in files)
    if nested is not None:
        contents.nested[nested] = contents.nested.get(nested, 0) + len(volumes) + series
        return
    contents.volumes += volumes
    contents.series += [here] if series else []
    contents.pictures += [path for path in files if path.name.lower().endswith(PICTURES)]
    if other := [path for path in files if path.name.lower().endswith(OTHER_VOLUMES)]:
        contents.unusable["MetaSSL does not read this format (convert it to NIfTI or NRRD)"] += other


def _take_pictures(contents: Contents) -> None:
    """Take pictures for single slices where no volumes are, or where both lie in folders of images.

    A screenshot beside volumes is no case.
    """

    def kind(path: Path) -> str:
        return folder_kind(path.relative_to(contents.folder).parts[:-1])[0]

    images = [path for path in contents.volumes if kind(path) != "label" and not is_label_name(path)]
    taken = contents.pictures
    if images or contents.series:
        both = all("image" in map(kind, paths) for paths in (images, contents.pictures))
        taken = [path for path in contents.pictures if kind(path)] if both else []
    contents.volumes += taken
    if left := [path for path in contents.pictures if path not in set(taken)]:
        contents.unusable["pictures among volumes are no cases (put them into a folder of their own)"] += left


def _ask(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:
        return False


def _is_dicom(path: Path) -> bool:
    """Whether a file starts like DICOM part 10, 128 bytes, then DICM, or is at least called so."""
    name = path.name.lower()
    if name.endswith(DICOM):
        return True
    if name == "dicomdir" or name.endswith((*SUFFIXES, *OTHER_VOLUMES, *NO_DICOM)):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
