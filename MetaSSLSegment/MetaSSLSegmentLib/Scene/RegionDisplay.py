import numpy as np
import slicer
from metassl import REGIONS
from slicer.i18n import tr as _

from .Correction import segmentationOf
from .Result import PREVIEW, RESULT, VOLUME
from .Words import regionName

TABLE = "MetaSSL.colours"
"""Attribute by which the shared colour tables are found again, also in a loaded scene."""
LEGEND_SIZE, CONFIDENCE_LEGEND_SIZE, LEGEND_POSITION = (0.45, 0.4), (0.2, 0.3), (0.97, 0.85)
"""Shares of the slice view: the names must be readable in a small view."""
CONFIDENCE_COLOURS = ((70, 10, 100), (190, 50, 110), (250, 140, 60), (250, 245, 170))
"""From confidence 0 to 1, evenly spaced; lightness rises steadily."""


def regionColours():
    """The colour table of region labelmaps, one per scene: background transparent, UC, US, DC, DS named."""

    def fill(colours):
        colours.SetNumberOfColors(1 + len(REGIONS))
        colours.SetColor(0, _("outside"), 0, 0, 0, 0)
        colours.SetColorDefined(0, False)  # no line in the legend
        for region in REGIONS:
            colours.SetColor(
                region.value, f"{region.code} {regionName(region)}", *(part / 255 for part in region.colour), 1
            )

    return _table("regions", _("MetaSSL regions"), fill)


def confidenceColours():
    """The colour table of confidence volumes, one per scene; the surer the model, the more of the image can be seen."""

    def fill(colours):
        colours.SetNumberOfColors(256)
        anchors = np.linspace(0, 255, len(CONFIDENCE_COLOURS))
        for n in range(256):
            colour = [np.interp(n, anchors, part) / 255 for part in zip(*CONFIDENCE_COLOURS)]
            colours.SetColor(n, f"{n / 255:.2f}", *colour, 1 - n / 255)

    return _table("confidence", _("MetaSSL confidence"), fill)


def _table(kind, name, fill):
    for node in slicer.util.getNodesByClass("vtkMRMLColorTableNode"):
        if node.GetAttribute(TABLE) == kind:
            return node
    colours = slicer.vtkMRMLColorTableNode()
    colours.SetTypeToUser()
    colours.SetName(name)
    colours.SetAttribute(TABLE, kind)
    fill(colours)
    return slicer.mrmlScene.AddNode(colours)


class RegionDisplay:
    """Shows one part of a result over its volume in all slice views."""

    MODES = ("segmentation", "regions", "confidence", "image")

    def show(self, result, mode, opacity, legend=True, certain=True):
        """Show the volume with the segmentation (as corrected, if it was), the regions, the confidence, or nothing over
        it.

        Args:
            result: a Result.
            mode: one of ``MODES``; without such a node the image alone is shown.
            opacity: of the overlay, 0-1.
            legend: whether regions and confidence get a colour legend.
            certain: whether the unanimous confident region, mostly the whole volume, is coloured too.
        """
        self.hideOthers()
        if mode == "regions":
            regionColours().SetOpacity(REGIONS[0].value, 1.0 if certain else 0.0)
        nodes = {kind: node for kind, node in result.nodes.items() if kind == mode}
        slicer.util.setSliceViewerLayers(
            background=result.volumeNode,
            foreground=nodes.get("confidence"),
            label=nodes.get("regions"),
            foregroundOpacity=opacity if "confidence" in nodes else 0,
            labelOpacity=opacity,
        )
        if "segmentation" in nodes:
            node = segmentationOf(result)
            node.CreateDefaultDisplayNodes()  # unless somebody removed it, it has one
            display = node.GetDisplayNode()
            display.SetVisibility(True)
            display.SetOpacity2DFill(opacity)
        for kind in ("regions", "confidence"):
            if kind in nodes and legend and nodes[kind].GetDisplayNode() is not None:
                self._legend(nodes[kind], names=kind == "regions").SetVisibility(True)

    def setOpacity(self, result, mode, opacity):
        """Change the overlay's opacity and nothing else."""
        if mode == "segmentation" and mode in result.nodes:
            segmentationOf(result).CreateDefaultDisplayNodes()
            segmentationOf(result).GetDisplayNode().SetOpacity2DFill(opacity)
        elif mode == "regions":
            slicer.util.setSliceViewerLayers(labelOpacity=opacity)
        elif mode == "confidence":
            slicer.util.setSliceViewerLayers(foregroundOpacity=opacity)

    @staticmethod
    def shownOf(results):
        """The first result that can be seen in the slice views, and its mode; (None, "image") when there is none."""
        layers = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        labels = {layer.GetLabelVolumeID() for layer in layers}
        foregrounds = {layer.GetForegroundVolumeID() for layer in layers}
        for result in results:
            nodes = result.nodes
            segmentation = segmentationOf(result).GetDisplayNode() if "segmentation" in nodes else None
            if segmentation is not None and segmentation.GetVisibility():
                return result, "segmentation"
            for kind, shown in (("regions", labels), ("confidence", foregrounds)):
                if kind in nodes and nodes[kind].GetID() in shown:
                    return result, kind
        return None, "image"

    def show3D(self, segmentationNode, shown):
        """Show or hide the segments' surfaces."""
        if shown:
            segmentationNode.CreateClosedSurfaceRepresentation()
        segmentationNode.GetDisplayNode().SetVisibility3D(shown)

    @staticmethod
    def hideOthers():
        """Hide results, corrections and previews of this module: what the user shows beside them stays."""
        colors = slicer.modules.colors.logic()
        for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode"):
            kind = node.GetAttribute(RESULT)
            isOurs = kind is not None or node.GetAttribute(PREVIEW) or node.GetNodeReferenceID(VOLUME)
            if node.IsA("vtkMRMLSegmentationNode") and isOurs:
                if node.GetDisplayNode() is not None:
                    node.GetDisplayNode().SetVisibility(False)
            elif kind is not None and colors.GetColorLegendDisplayNode(node):
                colors.GetColorLegendDisplayNode(node).SetVisibility(False)

    @staticmethod
    def _legend(node, names):
        colors = slicer.modules.colors.logic()
        legend = colors.GetColorLegendDisplayNode(node)
        if legend is None:
            legend = colors.AddDefaultColorLegendDisplayNode(node)
            legend.SetTitleText(_("MetaSSL regions") if names else _("Confidence"))
            legend.SetSize(*(LEGEND_SIZE if names else CONFIDENCE_LEGEND_SIZE))
            legend.SetPosition(*LEGEND_POSITION)
            if names:
                legend.SetUseColorNamesForLabels(True)
                legend.SetMaxNumberOfColors(1 + len(REGIONS))
                legend.SetNumberOfLabels(1 + len(REGIONS))
            else:
                legend.SetLabelFormat("%.1f")
                legend.SetNumberOfLabels(6)
        return legend
