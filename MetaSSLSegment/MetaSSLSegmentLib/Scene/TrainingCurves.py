import logging

import numpy as np
import slicer
from metassl import REGIONS
from slicer.i18n import tr as _

CURVES = "MetaSSL.curves"
"""Attribute by which the table, series and charts are found again."""
LINE_COLOURS = ((31, 119, 180), (214, 110, 20), (44, 140, 44), (148, 80, 189), (120, 120, 120))


class TrainingCurves:
    """The curves of the last training: one table and one chart each for losses, region shares and hold-out Dice.

    The nodes are made once per scene and filled anew by every training. Points are collected by ``add`` and reach the
    nodes with ``flushOne``, which is meant to be called a few times a second. Plot views that show a chart follow its
    points, until a person zooms in.
    """

    CHARTS = ("losses", "regions", "hold-out")

    def __init__(self):
        self.clear()

    def clear(self):
        """Forget all points; the nodes follow with the next ``flush``."""
        self._points = {chart: {} for chart in self.CHARTS}
        self._changed = list(self.CHARTS)
        """charts with points that are not in the scene yet, in the order in which they came"""
        self._fitted = {}
        """chart -> ranges of its axes since they were last fitted to its points"""

    def add(self, event):
        """Take the numbers out of an event of the engine; events without numbers are ignored, damaged ones too."""
        try:
            if event.get("event") == "metrics":
                self._append("losses", event["iteration"], event.get("loss") or {})
                shares = (event.get("shares") or {}).get("unlabelled")
                if shares:
                    percent = {code: None if share is None else 100 * share for code, share in shares.items()}
                    self._append("regions", event["iteration"], percent)
            elif event.get("event") == "hold-out":
                dice = {_className(name): value for name, value in (event.get("dice") or {}).items()}
                self._append("hold-out", event["iteration"], {_("mean"): event["mean_dice"], **dice})
        except (KeyError, TypeError, ValueError, AttributeError):
            logging.warning("MetaSSL: an event without usable numbers: %.200s", event)

    def hasPoints(self, chart):
        """Whether there is anything to see in a chart."""
        return bool(self._points[chart])

    def chartNode(self, chart):
        """The plot chart node; made when it is not in the scene."""
        titles = {
            "losses": (_("Loss"), _("loss")),
            "regions": (_("Regions of unlabelled crops"), _("share (%)")),
            "hold-out": (_("Hold-out Dice"), _("Dice")),
        }
        node = _named("vtkMRMLPlotChartNode", chart)
        if node is None:
            node = _new("vtkMRMLPlotChartNode", chart, "MetaSSL " + titles[chart][0])
            node.SetTitle(titles[chart][0])
            node.SetXAxisTitle(_("step"))
            node.SetYAxisTitle(titles[chart][1])
        return node

    def show(self, chart):
        """Show a chart in the plot view; the layout gets one when it has none."""
        self.flush()
        slicer.modules.plots.logic().ShowChartInLayout(self.chartNode(chart))
        self._fit(chart)

    def flush(self):
        """Bring all collected points into the scene."""
        while self._changed:
            self.flushOne()

    def flushOne(self):
        """Bring the points of one chart into the scene: those of all at once would hold up the application."""
        if not self._changed:
            return
        chart = self._changed.pop(0)
        isZoomed = self._isZoomed(chart)
        self._fill(chart)
        if not isZoomed:
            self._fit(chart)

    def _isZoomed(self, chart):
        """Whether a person has changed the axes since they were fitted; not when all points of then can be seen."""
        node, fitted = _named("vtkMRMLPlotChartNode", chart), self._fitted.get(chart)
        if node is None or fitted is None:
            return False
        ranges = _axisRanges(node)
        covers = all(low <= least and most <= high for (low, high), (least, most) in zip(ranges, fitted))
        return not (node.GetXAxisRangeAuto() and node.GetYAxisRangeAuto() and covers)

    def _fit(self, chart):
        """Let the views that show a chart show all its points: by themselves they keep their first axes."""
        node, manager = _named("vtkMRMLPlotChartNode", chart), slicer.app.layoutManager()
        for number in range(manager.plotViewCount if manager is not None and node is not None else 0):
            widget = manager.plotWidget(number)
            if widget.mrmlPlotViewNode().GetPlotChartNodeID() == node.GetID():
                widget.plotView().fitToContent()
                self._fitted[chart] = _axisRanges(node)

    def _append(self, chart, step, values):
        """Add a point to each curve of a chart; after a crash, steps are repeated and replace those of before."""
        step = float(step)
        values = {str(name): np.nan if value is None else float(value) for name, value in values.items()}
        points = self._points[chart]
        steps = points.setdefault("", [])
        while steps and steps[-1] >= step:
            for column in points.values():
                column.pop()
        for name in values:
            points.setdefault(name, [np.nan] * len(steps))
        for name, column in points.items():
            column.append(values.get(name, np.nan) if name else step)
        if chart not in self._changed:
            self._changed.append(chart)

    def _fill(self, chart):
        points = self._points[chart]
        tableNode = _named("vtkMRMLTableNode", chart)
        if tableNode is None:
            if not points:
                return
            tableNode = _new("vtkMRMLTableNode", chart, f"MetaSSL {chart}")
        names = [_("step"), *(name for name in points if name)]
        self._removeSeriesWithout(names[1:], chart)  # before their column goes: a plot view would complain
        wasModifying = tableNode.StartModify()
        try:
            columns = [np.array(points.get(name, []), dtype=float) for name in ["", *names[1:]]]
            slicer.util.updateTableFromArray(tableNode, columns, names)
        finally:
            tableNode.EndModify(wasModifying)
        self._addSeries(chart, tableNode, names)

    def _removeSeriesWithout(self, names, chart):
        """Remove the curves that this training lacks."""
        chartNode = self.chartNode(chart)
        for series in _all("vtkMRMLPlotSeriesNode", chart):
            if series.GetYColumnName() not in names:
                chartNode.RemovePlotSeriesNodeID(series.GetID())
                slicer.mrmlScene.RemoveNode(series)

    def _addSeries(self, chart, tableNode, names):
        """One series per column; those that the user deleted come back."""
        chartNode = self.chartNode(chart)
        known = {series.GetYColumnName(): series for series in _all("vtkMRMLPlotSeriesNode", chart)}
        regions = {region.code: region.colour for region in REGIONS}
        for n, name in enumerate(names[1:]):
            series = known.get(name)
            if series is None:
                colour = regions.get(name, LINE_COLOURS[n % len(LINE_COLOURS)])
                series = _newSeries(chart, tableNode, names[0], name, colour)
            elif series.GetTableNode() is not tableNode:
                series.SetAndObserveTableNodeID(tableNode.GetID())
            if not chartNode.HasPlotSeriesNodeID(series.GetID()):
                chartNode.AddAndObservePlotSeriesNodeID(series.GetID())


def _className(name):
    """A class's column name; some are taken."""
    return _("class {name}").format(name=name) if name in (_("step"), _("mean")) else name


def _new(className, chart, name):
    node = slicer.mrmlScene.AddNewNodeByClass(className, name)
    node.SetAttribute(CURVES, chart)
    return node


def _newSeries(chart, tableNode, xColumn, yColumn, colour):
    """A series that is complete before it enters the scene: plot views look at it at once."""
    series = slicer.vtkMRMLPlotSeriesNode()
    series.SetName(yColumn)  # the legend shows it
    series.SetAttribute(CURVES, chart)
    series.SetPlotType(series.PlotTypeScatter)
    series.SetXColumnName(xColumn)
    series.SetYColumnName(yColumn)
    series.SetMarkerStyle(series.MarkerStyleNone)
    series.SetLineWidth(2)
    series.SetColor(*(part / 255 for part in colour))
    series.SetAndObserveTableNodeID(tableNode.GetID())
    return slicer.mrmlScene.AddNode(series)


def _axisRanges(chartNode):
    """((lowest, highest) of the x axis, of the y axis)."""
    return tuple(chartNode.GetXAxisRange()), tuple(chartNode.GetYAxisRange())


def _all(className, chart):
    return [node for node in slicer.util.getNodesByClass(className) if node.GetAttribute(CURVES) == chart]


def _named(className, chart):
    return next(iter(_all(className, chart)), None)
