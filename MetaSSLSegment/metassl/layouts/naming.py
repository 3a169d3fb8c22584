"""What the names of files and folders say: label or image, which part of a data set, which case, which channel."""

import re
import unicodedata
from pathlib import Path

from ..data.images import SUFFIXES, stem
from ..errors import InputError
from ..files import read_json

LABEL_WORD = r"(?:seg|segmentation|label|labels|labelmap|mask|annotation|ground[ _-]?truth)"
LABEL_NAME = re.compile(rf"[ ._-]+(?:{LABEL_WORD}|gt)$|^{LABEL_WORD}(?:[ ._-]+|(?=\d)|$)", re.IGNORECASE)
IMAGE_WORD = "(?:img|image|volume|vol)"
IMAGE_NAME = re.compile(rf"[ ._-]+{IMAGE_WORD}$|^{IMAGE_WORD}(?:[ ._-]+|(?=\d)|$)", re.IGNORECASE)
CHANNEL_NAME = re.compile(r"(.+)_(\d{4})$")
PARTS = {
    "tr": r"tr|train|training",
    "ts": r"ts|test|testing",
    "va": r"va|val|validation",
    "un": r"un|unlabel?led",
}
"""Parts of a data set -> what their folders are called; of "ts" and "va", labelled cases are for measuring."""
MEASURED = ("ts", "va")
PART = "(?:[ _-]?(?P<part>" + "|".join(PARTS.values()) + "))?"
IMAGE_FOLDER = re.compile(rf"(?:images?|imgs?){PART}", re.IGNORECASE)
LABEL_FOLDER = re.compile(
    rf"(?:labels?|masks?|segs?|segmentations?|annotations?|labelmaps?|ground[ _-]?truths?|gt){PART}", re.IGNORECASE
)
PART_FOLDER = re.compile(r"(?P<part>train|training|test|testing|val|validation)", re.IGNORECASE)
RESULT_NAME = re.compile(r"(.+)_(?:seg|regions|confidence)$")


def equal_name(text: str) -> str:
    """A text in the form in which equal names are equal: macOS stores ü as two characters."""
    return unicodedata.normalize("NFC", text)


def file_name(file: Path) -> str:
    """The name of a file without its ending, comparable."""
    return equal_name(stem(file))


def is_label_name(file: Path) -> bool:
    """Whether a file is named like the label of another."""
    return file.name.lower().endswith(".seg.nrrd") or LABEL_NAME.search(file_name(file)) is not None


def label_of(file: Path) -> str:
    """The name of the image that a label's name stands for, empty when it is only called label."""
    return LABEL_NAME.sub("", file_name(file))


def folder_kind(folders: tuple[str, ...]) -> tuple[str, str]:
    """Kind ("image", "label" or "") and part (of ``PARTS`` or "") that the folders on the way to a file tell.

    The folder nearest to the file decides.
    """
    kind = part = ""
    for name in reversed(folders):
        for found, pattern in (("image", IMAGE_FOLDER), ("label", LABEL_FOLDER), ("", PART_FOLDER)):
            if match := pattern.fullmatch(name):
                kind, part = kind or found, part or _part(match["part"])
    return kind, part


def plain_folders(folders: tuple[str, ...]) -> tuple[str, ...]:
    """The folders whose names do not only say that images or labels are in them."""
    return tuple(equal_name(f) for f in folders if not IMAGE_FOLDER.fullmatch(f) and not LABEL_FOLDER.fullmatch(f))


def _part(word: str | None) -> str:
    return next((part for part, words in PARTS.items() if re.fullmatch(words, word or "", re.IGNORECASE)), "")


def is_result(file: Path) -> bool:
    """Whether ``metassl predict`` wrote a file: NAME.json beside it says so."""
    match = RESULT_NAME.match(stem(file))
    if match is None or not file.name.lower().endswith(SUFFIXES):
        return False
    summary = file.with_name(f"{match[1]}.json")
    try:
        content = read_json(summary) if summary.is_file() else None
    except InputError:
        return False
    return isinstance(content, dict) and {"model", "case", "seconds"} <= set(content)
