import slicer
import vtk

from .Result import PREVIEW, RESULT

TISSUE = "85756007"
"""SNOMED CT code of tissue."""


def caseVolumes():
    """The volumes of the scene that can be cases."""
    return [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if isCaseVolume(node)]


def isCaseVolume(node):
    """Whether a volume can be a case: one value per voxel, no labelmap, no result or preview of this module."""
    image = node.GetImageData()
    return (
        image is not None
        and image.GetNumberOfScalarComponents() == 1
        and not node.IsA("vtkMRMLLabelMapVolumeNode")
        and node.GetAttribute(RESULT) is None
        and node.GetAttribute(PREVIEW) is None
        and not node.GetHideFromEditors()
    )


def hideFrom(selector, attributes):
    """Offer no node that carries one of these attributes in a qMRMLNodeComboBox.

    Args:
        selector: the qMRMLNodeComboBox.
        attributes: names, of ``RESULT`` and ``PREVIEW``.
    """
    nodes = [node for nodeType in selector.nodeTypes for node in slicer.util.getNodesByClass(nodeType)]
    hidden = [node.GetID() for node in nodes if any(node.GetAttribute(name) for name in attributes)]
    model = selector.sortFilterProxyModel()
    if list(model.hiddenNodeIDs) != hidden:
        model.hiddenNodeIDs = hidden


def volumeInView():
    """The volume that the slice views show, when it can be a case; or None."""
    for layer in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        volume = slicer.mrmlScene.GetNodeByID(layer.GetBackgroundVolumeID() or "")
        if volume is not None and isCaseVolume(volume):
            return volume
    return None


def segmentationOn(volume):
    """The segmentation that was drawn on this volume and is no result of this module, or None."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        drawn = node.GetNodeReference(role) is volume
        if drawn and segmentsOf(node) and node.GetAttribute(RESULT) is None:
            return node
    return None


def segmentsOf(segmentationNode):
    """(ID, name) of every segment, in order; spaces around names do not count, and without a name the ID is taken."""
    segmentation = segmentationNode.GetSegmentation()
    return [(ID, (segmentation.GetSegment(ID).GetName() or "").strip() or ID) for ID in segmentation.GetSegmentIDs()]


def voxelsOf(segmentation):
    """A text that changes when somebody draws."""
    times = []
    for n in range(segmentation.GetSegmentation().GetNumberOfSegments()):
        segment = segmentation.GetSegmentation().GetNthSegment(n)
        image = segment.GetRepresentation("Binary labelmap")
        scalars = None if image is None else image.GetPointData().GetScalars()
        times.append((segment.GetName(), 0 if scalars is None else scalars.GetMTime()))
    return repr(times)


def terminologyOf(segment):
    """A segment's serialized terminology entry, or None."""
    value = vtk.reference("")
    entry = str(value) if segment.GetTag("TerminologyEntry", value) and str(value) else None
    return None if entry is not None and _saysNothing(entry) else entry


def _saysNothing(entry):
    """Whether an entry is what Slicer gives to new segments: category and type tissue, nothing else."""
    parts = [part.strip("^") for part in entry.split("~")]
    isTissue = [part.partition("^")[2].partition("^")[0] for part in parts[1:3]] == [TISSUE] * 2
    return isTissue and not any(parts[3:4] + parts[5:])
