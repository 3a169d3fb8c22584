"""Choosing and looking at cases, and at results, with an engine that does what the test says."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from harness.interaction import failOnCallbackErrors, processEvents, waitUntil
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.data.sample import make_sample
from MetaSSLSegmentLib.Scene import SampleSource
from MetaSSLSegmentLib.Scene.CaseExporter import CaseExporter
from MetaSSLSegmentLib.Scene.CaseList import CaseList
from MetaSSLSegmentLib.Scene.CaseNodes import isCaseVolume, segmentationOn, segmentsOf
from MetaSSLSegmentLib.Scene.RegionDisplay import RegionDisplay
from MetaSSLSegmentLib.Scene.Result import PREVIEW, RESULT, SUMMARY, removeNode
from MetaSSLSegmentLib.Sections.DataSection import DataSection
from MetaSSLSegmentLib.Sections.DisplaySection import DisplaySection
from test_exchange import nodesByClass, rotation, segmentationNode, transformUnder, volumeNode
from test_result import segmented
from user import MODULE


class FakeEngine:
    """Remembers what it was told to do; the test says how that ended."""

    def __init__(self):
        self.commands = []
        self.listener = None
        self.stopped = False

    def start(self, arguments, listener):
        self.commands.append([str(argument) for argument in arguments])
        self.listener = listener

    def stop(self, graceSeconds):
        self.stopped = True

    def abandon(self):
        self.stopped, self.listener = True, None


class FakeLogic:
    def __init__(self):
        self.engine = FakeEngine()
        self.exporter = CaseExporter()
        self.display = RegionDisplay()
        self.claimed = ""
        self.section = None
        self.tellings = 0
        self.isInFront = True

    def busy(self):
        return self.claimed

    def notReady(self):
        return ""

    def claim(self, reason, task):
        self.claimed = reason
        self.tellSections()

    def release(self):
        self.claimed = ""
        self.tellSections()

    def log(self, line):
        pass

    def tellSections(self):
        self.tellings += 1
        if self.section is not None:
            self.section.updateButtons()


@pytest.fixture
def ui():
    widget = slicer.util.loadUI(str(MODULE.parent / "Resources/UI/MetaSSLSegment.ui"))
    widget.setMRMLScene(slicer.mrmlScene)
    with failOnCallbackErrors():
        yield slicer.util.childWidgetVariables(widget)
        processEvents()
    widget.delete()


@pytest.fixture
def section(ui):
    made = DataSection(ui, FakeLogic())
    made.setParameterNode(SimpleNamespace(), CaseList(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")))
    made.logic.section = made
    yield made
    made.cleanup()


@pytest.fixture
def engine(section):
    return section.logic.engine


def column(table, n):
    return [table.item(row, n).text() for row in range(table.rowCount)]


def click(button):
    assert button.enabled, button.toolTip
    button.click()


def dataset(folder, count=2):
    """A folder of labelled and unlabelled cases in turn."""
    folder.mkdir(exist_ok=True)
    classes = (SegmentClass("nucleus", 3, (9, 200, 9)), SegmentClass("tract", 7, (200, 9, 9)))
    cases = []
    for n in range(count):
        labels = np.zeros((4, 5, 6), np.uint8)
        labels[0], labels[1], labels[2] = 7, 255, 3
        for name, array in ((f"i{n}", np.arange(120, dtype=np.int16).reshape(4, 5, 6)), (f"l{n}", labels)):
            sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / f"{name}.nii.gz"))
        label = str(folder / f"l{n}.nii.gz") if n % 2 == 0 else None
        role = "labelled" if label else "unlabelled"
        cases.append(Case(f"case {n}", (str(folder / f"i{n}.nii.gz"),), label, role))
    Dataset("d", ("MR",), classes, tuple(cases), 255).save(folder / "dataset.json")
    return folder


def added(section, folder):
    """Add a folder with a dataset.json, and let the check that follows begin."""
    section.ui.casesFolderPath.currentPath = str(folder)
    click(section.ui.addFolderButton)
    waitUntil(lambda: section.logic.engine.commands, 10)


# Adding and checking


def test_a_case_of_several_volumes_is_put_together_channel_by_channel(section, ui):
    first, second, other = volumeNode(name="T1"), volumeNode(name="T2"), volumeNode(np.ones((9, 5, 6)), name="other")
    drawn = segmentationNode(first, nucleus=slicer.util.arrayFromVolume(first) > 50)
    section.updateButtons()
    assert not ui.nextChannelButton.enabled and "Choose a volume" in ui.nextChannelButton.toolTip
    ui.caseVolumeSelector.setCurrentNode(first)
    click(ui.nextChannelButton)
    assert "Channels so far: T1." in ui.dataStatus.text and ui.caseVolumeSelector.currentNode() is None
    ui.caseVolumeSelector.setCurrentNode(other)
    click(ui.nextChannelButton)
    assert "other has 6 x 5 x 9 voxels" in ui.dataStatus.text and "Resample other" in ui.dataStatus.text
    click(ui.addNodesButton)
    assert len(section.cases) == 0 and "other has 6 x 5 x 9 voxels" in ui.dataStatus.text
    ui.caseVolumeSelector.setCurrentNode(second)
    assert ui.caseSegmentationSelector.currentNode() is drawn, "the annotation of the first channel"
    click(ui.addNodesButton)
    (row,) = section.cases.rows
    assert section.cases.volumesOf(row) == [first, second] and row.role == "labelled"
    ui.caseVolumeSelector.setCurrentNode(other)
    click(ui.addNodesButton)
    assert "have 2 image channels, the new one has 1 image channel" in ui.dataStatus.text
    assert "Next channel" in ui.dataStatus.text and ui.channelBox.count == 2


def test_a_folder_with_a_data_set_of_ours_is_taken_and_checked(section, engine, tmp_path):
    added(section, dataset(tmp_path / "d"))
    (command,) = engine.commands
    assert command[0] == "check" and Dataset.load(command[1]).name == "d"
    assert column(section.ui.caseTable, 0) == ["case 0", "case 1"]
    assert column(section.ui.caseTable, 1) == ["labelled", "unlabelled"]
    assert not section.ui.checkButton.enabled and section.ui.cancelButton.enabled
    engine.listener.progress("checking", 0.5, None, "case 1")
    assert "checking: 50 %" in section.ui.workText.text
    problem = {"case_id": "case 1", "severity": "warning", "message": "Odd.", "remedy": "Look."}
    measured = {"case 0": {"size": [6, 5, 4], "spacing": [1, 1, 2.5], "labels": [3, 7]}}
    engine.listener.event({"event": "report", "problems": [problem], "measured": measured})
    engine.listener.done({"event": "done"})
    assert column(section.ui.caseTable, 3)[0] == "6 x 5 x 4" and column(section.ui.caseTable, 5)[0] == "nucleus, tract"
    assert column(section.ui.caseTable, 2) == ["ready", "Odd. Look."]
    assert "0 cannot be used and 1 need a look" in section.ui.dataStatus.text
    assert section.ui.checkButton.enabled and section.ui.cancelButton.isHidden()
    assert not section.logic.claimed and not tmp_path.joinpath(command[1]).exists()


def test_a_check_says_what_makes_training_impossible(section, engine, tmp_path):
    added(section, dataset(tmp_path / "d"))
    stop = {"case_id": None, "severity": "stop", "message": "No labelled case can be used.", "remedy": "Add one."}
    engine.listener.event({"event": "report", "problems": [stop], "measured": {}})
    engine.listener.done({"event": "done"})
    assert section.ui.dataStatus.text == "No labelled case can be used. Add one."
    assert "color" in section.ui.dataStatus.styleSheet


def test_a_remark_about_the_data_set_is_no_obstacle(section, engine, tmp_path):
    added(section, dataset(tmp_path / "d"))
    remark = {"case_id": None, "severity": "warning", "message": "A class is missing.", "remedy": "Annotate it."}
    engine.listener.event({"event": "report", "problems": [remark], "measured": {}})
    engine.listener.done({"event": "done"})
    assert section.ui.dataStatus.text.endswith("all can be used.\nA class is missing. Annotate it.")
    assert "color" not in section.ui.dataStatus.styleSheet


def test_a_check_that_fails_is_told_and_leaves_no_folder(section, engine, tmp_path):
    added(section, dataset(tmp_path / "d"))
    folder = section.task.folder
    engine.listener.failed(SimpleNamespace(text=lambda: "No space left."))
    assert section.ui.dataStatus.text == "No space left." and not folder.exists()
    assert not section.logic.claimed and section.ui.checkButton.enabled


def test_another_folder_is_prepared_by_the_engine(section, engine, tmp_path):
    (tmp_path / "plain").mkdir()
    section.ui.casesFolderPath.currentPath = str(tmp_path / "plain")
    click(section.ui.addFolderButton)
    assert engine.commands[0][:2] == ["prepare", str(tmp_path / "plain")]
    engine.listener.done({"dataset": str(dataset(tmp_path / "d") / "dataset.json")})
    waitUntil(lambda: len(engine.commands) == 2, 5)
    assert len(section.cases) == 2 and engine.commands[1][0] == "check"


def test_cancel_asks_the_engine_or_ends_the_export(section, engine, tmp_path):
    added(section, dataset(tmp_path / "d"))
    click(section.ui.cancelButton)
    assert engine.stopped
    engine.listener.cancelled(None)
    assert section.ui.dataStatus.text == "Stopped." and not section.logic.claimed
    section.cases.addNodes(volumeNode())
    section.refresh()
    click(section.ui.checkButton)
    click(section.ui.cancelButton)
    processEvents(50)
    assert len(engine.commands) == 1 and not section.logic.claimed


def test_a_volume_that_cannot_be_exported_is_told(section, engine):
    bent = volumeNode(name="bent")
    section.cases.addNodes(bent, segmentationNode(bent, a=np.ones((4, 5, 6))))
    section.refresh()
    transformUnder(bent, nonLinear=True)
    click(section.ui.checkButton)
    waitUntil(lambda: not section.logic.claimed, 5)
    assert "bent lies under a non-linear transform" in section.ui.dataStatus.text and engine.commands == []


def test_a_scene_that_closes_during_a_check_does_no_harm(section, engine, tmp_path):
    added(section, dataset(tmp_path / "d"))
    slicer.mrmlScene.Clear(False)
    later = CaseList(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    section.setParameterNode(SimpleNamespace(), later)
    engine.listener.event({"event": "report", "problems": [], "measured": {}})
    engine.listener.done({"event": "done"})
    assert section.ui.caseTable.rowCount == 0 and not section.logic.claimed


# Cases of the scene


def test_all_volumes_of_the_scene_are_added_but_no_results_or_labelmaps(section, tmp_path):
    plain, drawn = volumeNode(name="plain"), volumeNode(name="drawn")
    segmentation = segmentationNode(drawn, a=np.ones((4, 5, 6)))
    segmented(plain, tmp_path)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hollow")
    vector = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "colour photo")
    slicer.util.updateVolumeFromArray(vector, np.zeros((4, 5, 6, 3), np.uint8))
    assert not isCaseVolume(vector)
    section.updateButtons()
    click(section.ui.addAllNodesButton)
    assert column(section.ui.caseTable, 0) == ["plain", "drawn"]
    assert column(section.ui.caseTable, 1) == ["unlabelled", "labelled"]
    assert segmentationOn(drawn) is segmentation and segmentationOn(plain) is None, "a result is no annotation"
    click(section.ui.addAllNodesButton)
    assert section.ui.caseTable.rowCount == 2


# Many cases, roles, classes


def test_a_thousand_cases_fill_the_table_quickly(section, tmp_path):
    cases = tuple(Case(f"case {n}", (f"/x/{n}.nii",), f"/x/{n}l.nii", "labelled") for n in range(1000))
    Dataset("many", ("MR",), (SegmentClass("a", 1, (1, 2, 3)),), cases).save(tmp_path / "dataset.json")
    section.cases.addDataset(tmp_path / "dataset.json")
    begin = time.thread_time()
    section.refresh()
    filled = time.thread_time()
    section.caseTable.select([case.id for case in cases])
    before = section.logic.tellings
    click(section.ui.setRoleButton)
    changed = time.thread_time()
    assert section.ui.caseTable.rowCount == 1000 and len(section.caseTable.selected()) == 1000
    assert filled - begin < 1 and changed - filled < 3, f"{filled - begin:.2f} s, {changed - filled:.2f} s"
    assert section.logic.tellings - before < 5
    waitUntil(lambda: section.ui.caseTable.item(999, 0) is not None, 5, "the rest of the table")
    assert column(section.ui.caseTable, 0)[-1] == "case 999" and len(section.caseTable.selected()) == 1000


def test_roles_of_selected_cases_change_and_stay_selected(section, tmp_path):
    section.cases.addDataset(dataset(tmp_path / "d", 4) / "dataset.json")
    section.refresh()
    assert not section.ui.setRoleButton.enabled and "Select cases" in section.ui.setRoleButton.toolTip
    section.caseTable.select(["case 0", "case 1"])
    section.ui.roleBox.setCurrentIndex(section.ui.roleBox.findData("hold-out"))
    click(section.ui.setRoleButton)
    assert column(section.ui.caseTable, 1) == ["hold-out", "unlabelled", "labelled", "unlabelled"]
    assert "No annotation: case 1" in section.ui.dataStatus.text
    assert section.caseTable.selected() == ["case 0", "case 1"]
    click(section.ui.removeCasesButton)
    assert column(section.ui.caseTable, 0) == ["case 2", "case 3"]
    click(section.ui.clearCasesButton)
    assert section.ui.caseTable.rowCount == section.ui.classTable.rowCount == 0
    assert not section.ui.checkButton.enabled


def test_the_intensities_of_every_channel_are_chosen(section, tmp_path):
    ui = section.ui
    section.refresh()
    assert not ui.intensitiesBox.enabled and "Add cases" in ui.intensitiesBox.toolTip
    cases = (Case("a", ("/x/0.nii", "/x/1.nii"), "/x/l.nii", "labelled"),)
    Dataset("d", ("T1", "T2"), (SegmentClass("a", 1, (1, 2, 3)),), cases, intensities=("auto", "ct")).save(
        tmp_path / "dataset.json"
    )
    section.cases.addDataset(tmp_path / "dataset.json")
    section.refresh()
    assert [ui.channelBox.itemText(n) for n in range(ui.channelBox.count)] == ["T1", "T2"]
    assert not ui.channelBox.isHidden() and ui.intensitiesBox.currentData == "auto"
    ui.channelBox.setCurrentIndex(1)
    assert ui.intensitiesBox.currentData == "ct"
    ui.intensitiesBox.setCurrentIndex(ui.intensitiesBox.findData("other"))
    section.refresh()
    assert ui.intensitiesBox.currentData == "other" and ui.channelBox.currentIndex == 1
    assert CaseList(section.cases.node).intensities == ["auto", "other"]
    section.onClear()
    assert ui.channelBox.isHidden() and not ui.intensitiesBox.enabled


def test_slices_without_a_segment_are_left_out_for_the_selected_cases_of_the_scene(section, tmp_path):
    section.cases.addDataset(dataset(tmp_path / "d") / "dataset.json")
    for name in ("one", "two"):
        volume = volumeNode(name=name)
        section.cases.addNodes(volume, segmentationNode(volume, a=np.ones((4, 5, 6))))
    section.refresh()
    section.caseTable.select(["case 0"])
    assert not section.ui.slicesBox.enabled and "of the scene" in section.ui.slicesBox.toolTip
    section.ui.caseTable.clearSelection()
    section.caseTable.select(["two"])
    click(section.ui.slicesBox)
    assert [row.slicesOnly for row in section.cases.rows] == [False, False, False, True]
    section.caseTable.select(["one"])
    assert not section.ui.slicesBox.checked, "not all of the selected cases are"


def test_a_remedy_names_what_the_panel_has(section):
    found = {
        "case_id": None,
        "severity": "warning",
        "code": "intensities",
        "message": "A is taken for CT.",
        "remedy": "--x",
    }
    section._onReport({"event": "report", "problems": [found], "measured": {}})
    assert section._remarks == ["A is taken for CT. If that is wrong, choose it under Intensities in section 2."]


def test_classes_are_renamed_in_the_table(section, tmp_path):
    section.cases.addDataset(dataset(tmp_path / "d") / "dataset.json")
    section.refresh()
    section.ui.classTable.item(0, 1).setText(" core ")
    assert column(section.ui.classTable, 1) == ["core", "tract"] and section.cases.classes[0]["name"] == "core"
    section.ui.classTable.item(1, 1).setText("core")
    assert "'core' is not a new class name" in section.ui.dataStatus.text
    assert column(section.ui.classTable, 1) == ["core", "tract"]


# Looking


def previews():
    return [n for n in slicer.util.getNodesByClass("vtkMRMLDisplayableNode") if n.GetAttribute(PREVIEW)]


def test_a_case_of_a_folder_is_shown_with_the_names_of_its_classes(section, tmp_path):
    section.cases.addDataset(dataset(tmp_path / "d") / "dataset.json")
    section.cases.renameClass(3, "core")
    section.showCase(0)
    volume, segmentation = previews()
    found = segmentation.GetSegmentation()
    names = [found.GetNthSegment(n).GetName() for n in range(found.GetNumberOfSegments())]
    assert names == ["core", "tract", "ignore"], "what nobody has annotated is no background"
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, found.GetNthSegmentID(2), volume)
    assert np.array_equal(np.unique(np.nonzero(mask)[0]), [1])
    for n, (value, colour) in enumerate(((3, (9, 200, 9)), (7, (200, 9, 9)))):
        assert np.allclose(np.array(found.GetNthSegment(n).GetColor()) * 255, colour, atol=0.6)
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, found.GetNthSegmentID(n), volume)
        assert np.array_equal(np.unique(np.nonzero(mask)[0]), [2 if value == 3 else 0])
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetBackgroundVolumeID() == volume.GetID()
    assert not isCaseVolume(volume)


def test_a_case_is_shown_by_what_the_values_of_its_label_file_mean(section, tmp_path):
    section.cases.addDataset(dataset(tmp_path / "d") / "dataset.json")
    section.cases.labelValues = {1: 3, 2: 0}
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[0], labels[1], labels[2] = 1, 2, 7
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / "d" / "l0.nii.gz"))
    section.showCase(0)
    volume, segmentation = previews()
    masks = {
        name: slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, ID, volume)
        for ID, name in segmentsOf(segmentation)
    }
    assert {name: np.unique(np.nonzero(mask)[0]).tolist() for name, mask in masks.items()} == {
        "nucleus": [0],
        "tract": [2],
    }


def test_a_preview_replaces_the_one_before(section, tmp_path):
    section.cases.addDataset(dataset(tmp_path / "d", 4) / "dataset.json")
    section.showCase(0)
    count = nodesByClass()
    for n in (1, 2, 3, 1, 0, 2):
        section.showCase(n)
    assert nodesByClass() == count
    assert [node.GetName() for node in previews()] == ["case 2", "case 2"]


@pytest.mark.parametrize("part", ["i0", "l0"])
@pytest.mark.parametrize("damage", ["gone", "damaged", "empty folder"])
def test_a_case_that_cannot_be_shown_is_told(section, tmp_path, part, damage):
    section.cases.addDataset(dataset(tmp_path / "d") / "dataset.json")
    path = tmp_path / "d" / f"{part}.nii.gz"
    path.unlink()
    if damage == "damaged":
        path.write_bytes(b"no image")
    elif damage == "empty folder":
        path.mkdir()
    count = nodesByClass()
    section.showCase(0)
    assert "case 0 cannot be shown" in section.ui.dataStatus.text
    assert nodesByClass() == count
    section.showCase(1)
    assert len(previews()) == 1


def test_a_case_of_the_scene_is_shown_and_stays(section):
    volume = volumeNode(name="one")
    segmentation = segmentationNode(volume, a=np.ones((4, 5, 6)))
    section.cases.addNodes(volume, segmentation)
    segmentation.GetDisplayNode().SetVisibility(False)
    section.showCase(0)
    assert segmentation.GetDisplayNode().GetVisibility() and previews() == []
    slicer.mrmlScene.RemoveNode(volume)
    section.showCase(0)
    assert "is gone" in section.ui.dataStatus.text


# The sample


def test_the_sample_is_made_once_and_again_when_it_is_damaged(section, engine, tmp_path, monkeypatch):
    monkeypatch.setattr(SampleSource, "sampleDataset", lambda: tmp_path / "sample" / "dataset.json")
    monkeypatch.setattr(
        "MetaSSLSegmentLib.Sections.DataSection.sampleDataset", lambda: tmp_path / "sample" / "dataset.json"
    )
    for content in (None, "{", '{"version": 99, "cases": []}'):
        if content is not None:
            (tmp_path / "sample" / "dataset.json").write_text(content)
        section.cases.clear()
        engine.commands.clear()
        click(section.ui.sampleButton)
        assert engine.commands == [["sample", "--out", str(tmp_path / "sample")]] and not (tmp_path / "sample").exists()
        path = make_sample(tmp_path / "sample", labelled=1, unlabelled=1, test=1)
        engine.listener.done({"dataset": str(path)})
        waitUntil(lambda: len(engine.commands) == 2, 5)
        assert section.cases.counts() == {"labelled": 1, "unlabelled": 1, "hold-out": 0, "ignored": 1}
        engine.listener.done({"event": "done"})
    section.cases.clear()
    click(section.ui.sampleButton)
    waitUntil(lambda: len(engine.commands) == 3, 5)
    assert engine.commands[2][0] == "check", "it is there already"


def test_the_sample_data_module_loads_a_case_that_no_training_sees(tmp_path, monkeypatch):
    path = make_sample(tmp_path / "sample", labelled=1, unlabelled=1, test=1)
    monkeypatch.setattr(SampleSource, "sampleDataset", lambda: path)
    (node,) = SampleSource.makeAndLoad()
    (case,) = Dataset.load(path).with_role("ignored")
    image = sitk.GetArrayFromImage(sitk.ReadImage(case.images[0]))
    assert np.array_equal(np.sort(slicer.util.arrayFromVolume(node), axis=None), np.sort(image, axis=None))


# The display of results


@pytest.fixture
def display(ui):
    made = DisplaySection(ui, FakeLogic())
    made.setParameterNode(SimpleNamespace(opacity=0.5, legend=True), None)
    made.logic.section = made
    ui.legendBox.checked = True
    return made


def test_results_are_shown_as_chosen(display, tmp_path):
    volume = volumeNode()
    transformUnder(volume, rotation())
    result = segmented(volume, tmp_path)
    display.showNewest()
    assert display.ui.segmentationButton.checked and display.ui.resultBox.count == 1
    assert column(display.ui.regionTable, 0) == ['nucleus, "left"; é', "tract", "whole volume"]
    assert column(display.ui.regionTable, 1) == ["1.5", "0", "2.5"]
    assert column(display.ui.regionTable, 2)[-1] == "2 (75 %)"
    click(display.ui.regionsButton)
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(result.nodes["regions"])
    assert legend.GetVisibility()
    display.ui.legendBox.checked = False
    assert not legend.GetVisibility()
    display.ui.legendBox.checked = True
    assert legend.GetVisibility()


def test_results_that_are_deleted_while_the_panel_is_open_do_no_harm(display, tmp_path):
    volume = volumeNode()
    result = segmented(volume, tmp_path)
    display.showNewest()
    removeNode(result.nodes["segmentation"])
    display.updateButtons()
    assert not display.ui.segmentationButton.enabled or display.ui.resultBox.count
    for name in ("regions", "confidence", "image"):
        getattr(display.ui, f"{name}Button").click()
    for node in result.nodes.values():
        removeNode(node)
    display.ui.imageButton.click()
    display.ui.legendBox.checked = not display.ui.legendBox.checked
    display.onOpacity(0.25)
    display.refresh()
    assert display.result is None and display.ui.regionTable.rowCount == 0
    assert not display.ui.regionsButton.enabled


@pytest.mark.parametrize("summary", ["{", "[]", '{"volume_ml": {"a": "b"}, "regions": 5}'])
def test_results_of_a_strangers_scene_do_no_harm(display, tmp_path, summary):
    result = segmented(volumeNode(), tmp_path)
    for node in result.nodes.values():
        node.SetAttribute(SUMMARY, summary)
    result.nodes["confidence"].SetAttribute(RESULT, "evil")
    display.showNewest()
    for name in ("segmentation", "regions", "image"):
        click(getattr(display.ui, f"{name}Button"))
    assert display.ui.regionTable.rowCount == 0 and not display.ui.confidenceButton.enabled
