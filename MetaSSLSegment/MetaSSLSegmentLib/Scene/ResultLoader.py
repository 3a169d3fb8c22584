import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from slicer.i18n import tr as _

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
        folder = Path(folder)
        try:
            summary = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise LoadError(_("The engine's result cannot be read: {error}").format(error=error)) from error
        if not isinstance(summary, dict):
            raise LoadError(_("The engine's result {file} is damaged.").format(file=f"{name}.json"))
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
                removeNode(node)
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
        try:
            voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        except RuntimeError as error:
            raise LoadError(
                _("{file} is damaged. Check the free disk space and press Apply again.").format(file=path.name)
            ) from error
        image = volumeNode.GetImageData()
        if image is None or voxels.shape[::-1] != image.GetDimensions():
            raise LoadError(
                _("The size of {name} has changed since it was given to the engine. Press Apply again.").format(
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
        labelmap.GetDisplayNode().SetAndObserveColorNodeID("")  # names and colours are those of the classes
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
            if c["terminology"]:
                segment.SetTag(segment.GetTerminologyEntryTagName(), c["terminology"])
    except Exception:
        removeNode(node)
        raise
    finally:
        removeNode(labelmap)
    return node
