"""Stand-ins of the layout manager and its views: real view nodes and slice logics, nothing on a screen."""

from types import SimpleNamespace

import numpy as np
import slicer
import vtk

SLICE_VIEWS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


class LayoutManager:
    """Three slice views in every layout, those of layouts of one's own beside them, and one plot view in those that
    have plots.

    The layout is that of the scene's layout node, as in Slicer; `slicer.modules.plots.logic().ShowChartInLayout`
    changes it.
    """

    threeDViewCount = tableViewCount = 0

    def __init__(self):
        self._sliceLogics = vtk.vtkCollection()
        self._plotWidget = None

    def addViews(self, scene, applicationLogic):
        """Make the views' nodes and logics; they outlive the scene's closing."""
        self._applicationLogic = applicationLogic
        for name, orientation in SLICE_VIEWS.items():
            logic = self._newSliceLogic(scene)
            logic.AddSliceNode(name)
            logic.GetSliceNode().SetOrientation(orientation)
        applicationLogic.SetSliceLogics(self._sliceLogics)
        self._layoutLogic = slicer.vtkMRMLLayoutLogic()  # knows Slicer's layouts and makes the layout node
        self._layoutLogic.SetMRMLScene(scene)
        self._layoutNode = self._layoutLogic.GetLayoutNode()
        self._layoutNode.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)
        self._plotWidget = PlotWidget(_singleton(scene, "vtkMRMLPlotViewNode", "PlotView1"))

        self._layoutNode.AddObserver("ModifiedEvent", lambda caller, event: self._addViewsOfLayout(scene))

    def _newSliceLogic(self, scene):
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLScene(scene)
        logic.SetMRMLApplicationLogic(self._applicationLogic)
        self._sliceLogics.AddItem(logic)
        return logic

    def _addViewsOfLayout(self, scene):
        """As in Slicer, a slice view is made when a layout needs it for the first time."""
        nodes = self._layoutLogic.GetViewNodes()
        for node in [nodes.GetItemAsObject(n) for n in range(nodes.GetNumberOfItems())]:
            if node.IsA("vtkMRMLSliceNode") and node.GetLayoutName() not in self.sliceViewNames():
                self._newSliceLogic(scene).SetSliceNode(node)

    def layoutLogic(self):
        return self._layoutLogic

    @property
    def layout(self):
        return self._layoutNode.GetViewArrangement()

    @layout.setter
    def layout(self, layout):
        self._layoutNode.SetViewArrangement(layout)

    def setLayout(self, layout):
        self.layout = layout

    @property
    def plotViewCount(self):
        return int(slicer.vtkSlicerPlotsLogic.GetLayoutWithPlot(self.layout) == self.layout)

    def plotWidget(self, number):
        return self._plotWidget if number < self.plotViewCount else None

    def sliceViewNames(self):
        logics = (self._sliceLogics.GetItemAsObject(n) for n in range(self._sliceLogics.GetNumberOfItems()))
        return tuple(logic.GetSliceNode().GetLayoutName() for logic in logics)

    def mrmlSliceLogics(self):
        return self._sliceLogics

    def sliceWidget(self, name):
        logic = self._sliceLogics.GetItemAsObject(self.sliceViewNames().index(name))
        return SimpleNamespace(
            sliceLogic=lambda: logic,
            mrmlSliceNode=logic.GetSliceNode,
            mrmlSliceCompositeNode=logic.GetSliceCompositeNode,
            fitSliceToBackground=logic.FitSliceToBackground,
        )

    def resetSliceViews(self):
        for index in range(self._sliceLogics.GetNumberOfItems()):
            self._sliceLogics.GetItemAsObject(index).FitSliceToBackground()

    def resetThreeDViews(self):
        """There are none."""


class PlotWidget:
    """Stand-in of qMRMLPlotWidget. Its axes stay as they are until `fitToContent`, as seen in Slicer."""

    def __init__(self, viewNode):
        self._viewNode = viewNode

    def mrmlPlotViewNode(self):
        return self._viewNode

    def plotView(self):
        return SimpleNamespace(fitToContent=self._fit)

    def _fit(self):
        """Slicer computes the range of the shown series and keeps it in the chart's node; zooming writes it too."""
        chart = self._viewNode.GetPlotChartNode()
        if chart is None:
            return
        xs, ys = [], []
        for n in range(chart.GetNumberOfPlotSeriesNodes()):
            series = chart.GetNthPlotSeriesNode(n)
            for name, values in ((series.GetXColumnName(), xs), (series.GetYColumnName(), ys)):
                values.extend(slicer.util.arrayFromTableColumn(series.GetTableNode(), name))
        for values, setRange in ((xs, chart.SetXAxisRange), (ys, chart.SetYAxisRange)):
            known = np.array([value for value in values if np.isfinite(value)])
            if known.size:
                setRange(known.min(), known.max())


def _singleton(scene, className, tag):
    node = scene.CreateNodeByClass(className)
    node.UnRegister(None)
    node.SetSingletonTag(tag)
    return scene.AddNode(node)
