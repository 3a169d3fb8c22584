"""Two folders with equal file names."""

from pathlib import Path

from ..data.images import stem
from .folder import Description, Layout, describe_layout, find_folder, list_volumes, pair_files

ACCEPTS = "images/ and labels/ with equal file names (an image without a label is unlabelled)"


def read_layout(folder: Path, description: Description) -> Layout | None:
    """The volumes of images/; None without both folders."""
    images, labels = find_folder(folder, "images"), find_folder(folder, "labels")
    if images is None or labels is None:
        return None
    layout = describe_layout("images/ and labels/", description)
    layout.cases = pair_files(list_volumes(images), {stem(path): path for path in list_volumes(labels)}, layout.notes)
    return layout
