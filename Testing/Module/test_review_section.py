"""From a result back to a label: places to look at, corrections, labels, better models, and Undo."""

import json
from pathlib import Path

import numpy as np
import pytest
import qt
import SimpleITK as sitk
import slicer
from harness.interaction import processEvents
from MetaSSLSegmentLib.Scene.CaseFiles import loadCase
from MetaSSLSegmentLib.Scene.CaseNodes import segmentsOf
from MetaSSLSegmentLib.Scene.Correction import correctionOf
from MetaSSLSegmentLib.Scene.Result import LOOKED, SUMMARY, resultsInScene
from reviewing import PLACES, reviewed, show, window  # noqa: F401
from test_data_section import dataset
from test_exchange import rotation, segmentationNode, transformUnder, volumeNode
from test_runs import DONE, makeModel, makeRun


@pytest.fixture
def result(user, tmp_path):
    """A result with two places and agreement, of a volume of the scene, shown in the panel."""
    return show(user, reviewed(volumeNode(), tmp_path))


def centres():
    """Where the slice views are centred, RAS."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    return [[node.GetSliceToRAS().GetElement(axis, 3) for axis in range(3)] for node in nodes]


def paint(segmentation, name, voxels, volume):
    """Give a segment other voxels, as drawing does."""
    ID = {found: ID for ID, found in segmentsOf(segmentation)}[name]
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels.astype(np.uint8), segmentation, ID, volume)


# Places


def test_a_result_says_how_far_its_predictions_agree_and_where_to_look(user, result):
    assert not user.ui.reviewSection.collapsed
    text = (
        "The two predictions agree with confidence on 0.810 of what either found; on less in 0 of 5 hold-out case(s)."
    )
    assert user.ui.agreementText.text == text
    assert user.columns("placeTable", 1) == ["nucleus or background", "background or tract"]
    assert user.columns("placeTable", 2) == ["0.25", "0.12"] and user.columns("placeTable", 0) == ["", ""]


def test_a_place_where_nothing_else_is_near_names_one_class(user, tmp_path):
    alone = {**PLACES[0], "classes": ["background", "background"]}
    show(user, reviewed(volumeNode(), tmp_path, places=[alone]))
    assert user.columns("placeTable", 1) == ["background"]


def test_a_click_centres_the_slice_views_on_a_place_and_ticks_it_off(user, result):
    user.ui.placeTable.cellClicked.emit(1, 1)
    assert np.allclose(centres(), PLACES[1]["position"]), "in every slice view"
    assert user.columns("placeTable", 0) == ["", "\u2713"]
    assert all(node.GetAttribute(LOOKED) == "[1]" for node in result.nodes.values())


def test_next_place_leads_through_those_that_were_not_looked_at(user, result):
    seen = []
    for _step in range(3):
        user.click("nextPlaceButton")
        seen.append(centres()[0])
    first, second = (place["position"] for place in PLACES)
    assert np.allclose(seen, [first, second, first])
    assert user.columns("placeTable", 0) == ["\u2713", "\u2713"]


def test_next_place_has_a_key_while_the_panel_is_in_front(user, result):
    user.panel.activateWindow()
    user.ui.placeTable.setFocus()
    processEvents()
    (shortcut,) = user.ui.reviewSection.findChildren(qt.QShortcut)
    assert shortcut.key.toString() == "Ctrl+Shift+N" and shortcut.key.toString() in user.ui.nextPlaceButton.toolTip
    shortcut.activated.emit()
    assert np.allclose(centres()[0], PLACES[0]["position"])


def test_places_stay_on_the_volume_when_it_is_moved(user, tmp_path):
    """Places are told in the world in which the volume lay when it was segmented."""
    volume = volumeNode()
    transform = transformUnder(volume, rotation())
    show(user, reviewed(volume, tmp_path))
    user.click("nextPlaceButton")
    assert np.allclose(centres()[0], PLACES[0]["position"], atol=1e-4)
    moved = slicer.util.arrayFromTransformMatrix(transform)
    moved[:3, 3] += (0, 0, 10)
    slicer.util.updateTransformMatrixFromArray(transform, moved)
    user.widget.loop.review.showResult()
    user.click("nextPlaceButton")
    assert np.allclose(centres()[0], np.add(PLACES[1]["position"], (0, 0, 10)), atol=1e-4)


def test_ticks_and_places_survive_saving(user, result, tmp_path):
    user.click("nextPlaceButton")
    slicer.util.saveScene(str(tmp_path / "s.mrb"))
    slicer.mrmlScene.Clear(False)
    processEvents()
    assert user.ui.placeTable.rowCount == 0 and user.ui.agreementText.text == ""
    slicer.util.loadScene(str(tmp_path / "s.mrb"))
    processEvents()
    assert user.columns("placeTable", 0) == ["\u2713", ""]


@pytest.mark.parametrize(
    "told",
    [
        {"places": None, "agreement": None},
        {"places": [5], "agreement": [1]},
        {"places": [{"position": [1, 2], "classes": ["a", "b"], "volume_ml": 1}], "agreement": {"mean": "x"}},
        {"places": [{"position": [1, 2, float("nan")], "classes": ["a", "b"], "volume_ml": 1}]},
        {"places": [{"position": [1, 2, 3], "classes": [1, 2], "volume_ml": 1}], "agreement": {"mean": 7}},
        {"places": {"a": 1}, "agreement": {"mean": 0.5, "classes": [1], "agree_less": "x", "hold_out_cases": -1}},
    ],
    ids=range(6),
)
def test_numbers_of_a_strangers_scene_do_no_harm(user, result, told):
    for node in result.nodes.values():
        node.SetAttribute(SUMMARY, json.dumps(told))
        node.SetAttribute(LOOKED, '["x"]')
    user.widget.loop.review.showResult()
    assert user.ui.placeTable.rowCount == 0
    assert not user.ui.nextPlaceButton.enabled and user.ui.correctButton.enabled


def test_without_a_result_buttons_say_what_is_missing(user):
    for name in ("nextPlaceButton", "correctButton", "useAsLabelButton"):
        button = getattr(user.ui, name)
        assert not button.enabled and "Segment a volume in section 4" in button.toolTip
    assert not user.ui.improveButton.enabled and "model" in user.ui.improveButton.toolTip


# Correcting


def test_correct_opens_the_segment_editor_on_a_copy(user, result, window):  # noqa: F811
    volume = result.volumeNode
    user.cases.addNodes(volume)
    user.click("correctButton")
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    copy = editor.segmentationNode()
    assert window.moduleSelector().selectedModule == "SegmentEditor" and editor.sourceVolumeNode() is volume
    assert copy is not result.nodes["segmentation"] and copy.GetName() == "MR 1 corrected"
    assert [name for _ID, name in segmentsOf(copy)] == ["nucleus", "tract"]
    shown = [node.GetDisplayNode().GetVisibility() for node in (result.nodes["segmentation"], copy)]
    assert shown == [0, 1]
    paint(copy, "nucleus", np.ones((4, 5, 6)), volume)
    ID = dict((name, ID) for ID, name in segmentsOf(result.nodes["segmentation"]))["nucleus"]
    kept = slicer.util.arrayFromSegmentBinaryLabelmap(result.nodes["segmentation"], ID, volume)
    assert kept.sum() == 30, "the result itself stays as it is"
    assert [found.first for found in resultsInScene()] == [result.first], "a correction is no result"


def test_a_tool_bar_leads_through_the_places_and_back(user, result, window):  # noqa: F811
    user.click("correctButton")
    (bar,) = window.findChildren(qt.QToolBar)
    back, following = bar.findChildren(qt.QPushButton)
    (label,) = bar.findChildren(qt.QLabel)
    assert bar.visible and not user.ui.reviewSection.visible
    following.click()
    assert np.allclose(centres()[0], PLACES[0]["position"])
    assert label.text == "1 of 2: nucleus or background, 0.25 ml"
    (shortcut,) = bar.findChildren(qt.QShortcut)
    shortcut.activated.emit()
    assert np.allclose(centres()[0], PLACES[1]["position"])
    back.click()
    processEvents()
    assert window.moduleSelector().selectedModule == "MetaSSLSegment"
    assert not [found for found in window.findChildren(qt.QToolBar) if found.visible]
    assert user.columns("placeTable", 0) == ["\u2713", "\u2713"]


def test_correct_again_goes_on_with_the_same_copy(user, result, window):  # noqa: F811
    user.click("correctButton")
    first = correctionOf(result)
    slicer.util.selectModule("MetaSSLSegment")
    processEvents()
    user.click("correctButton")
    assert correctionOf(result) is first
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 2
    assert len(window.findChildren(qt.QToolBar)) == 1


def visible():
    """Names of the segmentations that can be seen."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node.GetName() for node in nodes if node.GetDisplayNode().GetVisibility()]


def test_corrections_are_seen_over_their_own_volume_only(user, result, tmp_path, window):  # noqa: F811
    user.click("correctButton")
    assert visible() == ["MR 1 corrected"]
    slicer.util.selectModule("MetaSSLSegment")
    processEvents()
    show(user, reviewed(volumeNode(name="other"), tmp_path))
    assert visible() == ["other segmentation"]
    user.click("correctButton")
    assert visible() == ["other corrected"]
    slicer.util.selectModule("MetaSSLSegment")
    processEvents()
    user.choose("resultBox", result.first.GetID())
    assert visible() == ["MR 1 corrected"], "of a result that was corrected, what Use as label would take"
    user.click("regionsButton")
    assert visible() == []
    user.click("segmentationButton")
    assert visible() == ["MR 1 corrected"]


def test_classes_that_were_not_found_get_an_empty_segment_to_draw_in(user, tmp_path, window):  # noqa: F811
    user.cases.addDataset(dataset(tmp_path) / "dataset.json")
    user.cases.classes.append({"name": "absent", "value": 5, "colour": [255, 0, 51], "segments": ["absent"]})
    result = show(user, reviewed(volumeNode(), tmp_path, classes={"nucleus": 3, "tract": 7, "absent": 5}))
    user.click("correctButton")
    segmentation = correctionOf(result).GetSegmentation()
    assert [name for _ID, name in segmentsOf(correctionOf(result))] == ["nucleus", "tract", "absent"]
    colour = segmentation.GetNthSegment(2).GetColor()
    assert np.allclose(colour, (1, 0, 0.2))


def test_without_a_main_window_correct_says_so(user, result):
    user.click("correctButton")
    assert "Segment Editor cannot be opened" in user.ui.reviewStatus.text and correctionOf(result) is not None


def test_closing_the_scene_takes_the_tool_bar_away(user, result, window):  # noqa: F811
    user.click("correctButton")
    slicer.mrmlScene.Clear(False)
    processEvents()
    assert not [found for found in window.findChildren(qt.QToolBar) if found.visible]


# Labels


def test_a_result_becomes_the_label_of_its_case_of_the_scene(user, result, tmp_path):
    row = user.cases.addNodes(result.volumeNode)
    assert row.role == "unlabelled"
    user.click("useAsLabelButton")
    (row,) = user.cases.rows
    assert (row.role, row.label, set(row.labels)) == ("labelled", None, {"nucleus", "tract"})
    assert user.cases.nodesOf(row)[1] is correctionOf(result)
    assert user.ui.reviewStatus.text == "MR 1 is a labelled case now."
    assert user.columns("caseTable", 1) == ["labelled"]


def test_a_case_with_a_bad_label_gets_the_corrected_one(user, result):
    drawn = segmentationNode(result.volumeNode, nucleus=np.ones((4, 5, 6)))
    user.cases.addNodes(result.volumeNode, drawn)
    user.click("useAsLabelButton")
    (row,) = user.cases.rows
    assert user.cases.nodesOf(row)[1] is correctionOf(result) is not drawn
    assert drawn.GetScene() is slicer.mrmlScene


def test_a_volume_that_is_no_case_yet_becomes_one(user, result):
    user.click("useAsLabelButton")
    assert [(row.id, row.role) for row in user.cases.rows] == [("MR 1", "labelled")]


@pytest.mark.parametrize("moved", [False, True])
def test_the_label_of_a_case_of_a_folder_is_a_new_file(user, tmp_path, moved):
    """Corrected voxels land where they were drawn, with the values of the table; the person's files stay."""
    folder = dataset(tmp_path / "d", 4)
    user.cases.addDataset(folder / "dataset.json")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    row = user.cases.rows[1]
    volume = slicer.util.loadVolume(row.images[0])
    if moved:
        transformUnder(volume, rotation())
    result = show(user, reviewed(volume, tmp_path))
    user.ui.useAsLabelButton.click()
    user.waitUntilIdle(30)
    first = Path(user.cases.rows[1].label)
    voxels = np.zeros((4, 5, 6), np.uint8)
    voxels[3, 2:4, 1:5] = 1
    paint(correctionOf(result), "nucleus", voxels, volume)
    user.click("useAsLabelButton")
    user.waitUntilIdle(30)
    row = user.cases.rows[1]
    assert (row.id, row.role, row.status) == ("case 1", "labelled", "") and Path(row.label) != first
    assert Path(row.label).parent == tmp_path / "runs" / "labels" and row.label in user.ui.reviewStatus.text
    written, image = sitk.ReadImage(row.label), sitk.ReadImage(row.images[0])
    assert np.allclose(written.GetOrigin(), image.GetOrigin()) and written.GetDirection() == image.GetDirection()
    array = sitk.GetArrayFromImage(written)
    assert (array == 3).sum() == 8 and (array[3, 2:4, 1:5] == 3).all() and (array[2] == 7).all()
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    exported = user.cases.dataset({})
    assert [case.role for case in exported.cases] == ["labelled", "labelled", "labelled", "unlabelled"]


def test_a_case_that_was_loaded_from_a_batch_becomes_a_new_labelled_one(user, tmp_path):
    folder = dataset(tmp_path / "d", 2)
    user.cases.addDataset(folder / "dataset.json")
    image = tmp_path / "elsewhere.nii.gz"
    image.write_bytes((folder / "i0.nii.gz").read_bytes())
    show(user, reviewed(loadCase([str(image)], "new one"), tmp_path))
    user.click("useAsLabelButton")
    user.waitUntilIdle(30)
    row = user.cases.rows[2]
    assert (row.id, row.role, row.images) == ("new one", "labelled", [str(image)])
    assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(row.label)))) == {0, 3, 7}


def test_other_channels_are_refused_with_words(user, tmp_path):
    user.cases.addDataset(dataset(tmp_path / "d") / "dataset.json")
    volume = loadCase([str(tmp_path / "d" / "i0.nii.gz")], "a")
    volume.SetAttribute("MetaSSL.files", json.dumps([str(tmp_path / "x"), str(tmp_path / "y")]))
    show(user, reviewed(volume, tmp_path))
    user.click("useAsLabelButton")
    assert "have 1 image channel, a has 2" in user.ui.reviewStatus.text and len(user.cases.rows) == 2


def test_segments_that_overlap_are_refused_and_no_label_stays(user, tmp_path):
    folder = dataset(tmp_path / "d", 2)
    user.cases.addDataset(folder / "dataset.json")
    volume = loadCase([str(folder / "i1.nii.gz")], "a")
    result = show(user, reviewed(volume, tmp_path))
    user.click("useAsLabelButton")
    user.waitUntilIdle(30)
    row = user.cases.rows[1]
    label, labels = row.label, list((tmp_path / "runs" / "labels").iterdir())
    correction = correctionOf(result)
    correction.GetSegmentation().SeparateSegmentLabelmap(segmentsOf(correction)[0][0])
    paint(correction, "nucleus", np.ones((4, 5, 6)), volume)
    user.click("useAsLabelButton")
    user.waitUntilIdle(30)
    assert "overlap" in user.ui.reviewStatus.text
    assert user.cases.rows[1].label == label and list((tmp_path / "runs" / "labels").iterdir()) == labels


# Undo


@pytest.fixture
def undo(scene):
    """Slicer's Undo, which a person must switch on."""
    scene.SetUndoOn()
    yield scene.Undo
    scene.ClearUndoStack()
    scene.ClearRedoStack()
    scene.SetUndoOff()


def test_use_as_label_is_one_step_back(user, result, undo):
    user.cases.addNodes(result.volumeNode)
    user.click("useAsLabelButton")
    assert user.cases.rows[0].role == "labelled"
    undo()
    processEvents()
    (row,) = user.cases.rows
    assert row.role == "unlabelled" and user.cases.nodesOf(row) == (result.volumeNode, None)
    assert correctionOf(result) is None and user.columns("caseTable", 1) == ["unlabelled"]
    slicer.mrmlScene.Redo()
    processEvents()
    assert user.cases.rows[0].role == "labelled"


def test_a_label_file_is_one_step_back_and_every_case_keeps_its_files(user, tmp_path, undo):
    """The scene keeps the names of files in a node of their own."""
    folder = dataset(tmp_path / "d", 4)
    user.cases.addDataset(folder / "dataset.json")
    before = [(row.id, row.role, row.images, row.label) for row in user.cases.rows]
    show(user, reviewed(slicer.util.loadVolume(user.cases.rows[1].images[0]), tmp_path))
    user.click("useAsLabelButton")
    user.waitUntilIdle(30)
    assert user.cases.rows[1].role == "labelled"
    undo()
    processEvents()
    assert [(row.id, row.role, row.images, row.label) for row in user.cases.rows] == before


def test_correct_is_one_step_back(user, result, undo, window):  # noqa: F811
    user.click("correctButton")
    slicer.util.selectModule("MetaSSLSegment")
    undo()
    processEvents()
    assert correctionOf(result) is None and user.widget.displaySection.result.first is result.first


# A better model


@pytest.fixture
def asked(user, monkeypatch):
    """The commands that the engine is asked to do; it does nothing."""
    commands = []

    def start(arguments, listener):
        commands.append([str(word) for word in arguments])
        qt.QTimer.singleShot(0, lambda: listener.cancelled(None))

    monkeypatch.setattr(user.widget.logic.engine, "start", start)
    return commands


def model(user, tmp_path, method="mean-teacher"):
    """A model in the runs folder, chosen in section 4."""
    run = makeRun(tmp_path / "runs" / "first", DONE)
    makeModel(run / "model", {"metassl": {"classes": [], "method": method}})
    user.widget.onRunsChanged()
    user.choose("modelBox", str(run / "model"))
    return run / "model"


def test_improve_goes_on_from_the_chosen_model_with_a_third_of_the_budget(user, asked, tmp_path):
    user.cases.addDataset(dataset(tmp_path / "d") / "dataset.json")
    folder = model(user, tmp_path)
    user.parameters.minutes, user.parameters.method = 6.0, "cps"
    user.click("improveButton")
    user.waitUntilIdle(30)
    ((command, _dataset, _out, run, *words),) = asked
    options = dict(zip(words[::2], words[1::2]))
    assert command == "train" and Path(run).parent == tmp_path / "runs" and run != str(folder.parent)
    assert options["--from"] == str(folder) and float(options["--minutes"]) == pytest.approx(1.98)
    assert not {"--method", "--network", "--warm-up", "--iterations"} & set(options), "the model's own"


def test_the_part_of_the_budget_can_be_chosen(user, asked, tmp_path):
    user.cases.addDataset(dataset(tmp_path / "d") / "dataset.json")
    model(user, tmp_path)
    user.choose("budgetBox", "iterations")
    user.parameters.iterations = 1000
    user.ui.improveSpin.value = 50
    user.click("improveButton")
    user.waitUntilIdle(30)
    assert asked[0][asked[0].index("--iterations") + 1] == "500" and "--minutes" not in asked[0]


def test_improve_says_what_it_lacks(user, tmp_path):
    def reason():
        assert not user.ui.improveButton.enabled
        return user.ui.improveButton.toolTip

    assert "Train a model in section 3" in reason()
    model(user, tmp_path)
    assert "Add cases in section 2" in reason()
    user.cases.addDataset(dataset(tmp_path / "d") / "dataset.json")
    user.widget.dataSection.refresh()
    user.setRole(["case 1"], "ignored")
    assert "needs unlabelled cases" in reason()
    user.setRole(["case 1"], "unlabelled")
    assert user.ui.improveButton.enabled
    user.setRole(["case 0"], "ignored")
    assert "must be labelled" in reason()


def test_a_supervised_model_needs_no_unlabelled_cases(user, tmp_path):
    user.cases.addDataset(dataset(tmp_path / "d") / "dataset.json")
    user.widget.dataSection.refresh()
    user.setRole(["case 1"], "ignored")
    model(user, tmp_path, "supervised")
    assert user.ui.improveButton.enabled
