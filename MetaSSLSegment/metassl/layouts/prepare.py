"""Making a data set from a folder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..data.dataset import Case, Dataset
from ..data.roles import choose_roles
from ..errors import InputError
from .classes import find_classes
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

    Cases with a label are labelled, test cases with a label are hold-out cases, the others are unlabelled, unless
    ``roles`` says otherwise. Classes come from the layout's dataset.json, else from the segments of .seg.nrrd files,
    else from the values in the label files.

    Args:
        source: the folder; for nnU-Net and the Decathlon also its dataset.json.
        name: of the data set; the folder's name when None.
        roles: role -> selectors, see ``roles.choose_roles``.
        progress: called with (labels read, number of labels, case) while label files are read to find the classes.

    Returns:
        The data set, and sentences on what was decided or left out.

    Raises:
        InputError: unknown layout, nothing usable in it, or a selector that fits no case.
    """
    source = Path(source).absolute()
    layout = recognise_layout(source)
    classes = layout.classes or find_classes(layout, progress)
    if not classes:
        raise InputError(
            f"{source}: no class was found in {sum(c.label is not None for c in layout.cases)} label file(s). "
            + " ".join(layout.notes),
            "At least one case needs a label with whole numbers from 1 to 255.\n" + ACCEPTED,
        )
    cases = tuple(_case_of(found) for found in layout.cases)
    notes = [f"{source} is read as {layout.name}.", *layout.notes, *_test_notes(cases, layout.cases)]
    if roles:
        cases, decided = choose_roles(cases, roles)
        notes += decided
    name = name or (source if source.is_dir() else source.parent).name
    dataset = Dataset(name, tuple(layout.channels), tuple(classes), cases, layout.ignore_value)
    return dataset, list(dict.fromkeys(notes))


def _case_of(found: FoundCase) -> Case:
    images = tuple(str(found.images[channel]) for channel in sorted(found.images))
    if found.label is None:
        return Case(found.name, images)
    return Case(found.name, images, str(found.label), "hold-out" if found.test else "labelled")


def _test_notes(cases: Sequence[Case], found: Sequence[FoundCase]) -> list[str]:
    test = [case for case, source in zip(cases, found) if source.test]
    held_out = sum(case.role == "hold-out" for case in test)
    notes = []
    if held_out:
        notes.append(f"{held_out} test case(s) with a label are hold-out cases: they only measure.")
    if len(test) > held_out:
        notes.append(f"{len(test) - held_out} test case(s) without a label are used as unlabelled cases.")
    return notes
