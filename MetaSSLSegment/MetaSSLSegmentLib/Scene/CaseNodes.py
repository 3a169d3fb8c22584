import slicer
import vtk

from .Result import PREVIEW, RESULT


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


def terminologyOf(segment):
    """A segment's serialized terminology entry, or None."""
    value = vtk.reference("")
    return str(value) if segment.GetTag("TerminologyEntry", value) and str(value) else None
