"""Nodes and scenes come and go while the panel is open: it shows what is there, and loses nothing that was drawn."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from harness.interaction import processEvents
from harness.scene_views import sliceImage
from metassl.data.dataset import Dataset
from metassl.regions import REGIONS
from MetaSSLSegmentLib.Scene import SampleSource
from MetaSSLSegmentLib.Scene.CaseList import CaseList
from MetaSSLSegmentLib.Scene.CaseNodes import terminologyOf
from MetaSSLSegmentLib.Scene.RegionDisplay import RegionDisplay, confidenceColours, regionColours
from MetaSSLSegmentLib.Scene.Result import PREVIEW, removeNode
from test_case_list import exported
from test_data_section import dataset
from test_exchange import segmentationNode, transformUnder, volumeNode
from test_result import segmented
from test_runs import makeModel


def offered(selector):
    return [selector.nodeFromIndex(n).GetName() for n in range(selector.nodeCount())]


# Results


def test_coming_back_shows_the_numbers_of_the_result_that_is_seen(user, tmp_path):
    volume = volumeNode()
    first = segmented(volume, tmp_path)
    user.widget.displaySection.showNewest()
    segmented(volume, tmp_path)
    processEvents(20)
    user.widget.exit()
    user.widget.enter()
    assert user.ui.resultBox.count == 2
    assert user.ui.resultBox.currentData == user.widget.displaySection.result.first.GetID() == first.first.GetID()


def test_a_result_that_is_deleted_leaves_list_and_table(user, tmp_path):
    volume = volumeNode()
    other = segmented(volume, tmp_path)
    result = segmented(volume, tmp_path)
    user.widget.displaySection.showNewest()
    assert user.ui.regionTable.rowCount == 3 and user.ui.resultBox.count == 2
    RegionDisplay().show(other, "image", 0.5)
    for node in result.nodes.values():
        removeNode(node)
    processEvents(20)
    assert user.ui.resultBox.count == 1 and user.ui.resultBox.currentIndex == -1
    assert user.ui.regionTable.rowCount == 0 and user.ui.imageButton.checked
    assert "Choose a result" in user.ui.regionsButton.toolTip
    user.ui.resultBox.setCurrentIndex(0)
    assert user.widget.displaySection.result.first is other.first and user.ui.regionTable.rowCount == 3


def test_a_result_keeps_its_numbers_when_its_segmentation_is_deleted(user, tmp_path):
    result = segmented(volumeNode(), tmp_path)
    user.widget.displaySection.showNewest()
    removeNode(result.nodes["segmentation"])
    processEvents(20)
    assert user.ui.regionTable.rowCount == 3 and not user.ui.segmentationButton.enabled
    assert user.ui.regionsButton.enabled and user.ui.imageButton.checked


def test_the_unanimous_confident_region_hides_the_image_only_when_asked(user, tmp_path):
    """Two pictures of one slice differ where a region is drawn over the image."""
    volume = volumeNode(np.full((4, 5, 6), 100, np.int16))
    result = segmented(volume, tmp_path)
    regions = slicer.util.arrayFromVolume(result.nodes["regions"])
    regions[:] = 1
    regions[:, :, :3] = 4
    slicer.util.arrayFromVolumeModified(result.nodes["regions"])
    user.widget.displaySection.showNewest()
    user.click("regionsButton")

    def colours():
        picture = sliceImage(volume, label=result.nodes["regions"], labelOpacity=1.0)
        return {tuple(colour) for colour in picture.reshape(-1, 3)}

    assert not user.ui.certainBox.checked
    assert REGIONS[0].colour not in colours() and REGIONS[3].colour in colours()
    user.ui.certainBox.checked = True
    assert REGIONS[0].colour in colours() and REGIONS[3].colour in colours()
    header = [user.ui.regionTable.horizontalHeaderItem(n) for n in range(2, 6)]
    assert all(not item.icon().isNull() for item in header), "the table says what the colours mean"


def test_confidence_hides_the_image_only_where_the_model_is_unsure():
    colours, rgba = confidenceColours(), [0.0] * 4
    alphas = []
    for n in (0, 128, 255):
        colours.GetColor(n, rgba)
        alphas.append(rgba[3])
    assert alphas == pytest.approx([1, 0.5, 0], abs=0.01)


def test_region_names_are_those_of_people():
    assert regionColours().GetColorName(2) == "US unanimous suspicious"


# Volumes and models


def test_the_volume_in_view_is_proposed_and_results_are_not_offered(user, tmp_path):
    assert user.parameters.inputVolume is None and not user.ui.addAllNodesButton.enabled
    volume = volumeNode(name="MR 1")
    slicer.util.setSliceViewerLayers(background=volume)
    segmented(volume, tmp_path)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "colours")
    processEvents(20)
    assert user.parameters.inputVolume is volume and user.ui.inputSelector.currentNode() is volume
    assert offered(user.ui.inputSelector) == offered(user.ui.caseVolumeSelector) == ["MR 1"]
    assert user.ui.addAllNodesButton.enabled, "without a click anywhere"


def test_a_model_that_is_gone_is_not_replaced_silently(user, tmp_path):
    makeModel(tmp_path / "runs" / "other" / "model")
    gone = str(tmp_path / "gone")
    user.parameters.model = gone
    user.widget.segmentSection.refreshModels()
    volume = volumeNode()
    user.parameters.inputVolume = volume
    processEvents(20)
    assert user.ui.modelBox.currentIndex == -1 and user.parameters.model == gone
    assert not user.ui.applyButton.enabled and gone in user.ui.applyButton.toolTip
    user.ui.modelBox.setCurrentIndex(0)
    assert user.ui.applyButton.enabled and user.parameters.model == str(tmp_path / "runs" / "other" / "model")


def test_the_newest_model_is_offered_until_one_is_chosen_or_used(user, tmp_path):
    makeModel(tmp_path / "runs" / "a" / "model")
    user.widget.segmentSection.refreshModels()
    assert user.ui.modelBox.currentText == "a" and user.parameters.model == "", "nobody has chosen yet"
    user.widget.segmentSection.onModel()
    shutil.rmtree(tmp_path / "runs" / "a")
    makeModel(tmp_path / "runs" / "b" / "model")
    user.widget.segmentSection.refreshModels()
    assert user.ui.modelBox.currentIndex == -1 and user.ui.modelBox.count == 1


def test_a_model_says_what_it_is(user, tmp_path):
    facts = {
        "classes": [{"name": "liver", "value": 1, "colour": [1, 2, 3]}],
        "method": "fixmatch",
        "provenance": {
            "iterations": 500,
            "cases": {"labelled": ["a"], "unlabelled": ["b", "c"], "hold-out": [], "ignored": ["x"]},
            "hold_out": {"mean_dice": 0.8125},
        },
    }
    model = makeModel(tmp_path / "runs" / "r" / "model", {"metassl": facts})
    user.widget.segmentSection.chooseModel(model)
    expected = "Segments liver. FixMatch, 1 labelled, 2 unlabelled, 500 steps. Hold-out Dice 0.812."
    assert user.ui.modelText.text == expected
    (model / "configs" / "metadata.json").write_text('{"metassl": 5, "classes": "metassl"}')
    user.widget.segmentSection.refreshModels()
    assert user.ui.modelText.text == "", "damaged: nothing is known"


def test_a_model_of_several_channels_segments_folders_only(user, tmp_path):
    facts = {"classes": [{"name": "liver", "value": 1, "colour": [1, 2, 3]}], "channels": ["T1", "T2"]}
    model = makeModel(tmp_path / "runs" / "r" / "model", {"metassl": facts})
    user.widget.segmentSection.chooseModel(model)
    user.parameters.inputVolume = volumeNode()
    text = "Needs several volumes of each case (T1, T2): segment a folder."
    assert text in user.ui.modelText.text and not user.ui.applyButton.enabled and user.ui.applyButton.toolTip == text
    makeModel(tmp_path / "runs" / "s" / "model", {"metassl": {**facts, "channels": ["T1"]}})
    user.widget.segmentSection.chooseModel(tmp_path / "runs" / "s" / "model")
    assert user.ui.applyButton.enabled


def test_what_a_budget_buys_is_known_from_an_earlier_training(user, tmp_path):
    assert user.ui.budgetText.text == ""
    run = tmp_path / "runs" / "r"
    run.mkdir(parents=True)
    (run / "job.json").write_text(json.dumps({"method": "fixmatch"}))
    (run / "events.jsonl").write_text(json.dumps({"event": "done", "iterations": 250, "seconds": 120.0}) + "\n")
    user.choose("methodBox", "fixmatch")
    user.parameters.minutes = 10
    user.widget.trainingSection.refreshRuns()
    assert user.ui.budgetText.text == "About 1200 steps, by the pace of your last training."
    user.choose("budgetBox", "iterations")
    user.parameters.iterations = 500
    assert user.ui.budgetText.text == "About 4:00 min, by the pace of your last training."
    user.choose("methodBox", "supervised")
    assert user.ui.budgetText.text == "", "another method has another pace"


def test_a_budget_that_is_too_small_is_said_before_the_start(user, tmp_path):
    user.choose("budgetBox", "iterations")
    user.choose("methodBox", "fixmatch")
    user.parameters.warmUp, user.parameters.iterations = 0.4, 149
    assert user.ui.budgetText.text.startswith("That is too little to learn much: give more time")
    user.parameters.iterations = 200  # 120 after the warm-up
    assert "only about 120 steps are left" in user.ui.budgetText.text
    user.choose("methodBox", "supervised")
    assert user.ui.budgetText.text == ""
    run = tmp_path / "runs" / "r"
    run.mkdir(parents=True)
    (run / "job.json").write_text(json.dumps({"method": "supervised"}))
    (run / "events.jsonl").write_text(json.dumps({"event": "done", "iterations": 10, "seconds": 60.0}) + "\n")
    user.choose("budgetBox", "minutes")
    user.parameters.minutes = 5
    user.widget.trainingSection.refreshRuns()
    assert user.ui.budgetText.text.startswith("About 50 steps, by the pace of your last training. That is too little")


def test_the_default_method_says_what_the_unlabelled_cases_bring_with_such_a_budget(user):
    user.choose("budgetBox", "iterations")
    assert (user.parameters.method, user.parameters.metasslLoss) == ("mean-teacher", True)
    for steps, words in ((2000, "brought about 0.04 Dice"), (700, "0.01 to 0.04 Dice"), (699, "more time pays")):
        user.parameters.iterations = steps
        assert words in user.ui.budgetText.text
    user.parameters.iterations = 100
    assert user.ui.budgetText.text.startswith("That is too little") and "Dice" not in user.ui.budgetText.text
    user.parameters.iterations = 2000
    user.parameters.metasslLoss = False
    assert user.ui.budgetText.text == "", "measured with the MetaSSL loss only"


def test_a_training_says_when_it_has_too_little_time_and_when_it_had(user, tmp_path):
    section, status = user.widget.trainingSection, user.ui.trainingStatus
    section._run = tmp_path / "runs" / "r"
    section._run.mkdir(parents=True)
    (section._run / "job.json").write_text(json.dumps({"method": "cps", "warm_up": 0.4}))
    section._onEvent({"event": "plan", "steps": 1000})
    assert status.text == ""
    section._onEvent({"event": "plan", "steps": 200})
    assert "holds about 200 steps. After the warm-up only about 120 steps are left" in status.text
    section._onEvent({"event": "metrics", "iteration": 300, "fraction": 0.3})
    section._onCancelled({"event": "done", "iterations": 300, "stopped": True})
    assert "had not begun to teach yet: they do so after 40 % of the budget" in status.text
    section._onEvent({"event": "metrics", "iteration": 600, "fraction": 0.6})
    section._onCancelled({"event": "done", "iterations": 600, "stopped": True})
    assert status.text == "Stopped after 600 steps; the model is saved and the training can be resumed."
    section._onDone({"event": "done", "iterations": 20, "seconds": 2.0})
    assert status.text == (
        "Finished: 20 steps in 2 s. So few steps cannot have taught the model much: do not judge the method by it."
    )


def test_hold_out_cases_are_listed_the_worst_first_and_shown(user, tmp_path):
    user.cases.addDataset(dataset(tmp_path / "d", 2) / "dataset.json")
    section, ui = user.widget.trainingSection, user.ui
    assert ui.holdOutTable.isHidden() and ui.showHoldOutButton.isHidden()
    section._run = tmp_path
    scores = {"case 0": {"liver": 0.9, "spleen": 0.7}, "gone": {"liver": 0.5, "spleen": 0.25}}
    section._onEvent({"event": "hold-out", "iteration": 8, "mean_dice": 0.5, "dice": {}, "per_case": scores})
    section._onEnded()
    headers = [ui.holdOutTable.horizontalHeaderItem(n).text() for n in range(ui.holdOutTable.columnCount)]
    assert headers == ["Case", "Mean Dice", "liver", "spleen"]
    assert [user.columns("holdOutTable", n) for n in range(4)] == [
        ["gone", "case 0"],
        ["0.375", "0.800"],
        ["0.500", "0.900"],
        ["0.250", "0.700"],
    ]
    for damaged in (None, 5, [1], {"a": 1}, {"a": {"b": None}}, {"a": {"b": "x"}}):
        section._onEvent({"event": "hold-out", "iteration": 9, "mean_dice": 0.5, "dice": {}, "per_case": damaged})
        assert section._scores == {}
    assert not ui.showHoldOutButton.enabled and "Select a case" in ui.showHoldOutButton.toolTip
    ui.holdOutTable.selectRow(1)
    user.click("showHoldOutButton")
    shown = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode").GetBackgroundVolumeID()
    assert slicer.mrmlScene.GetNodeByID(shown).GetName() == "case 0"
    ui.holdOutTable.selectRow(0)
    user.click("showHoldOutButton")
    assert "gone is not in the table" in ui.dataStatus.text


def test_hold_out_distances_stand_beside_dice(user, tmp_path):
    section, ui = user.widget.trainingSection, user.ui
    section._run = tmp_path
    scores = {"a": {"liver": 0.5}, "b": {"liver": 0.25}, "c": {"liver": 0.75}}
    distances = {"a": {"liver": 1.26}, "b": {"liver": None}}
    event = {"event": "hold-out", "iteration": 8, "mean_dice": 0.5, "dice": {}, "per_case": scores}
    section._onEvent({**event, "hd95_per_case": distances})
    section._onEnded()
    headers = [ui.holdOutTable.horizontalHeaderItem(n).text() for n in range(ui.holdOutTable.columnCount)]
    assert headers == ["Case", "liver", "liver HD95 (mm)"]
    assert user.columns("holdOutTable", 2) == ["-", "1.3", ""]
    for damaged in (5, [1], {"a": 1}, {"a": {"b": "x"}}):
        section._onEvent({**event, "hd95_per_case": damaged})
        section._onEnded()
        assert ui.holdOutTable.columnCount == 2 and user.columns("holdOutTable", 1) == ["0.250", "0.500", "0.750"]


@pytest.fixture
def layout():
    """The layout manager; its layout is as before when the test is over."""
    manager = slicer.app.layoutManager()
    before = manager.layout
    yield manager
    manager.setLayout(before)


@pytest.fixture
def predicting(user, tmp_path, monkeypatch):
    """A run of the cases in the table with an engine that predicts, and the commands that it was given."""
    user.cases.addDataset(dataset(tmp_path / "d", 2) / "dataset.json")
    run = tmp_path / "runs" / "r"
    facts = {"classes": [{"name": "liver", "value": 1, "colour": [255, 0, 0]}]}
    makeModel(run / "model", {"metassl": facts})
    Dataset.load(tmp_path / "d" / "dataset.json").save(run / "dataset.json")
    commands = []

    def start(arguments, listener):
        words = [str(argument) for argument in arguments]
        given = Dataset.load(words[2])
        commands.append((*words[:2], [case.id for case in given.cases]))
        out = Path(words[words.index("--out") + 1])
        out.mkdir()
        image = sitk.ReadImage(given.cases[0].images[0])
        drawn = sitk.GetArrayFromImage(image) * 0
        drawn[1] = 1
        drawn = sitk.GetImageFromArray(drawn.astype(np.uint8))
        drawn.CopyInformation(image)
        sitk.WriteImage(drawn, str(out / f"{given.cases[0].id}_seg.nii.gz"))
        commands.append(lambda: listener.done({"event": "done"}))

    monkeypatch.setattr(user.widget.logic.engine, "start", start)
    section = user.widget.trainingSection
    section._run = run
    scores = {row.id: {"liver": 0.5} for row in user.cases.rows}
    section._onEvent({"event": "hold-out", "iteration": 8, "mean_dice": 0.5, "dice": {}, "per_case": scores})
    section._onEnded()
    user.ui.holdOutTable.selectRow(0)
    return commands


def shownIn(segmentation):
    """Names of the slice views that show a segmentation."""
    display = segmentation.GetDisplayNode()
    views = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    return [view.GetLayoutName() for view in views if display.IsDisplayableInView(view.GetID())]


def test_a_hold_out_case_is_shown_beside_its_annotation_and_prediction(user, predicting, layout):
    user.click("showHoldOutButton")
    (command, model, cases), finish = predicting
    assert command == "predict" and model.endswith("model") and cases == ["case 0"]
    assert "case 0 is being segmented" in user.ui.workText.text and len(previews()) == 2
    finish()
    volume, annotation, prediction = previews()
    assert prediction.GetName() == "case 0 prediction" and not prediction.GetSaveWithScene()
    ours = ["MetaSSLImage", "MetaSSLAnnotation", "MetaSSLPrediction"]
    assert list(layout.sliceViewNames()) == ["Red", "Yellow", "Green", *ours]
    assert shownIn(annotation) == ["Red", "Yellow", "Green", "MetaSSLAnnotation"]
    assert shownIn(prediction) == ["MetaSSLPrediction"]
    for layer in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        assert layer.GetBackgroundVolumeID() == volume.GetID()
        assert layer.GetLinkedControl() == (layer.GetLayoutName() in ours)
    segment = prediction.GetSegmentation().GetNthSegment(0)
    assert segment.GetName() == "liver" and segment.GetColor() == (1, 0, 0)
    ID = prediction.GetSegmentation().GetNthSegmentID(0)
    drawn = slicer.util.arrayFromSegmentBinaryLabelmap(prediction, ID, volume)
    assert np.flatnonzero(drawn.any(axis=(1, 2))).tolist() == [1] and drawn[1].all()
    assert "image, annotation, prediction" in user.ui.workText.text
    user.widget.dataSection.showCase(1)
    assert [node.GetName() for node in previews()] == ["case 1"], "the next case replaces all of it"


def test_an_annotation_that_was_corrected_beside_its_prediction_is_kept_for_all_views(user, predicting, layout):
    user.click("showHoldOutButton")
    predicting[1]()
    volume, annotation, _prediction = previews()
    ID = annotation.GetSegmentation().GetNthSegmentID(0)
    drawn = slicer.util.arrayFromSegmentBinaryLabelmap(annotation, ID, volume).copy()
    drawn[3, 0, 0] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, annotation, ID, volume)
    user.widget.dataSection.showCase(1)
    assert annotation.GetName() == "case 0 changed" and annotation.GetScene() is not None
    assert shownIn(annotation) == list(layout.sliceViewNames())


def test_beside_a_prediction_the_users_own_annotation_is_a_copy(user, predicting, layout, tmp_path):
    volume = volumeNode(name="mine")
    drawn = segmentationNode(volume, nucleus=slicer.util.arrayFromVolume(volume) > 50)
    user.cases.clear()
    user.cases.addNodes(volume, drawn)
    transformUnder(volume, np.diag([1.0, 1, 1, 1]) + np.eye(4, k=3) * 40)
    drawn.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    run = user.widget.trainingSection._run
    exported(user.cases, run)
    user.widget.trainingSection.onShowHoldOut("mine")
    predicting[1]()
    prediction, copy = previews()
    assert not drawn.GetDisplayNode().GetVisibility() and drawn.GetDisplayNode().GetNumberOfViewNodeIDs() == 0
    assert (copy.GetName(), prediction.GetName()) == ("drawn", "mine prediction")
    assert np.allclose(copy.GetSegmentCenterRAS("nucleus"), drawn.GetSegmentCenterRAS("nucleus"))
    assert "MetaSSLPrediction" not in shownIn(copy)
    bounds, expected = [0.0] * 6, [0.0] * 6
    prediction.GetRASBounds(bounds), volume.GetRASBounds(expected)
    assert np.allclose(bounds[:2], expected[:2], atol=1) and expected[0] > 15, "both lie where the transform puts them"


def test_a_case_that_was_left_meanwhile_gets_no_prediction(user, predicting, layout):
    user.click("showHoldOutButton")
    user.widget.dataSection.showCase(1)
    before = layout.layout
    predicting[1]()
    assert len(previews()) == 1 and layout.layout == before and "Another case" in user.ui.workText.text


@pytest.mark.parametrize("other", ["files", "scene"])
def test_another_case_of_the_same_name_gets_no_prediction(user, predicting, layout, tmp_path, other):
    """After Clear the table holds other patients, whose cases have the names of those before."""
    user.cases.clear()
    if other == "files":
        user.cases.addDataset(dataset(tmp_path / "e", 2) / "dataset.json")
    else:
        volume = volumeNode(name="case 0")
        user.cases.addNodes(volume, segmentationNode(volume, liver=slicer.util.arrayFromVolume(volume) > 50))
    user.click("showHoldOutButton")
    assert predicting == [] and "another case that is called case 0" in user.ui.workText.text
    assert not user.widget.logic.busy()


def test_without_its_model_a_case_is_shown_with_its_annotation_alone(user, predicting, layout):
    shutil.rmtree(user.widget.trainingSection._run / "model")
    user.click("showHoldOutButton")
    assert predicting == [] and len(previews()) == 2 and not user.widget.logic.busy()


# Cases


@pytest.mark.parametrize("inside", ["", "data"])
def test_cases_beside_the_scene_are_found_when_both_are_moved(user, tmp_path, inside):
    here, there, far = tmp_path / "here", tmp_path / "there", tmp_path / "far"
    here.mkdir()
    user.cases.addDataset(dataset(here / "data", 1) / "dataset.json")
    user.cases.addDataset(dataset(far, 2) / "dataset.json")
    slicer.util.saveScene(str(here / inside / "s.mrml"))
    slicer.mrmlScene.Clear(False)
    shutil.move(here, there)
    (there / inside / "i0.nii.gz").touch()  # of that name, but in another folder
    slicer.util.loadScene(str(there / inside / "s.mrml"))
    moved, *others = user.cases.rows
    assert moved.images == [str(there / "data" / "i0.nii.gz")] and moved.label == str(there / "data" / "l0.nii.gz")
    assert [row.images for row in others] == [[str(far / f"i{n}.nii.gz")] for n in range(2)]
    assert CaseList(user.cases.node).rows == user.cases.rows


def test_a_copy_of_scene_and_data_uses_its_own_files(user, tmp_path):
    """And neither names the folder in which it was made, nor that of the person."""
    here, there, far = tmp_path / "here", tmp_path / "deep" / "er" / "there", tmp_path / "far é %20"
    here.mkdir()
    user.cases.addDataset(dataset(here / "data", 1) / "dataset.json")
    user.cases.addDataset(dataset(far, 2) / "dataset.json")
    slicer.util.saveScene(str(here / "s.mrml"))
    assert str(tmp_path) not in (here / "s.mrml").read_text(encoding="utf-8")
    user.cases.setRole(["case 0"], "hold-out")
    slicer.mrmlScene.Clear(False)
    shutil.copytree(here, there)
    slicer.util.loadScene(str(there / "s.mrml"))
    own, *_others = user.cases.rows
    assert own.images == [str(there / "data" / "i0.nii.gz")] and own.label == str(there / "data" / "l0.nii.gz")
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(here / "s.mrml"))
    assert user.cases.rows[0].images == [str(here / "data" / "i0.nii.gz")]
    assert [row.images for row in user.cases.rows[1:]] == [[str(far / f"i{n}.nii.gz")] for n in range(2)]
    slicer.util.saveScene(str(tmp_path / "s.mrml"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "s.mrml"))
    assert all(Path(path).exists() for row in user.cases.rows for path in row.images), "saved elsewhere"
    assert len(slicer.util.getNodesByClass("vtkMRMLTextStorageNode")) == 1


def test_names_that_slicer_would_write_wrongly_do_not_break_the_scene(user, tmp_path):
    """Its own storage nodes make a scene with "&" in a file's name unreadable."""
    folders = [dataset(tmp_path / name, 1) for name in ("a & b", "c\\d", "e\tf")]
    for folder in folders:
        user.cases.addDataset(folder / "dataset.json")
    slicer.util.saveScene(str(tmp_path / "s.mrml"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "s.mrml"))
    assert [row.images for row in user.cases.rows] == [[str(folder / "i0.nii.gz")] for folder in folders]


def test_a_bundle_on_the_same_computer_finds_its_cases(user, tmp_path):
    user.cases.addDataset(dataset(tmp_path / "data", 2) / "dataset.json")
    slicer.util.saveScene(str(tmp_path / "s.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "s.mrb"))
    assert [row.images for row in user.cases.rows] == [[str(tmp_path / "data" / f"i{n}.nii.gz")] for n in range(2)]


def test_a_list_of_an_earlier_version_is_read_and_kept_as_now(user, tmp_path):
    folder = dataset(tmp_path / "data", 1)
    user.cases.addDataset(folder / "dataset.json")
    node = user.cases.node
    content = json.loads(node.GetParameter("cases"))
    content["rows"][0] |= {"images": [str(folder / "i0.nii.gz")], "label": str(folder / "l0.nii.gz")}
    node.RemoveNodeReferenceIDs("caseFiles")
    node.SetParameter("cases", json.dumps(content))
    assert CaseList(node).rows == user.cases.rows and str(folder) not in node.GetParameter("cases")
    assert CaseList(node).rows == user.cases.rows


def test_an_added_scene_that_replaces_the_cases_says_so(user, tmp_path):
    user.cases.addDataset(dataset(tmp_path / "theirs", 2) / "dataset.json")
    slicer.util.saveScene(str(tmp_path / "s.mrml"))
    slicer.mrmlScene.Clear(False)
    user.cases.addDataset(dataset(tmp_path / "mine", 3) / "dataset.json")
    slicer.mrmlScene.SetURL(str(tmp_path / "s.mrml"))
    assert slicer.mrmlScene.Import()
    assert "replaces the 3 case(s)" in user.ui.dataStatus.text and len(user.columns("caseTable", 0)) == 2
    assert [row.images for row in user.cases.rows] == [[str(tmp_path / "theirs" / f"i{n}.nii.gz")] for n in range(2)]
    assert len(slicer.util.getNodesByClass("vtkMRMLTextStorageNode")) == 1, "of the other list no node stays"


def test_the_selected_case_and_the_folded_section_are_summed_up(user, tmp_path):
    user.cases.addDataset(dataset(tmp_path / "d", 4) / "dataset.json")
    row = user.cases.rows[1]
    row.size, row.spacing, row.status = [64, 32, 16], [1.0, 1.0, 2.5], "The spacing is odd."
    user.widget.dataSection.refresh()
    user.select(["case 1"])
    assert user.ui.caseText.text.startswith("case 1; unlabelled; 64 x 32 x 16 voxels, 1 x 1 x 2.5 mm")
    assert user.ui.caseText.text.endswith("\nThe spacing is odd.")
    user.ui.dataSection.collapsed = True
    assert user.ui.dataSection.text == "2. Data: 2 labelled, 2 unlabelled"
    user.ui.dataSection.collapsed = False
    assert user.ui.dataSection.text == "2. Data"


def previews():
    return [node for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode") if node.GetAttribute(PREVIEW)]


def test_what_was_drawn_on_a_preview_is_kept(user, tmp_path):
    user.cases.addDataset(dataset(tmp_path / "d", 3) / "dataset.json")
    section = user.widget.dataSection
    section.showCase(0)
    volume, segmentation = previews()
    ID = segmentation.GetSegmentation().GetNthSegmentID(0)
    drawn = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, ID, volume).copy()
    drawn[0, 0, 0] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, segmentation, ID, volume)
    section.showCase(1)
    assert segmentation.GetScene() is volume.GetScene() is slicer.mrmlScene
    assert segmentation.GetName() == "case 0 changed" and segmentation.GetName() in user.ui.dataStatus.text
    kept = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, ID, volume)
    assert np.array_equal(kept, drawn) and segmentation.GetSaveWithScene() and volume.GetSaveWithScene()
    assert {node.GetName() for node in previews()} == {"case 1"}
    section.showCase(2)
    assert {node.GetName() for node in previews()} == {"case 2"}, "what nobody changed goes"


@pytest.fixture
def undo():
    """A scene whose changes can be taken back, as a person can set it."""
    slicer.mrmlScene.SetUndoOn()
    yield slicer.mrmlScene
    slicer.mrmlScene.ClearUndoStack()
    slicer.mrmlScene.SetUndoOff()


def test_what_the_next_preview_replaces_comes_back_with_undo(user, tmp_path, undo):
    user.cases.addDataset(dataset(tmp_path / "d", 3) / "dataset.json")
    user.widget.dataSection.showCase(1)
    assert undo.GetNumberOfUndoLevels() == 0, "nothing was replaced"
    for node in previews():
        node.SetUndoEnabled(True)
    user.widget.dataSection.showCase(2)
    assert [node.GetName() for node in previews()] == ["case 2", "case 2"] and undo.GetNumberOfUndoLevels() == 1
    undo.Undo()
    assert "case 1" in [node.GetName() for node in previews()]


def test_the_curves_that_a_training_replaces_come_back_with_undo(user, undo, tmp_path):
    section, curves = user.widget.trainingSection, user.widget.logic.curves
    section._onEvent({"event": "metrics", "iteration": 7, "loss": {"total": 0.5}})
    curves.flush()
    (table,) = slicer.util.getNodesByClass("vtkMRMLTableNode")
    table.SetUndoEnabled(True)
    section._begin(tmp_path, isNew=False)
    section._onEvent({"event": "metrics", "iteration": 1, "loss": {"total": 0.25}})
    curves.flush()
    section.task.finish("")
    assert slicer.util.arrayFromTableColumn(table, "step").tolist() == [1]
    undo.Undo()
    (table,) = slicer.util.getNodesByClass("vtkMRMLTableNode")
    assert slicer.util.arrayFromTableColumn(table, "step").tolist() == [7]


def test_previews_are_neither_saved_nor_offered(user, tmp_path):
    user.cases.addDataset(dataset(tmp_path / "d", 2) / "dataset.json")
    user.widget.dataSection.showCase(0)
    processEvents(20)
    assert len(previews()) == 2
    assert offered(user.ui.inputSelector) == offered(user.ui.caseVolumeSelector) == []
    assert offered(user.ui.caseSegmentationSelector) == []
    slicer.util.saveScene(str(tmp_path / "s.mrml"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "s.mrml"))
    assert "case 0" not in [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode")]


def test_the_sample_is_not_made_twice_at_once(user, monkeypatch, tmp_path):
    monkeypatch.setattr(SampleSource, "MAKING", SampleSource.MAKING)
    SampleSource.MAKING.append("somebody")
    try:
        user.click("sampleButton")
        assert "already" in user.ui.dataStatus.text and not user.widget.logic.busy()
    finally:
        SampleSource.MAKING.remove("somebody")


TISSUE = "~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~Anatomic codes - DICOM master list~^^~^^"
LIVER = "~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^"


@pytest.mark.parametrize(("entry", "says"), [(TISSUE, False), (LIVER, True)])
def test_the_terminology_of_a_new_segment_says_nothing(entry, says):
    segmentation = segmentationNode(volumeNode(), a=np.ones((4, 5, 6)))
    segment = segmentation.GetSegmentation().GetNthSegment(0)
    entry = "Segmentation category and type - 3D Slicer General Anatomy list" + entry
    segment.SetTag("TerminologyEntry", entry)
    assert terminologyOf(segment) == (entry if says else None)
