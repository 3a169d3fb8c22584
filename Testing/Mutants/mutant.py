"""What a planted mistake is, and how it is planted."""

from pathlib import Path
from typing import NamedTuple


class Mutant(NamedTuple):
    """A mistake.

    Attributes:
        name: what is wrong.
        file: below MetaSSLSegment.
        old, new: the text that is there once, and what takes its place.
        tests: files or single tests below Testing, separated by spaces, one of which has to fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str


def mutate(mutant: Mutant, package: Path) -> None:
    """Plant the mistake in a copy of MetaSSLSegment.

    Raises:
        ValueError: the text to change is not there exactly once.
    """
    file = package / mutant.file
    source = file.read_text(encoding="utf-8")
    if source.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: {mutant.old!r} occurs {source.count(mutant.old)} times in {mutant.file}")
    file.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
