"""What the headers in letters of NRRD and MetaImage have in common."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from ..rules import unreadable

LONGEST_LINE = 2**24
"""Bytes; a .seg.nrrd describes all of its segments in a few thousand."""
MOST_LINES = 10_000
MOST_FILES = 10_000
MOST_AXES = 6
PATTERN = re.compile(r"[^%]*%0?\d{0,2}d[^%]*")
"""A printf pattern with one whole number; others would let a program read memory that is not its own."""


def read_line(file: BinaryIO, path: Path) -> str | None:
    """The next line without its end, None at the end of the file."""
    line = file.readline(LONGEST_LINE)
    if len(line) == LONGEST_LINE:
        raise unreadable(path, "its header has a line without an end.")
    return line.decode("utf-8", "replace").rstrip("\r\n") if line else None


def whole_numbers(path: Path, name: str, text: str, count: int | None = None, low: int = 1) -> tuple[int, ...]:
    """The whole numbers of a field, from ``low`` up, and as many as there must be."""
    words = text.split()
    if (
        not words
        or (count is not None and len(words) != count)
        or not all(re.fullmatch(r"-?\d{1,18}", w) for w in words)
    ):
        raise unreadable(path, f"its header states {name} {text.strip()[:60] or 'nothing'!r}.")
    numbers = tuple(map(int, words))
    if min(numbers) < low:
        raise unreadable(path, f"its header states {name} {text.strip()[:60]!r}.")
    return numbers


def data_files(path: Path, words: Sequence[str]) -> tuple[Path, ...]:
    """The files that a header names: one, or a pattern with first and last number and step."""
    name = words[0]
    if "%" not in name:
        name = " ".join(words)
        return (path.parent / name,)
    if not PATTERN.fullmatch(name) or len(words) < 3 or not all(re.fullmatch(r"-?\d{1,9}", w) for w in words[1:4]):
        raise unreadable(path, f"its header names the data files {' '.join(words)[:60]!r}.")
    first, last, step = (*map(int, words[1:4]), 1)[:3]
    numbers = range(first, last + (1 if step > 0 else -1), step) if step else ()
    if not 1 <= len(numbers) <= MOST_FILES:
        raise unreadable(path, f"its header names the data files {' '.join(words)[:60]!r}.")
    return tuple(path.parent / (name % number) for number in numbers)
