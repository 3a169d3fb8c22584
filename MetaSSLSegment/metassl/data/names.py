"""What names of segments and labels mean."""

import re

IGNORED_NAMES = {
    *("ignore", "ignored", "ignore label", "ignore region", "void", "not annotated", "unannotated", "non annotated"),
    *("not labelled", "not labeled", "unlabelled", "unlabeled", "do not care", "don't care"),
}
"""What people call voxels about which an annotation says nothing."""


def name_key(name: str) -> str:
    """What the names of one class have in common in all files: capitals and outer spaces do not count."""
    return name.strip().casefold()


def means_ignore(name: str) -> bool:
    """Whether a segment or label of that name marks voxels that no loss and no metric counts."""
    return " ".join(re.split(r"[\s_-]+", name_key(name))) in IGNORED_NAMES
