"""Files of cases, kept relative to the scene's file, and found again when both were moved."""

import os
from pathlib import Path, PurePath, PureWindowsPath

import slicer

FILES = "caseFiles"
"""Role of the storage node in the module's node; of all nodes, Slicer writes only file names of these as relative."""
KIND = "vtkMRMLTextStorageNode"
MARK = "#"
"""Followed by the number of a file in that node."""


def withNumbers(node, rows):
    """The dictionaries of CaseRows as the scene keeps them: numbers of files, which the storage node names.

    Names that a storage node cannot keep stay as they are.

    Args:
        node: the module's node.
        rows: dictionaries of CaseRows.
    """
    paths = [path for row in rows for path in [*row["images"], row["label"]] if path is not None]
    numbers = {path: f"{MARK}{number}" for number, path in enumerate(filter(_canBeKept, dict.fromkeys(paths)))}
    _keep(node, [Path(path).as_posix() for path in numbers])
    return [
        {
            **row,
            "images": [numbers.get(image, image) for image in row["images"]],
            "label": numbers.get(row["label"], row["label"]),
        }
        for row in rows
    ]


def followFiles(node, row):
    """Let a CaseRow name the files where they are now.

    Slicer has made their names absolute again, from where the scene is now. Files that are not there are looked for
    beside and below the scene's file, by their names and as many of their folders as possible, one at least.
    """
    row.images = [_found(node, image) for image in row.images]
    row.label = None if row.label is None else _found(node, row.label)


def _canBeKept(path):
    """Whether a file's name survives in a storage node: with "&" Slicer writes a scene that nobody can read."""
    return "&" not in path and path.isprintable() and (os.name == "nt" or "\\" not in path)


def _keep(node, paths):
    storage = node.GetNodeReference(FILES)
    if storage is None and not paths:
        return
    if storage is None:
        storage = slicer.mrmlScene.AddNewNodeByClass(KIND, "MetaSSL case files")
        storage.SetAttribute(FILES, "1")
        node.SetNodeReferenceID(FILES, storage.GetID())
    storage.SetUndoEnabled(node.GetUndoEnabled())  # the list in the node means its files
    _removeForgotten()
    if _filesOf(storage) != paths:
        storage.ResetFileNameList()
        for path in paths:
            storage.AddFileName(path)


def _removeForgotten():
    """Remove the storage nodes of lists that an added scene has replaced."""
    known = {node.GetNodeReferenceID(FILES) for node in slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")}
    for storage in slicer.util.getNodesByClass(KIND):
        if storage.GetAttribute(FILES) and storage.GetID() not in known:
            slicer.mrmlScene.RemoveNode(storage)


def _filesOf(storage):
    return [storage.GetNthFileName(number) for number in range(storage.GetNumberOfFileNames())]


def _found(node, path):
    storage, number = node.GetNodeReference(FILES), path.removeprefix(MARK)
    if path.startswith(MARK) and number.isdecimal() and storage is not None and storage.IsA("vtkMRMLStorageNode"):
        path = str(Path(storage.GetNthFileName(int(number)) or path))
    return moved(path)


def moved(path):
    """Where a file is now, as ``followFiles`` says."""
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
