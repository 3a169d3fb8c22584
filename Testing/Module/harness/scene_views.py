"""Pictures of the scene as arrays (height, width, 3) of uint8, first row on top.

`sliceImage` needs no OpenGL and shows volumes only: use it for assertions. `sliceView` and `chartImage` draw with
VTK offscreen (software rendering is enough): use them for pictures that a person looks at.
"""

import contextlib
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

_OVERLAY_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLColorLegendDisplayableManager",
)


def savePng(array, path):
    """Write a picture; makes the folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = vtk.vtkImageData()
    image.SetDimensions(array.shape[1], array.shape[0], 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    vtk_to_numpy(image.GetPointData().GetScalars())[:] = array[::-1].reshape(-1, 3)
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    writer.Write()
    if writer.GetErrorCode():
        raise OSError(f"could not write {path}")
    return path


def sliceImage(
    background,
    foreground=None,
    label=None,
    labelOpacity=0.5,
    foregroundOpacity=0.5,
    orientation="Axial",
    size=(256, 256),
    offset=None,
):
    """One slice of the given volume nodes, blended by Slicer's own slice logic in a view of its own.

    `offset` is the slice's position in mm along its normal; without it, the volume's middle. Segmentations and
    legends are no part of it.
    """
    with _temporaryView("HarnessSlice") as logic:
        composite = logic.GetSliceCompositeNode()
        composite.SetBackgroundVolumeID(background.GetID())
        composite.SetForegroundVolumeID(foreground.GetID() if foreground else None)
        composite.SetLabelVolumeID(label.GetID() if label else None)
        composite.SetForegroundOpacity(foregroundOpacity)
        composite.SetLabelOpacity(labelOpacity)
        logic.GetSliceNode().SetOrientation(orientation)
        _fit(logic, size, offset)
        return _array(_blend(logic))


def sliceView(viewName="Red", size=(600, 600), offset=None, fit=True):
    """The slice view as Slicer shows it: its volumes, with segmentations, models and colour legends over them.

    What it shows is said by the scene, as by `slicer.util.setSliceViewerLayers`.
    """
    logic = slicer.app.layoutManager().sliceWidget(viewName).sliceLogic()
    if fit:
        _fit(logic, size, offset)
    window = _window(size)
    volumes, overlay = vtk.vtkRenderer(), vtk.vtkRenderer()
    window.SetNumberOfLayers(2)
    overlay.SetLayer(1)
    overlay.GetActiveCamera().ParallelProjectionOn()
    window.AddRenderer(volumes)
    window.AddRenderer(overlay)
    interactor = vtk.vtkGenericRenderWindowInteractor()
    interactor.SetRenderWindow(window)

    colours = vtk.vtkImageExtractComponents()
    colours.SetInputData(_blend(logic))
    colours.SetComponents(0, 1, 2)
    mapper = vtk.vtkImageMapper()
    mapper.SetInputConnection(colours.GetOutputPort())
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    volumes.AddViewProp(actor)

    group = slicer.vtkMRMLDisplayableManagerGroup()
    group.SetRenderer(overlay)
    for className in _OVERLAY_MANAGERS:
        manager = getattr(slicer, className)()
        manager.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        group.AddDisplayableManager(manager)
    group.SetMRMLDisplayableNode(logic.GetSliceNode())
    for legend in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode"):
        # The manager learns of legends only when they are added to the scene, and this one came late.
        slicer.mrmlScene.InvokeEvent(slicer.mrmlScene.NodeAddedEvent, legend)
    window.Render()  # the legend finds out what the view shows while it is drawn for the first time
    picture = _grab(window)
    # VTK crashes at the interpreter's end when displayable managers outlive their window.
    group.SetMRMLDisplayableNode(None)
    group.SetRenderer(None)
    window.Finalize()
    return picture


def chartImage(plotChartNode, size=(800, 400)):
    """A chart as Slicer's plot view shows it, drawn by VTK from the chart's series and their tables."""
    chart = vtk.vtkChartXY()
    if plotChartNode.GetTitleVisibility():
        chart.SetTitle(plotChartNode.GetTitle() or "")
        chart.GetTitleProperties().SetFontSize(plotChartNode.GetTitleFontSize())
        chart.GetTitleProperties().BoldOn()
    chart.SetShowLegend(plotChartNode.GetLegendVisibility())
    chart.GetLegend().SetLabelSize(plotChartNode.GetLegendFontSize())
    chart.GetLegend().SetDragEnabled(False)
    for axisName, letter in ((vtk.vtkAxis.BOTTOM, "X"), (vtk.vtkAxis.LEFT, "Y")):
        _setUpAxis(chart.GetAxis(axisName), letter, plotChartNode)
    for index in range(plotChartNode.GetNumberOfPlotSeriesNodes()):
        series = plotChartNode.GetNthPlotSeriesNode(index)
        if series is not None and series.GetTableNode() is not None:
            _addSeries(chart, series)

    view = vtk.vtkContextView()
    window = _window(size)
    view.SetRenderWindow(window)
    view.GetRenderer().SetBackground(1, 1, 1)
    view.GetScene().AddItem(chart)
    return _grab(window)


def _setUpAxis(axis, letter, chartNode):
    def setting(name):
        return getattr(chartNode, f"Get{letter}Axis{name}")()

    axis.SetTitle((setting("Title") or "") if setting("TitleVisibility") else "")
    axis.GetTitleProperties().SetFontSize(chartNode.GetAxisTitleFontSize())
    axis.GetLabelProperties().SetFontSize(chartNode.GetAxisLabelFontSize())
    axis.SetGridVisible(chartNode.GetGridVisibility())
    axis.SetLogScale(setting("LogScale"))
    if not setting("RangeAuto"):
        axis.SetBehavior(vtk.vtkAxis.FIXED)
        axis.SetRange(*setting("Range"))


def _addSeries(chart, series):
    """Slicer: a scatter plot takes x from a column, other plots count rows unless the column is named too."""
    table = series.GetTableNode().GetTable()
    columns = [table.GetColumnName(index) for index in range(table.GetNumberOfColumns())]
    isBar = series.GetPlotType() in (series.PlotTypeBar, series.PlotTypeScatterBar)
    xName, yName = series.GetXColumnName(), series.GetYColumnName()
    if yName not in columns or (series.IsXColumnRequired() and xName not in columns) or not table.GetNumberOfRows():
        return  # as Slicer: such a series is not drawn
    plot = chart.AddPlot(vtk.vtkChart.BAR if isBar else vtk.vtkChart.LINE)
    if series.IsXColumnRequired():
        plot.SetInputData(table, xName, yName)
    else:
        plot.SetInputData(table, yName, yName)
        plot.SetUseIndexForXSeries(True)
    plot.SetLabel(series.GetName())
    red, green, blue = (round(255 * part) for part in series.GetColor())
    plot.SetColor(red, green, blue, round(255 * series.GetOpacity()))
    if not isBar:
        plot.SetWidth(series.GetLineWidth())
        plot.GetPen().SetLineType(series.GetLineStyle())  # the same numbers as vtkPen's
        plot.SetMarkerStyle(series.GetMarkerStyle())
        plot.SetMarkerSize(series.GetMarkerSize())


@contextlib.contextmanager
def _temporaryView(name):
    """A slice logic with nodes that are removed afterwards."""
    scene = slicer.mrmlScene
    before = {node.GetID() for node in (scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes()))}
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    logic.SetMRMLScene(scene)
    logic.AddSliceNode(name)
    try:
        yield logic
    finally:
        logic.SetMRMLScene(None)
        for node in [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]:
            if node.GetID() not in before:
                scene.RemoveNode(node)


def _fit(logic, size, offset):
    logic.GetSliceNode().SetDimensions(*size, 1)
    logic.FitSliceToAll(*size)
    logic.SnapSliceOffsetToIJK()
    if offset is not None:
        logic.SetSliceOffset(offset)


def _blend(logic):
    logic.UpdatePipeline()
    blend = logic.GetBlend()
    blend.Update()
    return blend.GetOutput()


def _window(size):
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(True)
    window.SetMultiSamples(0)
    window.SetSize(*size)
    return window


def _grab(window):
    window.Render()
    reader = vtk.vtkWindowToImageFilter()
    reader.SetInput(window)
    reader.ReadFrontBufferOff()
    reader.Update()
    return _array(reader.GetOutput())


def _array(image):
    width, height, _ = image.GetDimensions()
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)
    return np.ascontiguousarray(values[::-1, :, :3])
