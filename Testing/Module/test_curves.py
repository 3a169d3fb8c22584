"""The curves of a training: numbers of events become tables and plots, once per scene."""

import json

import numpy as np
import pytest
import slicer
import vtk
from MetaSSLSegmentLib.Scene.TrainingCurves import CURVES, TrainingCurves


@pytest.fixture
def curves():
    return TrainingCurves()


def metrics(step, shares=None, **losses):
    return {"event": "metrics", "iteration": step, "loss": losses, "shares": {"unlabelled": shares} if shares else {}}


def column(chart, name):
    return slicer.util.arrayFromTableColumn(slicer.util.getNode(f"MetaSSL {chart}"), name).tolist()


def owned(className):
    return [node for node in slicer.util.getNodesByClass(className) if node.GetAttribute(CURVES)]


def shownSeries(chartNode):
    count = chartNode.GetNumberOfPlotSeriesNodes()
    return [chartNode.GetNthPlotSeriesNode(n).GetYColumnName() for n in range(count)]


def test_points_reach_the_table_and_the_chart(curves):
    curves.add(metrics(10, {"UC": 0.9, "US": 0.1}, total=2.0, supervised=1.5))
    curves.add(metrics(20, {"UC": 0.8, "US": 0.2}, total=1.0, supervised=0.5))
    assert owned("vtkMRMLTableNode") == [], "nothing is made before the flush"
    curves.flush()
    assert (column("losses", "step"), column("losses", "total")) == ([10, 20], [2.0, 1.0])
    assert column("regions", "UC") == [90, 80]
    assert shownSeries(curves.chartNode("losses")) == ["total", "supervised"]
    assert curves.hasPoints("regions") and not curves.hasPoints("hold-out")


def test_charts_are_brought_up_to_date_one_by_one_and_in_turn(curves):
    curves.add({"event": "hold-out", "iteration": 5, "mean_dice": 0.5, "dice": {}})
    for step in range(1, 5):
        curves.add(metrics(step, {"UC": 0.9}, total=2.0))
        curves.flushOne()
    assert len(owned("vtkMRMLTableNode")) == 3, "none waits for ever while others have news"


def test_curves_that_begin_later_or_pause_have_gaps(curves):
    curves.add(metrics(1, total=3.0))
    curves.add(metrics(2, total=2.0, unlabelled=5.0))
    curves.add(metrics(3, unlabelled=4.0))
    curves.flush()
    assert np.array_equal(column("losses", "total"), [3, 2, np.nan], equal_nan=True)
    assert np.array_equal(column("losses", "unlabelled"), [np.nan, 5, 4], equal_nan=True)


def test_steps_that_are_repeated_after_a_crash_replace_those_of_before(curves):
    for step in (10, 20, 30, 20, 30):
        curves.add(metrics(step, total=float(len(curves._points["losses"].get("", [])))))
    curves.flush()
    assert column("losses", "step") == [10, 20, 30] and column("losses", "total") == [0, 3, 2]


def test_a_class_may_be_called_step_or_mean(curves):
    curves.add(
        {"event": "hold-out", "iteration": 5, "mean_dice": 0.5, "dice": {"step": 0.25, "mean": 0.75, "UC": None}}
    )
    curves.flush()
    assert column("hold-out", "step") == [5] and column("hold-out", "mean") == [0.5]
    assert shownSeries(curves.chartNode("hold-out")) == ["mean", "class step", "class mean", "UC"]
    assert column("hold-out", "class step") == [0.25] and np.isnan(column("hold-out", "UC")).all()


@pytest.mark.parametrize(
    "event",
    [{}, {"event": "progress"}, {"event": "metrics"}, {"event": "metrics", "iteration": "x", "loss": {"a": 1}},
     {"event": "metrics", "iteration": 1, "loss": [1]}, {"event": "metrics", "iteration": 1, "loss": {"a": "b"}},
     {"event": "metrics", "iteration": 1, "loss": {"a": 1}, "shares": 5}, {"event": "hold-out", "iteration": 3},
     {"event": "metrics", "iteration": None, "loss": {"a": 1}}, {"event": "metrics", "iteration": 1, "loss": None,
     "shares": {"unlabelled": {"UC": "much"}}}, {"event": "hold-out", "iteration": 1, "mean_dice": 1, "dice": [2]}],
    ids=json.dumps,
)  # fmt: skip
def test_events_of_a_damaged_run_do_no_harm(curves, event):
    curves.add(event)
    curves.add(metrics(50, total=1.0))
    curves.flush()
    assert column("losses", "step")[-1] == 50 and column("losses", "total")[-1] == 1.0


def test_the_next_training_takes_the_same_nodes(curves):
    curves.add(metrics(1, {"UC": 1.0}, total=1.0, unlabelled=2.0))
    curves.flush()
    nodes = {node.GetID() for kind in ("Table", "PlotChart") for node in owned(f"vtkMRML{kind}Node")}
    for _training in range(5):
        curves.clear()
        curves.flush()
        assert column("losses", "step") == [] and shownSeries(curves.chartNode("losses")) == []
        curves.add(metrics(7, total=3.0, other=1.0))
        curves.flush()
        assert shownSeries(curves.chartNode("losses")) == ["total", "other"]
        assert column("losses", "total") == [3.0]
    assert {node.GetID() for kind in ("Table", "PlotChart") for node in owned(f"vtkMRML{kind}Node")} == nodes
    assert len(owned("vtkMRMLPlotSeriesNode")) == 2


@pytest.mark.parametrize("className", ["vtkMRMLTableNode", "vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode"])
def test_what_the_user_deletes_comes_back_with_the_next_points(curves, className):
    curves.add(metrics(1, total=1.0))
    curves.flush()
    for node in owned(className):
        slicer.mrmlScene.RemoveNode(node)
    curves.add(metrics(2, total=0.5))
    curves.flush()
    chart = curves.chartNode("losses")
    assert shownSeries(chart) == ["total"] and column("losses", "total") == [1.0, 0.5]
    assert chart.GetNthPlotSeriesNode(0).GetTableNode() is slicer.util.getNode("MetaSSL losses")


def test_a_scene_that_closes_during_a_training_gets_the_curves_anew(curves):
    curves.add(metrics(1, total=1.0))
    curves.flush()
    slicer.mrmlScene.Clear(False)
    curves.add(metrics(2, total=0.5))
    curves.flush()
    assert column("losses", "step") == [1, 2] and shownSeries(curves.chartNode("losses")) == ["total"]


def test_curves_of_a_loaded_scene_are_used_again(curves, tmp_path):
    curves.add(metrics(1, {"UC": 0.5, "DS": 0.5}, total=1.0))
    curves.flush()
    assert slicer.util.saveScene(str(tmp_path / "s.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "s.mrb"))
    later = TrainingCurves()
    later.add(metrics(9, {"UC": 0.25, "DS": 0.75}, total=4.0))
    later.flush()
    assert len(owned("vtkMRMLTableNode")) == 2 and len(owned("vtkMRMLPlotSeriesNode")) == 3
    chart = later.chartNode("regions")
    assert shownSeries(chart) == ["UC", "DS"]
    assert chart.GetNthPlotSeriesNode(1).GetTableNode() is slicer.util.getNode("MetaSSL regions")
    assert column("regions", "DS") == [75]


# In the plot view


@pytest.fixture
def plot(curves):
    """The loss chart is shown; (range of the steps, range of the losses) that can be seen."""
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)
    curves.show("losses")
    chart = curves.chartNode("losses")
    yield lambda: (chart.GetXAxisRange(), chart.GetYAxisRange())
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)


def test_the_plot_view_follows_the_points(curves, plot):
    assert slicer.app.layoutManager().plotViewCount == 1
    for step, loss in ((1, 0.94), (2, 1.06), (30, 50.0)):
        curves.add(metrics(step, total=loss))
        curves.flush()
    assert plot() == ((1, 30), (0.94, 50))
    curves.clear()
    curves.add(metrics(1, total=3.0))
    curves.add(metrics(2, total=2.0))
    curves.flush()
    assert plot() == ((1, 2), (2, 3)), "the next training begins anew"


def test_a_person_who_zoomed_in_is_left_alone_until_all_points_can_be_seen_again(curves, plot):
    chart = curves.chartNode("losses")
    for step in (10, 20):
        curves.add(metrics(step, total=float(step)))
    curves.flush()
    chart.SetXAxisRange(12, 15)
    curves.add(metrics(30, total=30.0))
    curves.flush()
    assert plot()[0] == (12, 15)
    chart.SetXAxisRange(0, 40)
    curves.add(metrics(50, total=50.0))
    curves.flush()
    assert plot() == ((10, 50), (10, 50))
    chart.SetYAxisRangeAuto(False)
    curves.add(metrics(60, total=60.0))
    curves.flush()
    assert plot() == ((10, 50), (10, 50))


def test_a_chart_that_nobody_sees_is_fitted_when_it_is_shown(curves, plot):
    for step in (10, 20, 30):
        curves.add(metrics(step, {"UC": step / 100}))
        curves.flush()
    curves.show("regions")
    assert curves.chartNode("regions").GetXAxisRange() == (10, 30)


def test_without_a_main_window_there_is_no_plot_view(curves, monkeypatch):
    monkeypatch.setattr(slicer.app, "layoutManager", lambda: None)
    curves.add(metrics(1, total=1.0))
    curves.flush()
    assert column("losses", "total") == [1.0]


def test_series_are_complete_when_they_enter_the_scene(curves):
    """A plot view, which looks at them at once, would log warnings."""
    seen = []

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onAdded(caller, event, node):
        if node.IsA("vtkMRMLPlotSeriesNode"):
            table = node.GetTableNode().GetTable()
            seen.append(all(table.GetColumnByName(n) for n in (node.GetXColumnName(), node.GetYColumnName())))

    tag = slicer.mrmlScene.AddObserver(slicer.mrmlScene.NodeAddedEvent, onAdded)
    curves.add(metrics(1, {"UC": 0.5}, total=1.0, unlabelled=2.0))
    curves.flush()
    slicer.mrmlScene.RemoveObserver(tag)
    assert seen == [True, True, True]


def test_curves_go_before_their_columns(curves):
    curves.add(metrics(1, total=1.0, unlabelled=2.0))
    curves.flush()
    table = slicer.util.getNode("MetaSSL losses")
    missing = []

    def onModified(caller, event):
        names = [series.GetYColumnName() for series in owned("vtkMRMLPlotSeriesNode")]
        missing.extend(name for name in names if table.GetTable().GetColumnByName(name) is None)

    table.AddObserver("ModifiedEvent", onModified)
    curves.clear()
    curves.add(metrics(1, total=1.0))
    curves.flush()
    assert missing == [] and shownSeries(curves.chartNode("losses")) == ["total"]
