"""Which case is for training with its label, without it, for measuring, or for nothing."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from ..errors import InputError
from ..files import read_json
from .dataset import ROLES, Case
from .images import stem

ORDER = ("unlabelled", "hold-out", "labelled", "ignored")
"""Roles are given in this order; the last one that names a case wins."""
SEED = 0


def choose_roles(cases: Sequence[Case], roles: Mapping[str, Sequence[str]]) -> tuple[tuple[Case, ...], list[str]]:
    """Give the selected cases their roles.

    When there are selectors for "labelled", the other labelled cases become unlabelled: their labels are not used.

    Args:
        cases: the cases with their roles so far.
        roles: role -> selectors: a case id, a pattern (``*``, ``?``), ``@FILE`` (a text file with one id per line, or a
            JSON list), ``@FILE.json:KEY`` (a list in a JSON object), or a whole number N that is no id: the first N of
            a shuffle (seed 0) of the labelled cases that no other selector names.

    Returns:
        The cases in the same order, and sentences on what was decided.

    Raises:
        InputError: an unknown role, a selector without a case, a missing file, too few cases, no label.
    """
    unknown = sorted(set(roles) - set(ROLES))
    if unknown:
        raise InputError(f"Unknown role {', '.join(unknown)}; use one of {', '.join(ROLES)}.")
    ids = [case.id for case in cases]
    chosen: dict[str, str] = {}
    counts: list[tuple[str, int]] = []
    for role in ORDER:
        for selector in roles.get(role, ()):
            if re.fullmatch(r"\d+", selector) and selector not in ids:
                counts.append((role, int(selector)))
                continue
            for entry in _entries(selector):
                chosen.update(dict.fromkeys(_matches(entry, ids, role), role))
    notes = []
    for role, count in counts:
        first = _first(cases, chosen, count, role)
        chosen.update(dict.fromkeys(first, role))
        notes.append(f"{role.capitalize()}: the first {count} of a shuffle with seed {SEED}: {', '.join(first)}.")
    rest = [case.id for case in cases if case.role == "labelled" and case.id not in chosen]
    if roles.get("labelled") and rest:
        chosen.update(dict.fromkeys(rest, "unlabelled"))
        notes.append(f"{len(rest)} other case(s) with a label are unlabelled: their labels are not used.")
    return tuple(replace(case, role=chosen.get(case.id, case.role)) for case in cases), notes


def _entries(selector: str) -> list[str]:
    """The ids or patterns that a selector stands for."""
    if not selector.startswith("@"):
        return [selector]
    path, key = Path(selector[1:]), None
    if not path.is_file() and ":" in selector:
        name, _, key = selector[1:].rpartition(":")
        path = Path(name)
    if not path.is_file():
        raise InputError(f"{selector}: the file {path} does not exist.", "Check the path after the @.")
    if path.suffix.lower() == ".json":
        content = read_json(path)
        if key is not None:
            if not isinstance(content, dict) or key not in content:
                raise InputError(f"{path} has no list {key!r}.", "Check the name after the colon.")
            content = content[key]
        if not isinstance(content, list):
            raise InputError(f"{selector} is not a list of case ids.", "Name the list: @FILE.json:KEY")
        return [str(entry) for entry in content]
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file.", "Write one case id per line, as UTF-8 text.") from error
    return [line.strip() for line in lines if line.strip()]


def _matches(entry: str, ids: Sequence[str], role: str) -> list[str]:
    """The ids that an id, a pattern or a file name means."""
    for name in (entry, stem(entry)):
        if name in ids:
            return [name]
    found = [case_id for case_id in ids if fnmatchcase(case_id, entry)]
    if not found:
        shown = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
        raise InputError(f"No case matches {entry!r} (role {role}).", f"The case ids are {shown}")
    return found


def _first(cases: Sequence[Case], chosen: Mapping[str, str], count: int, role: str) -> list[str]:
    free = sorted(case.id for case in cases if case.role == "labelled" and case.id not in chosen)
    if count > len(free):
        raise InputError(
            f"{count} cases are wanted as {role}, but only {len(free)} cases have a label and no other role.",
            "Ask for fewer, or name the cases.",
        )
    random.Random(SEED).shuffle(free)
    return free[:count]
