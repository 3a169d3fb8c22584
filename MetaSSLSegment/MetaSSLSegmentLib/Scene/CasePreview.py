from pathlib import Path

import slicer
from slicer.i18n import tr as _

from .Result import PREVIEW, removeNode
from .ResultLoader import LoadError, toSegmentation


def showCase(cases, row):
    """Show a case in the slice views; a case of a folder is loaded for it and replaces the one before.

    Args:
        cases: the CaseList.
        row: its CaseRow.

    Raises:
        LoadError: the case's files cannot be read, or its volume is gone.
    """
    removePreviews()
    try:
        volume, segmentation = cases.nodesOf(row) if row.nodes is not None else _load(row, cases.classes)
    except (RuntimeError, OSError, ValueError, LoadError) as error:
        removePreviews()
        raise LoadError(_("{case} cannot be shown: {error}").format(case=row.id, error=error)) from error
    if volume is None:
        raise LoadError(_("The volume of case {case} is gone.").format(case=row.id))
    slicer.util.setSliceViewerLayers(background=volume, foreground=None, label=None, fit=True)
    if segmentation is not None:
        segmentation.CreateDefaultDisplayNodes()
        segmentation.GetDisplayNode().SetVisibility(True)


def removePreviews():
    """Remove what was loaded to look at a case."""
    for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode"):
        if node.GetAttribute(PREVIEW):
            removeNode(node)


def _load(row, classes):
    image = Path(row.images[0])
    if image.is_dir():
        image = min(path for path in image.iterdir() if path.is_file())
    volume = slicer.util.loadVolume(str(image), {"name": row.id, "show": False})
    volume.SetName(row.id)
    volume.SetAttribute(PREVIEW, "1")
    if row.label is None:
        return volume, None
    if row.label.endswith(".seg.nrrd"):
        segmentation = slicer.util.loadSegmentation(row.label, {"name": row.id})
    else:
        labelmap = slicer.util.loadLabelVolume(row.label, {"name": row.id, "show": False})
        segmentation = toSegmentation(labelmap, volume, classes)
    segmentation.SetName(row.id)
    segmentation.SetAttribute(PREVIEW, "1")
    return volume, segmentation
