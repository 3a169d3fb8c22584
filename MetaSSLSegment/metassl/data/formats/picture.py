"""Pictures (PNG, JPEG, BMP, TIFF): one slice with one grey value per pixel."""

import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..rules import COPY_AGAIN, Fix, UnusableCase

PICTURES = (".png", ".jpeg", ".jpg", ".bmp", ".tiff", ".tif")
"""Endings of their names."""
JPEG_BEGIN, JPEG_END = b"\xff\xd8", b"\xff\xd9"
TAIL = 4096
"""Bytes at the end of a JPEG among which its end must be; some programs write something behind it."""


def is_picture(path: Path | str) -> bool:
    """Whether a file is called like a picture."""
    return str(path).lower().endswith(PICTURES)


def require_whole_picture(path: Path) -> None:
    """Raise where ITK would fill up what a cut file lacks; of the other formats it says so itself.

    Raises:
        UnusableCase: the file is cut off.
    """
    with open(path, "rb") as file:
        begin, length = file.read(6), file.seek(0, os.SEEK_END)
        file.seek(max(0, length - TAIL))
        cut = begin.startswith(JPEG_BEGIN) and JPEG_END not in file.read()
    if begin.startswith(b"BM"):
        cut = length < int.from_bytes(begin[2:6], "little")
    if cut:
        raise UnusableCase("unreadable", f"{path} ends before its last pixel.", COPY_AGAIN)


def as_grey(image: sitk.Image, path: Path) -> tuple[sitk.Image, tuple[Fix, ...]]:
    """A picture with one number per pixel, and what had to be done for that.

    Colours are not mixed to grey: what they mean (a stain, an overlay, the classes of a label) would be lost silently.

    Raises:
        UnusableCase: the picture has colours.
    """
    if image.GetNumberOfComponentsPerPixel() == 1:
        return image, ()
    values = sitk.GetArrayViewFromImage(image)
    colours = values[..., : min(3, values.shape[-1])]
    if np.any(colours != colours[..., :1]):
        raise UnusableCase("colour", f"{path} is a picture with colours.")
    message = f"{path} stores its grey values as colours; they are read as one channel."
    return sitk.VectorIndexSelectionCast(image, 0), (Fix("grey-colours", message),)
