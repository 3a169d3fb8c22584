"""The cases that files, folders and data sets name."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from ..data.dataset import ROLES, Case, Dataset, result_names
from ..errors import InputError, first_few
from ..files import read_json
from ..layouts.channels import complete_channels
from ..layouts.folder import FoundCase, Layout, found_case, group_channels
from ..layouts.naming import file_name, is_label_name, is_result, label_of
from ..layouts.recognise import recognise_layout


def find_cases(
    inputs: Sequence[Path | str],
    channels: int,
    roles: Sequence[str] = ROLES,
    note: Callable[[str], None] = lambda sentence: None,
) -> list[Case]:
    """The cases that the inputs name, under the names that ``prepare`` and ``evaluate_folder`` give them.

    Args:
        inputs: see ``predict_files``.
        channels: image channels that the model needs; with several, files ``NAME_0000``, ``NAME_0001`` and so on
            belong together.
        roles: which cases of a folder or data set to take.
        note: called with a sentence on every group of files that are no case.

    Raises:
        InputError: an input does not exist or holds no volume, or there is nothing to segment.
    """
    found: list[FoundCase] = []
    loose: list[Path] = []
    for path in map(Path, inputs):
        if not path.exists():
            raise InputError(f"{path} does not exist.", "Check the path.")
        if path.is_dir() or path.suffix.lower() == ".json":
            cases = _cases_in(path, channels, note)
            found += [case for case in cases if case.role in roles]
        else:
            loose.append(path.absolute())
    found += _cases_of_files(loose, channels, note)
    if not found:
        raise InputError("There is nothing to segment.", f"No case has one of the roles {', '.join(roles)}.")
    return [
        Case(name, tuple(map(str, case.files)), case.label and str(case.label), case.role)
        for case, name in zip(found, result_names(case.name for case in found))
    ]


def _cases_in(path: Path, channels: int, note: Callable[[str], None]) -> list[FoundCase]:
    """The cases of a folder, of MetaSSL's own dataset.json or of another list."""
    if path.is_file() and isinstance(content := read_json(path), dict) and "cases" in content:
        cases = Dataset.load(path).cases
        return [found_case(case, name) for case, name in zip(cases, result_names(case.id for case in cases))]
    layout = recognise_layout(path, channels)
    for sentence in layout.notes:
        note(sentence)
    return layout.cases


def _cases_of_files(files: Sequence[Path], channels: int, note: Callable[[str], None]) -> list[FoundCase]:
    """The cases of files that are given one by one; labels and results among them are none."""
    names = {(file.parent, file_name(file)) for file in files}
    by_folder, others = defaultdict(list), []
    for file in files:
        beside = {(file.parent, label_of(file) + channel) for channel in ("", "_0000")} & names
        label = file.name.lower().endswith(".seg.nrrd") or (is_label_name(file) and beside)
        (others if label or is_result(file) else by_folder[file.parent]).append(file)
    if others:
        note(f"{len(others)} label(s) and results are not segmented: {first_few([file.name for file in others])}.")
    layout = Layout("", cases=[case for listed in by_folder.values() for case in group_channels(listed)])
    if not layout.cases:
        return []
    complete_channels(layout, channels)
    for sentence in layout.notes:
        note(sentence)
    return layout.cases
