"""Recognising how the cases of a folder are laid out; whoever wants the cases of a folder asks here."""

from pathlib import Path

from ..data.dataset import unique_names
from ..errors import InputError
from ..files import read_json
from . import decathlon, dicom, flat, images_and_labels, nnunet
from .channels import complete_channels
from .folder import Description, Layout

LAYOUTS = (decathlon, nnunet, images_and_labels, dicom, flat)
"""In the order in which they are tried: the first that finds a case is right.

Each is a file with ``ACCEPTS``, a line for people, and ``read_layout(folder, description)``: the layout, or None when
the folder has another one.
"""
ACCEPTED = "\n  ".join(["accepted layouts:", *(layout.ACCEPTS for layout in LAYOUTS)])


def recognise_layout(source: Path | str) -> Layout:
    """Find the cases of a folder in one of ``LAYOUTS``, by the names and headers of its files.

    Args:
        source: the folder; for nnU-Net and the Decathlon also its dataset.json.

    Returns:
        The layout, with at least one case; the cases have names of their own, fit for files, and all channels.

    Raises:
        InputError: there is no such folder, its layout is not known, or no case has all channels.
    """
    source = Path(source).absolute()
    if not source.exists():
        raise InputError(f"{source} does not exist.", "Check the path.")
    layout = _read_layout(source if source.is_dir() else source.parent, _read_description(source))
    complete_channels(layout)
    if not layout.cases:
        raise InputError(f"{source}: no case is left. {' '.join(layout.notes)}", ACCEPTED)
    # 200: evaluate matches files by these names, so only what no disk takes is shortened
    for case, name in zip(layout.cases, unique_names((case.name for case in layout.cases), longest=200)):
        case.name = name
    return layout


def _read_description(source: Path) -> Description:
    """The layout's own dataset.json, empty when there is none (or only one that MetaSSL wrote there)."""
    path = source / "dataset.json" if source.is_dir() else source
    if source.is_dir() and not path.is_file():
        return {}
    if path.suffix.lower() != ".json":
        raise InputError(f"{source} is a file.", "Give the folder that holds the cases.\n" + ACCEPTED)
    content = read_json(path)
    return content if isinstance(content, dict) and "cases" not in content else {}


def _read_layout(folder: Path, description: Description) -> Layout:
    notes = []
    for known in LAYOUTS:
        layout = known.read_layout(folder, description)
        if layout is not None and layout.cases:
            return layout
        notes += layout.notes if layout is not None else []
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    shown = ", ".join(entry.name + ("/" if entry.is_dir() else "") for entry in entries[:8])
    more = f" and {len(entries) - 8} more" if len(entries) > 8 else ""
    found = f"{folder} has no layout that MetaSSL knows; it holds: {shown or 'nothing'}{more}."
    raise InputError(" ".join([found, *notes]), ACCEPTED)
