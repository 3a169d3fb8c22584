"""Errors that a person can act on, each with the exit code of the process that ends with it."""

from collections.abc import Sequence
from typing import Any


class MetaSSLError(Exception):
    """An error with a remedy.

    Args:
        message: what is wrong, naming the file, case or setting.
        hint: what to do next; empty when the message says it already.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message)
        self.hint = hint


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


def first_few(items: Sequence[Any], most: int = 10) -> str:
    """The first items for a message, and how many more there are."""
    return ", ".join(map(str, items[:most])) + (f" and {len(items) - most} more" if len(items) > most else "")
