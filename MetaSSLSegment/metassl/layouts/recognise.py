"""Recognising how the cases of a folder are laid out; whoever wants the cases of a folder asks here."""

import os
from pathlib import Path

from ..data.dataset import result_names
from ..errors import InputError
from ..files import read_json
from . import lists, own, tree
from .account import note_the_rest
from .channels import complete_channels
from .contents import DESCRIPTION, is_utf8, look_through, printable
from .folder import Layout, Source

LAYOUTS = (own, lists, tree)
"""In the order in which they are tried: the first that finds a case is right.

Each is a file with ``ACCEPTS``, lines for people, and ``read_layout(source)``: the layout, or None when the folder has
another one.
"""
KNOWN = {"cases", *lists.KEYS, "labels", "channel_names", "modality"}
"""What a file that describes a data set has at least one of."""
ACCEPTED = "\n  ".join(["accepted layouts:", *(layout.ACCEPTS for layout in LAYOUTS)])


def recognise_layout(source: Path | str, channels: int | None = None) -> Layout:
    """Find the cases of a folder in one of ``LAYOUTS``, by the names and headers of its files.

    Args:
        source: the folder; also the dataset.json or list in it.
        channels: how many a model needs; then no file is opened to count them.

    Returns:
        The layout, with at least one case; the cases have names of their own, fit for files, and all channels, and
        every volume below the folder is a case or named in a note.

    Raises:
        InputError: there is no such folder, its layout is not known, or no case has all channels.
    """
    source = Path(os.path.abspath(source))
    if not source.exists():
        raise InputError(f"{printable(str(source))} does not exist.", "Check the path.")
    if not is_utf8(source):
        raise InputError(f"The name {printable(str(source))} is not UTF-8.", "Rename it.")
    found = _look_at(source)
    layout = _read_layout(found)
    note_the_rest(layout, found)
    complete_channels(layout, channels)
    if not layout.cases:
        raise InputError(f"{source}: no case is left. {' '.join(layout.notes)}", ACCEPTED)
    for case, name in zip(layout.cases, result_names(case.name for case in layout.cases)):
        case.name = name
    return layout


def _look_at(source: Path) -> Source:
    """The folder, and its own dataset.json where there is one."""
    path = source / DESCRIPTION if source.is_dir() else source
    if source.is_dir() and not path.is_file():
        return Source(look_through(source))
    if path.suffix.lower() != ".json":
        raise InputError(f"{source} is a file.", "Give the folder that holds the cases.\n" + ACCEPTED)
    try:
        content = read_json(path)
    except InputError as error:
        if not source.is_dir():
            raise
        return Source(look_through(source), damage=f"{error} The folder is read as if it were not there.")
    if isinstance(content, list):
        content = {"training": content}
    content = content if isinstance(content, dict) else {}
    if not source.is_dir() and not KNOWN & set(content):
        raise InputError(
            f"{source} is neither a data set nor a list of files.", "Give the folder that holds the cases.\n" + ACCEPTED
        )
    return Source(look_through(path.parent), content, path, asked_for=not source.is_dir())


def _read_layout(source: Source) -> Layout:
    nothing, before = Layout(""), [source.damage] if source.damage else []
    for known in LAYOUTS:
        layout = known.read_layout(source)
        if layout is not None and layout.cases:
            layout.notes = before + layout.notes
            return layout
        if layout is None:
            continue
        nothing.notes += layout.notes
        nothing.said |= layout.said
        if source.described_in is not None:
            name = source.described_in.name
            gone = f"No file can be found that {name} lists; paths in it count from the folder that it is in."
            before.append(layout.notes[0] if known is own else gone)
    folder = source.folder
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    shown = ", ".join(printable(entry.name) + ("/" if entry.is_dir() else "") for entry in entries[:8])
    more = f" and {len(entries) - 8} more" if len(entries) > 8 else ""
    note_the_rest(nothing, source)
    found = f"{folder} holds no volume for a case and has no layout that MetaSSL knows; it holds: {shown or 'nothing'}"
    raise InputError(" ".join([f"{found}{more}.", *dict.fromkeys(nothing.notes)]), ACCEPTED)
