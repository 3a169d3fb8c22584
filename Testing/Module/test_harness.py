"""The harness keeps its promises: what works on it works in Slicer, as far as it imitates Slicer."""

import enum
import gc
import pathlib
import time
import weakref
from typing import Annotated

import ctk
import numpy as np
import pytest
import qt
import slicer
import vtk
from harness import minislicer, packages, parameter_node_wrapper, sample_data, scene_views
from harness.interaction import LatencyMonitor, failOnCallbackErrors, processEvents, screenshot, waitUntil
from harness.module_loading import openModule
from PySide6.QtTest import QTest
from slicer import vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import Choice, Default, Maximum, Minimum, WithinRange, parameterNodeWrapper

# ---- set-up --------------------------------------------------------------------------------------------------------


def test_setting_up_twice_changes_nothing():
    scene = slicer.mrmlScene
    assert minislicer.bootstrap() is slicer
    assert slicer.mrmlScene is scene


def test_settings_are_not_written_to_the_users_own_file():
    slicer.app.userSettings().setValue("MetaSSL/test", 1)
    assert slicer.app.userSettings().fileName().startswith(slicer.app.temporaryPath)
    slicer.app.userSettings().remove("MetaSSL/test")


def test_new_nodes_have_a_place_in_the_subject_hierarchy_until_they_are_removed():
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "brain")
    item = hierarchy.GetItemByDataNode(node)
    assert hierarchy.GetItemName(item) == "brain"
    slicer.mrmlScene.RemoveNode(node)
    assert hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), "brain") == 0


def test_logics_of_slicers_modules_are_real():
    assert slicer.modules.volumes.logic().IsA("vtkSlicerVolumesLogic")
    assert slicer.app.applicationLogic().GetModuleLogic("Colors") is slicer.modules.colors.logic()


# ---- files ---------------------------------------------------------------------------------------------------------


def ramp(name="ramp", nodeClassName=None):
    """A volume whose voxels count from 0."""
    values = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    node = slicer.util.addVolumeFromArray(values, name=name, nodeClassName=nodeClassName)
    node.CreateDefaultDisplayNodes()
    return node


@pytest.mark.parametrize("extension", ["nrrd", "nii.gz"])
def test_a_saved_volume_loads_with_equal_voxels_and_geometry(tmp_path, extension):
    node = ramp()
    node.SetSpacing(0.5, 1, 2)
    node.SetOrigin(3, 4, 5)
    path = tmp_path / f"ramp.{extension}"
    assert slicer.util.saveNode(node, str(path))
    loaded = slicer.util.loadVolume(str(path))
    assert loaded.GetName() == "ramp_1"  # unique, as in Slicer
    assert np.array_equal(slicer.util.arrayFromVolume(loaded), slicer.util.arrayFromVolume(node))
    assert loaded.GetSpacing() == pytest.approx(node.GetSpacing())
    assert loaded.GetOrigin() == pytest.approx(node.GetOrigin())


def test_label_volumes_load_as_label_volumes_and_exports_are_not_remembered(tmp_path):
    node = ramp()
    assert slicer.util.exportNode(node, str(tmp_path / "labels.nrrd"))
    assert node.GetStorageNode() is None
    assert slicer.util.loadLabelVolume(str(tmp_path / "labels.nrrd")).IsA("vtkMRMLLabelMapVolumeNode")


def test_segmentations_load_with_their_segments(tmp_path):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(ramp())
    segment = node.GetSegmentation().AddEmptySegment("", "heart", (1, 0, 0))
    mask = np.zeros((4, 5, 6), np.uint8)
    mask[1:3, 1:3, 1:3] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, slicer.util.getNode("ramp"))
    assert slicer.util.saveNode(node, str(tmp_path / "organs.seg.nrrd"))
    loaded = slicer.util.loadSegmentation(str(tmp_path / "organs.seg.nrrd"))
    assert loaded.GetSegmentation().GetNthSegment(0).GetName() == "heart"


def test_a_missing_file_raises_as_in_slicer(tmp_path):
    with pytest.raises(RuntimeError, match="Failed to load node from file"):
        slicer.util.loadVolume(str(tmp_path / "none.nrrd"))


def test_slice_views_show_the_layers_that_they_are_given():
    volume, labels = ramp(), ramp("labels", "vtkMRMLLabelMapVolumeNode")
    slicer.util.setSliceViewerLayers(background=volume, label=labels, labelOpacity=0.3, fit=True)
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {"Red", "Yellow", "Green"} <= {node.GetLayoutName() for node in composites}
    for composite in composites:
        assert composite.GetBackgroundVolumeID() == volume.GetID()
        assert composite.GetLabelVolumeID() == labels.GetID()
        assert composite.GetLabelOpacity() == pytest.approx(0.3)
    slicer.util.setSliceViewerLayers(background=volume, rotateToVolumePlane=True)


def test_a_plot_follows_its_points_only_when_it_is_told_to():
    manager, layouts = slicer.app.layoutManager(), slicer.vtkMRMLLayoutNode
    manager.setLayout(layouts.SlicerLayoutConventionalView)
    assert manager.plotViewCount == 0 and manager.plotWidget(0) is None
    chart = slicer.util.plot(np.array([[1.0, 5.0], [2.0, 7.0]]), xColumnIndex=0, show=False)
    slicer.modules.plots.logic().ShowChartInLayout(chart)
    assert (manager.layout, manager.plotViewCount) == (layouts.SlicerLayoutConventionalPlotView, 1)
    widget = manager.plotWidget(0)
    assert widget.mrmlPlotViewNode().GetPlotChartNodeID() == chart.GetID()
    assert chart.GetXAxisRange() == (0, 1)
    widget.plotView().fitToContent()
    assert chart.GetXAxisRange() == (1, 2) and chart.GetYAxisRange() == (5, 7)
    manager.setLayout(layouts.SlicerLayoutConventionalView)


# ---- Qt as PythonQt shows it ---------------------------------------------------------------------------------------


def test_qt_properties_are_attributes_and_calling_them_raises():
    label = qt.QLabel("a")
    label.text = "b"
    assert label.text == "b"
    label.setText("c")
    assert label.text == "c"
    with pytest.raises(TypeError, match="'str' object is not callable"):
        label.text()


@pytest.mark.parametrize("make", [lambda: qt.QLabel("a"), lambda: ctk.ctkSliderWidget(), lambda: qt.QTimer()])
def test_unknown_attributes_cannot_be_assigned(make):
    instance = make()
    with pytest.raises(AttributeError, match="'fooBar' does not exist on "):
        instance.fooBar = 1
    with pytest.raises(AttributeError):
        instance.setObjectName = 1


def test_python_subclasses_of_qt_classes_may_have_attributes_of_their_own():
    class Counter(qt.QWidget):
        def __init__(self):
            qt.QWidget.__init__(self)
            self.count = 1

    assert Counter().count == 1


def test_dynamic_properties_are_attributes_after_they_are_set():
    label = qt.QLabel()
    label.setProperty("Unit", "mm")
    label.Unit = "ml"
    assert label.property("Unit") == "ml"


def test_signals_connect_by_their_cpp_signature():
    button, clicks = qt.QPushButton(), []
    assert button.connect("clicked(bool)", clicks.append)
    button.click()
    button.disconnect("clicked(bool)", clicks.append)
    button.click()
    assert clicks == [False]
    with pytest.raises(ValueError, match="does not exist on QPushButton"):
        button.connect("pushed()", print)


def test_a_process_reports_output_and_exit_as_in_slicer():
    process, output, finished = qt.QProcess(), [], []
    process.connect("readyReadStandardOutput()", lambda: output.append(process.readAllStandardOutput().data()))
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: finished.append(code))
    process.start("sh", ["-c", "read line; echo $line; exit 3"])
    process.write("stop\n")
    waitUntil(lambda: finished, 10)
    assert finished == [3]
    assert b"".join(output) == b"stop\n"


def test_a_missing_program_emits_only_an_error():
    process, errors, finished = qt.QProcess(), [], []
    process.connect("errorOccurred(QProcess::ProcessError)", errors.append)
    process.connect("finished(int,QProcess::ExitStatus)", lambda *arguments: finished.append(arguments))
    process.start("/no/such/program", [])
    waitUntil(lambda: errors, 10)
    assert errors == [qt.QProcess.FailedToStart]
    assert not finished


# ---- widgets -------------------------------------------------------------------------------------------------------


def test_a_collapsed_section_hides_its_contents():
    section = ctk.ctkCollapsibleButton()
    section.text = "Training"
    layout = qt.QVBoxLayout(section)
    label = qt.QLabel("inside")
    layout.addWidget(label)
    collapsed = []
    section.connect("contentsCollapsed(bool)", collapsed.append)
    section.collapsed = True
    assert label.isHidden() and not section.checked
    section.click()
    assert not label.isHidden() and not section.collapsed
    assert collapsed == [True, False]


def test_what_is_hidden_by_itself_stays_hidden_when_its_section_opens():
    section = ctk.ctkCollapsibleButton()
    layout = qt.QVBoxLayout(section)
    shown, hidden, later = labels = [qt.QLabel(text) for text in "abc"]
    for label in labels:
        layout.addWidget(label)
    section.show()
    hidden.visible = False
    section.collapsed = True
    shown.visible = True
    later.visible = False
    assert [label.isHidden() for label in labels] == [True, True, True]
    section.collapsed = False
    assert [label.isHidden() for label in labels] == [False, True, True]
    later.visible = True
    assert not later.isHidden()


def test_a_section_asks_for_the_width_of_its_size_hint():
    """A wide table in it makes the panel wide, unless the .ui file lets the section shrink."""
    section, column = ctk.ctkCollapsibleButton(), qt.QWidget()
    qt.QVBoxLayout(section).addWidget(qt.QTableWidget())
    qt.QVBoxLayout(column).addWidget(section)
    column.show()
    assert column.minimumSizeHint().width() > 250
    section.setSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Preferred)
    processEvents()
    assert column.minimumSizeHint().width() < 150


def test_a_node_selector_follows_the_scene():
    selector, chosen = slicer.qMRMLNodeComboBox(), []
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = True
    selector.setMRMLScene(slicer.mrmlScene)
    selector.connect("currentNodeChanged(vtkMRMLNode*)", chosen.append)
    volume = ramp()
    ramp("labels", "vtkMRMLLabelMapVolumeNode")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    assert selector.nodeCount() == 2  # a label volume is a scalar volume too
    selector.showChildNodeTypes = False
    assert selector.nodeCount() == 1
    assert selector.currentNode() is None
    selector.setCurrentNode(volume)
    assert selector.currentNodeID == volume.GetID()
    slicer.mrmlScene.RemoveNode(volume)
    assert selector.currentNode() is None
    assert chosen == [volume, None]


def test_a_node_selector_without_none_takes_the_first_node():
    volume = ramp()
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.setMRMLScene(slicer.mrmlScene)
    assert selector.currentNode() is volume


def test_checked_nodes_stay_checked_when_others_come():
    first = ramp("first")
    selector = slicer.qMRMLCheckableNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.setMRMLScene(slicer.mrmlScene)
    selector.setCheckState(first, qt.Qt.Checked)
    ramp("second")
    assert selector.nodeCount() == 2
    assert selector.checkedNodes() == (first,)


def test_slider_and_spin_box_show_one_value():
    slider, values = ctk.ctkSliderWidget(), []
    slider.connect("valueChanged(double)", values.append)
    slider.setRange(0, 1)
    slider.singleStep = 0.05
    slider.value = 0.25
    slider.value = 7
    assert slider.value == 1
    assert values == [0.25, 1]


def test_a_path_edit_tells_of_every_character_but_not_that_it_was_emptied():
    path, told, valid = ctk.ctkPathLineEdit(), [], []
    path.connect("currentPathChanged(QString)", told.append)
    path.connect("validInputChanged(bool)", valid.append)
    QTest.keyClicks(path.comboBox().lineEdit(), "/ab")
    path.currentPath = ""
    assert told == ["/", "/a", "/ab"] and valid == [True, False]


def test_a_path_edit_begins_with_the_last_path_of_its_history():
    before, after = ctk.ctkPathLineEdit(), ctk.ctkPathLineEdit()
    before.settingKey = after.settingKey = "MetaSSL/test"
    for path in ("/one", "/two", "/one"):
        before.currentPath = path
        before.addCurrentPathToHistory()
    assert before.currentPath == "/one" and after.currentPath == ""
    told = []
    later = ctk.ctkPathLineEdit()
    later.connect("currentPathChanged(QString)", told.append)
    later.settingKey = "MetaSSL/test"
    assert later.currentPath == "/one" and later.comboBox().count == 2 and told == ["/one"]
    qt.QSettings().remove("ctkPathLineEdit")


def test_a_folder_button_tells_of_new_folders_only(tmp_path):
    folder, told = ctk.ctkDirectoryButton(), []
    folder.connect("directoryChanged(QString)", told.append)
    folder.directory = str(tmp_path)
    folder.directory = str(tmp_path)
    folder.directory = ""
    assert told == [str(tmp_path), str(pathlib.Path.cwd())]


def test_a_ui_file_with_an_unknown_widget_class_is_an_error(tmp_path):
    path = tmp_path / "unknown.ui"
    path.write_text('<ui version="4.0"><widget class="qMRMLMysteryWidget" name="a"/></ui>', encoding="utf-8")
    with pytest.raises(RuntimeError, match="qMRMLMysteryWidget"):
        slicer.util.loadUI(str(path))


# ---- parameter nodes -----------------------------------------------------------------------------------------------


class Speed(enum.Enum):
    FAST = "f"
    EXACT = "e"

    def label(self):
        return self.name.title()


def makeWrapper():
    """A wrapper with one field of each kind, on a node of the scene."""

    @parameterNodeWrapper
    class Parameters:
        volume: vtkMRMLScalarVolumeNode
        threshold: Annotated[float, WithinRange(0, 10)] = 2.5
        free: float
        count: Annotated[int, Minimum(1), Maximum(9), Default(3)]
        isOn: bool = True
        name: str = "x"
        method: Annotated[str, Choice(["a", "b"])] = "a"
        folder: pathlib.Path
        speed: Speed

    return Parameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))


def test_parameters_have_their_types_and_defaults():
    parameters = makeWrapper()
    assert (parameters.volume, parameters.threshold, parameters.free, parameters.count) == (None, 2.5, 0.0, 3)
    assert (parameters.isOn, parameters.name, parameters.method) == (True, "x", "a")
    assert (parameters.folder, parameters.speed) == (pathlib.Path(), Speed.FAST)
    assert parameters.parameterNode.GetParameter("threshold") == "2.5"


def test_values_are_kept_in_the_node():
    parameters = makeWrapper()
    parameters.volume = ramp()
    parameters.folder = pathlib.Path("a b")
    parameters.speed = Speed.EXACT
    parameters.isOn = False
    again = type(parameters)(parameters.parameterNode)
    assert (again.volume.GetName(), again.folder, again.speed, again.isOn) == (
        "ramp",
        pathlib.Path("a b"),
        Speed.EXACT,
        False,
    )
    parameters.volume = None
    assert again.volume is None


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("threshold", 11, ValueError),
        ("count", 0, ValueError),
        ("count", 10, ValueError),
        ("method", "c", ValueError),
        ("name", None, ValueError),
        ("count", 1.5, TypeError),
        ("folder", "a", TypeError),
    ],
)
def test_wrong_values_raise_and_change_nothing(name, value, error):
    parameters = makeWrapper()
    before = parameters.getValue(name)
    with pytest.raises(error):
        setattr(parameters, name, value)
    assert parameters.getValue(name) == before


def test_a_default_outside_of_its_range_raises_when_the_wrapper_is_made():
    @parameterNodeWrapper
    class Parameters:
        share: Annotated[float, WithinRange(0, 1)] = 2

    with pytest.raises(ValueError, match="within range"):
        Parameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))


def test_types_that_the_stand_in_lacks_are_refused():
    with pytest.raises(Exception, match="Unable to create serializer"):

        @parameterNodeWrapper
        class Parameters:
            names: list[str]


def test_observers_see_the_new_value_once():
    parameters, seen = makeWrapper(), []
    tag = parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: seen.append(parameters.count))
    parameters.count = 5
    parameters.RemoveObserver(tag)
    parameters.count = 6
    assert seen == [5]


def connected(parameters, **widgets):
    """Connect the widgets, each to the parameter of its name; returns them as an object, and the connection's tag."""
    ui = type("Ui", (), {})()
    for name, widget in widgets.items():
        widget.setProperty("SlicerParameterName", name)
        setattr(ui, name, widget)
    return ui, parameters.connectGui(ui)


def test_widgets_and_parameters_follow_each_other_until_they_are_disconnected(tmp_path):
    parameters = makeWrapper()
    selector = slicer.qMRMLNodeComboBox()
    selector.noneEnabled = True
    selector.setMRMLScene(slicer.mrmlScene)
    ui, tag = connected(
        parameters,
        volume=selector,
        threshold=ctk.ctkSliderWidget(),
        free=qt.QDoubleSpinBox(),
        count=qt.QSpinBox(),
        isOn=qt.QCheckBox(),
        name=qt.QLineEdit(),
        method=qt.QComboBox(),
        folder=ctk.ctkPathLineEdit(),
        speed=qt.QComboBox(),
    )
    assert (ui.threshold.value, ui.threshold.maximum, ui.count.minimum, ui.isOn.checked) == (2.5, 10, 1, True)
    assert [ui.speed.itemText(index) for index in range(2)] == ["Fast", "Exact"]
    assert list(ui.volume.nodeTypes) == ["vtkMRMLScalarVolumeNode"]

    volume = ramp()
    ui.volume.setCurrentNode(volume)
    ui.threshold.value = 4
    ui.free.value = -1000.5
    ui.count.value = 8
    ui.isOn.checked = False
    ui.name.text = "y"
    ui.method.currentIndex = 1
    ui.folder.currentPath = str(tmp_path)
    ui.speed.currentIndex = 1
    assert parameters.volume is volume
    assert (parameters.threshold, parameters.free, parameters.count, parameters.isOn) == (4, -1000.5, 8, False)
    assert (parameters.name, parameters.method, parameters.folder) == ("y", "b", tmp_path)
    assert parameters.speed is Speed.EXACT

    parameters.volume = None
    parameters.threshold = 1
    parameters.method = "a"
    parameters.parameterNode.SetParameter("name", "from the node")
    assert ui.volume.currentNode() is None
    assert (ui.threshold.value, ui.method.currentText, ui.name.text) == (1, "a", "from the node")

    parameters.disconnectGui(tag)
    ui.count.value = 2
    parameters.threshold = 3
    assert parameters.count == 8
    assert ui.threshold.value == 1


def test_a_combo_box_takes_its_items_from_the_choices_and_is_read_by_index():
    parameters, box = makeWrapper(), qt.QComboBox()
    box.addItems(["Designer's text", "is removed", "entirely"])
    connected(parameters, method=box)
    assert [box.itemText(index) for index in range(box.count)] == ["a", "b"]
    box.setItemText(1, "The second method")
    box.currentIndex = 1
    assert parameters.method == "b"


@pytest.mark.parametrize(
    ("name", "widget", "message"),
    [
        ("free", lambda: ctk.ctkSliderWidget(), "unbounded"),
        ("name", lambda: qt.QComboBox(), "Choice"),
        ("name", lambda: qt.QSpinBox(), "Unable to create GUI connector"),
        ("name", lambda: type("SearchBox", (qt.QLineEdit,), {})(), "Unable to create GUI connector"),
    ],
)
def test_widgets_that_do_not_fit_are_refused(name, widget, message):
    with pytest.raises(RuntimeError, match=message):
        connected(makeWrapper(), **{name: widget()})


def test_widgets_of_unknown_parameters_are_refused():
    with pytest.raises(ValueError, match="Cannot find a param"):
        connected(makeWrapper(), nonsense=qt.QLineEdit())


@pytest.mark.parametrize("removes", [True, False])
def test_the_leak_of_an_older_slicer_can_be_imitated(monkeypatch, removes):
    monkeypatch.setattr(parameter_node_wrapper, "DISCONNECT_REMOVES_OBSERVER", removes)
    parameters = makeWrapper()
    ui, tag = connected(parameters, count=qt.QSpinBox())
    parameters.disconnectGui(tag)
    ui.count.value = 9
    assert parameters.count == 3
    parameters.count = 5
    assert ui.count.value == 9, "what is disconnected is not written, in either version"
    alive = weakref.ref(parameters)
    node = parameters.parameterNode
    del parameters, ui
    gc.collect()
    assert node.GetScene() is not None
    assert (alive() is None) == removes


# ---- packages, samples, start-up -----------------------------------------------------------------------------------


@pytest.fixture
def packaging():
    packages.reset()
    yield packages
    packages.reset()


def test_requests_for_packages_are_recorded_and_nothing_is_installed(packaging, monkeypatch):
    packaging.MISSING.add("monai")
    assert slicer.packaging.pip_check("numpy>=1.20")
    assert not slicer.packaging.pip_check("monai numpy")
    slicer.packaging.pip_ensure("monai>=1.4", requester="MetaSSL")
    assert not slicer.packaging.pip_check("monai")  # nothing happens in testing mode
    monkeypatch.setattr(slicer.app, "testing", False)
    slicer.packaging.pip_ensure(["monai>=1.4", "numpy"], skip_packages=["torch"], prompt_install=False)
    assert slicer.packaging.pip_check("monai")
    assert [(kind, names) for kind, names, _ in packaging.REQUESTS] == [("pip_ensure", ["monai>=1.4"])] * 2


def test_who_declines_gets_no_packages_and_pip_may_change_nothing(packaging, monkeypatch):
    packaging.MISSING.add("monai")
    monkeypatch.setattr(slicer.app, "testing", False)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *texts: False)
    with pytest.raises(RuntimeError, match="declined"):
        slicer.packaging.pip_ensure("monai >= 1.4")
    packaging.INEFFECTIVE = True
    slicer.packaging.pip_ensure("monai >= 1.4", prompt_install=False)
    assert not slicer.packaging.pip_check("monai")
    with pytest.raises(ValueError, match="must be string or list"):
        slicer.util.pip_install(("monai",))


def test_a_failing_installation_raises(packaging):
    packaging.MISSING.add("monai")
    packaging.FAILURE = RuntimeError("no network")
    with pytest.raises(RuntimeError, match="no network"):
        slicer.util.pip_install("monai")


@pytest.fixture
def samples(monkeypatch):
    """No source is registered."""
    monkeypatch.setattr(slicer.modules, "sampleDataSources", {}, raising=False)
    return slicer.modules.sampleDataSources


def test_samples_and_functions_of_the_start_up_run_when_a_test_says_so(samples):
    from SampleData import SampleDataLogic

    def load(source):
        return [ramp(source.sampleName)]

    slicer.app.connect(
        "startupCompleted()",
        lambda: SampleDataLogic.registerCustomSampleDataSource(
            "MetaSSL", "HarnessSample", [], [], [], customDownloader=load
        ),
    )
    assert samples == {}
    slicer.app.completeStartup()
    assert sample_data.click("HarnessSample")[0].GetName() == "HarnessSample"
    SampleDataLogic.registerCustomSampleDataSource("MetaSSL", "HarnessSample", [], [], [], customDownloader=load)
    names = [source.sampleName for source in samples["MetaSSL"]]
    assert names.count("HarnessSample") == 1, "registered again it stays one"


@pytest.mark.parametrize(
    ("fields", "error"),
    [({}, TypeError), ({"uris": []}, TypeError), ({"uris": [], "fileNames": ["a"]}, ValueError),
     ({"uris": ["a"], "fileNames": ["a"], "nodeNames": []}, ValueError)],
    ids=str,
)  # fmt: skip
def test_file_fields_of_a_sample_must_be_lists_of_one_length(samples, fields, error):
    from SampleData import SampleDataLogic

    with pytest.raises(error):
        SampleDataLogic.registerCustomSampleDataSource(sampleName="a", customDownloader=print, **fields)


def test_extensions_install_only_when_the_imitated_server_has_them(monkeypatch):
    manager = slicer.app.extensionsManagerModel()
    monkeypatch.setattr(manager, "installed", set())
    assert not manager.installExtensionFromServer("PyTorch", False)
    monkeypatch.setattr(manager, "serverHas", {"PyTorch"})
    assert manager.installExtensionFromServer("PyTorch", False)
    assert manager.isExtensionInstalled("PyTorch")


def test_texts_can_be_translated_in_a_test(monkeypatch):
    monkeypatch.setitem(slicer.i18n.TRANSLATIONS, "Apply", "Anwenden")
    assert (slicer.i18n.tr("Apply"), slicer.i18n.translate("context", "Stop")) == ("Anwenden", "Stop")
    monkeypatch.setitem(slicer.i18n.TRANSLATIONS, "{count} cases", "{anzahl} F\u00e4lle")
    assert slicer.i18n.tr("{count} cases") == "{count} cases", "it could not be formatted"


# ---- an ordinary scripted module -----------------------------------------------------------------------------------

DEMO_MODULE = """
from typing import Annotated

import qt, vtk
import slicer
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper, WithinRange
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin


class HarnessDemo(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Demo")


@parameterNodeWrapper
class HarnessDemoParameterNode:
    inputVolume: vtkMRMLScalarVolumeNode
    threshold: Annotated[float, WithinRange(-100, 500)] = 100


class HarnessDemoWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self._parameters = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/HarnessDemo.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = HarnessDemoLogic()
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        for event in (slicer.mrmlScene.EndCloseEvent, slicer.mrmlScene.EndImportEvent):
            self.addObserver(slicer.mrmlScene, event, self.connectParameters)
        self.connectParameters()

    def cleanup(self):
        self.removeObservers()
        self._parameters.disconnectGui(self._tag)

    def connectParameters(self, caller=None, event=None):
        if self._parameters:
            self._parameters.disconnectGui(self._tag)
            self.removeObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self.update)
        self._parameters = self.logic.getParameterNode()
        self._tag = self._parameters.connectGui(self.ui)
        self.addObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self.update)
        self.update()

    def update(self, caller=None, event=None):
        self.ui.applyButton.enabled = self._parameters.inputVolume is not None

    def onApply(self):
        with slicer.util.tryWithErrorDisplay(_("Failed."), waitCursor=True):
            self.ui.result.text = self.logic.describe(self._parameters)


class HarnessDemoLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return HarnessDemoParameterNode(super().getParameterNode())

    def describe(self, parameters):
        return f"{parameters.inputVolume.GetName()} > {parameters.threshold:g}"


class HarnessDemoTest(ScriptedLoadableModuleTest):
    def runTest(self):
        self.delayDisplay("testing")
        self.assertEqual(slicer.util.getModuleLogic("HarnessDemo").moduleName, "HarnessDemo")
        slicer.testsRun = True
"""

DEMO_UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>HarnessDemo</class>
 <widget class="qMRMLWidget" name="HarnessDemo"><layout class="QVBoxLayout" name="rows">
  <item><widget class="ctkCollapsibleButton" name="inputs"><property name="text"><string>Inputs</string></property>
   <layout class="QFormLayout" name="form">
    <item row="0" column="1"><widget class="qMRMLNodeComboBox" name="inputSelector">
     <property name="noneEnabled"><bool>true</bool></property>
     <property name="SlicerParameterName" stdset="0"><string>inputVolume</string></property></widget></item>
    <item row="1" column="1"><widget class="ctkSliderWidget" name="slider">
     <property name="SlicerParameterName" stdset="0"><string>threshold</string></property></widget></item>
    <item row="2" column="1"><widget class="ctkPathLineEdit" name="path">
     <property name="filters"><set>ctkPathLineEdit::Dirs|ctkPathLineEdit::Readable</set></property></widget></item>
   </layout></widget></item>
  <item><widget class="QPushButton" name="applyButton"><property name="text"><string>Apply</string></property>
   </widget></item>
  <item><widget class="QLabel" name="result"/></item>
 </layout></widget>
 <customwidgets>
  <customwidget><class>qMRMLWidget</class><extends>QWidget</extends><container>1</container></customwidget>
  <customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends><container>1</container></customwidget>
 </customwidgets>
 <connections><connection><sender>HarnessDemo</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
  <receiver>inputSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections>
</ui>"""


@pytest.fixture
def demo(tmp_path):
    """The demo module's panel, opened from files as Slicer would."""
    (tmp_path / "Resources" / "UI").mkdir(parents=True)
    (tmp_path / "HarnessDemo.py").write_text(DEMO_MODULE, encoding="utf-8")
    (tmp_path / "Resources" / "UI" / "HarnessDemo.ui").write_text(DEMO_UI, encoding="utf-8")
    representation = openModule(tmp_path / "HarnessDemo.py")
    with failOnCallbackErrors():
        yield representation
        representation.close()


def test_a_scripted_module_works_as_in_slicer(demo):
    widget = demo.self()
    assert slicer.modules.harnessdemo.title == "Demo"
    assert slicer.util.getModuleWidget("HarnessDemo") is widget
    assert widget.ui.path.filters == ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Readable
    assert not widget.ui.applyButton.enabled
    widget.ui.inputSelector.setCurrentNode(ramp())
    widget.ui.slider.value = 7
    widget.ui.applyButton.click()
    assert widget.ui.result.text == "ramp > 7"


def test_a_module_that_is_reloaded_gets_a_new_panel_in_the_same_place(demo):
    before = demo.self()
    old = before.ui.applyButton
    before.onReload()
    processEvents()
    after = demo.self()
    assert after is not before and slicer.modules.HarnessDemoWidget is after
    assert after.ui.applyButton.isVisibleTo(demo) and not old.isVisibleTo(demo)
    before.ui.slider.value = 7
    assert after.ui.slider.value == 100, "the old panel is cleaned up"


def test_a_module_wider_than_the_dock_is_cut_off(demo):
    demo.panel.resize(260, 600)
    demo.self().ui.applyButton.minimumWidth = 300
    waitUntil(lambda: demo.width >= 300, 5, "the module to be wider")
    assert demo.panel.width == 260
    demo.self().ui.applyButton.minimumWidth = 10
    waitUntil(lambda: demo.width <= 260, 5, "the module to be as narrow as the dock")


def test_a_modules_self_test_runs(demo):
    slicer.testsRun = False
    slicer.selfTests["HarnessDemo"]()
    assert slicer.testsRun


@pytest.mark.parametrize("kind", ["mrb", "mrml"])
def test_a_modules_parameters_are_saved_with_the_scene(demo, tmp_path, kind):
    ui = demo.self().ui
    volume = ramp()
    assert slicer.util.saveNode(volume, str(tmp_path / "ramp.nrrd"))
    ui.inputSelector.setCurrentNode(volume)
    ui.slider.value = 7
    assert slicer.util.saveScene(str(tmp_path / f"scene.{kind}"))
    slicer.mrmlScene.Clear(False)
    assert (ui.inputSelector.currentNode(), ui.slider.value) == (None, 100)
    assert slicer.util.loadScene(str(tmp_path / f"scene.{kind}"))
    assert (ui.inputSelector.currentNode().GetName(), ui.slider.value) == ("ramp", 7)
    assert ui.applyButton.enabled


def test_after_loading_a_scene_only_a_new_wrapper_knows_its_nodes_as_in_slicer(tmp_path):
    node = slicer.vtkMRMLScriptedModuleNode()
    node.SetSingletonTag("Kept")
    parameters = type(makeWrapper())(slicer.mrmlScene.AddNode(node))
    parameters.volume = ramp()
    parameters.count = 7
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert parameters.parameterNode.GetNodeReference("volume").GetName() == "ramp"
    assert (parameters.volume, parameters.count) == (None, 7)
    assert type(parameters)(parameters.parameterNode).volume.GetName() == "ramp"


# ---- acting like a user --------------------------------------------------------------------------------------------


def test_waiting_in_vain_fails_with_the_reason():
    with pytest.raises(AssertionError, match=r"waited 0.05 s in vain for: the cows to come home"):
        waitUntil(lambda: False, 0.05, "the cows to come home")


def test_the_latency_monitor_sees_a_gui_that_hangs():
    with LatencyMonitor() as monitor:
        processEvents(300)
        qt.QTimer.singleShot(0, lambda: time.sleep(0.5))
        processEvents(50)
    assert monitor.maximum > 450
    assert monitor.median < monitor.maximum / 2


def test_the_latency_monitor_tells_a_gui_that_works_from_one_that_has_to_wait():
    def work():
        end = time.thread_time() + 0.15
        while time.thread_time() < end:
            pass

    with LatencyMonitor() as monitor:
        processEvents(50)
        qt.QTimer.singleShot(0, lambda: time.sleep(0.15))
        processEvents(50)
    assert monitor.maximum > 100 > monitor.busiest
    with LatencyMonitor() as monitor:
        qt.QTimer.singleShot(0, work)
        processEvents(50)
    assert monitor.busiest > 100


def test_errors_in_callbacks_do_not_pass_unseen():
    button, node = qt.QPushButton(), ramp()
    button.connect("clicked()", lambda: 1 / 0)
    node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: [][1])
    with pytest.raises(AssertionError, match=r"(?s)ZeroDivisionError.*IndexError"), failOnCallbackErrors():
        button.click()
        node.Modified()


def test_screenshots_show_the_widget(tmp_path):
    label = qt.QLabel("MetaSSL")
    label.setStyleSheet("background: #ff0000")
    image = qt.QImage(str(screenshot(label, tmp_path / "pictures" / "label.png", width=80)))
    assert image.width() == 80
    assert image.pixelColor(1, 1).red() == 255


# ---- pictures ------------------------------------------------------------------------------------------------------


@pytest.fixture
def labelled():
    """A grey volume, and label 1 (pure green) on its right half (RAS x > 0)."""
    values = np.full((10, 20, 20), 100, np.int16)
    values[0, 0, 0] = 0
    volume = slicer.util.addVolumeFromArray(values, np.diag([1, 1, 1, 1]) * 1.0, "grey")
    volume.CreateDefaultDisplayNodes()
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevelMinMax(0, 200)
    colours = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "colours")
    colours.SetTypeToUser()
    colours.SetNumberOfColors(2)
    colours.SetColor(0, "none", 0, 0, 0, 0)
    colours.SetColor(1, "UC", 0, 1, 0, 1)
    mask = np.zeros_like(values)
    mask[:, :, 10:] = 1
    labels = slicer.util.addVolumeFromArray(mask, name="labels", nodeClassName="vtkMRMLLabelMapVolumeNode")
    labels.CreateDefaultDisplayNodes()
    labels.GetDisplayNode().SetAndObserveColorNodeID(colours.GetID())
    return volume, labels


def test_a_slice_image_blends_labels_over_the_volume_and_leaves_no_nodes(labelled):
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    image = scene_views.sliceImage(labelled[0], label=labelled[1], size=(100, 80))
    assert (image.shape, image.dtype) == ((80, 100, 3), np.uint8)
    assert image[40, 25] == pytest.approx([63, 191, 63], abs=3)  # the patient's left is on the picture's right
    assert image[40, 75] == pytest.approx([127, 127, 127], abs=3)
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes


def test_a_slice_view_shows_segmentation_and_legend(labelled):
    volume, labels = labelled
    slicer.util.setSliceViewerLayers(background=volume, label=None)
    plain = scene_views.sliceView("Red", size=(200, 200))
    assert plain[100, 100] == pytest.approx([127, 127, 127], abs=3)

    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = segmentation.GetSegmentation().AddEmptySegment("", "organ", (1, 0, 0))
    mask = np.zeros((10, 20, 20), np.uint8)
    mask[:, 5:15, 5:15] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, volume)
    segmented = scene_views.sliceView("Red", size=(200, 200))
    assert segmented[100, 100, 0] > 180 and segmented[100, 100, 1] < 80
    assert segmented[100, 4] == pytest.approx([127, 127, 127], abs=3)

    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(labels)
    legend.SetUseColorNamesForLabels(True)
    withoutLabels = scene_views.sliceView("Red", size=(200, 200))
    assert np.array_equal(withoutLabels, segmented)  # the legend of a volume that is not shown is not shown
    slicer.util.setSliceViewerLayers(label=labels, labelOpacity=0)
    withLegend = scene_views.sliceView("Red", size=(200, 200))
    changed = np.argwhere((withLegend != segmented).any(axis=-1))
    assert len(changed) > 100
    assert changed[:, 1].min() > 100  # on the right


def test_a_chart_image_shows_its_series(tmp_path):
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    slicer.util.updateTableFromArray(table, [np.arange(9.0), np.arange(9.0)], ["iteration", "loss"])
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode")
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "loss")
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName("iteration")
    series.SetYColumnName("loss")
    series.SetPlotType(series.PlotTypeScatter)
    series.SetMarkerStyle(series.MarkerStyleNone)
    series.SetColor(1, 0, 0)
    series.SetLineWidth(3)
    without = scene_views.chartImage(chart, (300, 200))
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    image = scene_views.chartImage(chart, (300, 200))

    def reds(picture):
        return np.argwhere((picture[..., 0] > 200) & (picture[..., 1] < 60))

    assert len(reds(without)) == 0
    rows, columns = reds(image).T
    assert np.corrcoef(rows[columns < 200], columns[columns < 200])[0, 1] < -0.95  # a line that rises
    loaded = qt.QImage(str(scene_views.savePng(image, tmp_path / "chart.png")))
    assert (loaded.width(), loaded.height()) == (300, 200)
    assert loaded.pixelColor(int(columns[0]), int(rows[0])).red() > 200
