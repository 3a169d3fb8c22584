"""Sub-folders with one DICOM series each; a label beside the folder, or beside one that holds nothing else."""

import os
from collections import Counter
from pathlib import Path

from ..data.images import dicom_series, is_image_file
from .folder import Description, FoundCase, Layout, describe_layout, labels_by_image, list_volumes, note_lost_labels

ACCEPTS = "DICOM: one series per sub-folder, a label beside it named like it: NAME.seg.nrrd, NAME_seg.nii.gz"


def read_layout(folder: Path, description: Description) -> Layout:
    """One case for every folder with one series, however deep, named after the folders on the way to it."""
    layout = describe_layout("a folder of DICOM series", description)
    levels: dict[Path, list[Path]] = {}  # series -> its folder and those above it, below the source
    for path in _dicom_folders(folder):
        count = len(dicom_series(path))
        if count == 1:
            levels[path] = [level for level in (path, *path.parents) if folder in level.parents]
        else:
            layout.notes.append(f"{path} holds {count} DICOM series, expected one per folder; it is left out.")
    series_in = Counter(level for above in levels.values() for level in above)
    parents = {level.parent for level in series_in}
    labels = {parent: labels_by_image(list_volumes(parent), layout.notes) for parent in parents}
    for path, above in levels.items():
        beside = [labels[level.parent].get(level.name) for level in above if series_in[level] == 1]
        name = "_".join(path.relative_to(folder).parts) or path.name
        layout.cases.append(FoundCase(name, {0: path}, next((label for label in beside if label), None)))
    every_label = {label for named in labels.values() for label in named.values()}
    note_lost_labels(every_label - {case.label for case in layout.cases}, layout.notes)
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
