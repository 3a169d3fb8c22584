"""Which annotations to doubt: the audit, the doubted voxels over the annotation, and the way to a better label."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import qt
import SimpleITK as sitk
import slicer
from harness.interaction import processEvents
from metassl import Dataset
from MetaSSLSegmentLib.Scene.CaseNodes import segmentsOf
from MetaSSLSegmentLib.Scene.Correction import correctionOf
from MetaSSLSegmentLib.Scene.Result import PREVIEW, VOLUME
from reviewing import reviewed, show, window  # noqa: F401
from test_data_section import dataset, previews
from test_exchange import rotation, segmentationNode, transformUnder, volumeNode
from test_review_section import centres, model, paint

PLACE = {"position": [1.0, -2.0, 3.0], "classes": ["nucleus", "background"], "volume_ml": 0.25, "certainty": 0.6}


def told(case, score, **other):
    """What the engine tells of one annotation."""
    facts = {"dice": {"nucleus": 0.5, "tract": 1.0}, "doubt_ml": 0.25, "trained_on": True, "places": [PLACE]}
    return {"case": case, "score": score, **facts, **other}


@pytest.fixture
def engine(user, monkeypatch):
    """The engine's answer to audit, whose cases are ``found``; ``commands`` are what it was asked.

    The annotation that it has read is the first class in slice 0 and ignored in slice 1; all of slice 0 is doubted.
    """

    class Engine:
        commands, found = [], []

        def start(self, arguments, listener):
            self.commands.append([str(word) for word in arguments])
            where = arguments.index("--out")
            out, given = Path(arguments[where + 1]), Dataset.load(arguments[where - 1])
            for case in given.with_role("labelled", "hold-out"):
                grid = sitk.ReadImage(case.images[0])
                array = np.zeros(grid.GetSize()[::-1], np.uint8)
                array[0] = given.classes[0].value
                for kind, second in (("doubt", 0), ("annotation", 255)):
                    array[1] = second
                    image = sitk.GetImageFromArray(array)
                    image.CopyInformation(grid)
                    sitk.WriteImage(image, str(out / f"{case.id}_{kind}.nii.gz"))
            event = {"event": "done", "cases": self.found, "failed": [], "ignore_value": 255}
            qt.QTimer.singleShot(0, lambda: listener.done(event))

    engine = Engine()
    engine.commands, engine.found = [], [told("case 2", 0.1), told("case 0", 0.9, trained_on=False, places=[])]
    monkeypatch.setattr(user.widget.logic.engine, "start", engine.start)
    return engine


@pytest.fixture
def audited(user, engine, tmp_path):
    """The table of an audit of two cases of files."""
    user.cases.addDataset(dataset(tmp_path / "d", 4) / "dataset.json")
    user.widget.dataSection.refresh()
    model(user, tmp_path)
    user.ui.reviewSection.collapsed = False
    processEvents()
    user.click("auditButton")
    user.waitUntilIdle(30)
    return engine


def shownAs(segmentation):
    """Whether a segmentation is visible, and whether it is filled."""
    display = segmentation.GetDisplayNode()
    return bool(display.GetVisibility()), bool(display.GetVisibility2DFill())


def voxels(segmentation, name, volume):
    ID = {found: ID for ID, found in segmentsOf(segmentation)}[name]
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, ID, volume)


def test_the_annotations_are_listed_the_most_doubtful_first(user, audited):
    command = audited.commands[0]
    assert command[0] == "audit" and command[1].endswith("model") and command[2].endswith("dataset.json")
    assert user.columns("auditTable", 0) == ["case 2", "case 0"] and user.columns("auditTable", 1) == ["0.10", "0.90"]
    assert [user.columns("auditTable", n)[0] for n in (2, 3, 4)] == ["0.750", "0.25", "1"]
    assert "2 annotation(s)" in user.ui.auditStatus.text and "learnt from 1 of them" in user.ui.auditStatus.text
    assert user.ui.auditTable.visible and user.ui.showDoubtButton.enabled, "the first one is selected"
    assert not Path(command[2]).exists(), "what was exported for it is gone"


def test_a_doubted_annotation_is_shown_as_outlines_with_the_doubt_filled(user, audited):
    user.click("showDoubtButton")
    processEvents()
    volume, annotation, doubted = previews()
    assert [node.GetName() for node in (volume, annotation, doubted)] == ["case 2", "case 2", "case 2 doubted"]
    assert shownAs(annotation) == (True, False) and shownAs(doubted) == (True, True)
    assert voxels(annotation, "nucleus", volume)[0].all() and voxels(annotation, "ignore", volume)[1].all()
    assert "case 2: the model contradicts 0.25 ml" in user.ui.agreementText.text
    assert "learnt from it" in user.ui.agreementText.text
    assert user.columns("placeTable", 1) == ["nucleus or background"]
    user.click("nextPlaceButton")
    assert np.allclose(centres(), PLACE["position"]) and user.columns("placeTable", 0) == ["\u2713"]


def test_a_double_click_shows_another_one(user, audited):
    user.click("showDoubtButton")
    user.ui.auditTable.cellDoubleClicked.emit(1, 0)
    processEvents()
    assert {node.GetName() for node in previews()} == {"case 0", "case 0 doubted"}
    assert "learnt from it" not in user.ui.agreementText.text and not user.ui.nextPlaceButton.enabled


def test_a_doubted_annotation_is_corrected_and_teaches(user, audited, window, tmp_path):  # noqa: F811
    user.click("showDoubtButton")
    processEvents()
    volume = previews()[0]
    user.click("correctButton")
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    corrected = editor.segmentationNode()
    assert editor.sourceVolumeNode() is volume and volume.GetAttribute(PREVIEW) is None, "it stays"
    paint(corrected, "tract", np.ones((4, 5, 6)) * (np.arange(4) == 2)[:, None, None], volume)
    slicer.util.selectModule("MetaSSLSegment")
    processEvents()
    before = (tmp_path / "d" / "l2.nii.gz").read_bytes()
    user.click("useAsLabelButton")
    user.waitUntilIdle(30)
    row = next(row for row in user.cases.rows if row.id == "case 2")
    label = sitk.GetArrayFromImage(sitk.ReadImage(row.label))
    assert [np.unique(part).tolist() for part in label] == [[3], [255], [7], [0]], "what is ignored stays ignored"
    assert (tmp_path / "d" / "l2.nii.gz").read_bytes() == before and str(tmp_path / "d") not in row.label
    assert len(user.cases.rows) == 4 and row.role == "labelled"
    user.ui.auditTable.cellDoubleClicked.emit(1, 0)
    assert corrected.GetScene() is not None and corrected.GetNodeReference(VOLUME) is volume


def test_of_a_case_of_the_scene_the_users_own_annotation_is_hidden_and_corrected(user, engine, window, tmp_path):  # noqa: F811
    volume = volumeNode(name="mine")
    drawn = segmentationNode(volume, nucleus=slicer.util.arrayFromVolume(volume) > 50)
    transformUnder(volume, rotation())
    drawn.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    user.cases.addNodes(volume, drawn)
    user.widget.dataSection.refresh()
    model(user, tmp_path)
    engine.found = [told("mine", 0.2)]
    user.click("auditButton")
    user.waitUntilIdle(30)
    user.click("showDoubtButton")
    processEvents()
    outlines, doubted = previews()
    assert not drawn.GetDisplayNode().GetVisibility() and drawn.GetDisplayNode().GetVisibility2DFill()
    assert shownAs(outlines) == (True, False) and shownAs(doubted) == (True, True)
    assert np.allclose(outlines.GetSegmentCenterRAS("nucleus"), drawn.GetSegmentCenterRAS("nucleus"))
    assert voxels(doubted, segmentsOf(doubted)[0][1], volume)[0].all(), "it follows the volume's transform"
    user.click("correctButton")
    corrected = slicer.modules.segmenteditor.widgetRepresentation().self().editor.segmentationNode()
    assert corrected is not drawn and correctionOf(user.widget.loop.audit.shown) is corrected
    slicer.util.selectModule("MetaSSLSegment")
    user.click("useAsLabelButton")
    user.waitUntilIdle(30)
    assert user.cases.nodesOf(user.cases.rows[0])[1] is corrected


def test_a_result_that_is_chosen_takes_the_place_of_the_doubts(user, audited, tmp_path):
    result = show(user, reviewed(volumeNode(), tmp_path))
    user.click("showDoubtButton")
    processEvents()
    assert user.ui.resultBox.currentIndex == -1 and "case 2" in user.ui.agreementText.text
    user.ui.resultBox.setCurrentIndex(0)
    processEvents()
    assert user.widget.displaySection.result.first is result.first and "agree" in user.ui.agreementText.text
    assert user.ui.placeTable.rowCount == 2


def test_another_case_that_is_shown_ends_the_review(user, audited):
    user.click("showDoubtButton")
    user.widget.dataSection.showCase(0)
    processEvents()
    assert user.widget.loop.audit.shown is None and user.ui.agreementText.text == ""
    assert not user.ui.correctButton.enabled


def test_what_cannot_be_shown_is_told(user, audited, tmp_path):
    (tmp_path / "d" / "i2.nii.gz").unlink()
    user.click("showDoubtButton")
    assert "case 2 cannot be shown" in user.ui.auditStatus.text
    user.cases.remove(["case 0"])
    user.ui.auditTable.cellDoubleClicked.emit(1, 0)
    assert "not in the table" in user.ui.auditStatus.text
    shutil.rmtree(user.widget.loop.audit._folder.name)
    user.widget.cleanup()


@pytest.mark.parametrize("found", [[], [{}], [{"case": "case 0", "score": "x"}], [told("nobody", 0.5)]])
def test_damaged_answers_are_told(user, audited, found):
    audited.found = found
    user.click("auditButton")
    user.waitUntilIdle(30)
    assert "No annotation can be read" in user.ui.auditStatus.text and user.ui.auditTable.rowCount == 0


def test_the_buttons_say_what_is_missing(user, tmp_path):
    assert not user.ui.auditButton.enabled and "Train a model" in user.ui.auditButton.toolTip
    model(user, tmp_path)
    assert not user.ui.auditButton.enabled and "no annotated case" in user.ui.auditButton.toolTip
    user.cases.addDataset(dataset(tmp_path / "d", 2) / "dataset.json")
    user.widget.dataSection.refresh()
    assert user.ui.auditButton.enabled


def test_by_halves_two_models_are_trained_with_the_settings_of_section_3(user, engine, tmp_path):
    user.cases.addDataset(dataset(tmp_path / "d", 14) / "dataset.json")
    user.widget.dataSection.refresh()
    user.click("auditHalvesBox")
    assert not user.ui.auditButton.enabled and "at least 8 labelled" in user.ui.auditButton.toolTip
    user.cases.addDataset(dataset(tmp_path / "e", 16) / "dataset.json")
    user.widget.dataSection.refresh()
    user.parameters.minutes, user.parameters.method = 3.0, "cps"
    user.click("auditButton")
    user.waitUntilIdle(30)
    words = engine.commands[0]
    assert words[1].endswith("dataset.json") and words[words.index("--minutes") + 1] == "3.0"
    assert words[words.index("--method") + 1] == "cps"
    assert user.columns("auditTable", 0) == ["case 2", "case 0"]


def test_files_and_scene_are_left_as_they_were(user, audited, tmp_path):
    folder = Path(user.widget.loop.audit._folder.name)
    assert sorted(path.name for path in folder.iterdir())[0] == "case 0_annotation.nii.gz"
    slicer.mrmlScene.Clear(False)
    processEvents()
    assert user.ui.auditTable.rowCount == 0 and user.widget.loop.audit.shown is None
    user.widget.loop.audit.cleanup()
    assert not folder.exists()


def test_the_engine_audits_the_sample(user, sample, trained):
    """The real command: every annotation gets a row, the selected one its outlines and doubts."""
    user.cases.addDataset(sample)
    user.widget.dataSection.refresh()
    user.widget.segmentSection.chooseModel(trained)
    user.click("auditButton")
    user.waitUntilIdle(120)
    labelled = sorted(row.id for row in user.cases.rows if row.role == "labelled")
    assert sorted(user.columns("auditTable", 0)) == labelled, user.ui.auditStatus.text
    user.click("showDoubtButton")
    processEvents()
    volume, annotation, _doubted = previews()
    row = next(row for row in user.cases.rows if row.id == user.columns("auditTable", 0)[0])
    stored = sitk.GetArrayFromImage(sitk.ReadImage(row.label))
    for c in user.cases.classes:
        found = voxels(annotation, c["name"], volume).sum()
        assert found == (stored == c["value"]).sum(), "as the file says"
