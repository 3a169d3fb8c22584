import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from slicer.i18n import tr as _

from .CaseExporter import segmentsOf
from .RegionDisplay import confidenceColours, regionColours
from .Result import RESULT, Result

KINDS = ("segmentation", "regions", "confidence")


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
            LoadError: a file is missing, or the volume was changed meanwhile.
        """
        folder = Path(folder)
        try:
            summary = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise LoadError(_("The engine's result cannot be read: {error}").format(error=error)) from error
        made = []
        try:
            for kind in kinds:
                ending = {"segmentation": "seg"}.get(kind, kind)
                node = self._read(folder / f"{name}_{ending}.nii.gz", volumeNode, labels=kind != "confidence")
                made.append(node)
                if kind == "segmentation":
                    made[-1:] = [toSegmentation(node, volumeNode, classes)]
                elif kind == "regions":
                    node.GetDisplayNode().SetAndObserveColorNodeID(regionColours().GetID())
                else:
                    display = node.GetDisplayNode()
                    display.SetAndObserveColorNodeID(confidenceColours().GetID())
                    display.SetAutoWindowLevel(False)
                    display.SetWindowLevelMinMax(0, 1)
                self._place(made[-1], kind, volumeNode)
        except Exception:
            for node in made:
                slicer.mrmlScene.RemoveNode(node)
            raise
        result = Result(dict(zip(kinds, made)), volumeNode)
        result.keep(summary)
        return result

    @staticmethod
    def _read(path, volumeNode, labels):
        """A volume node with the file's voxels on the grid of the volume.

        Slicer's own reader would reverse the slices of left-handed volumes; here the order of voxels stays.
        """
        if not path.is_file():
            raise LoadError(_("The engine did not write {file}.").format(file=path.name))
        voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        if voxels.shape[::-1] != volumeNode.GetImageData().GetDimensions():
            raise LoadError(
                _("{name} has another size now than when it was given to the engine. Press Apply again.").format(
                    name=volumeNode.GetName()
                )
            )
        grid = vtk.vtkMatrix4x4()
        volumeNode.GetIJKToRASMatrix(grid)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode" if labels else "vtkMRMLScalarVolumeNode")
        node.SetIJKToRASMatrix(grid)
        slicer.util.updateVolumeFromArray(node, voxels)
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        node.CreateDefaultDisplayNodes()
        return node

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


def toSegmentation(labelmap, volumeNode, classes):
    """Make a segmentation node of a labelmap node, which is removed.

    Args:
        labelmap: vtkMRMLLabelMapVolumeNode.
        volumeNode: the volume that the segments belong to.
        classes: dictionaries with name, value, colour and terminology; classes without voxels get no segment.
    """
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    try:
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        voxels = slicer.util.arrayFromVolume(labelmap)
        present = [c for c in classes if np.any(voxels == c["value"])]
        colours = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "MetaSSL import")
        try:
            colours.SetTypeToUser()
            colours.SetNumberOfColors(256)
            for c in classes:
                colours.SetColor(c["value"], c["name"], *(part / 255 for part in c["colour"]), 1.0)
            labelmap.GetDisplayNode().SetAndObserveColorNodeID(colours.GetID())
            logic = slicer.modules.segmentations.logic()
            if present and not logic.ImportLabelmapToSegmentationNode(labelmap, node):
                raise LoadError(_("The segments could not be made of the engine's labelmap."))
        finally:
            slicer.mrmlScene.RemoveNode(colours)
        segmentation = node.GetSegmentation()
        for (ID, _name), c in zip(segmentsOf(node), sorted(present, key=lambda c: c["value"])):
            segment = segmentation.GetSegment(ID)
            segment.SetName(c["name"])
            segment.SetColor(*(part / 255 for part in c["colour"]))
            if c["terminology"]:
                segment.SetTag("TerminologyEntry", c["terminology"])
    except Exception:
        slicer.mrmlScene.RemoveNode(node)
        raise
    slicer.mrmlScene.RemoveNode(labelmap)
    return node
