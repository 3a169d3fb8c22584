"""Volumes of the scene that are cases of the table, or of a folder."""

import json
import os
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from .ResultLoader import LoadError

FILES = "MetaSSL.files"
"""Attribute of volumes that were loaded as a case: paths of its channels, as JSON."""


def loadFirstChannel(images, name):
    """Load the first channel of a case (a file, or a folder of DICOM files) without showing it."""
    image = Path(images[0])
    if image.is_dir():
        image = min(path for path in image.iterdir() if path.is_file())
    volume = slicer.util.loadVolume(str(image), {"name": name, "show": False})
    volume.SetName(name)
    return volume


def loadCase(images, name):
    """The volume of a case, loaded to stay in the scene; the one that is there when it was loaded before.

    Raises:
        LoadError: it cannot be read.
    """
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetAttribute(FILES) is not None and filesOf(node) == list(images):
            return node
    try:
        volume = loadFirstChannel(images, name)
    except (RuntimeError, OSError, ValueError) as error:
        raise LoadError(_("{case} cannot be loaded: {error}").format(case=name, error=error)) from error
    volume.SetAttribute(FILES, json.dumps(list(images)))
    return volume


def filesOf(volume):
    """Paths of the channels of the case that a volume was loaded as, or of its own file; [] when there is none."""
    try:
        files = json.loads(volume.GetAttribute(FILES) or "null")
    except (ValueError, RecursionError):
        files = None
    if isinstance(files, list) and files and all(isinstance(file, str) for file in files):
        return files
    storage = volume.GetStorageNode()
    path = None if storage is None or volume.GetModifiedSinceRead() else storage.GetFullNameFromFileName()
    return [path] if path and os.path.isfile(path) else []


def rowOf(cases, volume):
    """The row of a CaseList whose image this volume is, or None."""
    for row in cases.rows:
        if row.nodes is not None and cases.nodesOf(row)[0] is volume:
            return row
    return rowWith(cases, filesOf(volume))


def rowWith(cases, images):
    """The row of a CaseList with these files, or None."""
    wanted = _comparable(images)
    return next((row for row in cases.rows if row.images and _comparable(row.images) == wanted), None)


def _comparable(paths):
    return [os.path.normcase(os.path.abspath(path)) for path in paths]
