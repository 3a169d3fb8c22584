"""An image, its annotation and a prediction in three slice views beside each other, in a layout of their own."""

import slicer

from .CasePreview import previewOf
from .Result import PREVIEW

LAYOUT = 7301
"""Number of the layout; those of Slicer are below 1000."""
VIEW_GROUP = 7301
"""Linked views move together, and leave those of other groups alone."""
VIEWS = ("MetaSSLImage", "MetaSSLAnnotation", "MetaSSLPrediction")
"""Names of the slice views, from left to right; the first letter after MetaSSL is written on each."""


def showSideBySide(volume, annotation, prediction):
    """Show a volume alone, with its annotation and with a prediction, at the middle of the annotation.

    A segmentation of the user is not touched, but for its visibility: a copy that the next preview replaces is shown.
    Without a main window nothing happens.

    Args:
        volume: the volume node.
        annotation, prediction: segmentation nodes; the prediction is a preview.
    """
    if slicer.app.layoutManager() is None:
        return
    if annotation.GetAttribute(PREVIEW) is None:
        annotation = previewOf(annotation)
    _switchLayout()
    slicer.util.setSliceViewerLayers(background=volume, foreground=None, label=None, fit=True)
    image, left, right = (slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{name}") for name in VIEWS)
    _showOnlyIn(annotation, _otherViews(image, right))
    _showOnlyIn(prediction, [right])
    place = _middleOf(annotation) or _middleOf(prediction)
    for layer in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        if layer.GetLayoutName() in VIEWS:
            layer.SetLinkedControl(True)
    for view in (image, left, right) if place else ():
        view.JumpSliceByOffsetting(*place)


def _switchLayout():
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    if not node.IsLayoutDescription(LAYOUT):
        node.AddLayoutDescription(LAYOUT, _description())
    node.SetViewArrangement(LAYOUT)


def _description():
    properties = {"orientation": "Axial", "viewcolor": "#8C8C8C", "viewgroup": VIEW_GROUP}
    items = []
    for name in VIEWS:
        told = {**properties, "viewlabel": name.removeprefix("MetaSSL")[0]}
        texts = "".join(f'<property name="{key}" action="default">{value}</property>' for key, value in told.items())
        items.append(f'<item><view class="vtkMRMLSliceNode" singletontag="{name}">{texts}</view></item>')
    return f'<layout type="horizontal" split="true">{"".join(items)}</layout>'


def _otherViews(*views):
    """All views that can show segments, but these."""
    kinds = ("vtkMRMLSliceNode", "vtkMRMLViewNode")
    found = [node for kind in kinds for node in slicer.util.getNodesByClass(kind)]
    return [node for node in found if node not in views]


def _showOnlyIn(segmentation, views):
    display = segmentation.GetDisplayNode()
    display.RemoveAllViewNodeIDs()
    for view in views:
        display.AddViewNodeID(view.GetID())
    display.SetVisibility(True)


def _middleOf(segmentation):
    """Centre of the first segment, in the world (RAS, mm); None without one."""
    IDs = segmentation.GetSegmentation().GetSegmentIDs()
    return segmentation.GetSegmentCenterRAS(IDs[0]) if IDs else None
