"""Errors that a person can act on, each with the exit code of the process that ends with it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""A character that moves the cursor, breaks a line or turns the direction of text."""


def visible(text: str, keep: str = "") -> str:
    """The text with control characters as escapes: names must not forge lines on a terminal or in a log.

    Args:
        keep: control characters that stay.
    """
    return CONTROL.sub(lambda m: m[0] if m[0] in keep else m[0].encode("unicode_escape").decode(), text)


class MetaSSLError(Exception):
    """An error with a remedy.

    Args:
        message: what is wrong, naming the file, case or setting; one line.
        hint: what to do next; empty when the message says it already.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = ""):
        super().__init__(visible(message))
        self.hint = visible(hint, keep="\n")


class InputError(MetaSSLError):
    """A file, case or setting that the user gave cannot be used."""

    exit_code = 2


class OutOfMemoryError(MetaSSLError):
    """The device or the machine has too little memory, also after shrinking patch and batch."""

    exit_code = 3


class MissingDependencyError(MetaSSLError):
    """A Python package that the engine needs is not installed."""

    exit_code = 4


class DiskError(MetaSSLError):
    """A file cannot be written: disk full, read-only, no permission."""

    exit_code = 5


class Stopped(MetaSSLError):
    """The user asked for a stop; what was finished so far is saved."""

    exit_code = 130


SMALLER_VOLUME = "Close other programs, or crop or downsample the volume."
"""What to do when a volume does not fit into memory."""
OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "allocate memory",
    "alloc_failed",
    "unable to find an engine",
    "bad_alloc",
)
"""Words of torch (CPU, NVIDIA with cuBLAS and cuDNN, Apple; Linux, Windows) and SimpleITK for a lack of memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the device or the machine has too little memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY)


@contextmanager
def enough_memory(message: str) -> Iterator[None]:
    """A lack of memory inside becomes an OutOfMemoryError with this message, of a volume that is too large."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(message, SMALLER_VOLUME) from None


def first_few(items: Sequence[Any], most: int = 10) -> str:
    """The first items for a message, and how many more there are."""
    return ", ".join(map(str, items[:most])) + (f" and {len(items) - most} more" if len(items) > most else "")
