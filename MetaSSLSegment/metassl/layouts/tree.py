"""Volumes and DICOM series as they lie in folders: whatever no list of files describes.

One rule pairs labels with images: both have a *place*, the way to the file without words that only say "image" or
"label". imagesTr/a_0000.nii.gz and labelsTr/a.nii.gz: a; p1/ct/ (DICOM), p1/ct_seg.nrrd and p1/labels/ct.nrrd: p1, ct.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from ..data.images import dicom_series
from ..errors import InputError
from .channels import describe_channels
from .contents import Contents
from .folder import FoundCase, Layout, Source, group_channels, say_each
from .naming import (
    IMAGE_FOLDER,
    MEASURED,
    equal_name,
    file_name,
    folder_kind,
    is_label_name,
    is_result,
    label_of,
    plain_folders,
)
from .pairing import Place, give_labels

ACCEPTS = "\n  ".join(
    (
        "nnU-Net raw: imagesTr/ labelsTr/ [imagesTs/ labelsTs/ dataset.json], images named CASE_0000.nii.gz",
        "images/ and labels/ with equal file names (an image without a label is unlabelled); also pictures, PNG ...",
        "DICOM: one series per sub-folder, a label beside it named like it: NAME.seg.nrrd, NAME_seg.nii.gz",
        "a folder of volumes with labels named like the image: CASE_seg.nii.gz, CASE-label.nrrd, CASE.seg.nrrd",
    )
)


@dataclass(frozen=True)
class Sorted:
    """The volumes of a folder by what their names say.

    Attributes:
        images, labels: as it says.
        structured: whether there are folders for images (images, imagesTr ...); then other volumes are no images.
    """

    images: list[Path]
    labels: list[Path]
    structured: bool


def read_layout(source: Source) -> Layout:
    """One case for every volume that is no label and every DICOM series, however deep."""
    contents, files = source.contents, sort_files(source.contents)
    layout = Layout("", channels=describe_channels(source.description), described=source.description.get("labels"))
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in _with_ending(files.images, str(source.description.get("file_ending") or ""), layout):
        by_folder[path.parent].append(path)
    labels = {label: (_folders(label, contents), file_name(label), label_of(label)) for label in files.labels}
    drawn = defaultdict(set)
    for above, *names in labels.values():
        drawn[above].update(names)
    placed: list[tuple[Place, FoundCase]] = []
    for listed in by_folder.values():
        above = _folders(listed[0], contents)
        cases = group_channels(listed, drawn[above], test=above[0] in MEASURED)
        placed += [((*above, case.name), case) for case in cases]
    for path in _series(contents, layout):
        placed.append(((*_folders(path, contents), equal_name(path.name)), FoundCase("", {0: path})))
    for place, case in placed:
        case.name = "_".join(place[1:])
        layout.cases.append(case)
    give_labels(placed, labels, layout)
    layout.name = _name(layout, contents, files.structured)
    _note_depths(layout, contents, files.structured)
    return layout


def sort_files(contents: Contents) -> Sorted:
    """Tell images from labels by the names of files and folders.

    In a folder of images, a name like a label's is one only beside the image that it belongs to.
    """
    kinds = {p: folder_kind(p.relative_to(contents.folder).parts[:-1])[0] for p in contents.volumes}
    structured = "image" in kinds.values()
    images = {(p.parent, file_name(p)) for p in kinds if not p.name.lower().endswith(".seg.nrrd")}
    found = Sorted([], [], structured)
    for path, kind in kinds.items():
        beside = path.name.lower().endswith(".seg.nrrd") or any(
            (path.parent, label_of(path) + channel) in images for channel in ("", "_0000")
        )
        if is_result(path):
            continue
        if kind == "label" or (is_label_name(path) and (kind != "image" or beside)):
            found.labels.append(path)
        elif kind == "image" or not structured:
            found.images.append(path)
    return found


def _folders(path: Path, contents: Contents) -> Place:
    """Part of the data set, and the folders that say more than "image" or "label"."""
    folders = path.relative_to(contents.folder).parts[:-1]
    return folder_kind(folders)[1], *plain_folders(folders)


def _with_ending(images: list[Path], ending: str, layout: Layout) -> list[Path]:
    """The images with nnU-Net's file_ending."""
    kept = [path for path in images if path.name.lower().endswith(ending.lower())]
    if images and not kept:
        raise InputError(
            f"{images[0].parent} holds no volume that ends with {ending}, the file_ending of its dataset.json.",
            "MetaSSL reads NIfTI, NRRD, MetaImage and pictures; convert other formats, or correct dataset.json.",
        )
    others = sorted(set(images) - set(kept))
    layout.said.update(others)
    sentence = f"{{}} does not end with {ending}, the file_ending of dataset.json, and is left out."
    layout.notes += say_each(sentence, list(map(str, others)))
    return kept


def _series(contents: Contents, layout: Layout) -> list[Path]:
    """The folders with one DICOM series of images; of the others it is said why they are none."""
    found, crowded, empty = [], [], []
    for path in contents.series:
        in_labels = folder_kind(path.relative_to(contents.folder).parts)[0] == "label"
        try:
            series = [] if in_labels else dicom_series(path)
        except InputError:  # checking and predicting say what is wrong with it
            found.append(path)
            continue
        if len(series) > 1:
            crowded.append(f"{path} holds {len(series)}")
        elif not series:
            empty.append(str(path))
        else:
            found.append(path)
    layout.said.update(set(contents.series) - set(found))
    layout.notes += say_each("{} DICOM series, expected one per folder; it is left out.", crowded)
    layout.notes += say_each("{} holds DICOM files, but no series of images; it is left out.", empty)
    return found


def _name(layout: Layout, contents: Contents, structured: bool) -> str:
    """What people call the layout."""
    if structured:
        folders = {name for path in contents.volumes for name in path.relative_to(contents.folder).parts[:-1]}
        parts = [match["part"] for match in map(IMAGE_FOLDER.fullmatch, folders) if match]
        return "an nnU-Net raw data set" if any(parts) else "images/ and labels/"
    series = sum(path.is_dir() for case in layout.cases for path in case.files)
    kinds = [kind for kind, count in (("volumes", len(layout.cases) - series), ("DICOM series", series)) if count]
    return f"a folder of {' and '.join(kinds or ['volumes'])}"


def _note_depths(layout: Layout, contents: Contents, structured: bool) -> None:
    """Say that volumes of sub-folders are cases too, where one may have meant only those of the folder itself."""
    above = {contents.folder, *contents.series}
    deep = [case for case in layout.cases if above.isdisjoint({case.files[0], case.files[0].parent})]
    if deep and len(deep) < len(layout.cases) and not structured:
        folders = sorted({contents.shown(case.files[0].parent) + "/" for case in deep})
        layout.notes += say_each("The volumes in {} are cases too.", folders)
