"""The account of a folder: every volume in it is a case, or a note says why it is none."""

from pathlib import Path

from ..errors import first_few
from .folder import Layout, Source
from .naming import folder_kind, is_label_name, is_result


def note_the_rest(layout: Layout, source: Source) -> None:
    """Note the volumes, series and folders that no case uses and no note names yet, in a line for each reason."""
    contents = source.contents
    used = {path for case in layout.cases for path in (*case.files, case.label)} | layout.said
    results, labels, others = [], [], []
    for path in (*contents.volumes, *contents.series):
        if path in used:
            continue
        kind, _ = folder_kind(path.relative_to(contents.folder).parts[:-1])
        if is_result(path):
            results.append(path)
        elif kind == "label" or is_label_name(path):
            labels.append(path)
        else:
            others.append(path)
    if labels:
        names = first_few([path.name for path in labels])
        layout.notes.append(f"{len(labels)} label(s) belong to no image and are not used: {names}.")
    if results:
        layout.notes.append(f"{len(results)} result(s) of metassl predict are not used: {_first(results, source)}.")
    if others:
        layout.notes.append(f"{len(others)} volume(s) are not used, since {layout.others}: {_first(others, source)}.")
    _note_unreadable(layout, source)


def _note_unreadable(layout: Layout, source: Source) -> None:
    """Note what cannot be opened, and the folders that are data sets of their own."""
    contents = source.contents
    for why, paths in contents.unusable.items():
        layout.notes.append(f"Not read, since {why}: {_first(paths, source)}.")
    if own := [f"{contents.shown(folder)}/ ({count})" for folder, count in contents.nested.items() if count]:
        layout.notes.append(
            f"Folders with a dataset.json are data sets of their own; their volumes are not used: {first_few(own)}."
        )


def _first(paths: list[Path], source: Source) -> str:
    return first_few([source.contents.shown(path) for path in paths], 5)
