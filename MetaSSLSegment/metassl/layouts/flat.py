"""One folder that holds volumes and their labels."""

from itertools import filterfalse
from pathlib import Path

from .folder import Description, Layout, describe_layout, is_label, labels_by_image, list_volumes, pair_files

ACCEPTS = "a folder of volumes with labels named like the image: CASE_seg.nii.gz, CASE-label.nrrd, CASE.seg.nrrd"


def read_layout(folder: Path, description: Description) -> Layout:
    """The volumes of the folder that are not named like labels."""
    files = list_volumes(folder)
    layout = describe_layout("a folder of volumes", description)
    labels = labels_by_image(files, layout.notes)
    layout.cases = pair_files(list(filterfalse(is_label, files)), labels, layout.notes)
    return layout
