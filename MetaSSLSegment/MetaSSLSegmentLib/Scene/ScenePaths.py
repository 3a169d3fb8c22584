"""Files of cases that were moved together with the scene's file."""

import os
from pathlib import Path, PurePath, PureWindowsPath

import slicer


def followMoved(row):
    """Let a CaseRow name the files where they are now; returns whether a path has changed.

    Files that are gone are looked for beside and below the scene's file, by their names and as many of their folders as
    possible, one at least.
    """
    before = (row.images, row.label)
    row.images = [_moved(image) for image in row.images]
    row.label = None if row.label is None else _moved(row.label)
    return before != (row.images, row.label)


def _moved(path):
    url = slicer.mrmlScene.GetURL()
    if not url or os.path.exists(path):
        return path
    folder = Path(url).absolute().parent
    parts = (PureWindowsPath if "\\" in path else PurePath)(path).parts[1:]
    for first in range(len(parts) - 1):
        for place in (folder, folder.parent):
            candidate = os.path.join(place, *parts[first:])
            if os.path.exists(candidate):
                return candidate
    return path
