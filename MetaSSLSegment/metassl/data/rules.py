"""Every rule of a usable file: what breaks one raises ``UnusableCase`` with its code and its remedy."""

from dataclasses import dataclass

from ..errors import InputError
from .geometry import GEOMETRY_REMEDIES

LOAD_IN_SLICER = (
    "In 3D Slicer load it with the DICOM module, which corrects this by a transform, harden that transform (Data "
    "module, right-click on it), and add the volume from the scene."
)
CHOOSE_IN_SLICER = (
    "In 3D Slicer load one of them with the DICOM module and add it from the scene, or put the files of one into a "
    "folder of their own."
)
COPY_AGAIN = "Copy, download or export it again."
REMEDIES = {
    "missing-file": "Put the file back, or make dataset.json again.",
    "missing-channel": "Add the missing channel, or set the case's role to ignored.",
    "no-permission": "Ask its owner for the permission to read it (Linux and macOS: chmod a+r; folders also a+x).",
    "link": "Put the file itself in the place of the link.",
    "not-a-file": "Give a file, or a folder with a DICOM series.",
    "file-name": "Rename it with letters, digits, '-' and '_', and make dataset.json again.",
    "memory": "Close other programs, crop the volume to the region of interest, or resample it to a coarser grid.",
    "unreadable": "The file is damaged or of an unknown format; export it again.",
    "slices-apart": LOAD_IN_SLICER,
    "slices-differ": CHOOSE_IN_SLICER,
    "slices-together": CHOOSE_IN_SLICER,
    "slices-nowhere": "Export the series again with its positions (tag Image Position Patient), or as NRRD or NIfTI.",
    "colour": "Save it as greyscale (a label: one number per pixel, without a palette), or every colour as a file of "
    "its own: NAME_0000, NAME_0001, NAME_0002.",
    "pages": "Save every page as a picture of its own, or the stack as a volume with its spacing (NIfTI, NRRD).",
    "4d": "Export one 3D volume (one time point) per file.",
    "vector": "Export it as a grey-value volume; a segmentation as a labelmap.",
    "huge": "Crop it to the region of interest, or resample it to a coarser grid.",
    "tiny": "Use the whole volume, or single slices of it.",
    **GEOMETRY_REMEDIES,
    "channel-geometry": "Resample all channels of the case onto the grid of the first.",
    "not-finite": "Export it again, or replace those voxels by the background value.",
    "constant": "Export it again, or leave the case out.",
    "label-not-whole": "Export it again with nearest-neighbour interpolation.",
    "label-values": "Correct the label, or say in dataset.json which class each value means (label_values).",
    "label-geometry": "Export the label again on the grid of the image; when the voxels correspond, copy the image's "
    "origin, spacing and directions to it.",
    "overlap": "Remove the overlap in Slicer's Segment Editor (Logical operators: subtract) and save it again.",
}
"""Every rule by its code, and what to do when a file breaks it."""


@dataclass(frozen=True)
class Fix:
    """Something wrong with a file that reading puts right; ``code`` is a short name of it."""

    code: str
    message: str


class UnusableCase(InputError):
    """A case that must not be used.

    Args:
        code: short name of the rule that it breaks, in ``REMEDIES``.
        message: what is wrong, naming the file.
        hint: the rule's remedy when empty.
    """

    def __init__(self, code: str, message: str, hint: str = ""):
        super().__init__(message, hint or REMEDIES[code])
        self.code = code


def unreadable(path: object, reason: object) -> UnusableCase:
    """The refusal of a file that is no image, or not one that can be understood."""
    lines = str(reason).strip().splitlines() or [type(reason).__name__]
    return UnusableCase("unreadable", f"{path} cannot be read as an image: {lines[-1].strip()}")
