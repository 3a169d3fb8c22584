"""Making a data set from a folder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..data.dataset import Case, Dataset
from ..data.roles import choose_roles
from ..errors import InputError
from ..files import read_json
from .classes import classes_of
from .folder import FoundCase
from .recognise import ACCEPTED, recognise_layout


def prepare(
    source: Path | str,
    *,
    name: str | None = None,
    roles: Mapping[str, Sequence[str]] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[Dataset, list[str]]:
    """Make a data set from a folder in a layout that ``recognise_layout`` knows; nothing is written.

    Cases with a label are labelled, test and validation cases with a label are hold-out cases, the others are
    unlabelled, unless the folder's own dataset.json or ``roles`` says otherwise. Classes come from the folder's
    dataset.json, else from the segments of .seg.nrrd files, else from the values in the label files.

    Args:
        source: the folder, or the dataset.json or list in it.
        name: of the data set; when None, what its dataset.json calls it, or the folder's name.
        roles: role -> selectors, see ``roles.choose_roles``.
        progress: called with (labels read, number of labels, case) while label files are read to find the classes.

    Returns:
        The data set, and sentences on what was decided or left out.

    Raises:
        InputError: unknown layout, nothing usable in it, or a selector that fits no case.
    """
    source = Path(source).absolute()
    layout = recognise_layout(source)
    found = classes_of(layout, progress)
    if not found.classes:
        raise InputError(
            f"{source}: no class was found in {sum(c.label is not None for c in layout.cases)} label file(s). "
            + " ".join(layout.notes),
            "At least one case needs a label with whole numbers from 1 to 255.\n" + ACCEPTED,
        )
    cases = tuple(Case(c.name, tuple(map(str, c.files)), c.label and str(c.label), c.role) for c in layout.cases)
    notes = [f"{source} is read as {layout.name}.", *layout.notes, *_test_notes(layout.cases)]
    if roles:
        cases, decided = choose_roles(cases, roles)
        notes += decided
    name = name or layout.title or (source if source.is_dir() else source.parent).name
    meanings = found.ignore_value, found.label_values, layout.intensities
    return Dataset(name, tuple(layout.channels), tuple(found.classes), cases, *meanings), list(dict.fromkeys(notes))


def require_own(path: Path) -> None:
    """Raise InputError where writing a dataset.json would replace something that MetaSSL did not write."""
    if path.is_dir():
        raise InputError(f"{path} is a folder.", "Name the file to write, such as dataset.json.")
    if not path.exists():
        return
    try:
        own = "cases" in read_json(path)
    except (InputError, TypeError):  # a dataset.json that was cut off can be made again
        own = path.suffix.lower() == ".json"
    if not own:
        raise InputError(
            f"{path} is there already, and MetaSSL did not write it.",
            "Choose another name with --out, or move that file first.",
        )


def _test_notes(found: Sequence[FoundCase]) -> list[str]:
    roles = [case.role for case in found if case.test and case.fixed_role is None]
    notes = []
    if held_out := roles.count("hold-out"):
        notes.append(f"{held_out} test case(s) with a label are hold-out cases: they only measure.")
    if unlabelled := roles.count("unlabelled"):
        notes.append(f"{unlabelled} test case(s) without a label are used as unlabelled cases.")
    return notes
