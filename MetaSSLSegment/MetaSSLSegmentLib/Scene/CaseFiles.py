"""Volumes of the scene that are cases of the table, or of a folder."""

import json
import os
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _

from .Result import PREVIEW
from .ResultLoader import LoadError
from .ScenePaths import moved

FILES = "MetaSSL.files"
"""Attribute of volumes that were loaded as a case: paths of its channels, as JSON."""
GRID = "MetaSSL.grid"
"""Attribute of these volumes: the grid on which they were, as JSON."""


def loadFirstChannel(images, name):
    """Load the first channel of a case (a file, or a folder of DICOM files) without showing it."""
    image = Path(images[0])
    if image.is_dir():
        image = min(path for path in image.iterdir() if path.is_file())
    volume = slicer.util.loadVolume(str(image), {"name": name, "show": False})
    volume.SetName(name)
    volume.SetAttribute(FILES, json.dumps(list(images)))
    volume.SetAttribute(GRID, json.dumps(_gridOf(volume)))
    return volume


def loadCase(images, name):
    """The volume of a case, loaded to stay in the scene; the one that is there when it was loaded before.

    Raises:
        LoadError: it cannot be read.
    """
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        isOurs = node.GetAttribute(FILES) is not None and node.GetAttribute(PREVIEW) is None
        if isOurs and filesOf(node) == list(images):
            return node
    try:
        return loadFirstChannel(images, name)
    except (RuntimeError, OSError, ValueError) as error:
        raise LoadError(_("{case} cannot be loaded: {error}").format(case=name, error=error)) from error


def filesOf(volume):
    """Paths of the channels of the case that a volume was loaded as, or of its own file; [] when there is none, or when
    the volume has another grid by now."""
    try:
        files, grid = (json.loads(volume.GetAttribute(name) or "null") for name in (FILES, GRID))
    except (ValueError, RecursionError):
        files = grid = None
    if isinstance(files, list) and files and all(isinstance(file, str) for file in files):
        return [moved(file) for file in files] if grid == _gridOf(volume) else []
    storage = volume.GetStorageNode()
    path = None if storage is None or volume.GetModifiedSinceRead() else storage.GetFullNameFromFileName()
    return [path] if path and os.path.isfile(path) else []


def _gridOf(volume):
    """Size, and the matrix from (i, j, k) to RAS; a parent transform does not count."""
    matrix, image = vtk.vtkMatrix4x4(), volume.GetImageData()
    volume.GetIJKToRASMatrix(matrix)
    digits = slicer.util.arrayFromVTKMatrix(matrix).round(4) + 0.0  # no -0.0
    return [[] if image is None else list(image.GetDimensions()), digits.tolist()]


def rowOf(cases, volume):
    """The row of a CaseList whose image this volume is, or None."""
    for row in cases.rows:
        if row.nodes is not None and cases.nodesOf(row)[0] is volume:
            return row
    return rowWith(cases, filesOf(volume))


def rowWith(cases, images):
    """The row of a CaseList with these files, or whose volumes in the scene still lie where these do; or None."""
    return next((row for row in cases.rows if images and areSame(_filesOfRow(cases, row), images)), None)


def _filesOfRow(cases, row):
    if row.nodes is None:
        return row.images
    volumes = [node for node in cases.volumesOf(row) if node is not None and node.GetParentTransformNode() is None]
    return [file for volume in volumes for file in filesOf(volume)]


def areSame(paths, others):
    """Whether two lists name the same files."""
    return [os.path.normcase(os.path.abspath(path)) for path in paths] == [
        os.path.normcase(os.path.abspath(path)) for path in others
    ]
