"""nnU-Net raw data sets, with or without dataset.json."""

from pathlib import Path

from ..data.images import stem
from ..errors import InputError
from .folder import Description, Layout, describe_layout, find_folder, list_volumes, pair_files

ACCEPTS = "nnU-Net raw: imagesTr/ labelsTr/ [imagesTs/ labelsTs/ dataset.json], images named CASE_0000.nii.gz"


def read_layout(folder: Path, description: Description) -> Layout | None:
    """The cases of imagesTr and imagesTs; None without imagesTr."""
    training = find_folder(folder, "imagesTr")
    if training is None:
        return None
    layout = describe_layout("an nnU-Net raw data set", description)
    ending = str(description.get("file_ending", ""))
    if ending and not list_volumes(training, ending):
        raise InputError(
            f"{training} holds no volume that ends with {ending}, the file_ending of its dataset.json.",
            "MetaSSL reads NIfTI, NRRD and MetaImage volumes; convert other formats.",
        )
    for part in ("Tr", "Ts"):
        images, labels = (list_volumes(find_folder(folder, kind + part), ending) for kind in ("images", "labels"))
        layout.cases += pair_files(images, {stem(path): path for path in labels}, layout.notes, test=part == "Ts")
    return layout
