"""Stand-ins of Slicer's main window, its module selector and the module Segment Editor, for what leads from one module
to another.

As in Slicer (`SegmentEditor.py`, `qMRMLSegmentEditorWidget.cxx`): the editor knows its parameter node only once the
module was entered, refuses other nodes than segmentations and volumes, and forgets the source volume with another
segmentation, for which it takes the one that was drawn on.
"""

from types import SimpleNamespace

import qt
import slicer


class MainWindow(qt.QMainWindow):
    """A qSlicerMainWindow in which one module is in front.

    Args:
        representations: module name -> widget representation, with `enter` and `exit`.
        current: name of the module that is in front.
    """

    def __init__(self, representations, current):
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._representations = representations
        self._selector = ModuleSelector(representations, current)

    def moduleSelector(self):
        return self._selector


class ModuleSelector:
    """Stand-in of qSlicerModuleSelectorToolBar. Slicer ignores unknown names; here they are an error."""

    def __init__(self, representations, current):
        self._representations = representations
        self.selectedModule = current

    def selectModule(self, name):
        if name not in self._representations:
            raise ValueError(f"there is no module {name!r}")
        if name != self.selectedModule:
            self._representations[self.selectedModule].exit()
            self.selectedModule = name
            self._representations[name].enter()


class SegmentEditorRepresentation:
    """The module's panel; register it with `install`."""

    def __init__(self):
        self._widget = SimpleNamespace(editor=SegmentEditor())

    def install(self):
        """Make it `slicer.modules.segmenteditor`."""
        module = SimpleNamespace(name="SegmentEditor", path="", widgetRepresentation=lambda: self)
        slicer.modules.segmenteditor = module
        return self

    def self(self):
        return self._widget

    def enter(self):
        """Find or make the parameter node; without any segmentation a new one is made, as Slicer does."""
        node = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.vtkMRMLSegmentEditorNode()
            node.SetSingletonTag("SegmentEditor")
            node = slicer.mrmlScene.AddNode(node)
        self._widget.editor.setMRMLSegmentEditorNode(node)
        if self._widget.editor.segmentationNode() is None:
            first = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
            first = first or slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
            self._widget.editor.setSegmentationNode(first)

    def exit(self):
        """The effects are put away; nodes stay chosen."""


class SegmentEditor:
    """Stand-in of qMRMLSegmentEditorWidget: which nodes are edited, in a real parameter node."""

    def __init__(self):
        self._parameters = None

    def setMRMLSegmentEditorNode(self, node):
        self._parameters = node

    def setSegmentationNode(self, node):
        self._require(node, "vtkMRMLSegmentationNode")
        if self._parameters.GetSegmentationNode() is node:
            return
        self._parameters.SetAndObserveSegmentationNode(node)
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        self._parameters.SetAndObserveSourceVolumeNode(None if node is None else node.GetNodeReference(role))

    def setSourceVolumeNode(self, node):
        self._require(node, "vtkMRMLScalarVolumeNode")
        self._parameters.SetAndObserveSourceVolumeNode(node)

    def segmentationNode(self):
        return None if self._parameters is None else self._parameters.GetSegmentationNode()

    def sourceVolumeNode(self):
        return None if self._parameters is None else self._parameters.GetSourceVolumeNode()

    def _require(self, node, className):
        if self._parameters is None:
            raise RuntimeError("need to set segment editor node first")  # Slicer logs it and does nothing
        if node is not None and not (node.IsA(className) and node.GetScene() is slicer.mrmlScene):
            raise TypeError(f"not a {className} of the scene: {node}")
