"""The voxels of segments on the grid of a volume; nothing enters the scene."""

import itertools

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from .CaseNodes import segmentsOf

VOXELS_AT_ONCE = 2**22
"""Of a labelmap, in one piece of the work."""


class ExportError(Exception):
    """A node cannot be given to the engine; the text says why and what to do."""


def drawSegments(labels, segmentationNode, volume, values):
    """Pieces of work: give the voxels of segments their values.

    Args:
        labels: (k, j, i) uint8 of the volume, all 0; changed in place.
        segmentationNode: the segments; each is resampled to the volume's grid when it has another one.
        volume: the volume node, without parent transform, whose grid is meant.
        values: segment name -> value, 1-255; other segments are left out.

    Raises:
        ExportError: segments with different values overlap, or a segment cannot be read.
    """
    names = {}
    for drawn in _labelmaps(segmentationNode, values):
        image = _labelmapOf(segmentationNode, next(iter(drawn.values()))[0])
        yield
        low, high = _extentOn(image, volume)
        yield
        box = tuple(slice(first, last + 1) for first, last in zip(low[::-1], high[::-1]))
        voxels = _resampled(image, volume, low, high, segmentationNode.GetName())
        yield
        for slab in _slabs(voxels):
            found = _valuesOf(voxels[slab], {label: values[name] for label, (_ID, name) in drawn.items()})
            inside = found != 0
            there, found = labels[box][slab], found[inside]
            before = there[inside]
            if np.any((before != 0) & (before != found)):
                _refuse(labels[box], voxels, drawn, values, names, segmentationNode)
            there[inside] = found
            yield
        names |= {values[name]: name for _ID, name in drawn.values()}


def isDrawn(segmentationNode):
    """Whether any segment has a voxel."""
    for ID, _name in segmentsOf(segmentationNode):
        image = _labelmapOf(segmentationNode, ID)
        if not image.IsEmpty() and slicer.vtkOrientedImageDataResample.CalculateEffectiveExtent(image, [0] * 6):
            return True
    return False


def fillEmptySlices(labels, value):
    """Give the slices without a label a value: nobody has annotated them.

    Slices are those of the axis along which most of them are empty between the first and the last one with a label; of
    the last axis of the volume (k) when there is no such gap.

    Args:
        labels: (k, j, i), changed in place.
        value: for the empty slices.
    """
    drawn = [labels.any(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
    if not drawn[0].any():
        return
    gaps = [np.count_nonzero(~found[found.argmax() : len(found) - found[::-1].argmax()]) for found in drawn]
    axis = int(np.argmax(gaps))
    np.moveaxis(labels, axis, 0)[~drawn[axis]] = value


def _labelmaps(segmentationNode, wanted):
    """Label value -> (ID, name) of the wanted segments, labelmap by labelmap: those that do not overlap share one.

    A segment that has a surface only gets a labelmap of its own, where its voxels are not 0: label None.
    """
    segmentation, layers = segmentationNode.GetSegmentation(), {}
    for ID, name in segmentsOf(segmentationNode):
        if name in wanted:
            layer = segmentation.GetLayerIndex(ID)
            label = None if layer < 0 else segmentation.GetSegment(ID).GetLabelValue()
            layers.setdefault(ID if layer < 0 else layer, {})[label] = (ID, name)
    return layers.values()


def _labelmapOf(segmentationNode, segmentID):
    """The labelmap of a segment, as it lies in the world (vtkOrientedImageData)."""
    image = slicer.vtkOrientedImageData()
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    if not logic.GetSegmentBinaryLabelmapRepresentation(segmentationNode, segmentID, image):
        raise ExportError(
            _("The segment '{segment}' of {name} could not be read.").format(
                segment=segmentationNode.GetSegmentation().GetSegment(segmentID).GetName(),
                name=segmentationNode.GetName(),
            )
        )
    return image


def _extentOn(image, volume):
    """Lowest and highest (i, j, k) of a volume that an image's labels can reach; lowest > highest when none can."""
    extent, toWorld, ofVolume = [0] * 6, vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    if image.IsEmpty() or not slicer.vtkOrientedImageDataResample.CalculateEffectiveExtent(image, extent):
        return [0, 0, 0], [-1, -1, -1]
    image.GetImageToWorldMatrix(toWorld)
    volume.GetIJKToRASMatrix(ofVolume)
    toVolume = np.linalg.inv(slicer.util.arrayFromVTKMatrix(ofVolume)) @ slicer.util.arrayFromVTKMatrix(toWorld)
    edges = [(extent[2 * n] - 0.5, extent[2 * n + 1] + 0.5) for n in range(3)]
    corners = np.array([(toVolume @ [*corner, 1])[:3] for corner in itertools.product(*edges)])
    most = np.array(volume.GetImageData().GetDimensions()) - 1
    low, high = np.maximum(np.floor(corners.min(0)), 0), np.minimum(np.ceil(corners.max(0)), most)
    return low.astype(int).tolist(), high.astype(int).tolist()


def _resampled(image, volume, low, high, name):
    """(k, j, i) the labels of an image on a part of a volume's grid."""
    if any(last < first for first, last in zip(low, high)):
        return np.zeros((0, 0, 0), np.uint8)
    grid, resampled, toWorld = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(toWorld)
    grid.SetExtent(*(n for pair in zip(low, high) for n in pair))
    grid.SetImageToWorldMatrix(toWorld)
    resampler = slicer.vtkOrientedImageDataResample
    if not resampler.ResampleOrientedImageToReferenceOrientedImage(image, grid, resampled):
        raise ExportError(_("{name} could not be resampled to the grid of its volume.").format(name=name))
    return vtk_to_numpy(resampled.GetPointData().GetScalars()).reshape(resampled.GetDimensions()[::-1])


def _slabs(voxels):
    """Slices of the first axis that cut an array into pieces of about ``VOXELS_AT_ONCE``."""
    thickness = max(1, VOXELS_AT_ONCE // max(1, voxels[:1].size))
    return (slice(k, k + thickness) for k in range(0, len(voxels), thickness))


def _valuesOf(voxels, values):
    """Labels become values; others become 0. The label None stands for all that is not 0."""
    if None in values:
        return np.where(voxels != 0, np.uint8(values[None]), np.uint8(0))
    table = np.zeros(max(256, 2 + max(values)), np.uint8)
    for label, value in values.items():
        table[label] = value
    return table[voxels if voxels.dtype == np.uint8 else np.clip(voxels, 0, len(table) - 1).astype(np.intp)]


def _refuse(labels, voxels, drawn, values, names, segmentationNode):
    """Raise ExportError with the first two segments that overlap, and in how many voxels."""
    for label, (_ID, name) in drawn.items():
        inside = voxels != 0 if label is None else voxels == label
        taken = labels[inside]
        taken = taken[(taken != 0) & (taken != values[name])]
        if taken.size:
            other = int(taken[0])
            raise ExportError(
                _(
                    "{segmentation}: the segments '{first}' and '{second}' overlap in {count} voxels; a voxel can have "
                    "only one label. Subtract one from the other (Segment Editor > Logical operators > Subtract)."
                ).format(
                    segmentation=segmentationNode.GetName(),
                    first=names[other],
                    second=name,
                    count=int(np.count_nonzero(taken == other)),
                )
            )
