from typing import NamedTuple

import slicer
from slicer.i18n import tr as _

from .CaseFiles import loadFirstChannel
from .CaseNodes import voxelsOf
from .Result import PREVIEW, removeNode, withCompanions
from .ResultLoader import LoadError, toSegmentation
from .SegmentClasses import classesInFiles


class ShownCase(NamedTuple):
    """A case in the slice views.

    Attributes:
        volume: its volume node.
        annotation: its segmentation node, or None.
        kept: names of the annotations that were shown before and stay, because a person has changed them.
    """

    volume: object
    annotation: object
    kept: list

    def keptInWords(self):
        """Says what stays; "" when nothing does."""
        text = _("You have changed {name}: it stays in the scene. Save it, or choose it as an annotation.")
        return text.format(name=", ".join(self.kept)) if self.kept else ""


def showCase(cases, row):
    """Show a case in the slice views; a case of a folder is loaded for it and replaces the one before.

    Args:
        cases: the CaseList.
        row: its CaseRow.

    Returns:
        The ShownCase.

    Raises:
        LoadError: the case's files cannot be read, or its volume is gone.
    """
    if _previews():
        slicer.mrmlScene.SaveStateForUndo()
    kept = keepChanged()
    removePreviews()
    try:
        volume, segmentation = cases.nodesOf(row) if row.nodes is not None else _load(row, cases)
    except (RuntimeError, OSError, ValueError, LoadError) as error:
        removePreviews()
        raise LoadError(_("{case} cannot be shown: {error}").format(case=row.id, error=error)) from error
    if volume is None:
        raise LoadError(_("The volume of case {case} is gone.").format(case=row.id))
    slicer.util.setSliceViewerLayers(background=volume, foreground=None, label=None, fit=True)
    if segmentation is not None:
        segmentation.CreateDefaultDisplayNodes()
        segmentation.GetDisplayNode().SetVisibility(True)
    return ShownCase(volume, segmentation, kept)


def loadPrediction(volume, path, classes, name):
    """Load a file of the engine as a preview beside those that are there.

    Args:
        volume: the volume node of the case.
        path: the labelmap, in the world.
        classes: as ``Runs.classesOf`` gives them.
        name: of the new node.

    Returns:
        The segmentation node.

    Raises:
        LoadError: it cannot be read.
    """
    try:
        labelmap = slicer.util.loadLabelVolume(str(path), {"name": name, "show": False})
    except RuntimeError as error:
        raise LoadError(_("{file} cannot be read. Check the free disk space.").format(file=path)) from error
    segmentation = toSegmentation(labelmap, volume, classes)
    segmentation.SetName(name)
    return asPreview(segmentation)


def asPreview(segmentation):
    """Let a segmentation be neither saved nor offered, and let the next preview replace it; returns it."""
    segmentation.SetAttribute(PREVIEW, voxelsOf(segmentation))
    _setSaved(segmentation, False)
    return segmentation


def previewOf(segmentation):
    """A copy of a user's segmentation, as a preview: it may be shown otherwise. The user's is hidden meanwhile."""
    segmentation.GetDisplayNode().SetVisibility(False)
    copy = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", segmentation.GetName())
    copy.GetSegmentation().DeepCopy(segmentation.GetSegmentation())
    copy.SetAndObserveTransformNodeID(segmentation.GetTransformNodeID())
    copy.CreateDefaultDisplayNodes()
    return asPreview(copy)


def keep(node):
    """Make a preview an ordinary node."""
    if node.GetAttribute(PREVIEW) is not None:
        node.RemoveAttribute(PREVIEW)
        _setSaved(node, True)


def keepChanged():
    """Make previews that a person has changed ordinary nodes; returns the names of their segmentations."""
    previews = _previews()
    changed = [
        node
        for node in previews
        if node.IsA("vtkMRMLSegmentationNode") and node.GetAttribute(PREVIEW) != voxelsOf(node)
    ]
    names = []
    for node in changed:
        node.SetName(slicer.mrmlScene.GenerateUniqueName(_("{name} changed").format(name=node.GetName())))
        node.GetDisplayNode().RemoveAllViewNodeIDs()
        names.append(node.GetName())
    for node in previews if changed else ():
        keep(node)
    return names


def _setSaved(node, isSaved):
    """Whether a node and what belongs to it is saved with the scene."""
    for found in withCompanions(node):
        found.SetSaveWithScene(isSaved)


def removePreviews():
    """Remove what was loaded to look at a case."""
    for node in _previews():
        removeNode(node)


def _previews():
    return [node for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode") if node.GetAttribute(PREVIEW)]


def _load(row, cases):
    volume = loadFirstChannel(row.images, row.id)
    volume.SetAttribute(PREVIEW, "1")
    _setSaved(volume, False)
    if row.label is None:
        return volume, None
    if row.label.endswith(".seg.nrrd"):
        segmentation = slicer.util.loadSegmentation(row.label, {"name": row.id})
    else:
        labelmap = slicer.util.loadLabelVolume(row.label, {"name": row.id, "show": False})
        voxels = slicer.util.arrayFromVolume(labelmap)
        for value, meant in cases.labelValues.items():
            voxels[voxels == value] = meant
        segmentation = toSegmentation(labelmap, volume, classesInFiles(cases))
    segmentation.SetName(row.id)
    segmentation.CreateDefaultDisplayNodes()
    return volume, asPreview(segmentation)
