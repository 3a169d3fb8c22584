import slicer
from slicer.i18n import tr as _

from .CaseFiles import loadFirstChannel
from .Result import PREVIEW, removeNode, withCompanions
from .ResultLoader import LoadError, toSegmentation


def showCase(cases, row):
    """Show a case in the slice views; a case of a folder is loaded for it and replaces the one before.

    Args:
        cases: the CaseList.
        row: its CaseRow.

    Returns:
        Names of the annotations that were shown before and stay, because a person has changed them.

    Raises:
        LoadError: the case's files cannot be read, or its volume is gone.
    """
    kept = keepChanged()
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
    return kept


def keepChanged():
    """Make previews that a person has changed ordinary nodes; returns the names of their segmentations."""
    previews = [node for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode") if node.GetAttribute(PREVIEW)]
    changed = [
        node
        for node in previews
        if node.IsA("vtkMRMLSegmentationNode") and node.GetAttribute(PREVIEW) != _voxelsOf(node)
    ]
    names = []
    for node in changed:
        node.SetName(slicer.mrmlScene.GenerateUniqueName(_("{name} changed").format(name=node.GetName())))
        names.append(node.GetName())
    for node in previews if changed else ():
        node.RemoveAttribute(PREVIEW)
        _setSaved(node, True)
    return names


def _voxelsOf(segmentation):
    """A text that changes when somebody draws."""
    times = []
    for n in range(segmentation.GetSegmentation().GetNumberOfSegments()):
        segment = segmentation.GetSegmentation().GetNthSegment(n)
        image = segment.GetRepresentation("Binary labelmap")
        scalars = None if image is None else image.GetPointData().GetScalars()
        times.append((segment.GetName(), 0 if scalars is None else scalars.GetMTime()))
    return repr(times)


def _setSaved(node, isSaved):
    """Whether a node and what belongs to it is saved with the scene."""
    for found in withCompanions(node):
        found.SetSaveWithScene(isSaved)


def removePreviews():
    """Remove what was loaded to look at a case."""
    for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode"):
        if node.GetAttribute(PREVIEW):
            removeNode(node)


def _load(row, classes):
    volume = loadFirstChannel(row.images, row.id)
    volume.SetAttribute(PREVIEW, "1")
    _setSaved(volume, False)
    if row.label is None:
        return volume, None
    if row.label.endswith(".seg.nrrd"):
        segmentation = slicer.util.loadSegmentation(row.label, {"name": row.id})
    else:
        labelmap = slicer.util.loadLabelVolume(row.label, {"name": row.id, "show": False})
        segmentation = toSegmentation(labelmap, volume, classes)
    segmentation.SetName(row.id)
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetAttribute(PREVIEW, _voxelsOf(segmentation))
    _setSaved(segmentation, False)
    return volume, segmentation
