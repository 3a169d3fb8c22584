import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from slicer.i18n import tr as _

from .Grid import onGridOf
from .Pieces import inThread
from .RegionDisplay import confidenceColours, regionColours
from .Result import NODE_CLASSES, RESULT, Result, removeNode

KINDS = tuple(NODE_CLASSES)


class LoadError(Exception):
    """The engine's files cannot become nodes; the text says why."""


class ResultLoader:
    """Makes nodes of what the engine wrote for one volume."""

    def load(self, volumeNode, folder, name, classes, kinds=KINDS):
        """Load NAME_seg, NAME_regions and NAME_confidence beside the volume that was segmented.

        The nodes take grid and parent transform from the volume itself, so that they stay on it. Either all wanted
        nodes are made or none.

        Args:
            volumeNode: the segmented volume.
            folder, name: where the files are, and how the engine named the case.
            classes: as ``Runs.classesOf`` gives them.
            kinds: which nodes to make, of ``KINDS``.

        Returns:
            The Result.

        Raises:
            LoadError: a file is missing or damaged, or the volume was changed meanwhile.
        """
        pieces = self.pieces(volumeNode, folder, name, classes, kinds)
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                return end.value

    def pieces(self, volumeNode, folder, name, classes, kinds=KINDS, byPlace=False):
        """The work of ``load``, a generator that returns the Result; when it is closed early, no node stays.

        Args:
            volumeNode, folder, name, classes, kinds: as there.
            byPlace: whether the engine has read the volume's own file, so that its voxels may be in another order.
        """
        folder = Path(folder)
        summary = _summaryOf(folder / f"{name}.json")
        made = []
        try:
            for kind in kinds:
                ending = {"segmentation": "seg"}.get(kind, kind)
                voxels = yield from _read(folder / f"{name}_{ending}.nii.gz", volumeNode if byPlace else None)
                node = _nodeOf(voxels, volumeNode, isLabelmap=kind != "confidence")
                made.append(node)
                yield
                if kind == "segmentation":
                    made[-1:] = [toSegmentation(node, volumeNode, classes)]
                else:
                    _show(node, kind)
                self._place(made[-1], kind, volumeNode)
                yield
            result = Result(dict(zip(kinds, made)), volumeNode)
            result.keep(summary)
        except BaseException:  # GeneratorExit too
            for node in made:
                removeNode(node)
            raise
        return result

    @staticmethod
    def _place(node, kind, volumeNode):
        """Name the node after the volume and put it beside it in the subject hierarchy."""
        label = {"segmentation": _("segmentation"), "regions": _("regions"), "confidence": _("confidence")}[kind]
        node.SetName(slicer.mrmlScene.GenerateUniqueName(f"{volumeNode.GetName()} {label}"))
        node.SetAttribute(RESULT, kind)
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        item, volumeItem = hierarchy.GetItemByDataNode(node), hierarchy.GetItemByDataNode(volumeNode)
        if item and volumeItem:
            hierarchy.SetItemParent(item, hierarchy.GetItemParent(volumeItem))


def _summaryOf(file):
    """The engine's numbers of a case."""
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoadError(_("The engine's result cannot be read: {error}").format(error=error)) from error
    if not isinstance(summary, dict):
        raise LoadError(_("The engine's result {file} is damaged.").format(file=file.name))
    return summary


def _read(path, volumeNode=None):
    """Pieces that return the voxels (k, j, i) of a file; with a volume node those on its grid.

    Slicer's own reader would reverse the slices of left-handed volumes; here the order of voxels stays.
    """
    if not path.is_file():
        raise LoadError(_("The engine did not write {file}.").format(file=path.name))
    read = []
    try:
        yield from inThread(lambda: read.append(sitk.ReadImage(str(path))))
    except RuntimeError as error:
        raise LoadError(
            _("{file} is damaged. Check the free disk space and press Apply again.").format(file=path.name)
        ) from error
    image = read[0] if volumeNode is None or volumeNode.GetImageData() is None else onGridOf(read[0], volumeNode)
    return sitk.GetArrayFromImage(image)


def _nodeOf(voxels, volumeNode, isLabelmap):
    """A volume node with these voxels (k, j, i) on the grid of the volume."""
    image = volumeNode.GetImageData()
    if image is None or voxels.shape[::-1] != image.GetDimensions():
        raise LoadError(
            _("The size of {name} has changed since it was given to the engine. Press Apply again.").format(
                name=volumeNode.GetName()
            )
        )
    grid = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(grid)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode" if isLabelmap else "vtkMRMLScalarVolumeNode")
    node.SetIJKToRASMatrix(grid)
    slicer.util.updateVolumeFromArray(node, voxels)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    return node


def _show(node, kind):
    """Give regions or confidence their colours."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if kind == "regions":
        display.SetAndObserveColorNodeID(regionColours().GetID())
    else:
        display.SetAndObserveColorNodeID(confidenceColours().GetID())
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(0, 1)


def toSegmentation(labelmap, volumeNode, classes):
    """Convert a labelmap node to a segmentation node; the labelmap node is removed, also when something fails.

    Args:
        labelmap: vtkMRMLLabelMapVolumeNode.
        volumeNode: the volume that the segments belong to.
        classes: dictionaries with name, value, colour and terminology; classes without voxels get no segment, and
            voxels of no class belong to no segment.
    """
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    try:
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        voxels = slicer.util.arrayFromVolume(labelmap)
        voxels[~np.isin(voxels, [c["value"] for c in classes])] = 0
        slicer.util.arrayFromVolumeModified(labelmap)
        found = set(np.unique(voxels).tolist())
        present = sorted((c for c in classes if c["value"] in found), key=lambda c: c["value"])
        logic = slicer.modules.segmentations.logic()
        if present and not logic.ImportLabelmapToSegmentationNode(labelmap, node):
            raise LoadError(_("The labelmap could not be converted to segments."))
        segmentation = node.GetSegmentation()
        for ID, c in zip(segmentation.GetSegmentIDs(), present):  # in the order of the voxels' values
            segment = segmentation.GetSegment(ID)
            segment.SetName(c["name"])
            segment.SetColor(*(part / 255 for part in c["colour"]))
            segment.SetNameAutoGenerated(False)  # another terminology must not replace them
            segment.SetColorAutoGenerated(False)
            if c["terminology"]:
                segment.SetTag(segment.GetTerminologyEntryTagName(), c["terminology"])
    except Exception:
        removeNode(node)
        raise
    finally:
        removeNode(labelmap)
    return node
