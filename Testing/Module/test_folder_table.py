"""A folder that was segmented: its results are looked at, decided about, corrected, and teach."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from harness.interaction import processEvents, waitUntil
from MetaSSLSegmentLib.Scene.CaseNodes import segmentsOf
from MetaSSLSegmentLib.Scene.Correction import correctionOf
from MetaSSLSegmentLib.Scene.ResultFolder import FILE, Decisions, casesIn
from reviewing import PLACES, window  # noqa: F401
from test_data_section import dataset

LEFT_HANDED = (1.0, 0, 0, 0, 1, 0, 0, 0, -1)
AGREEMENTS = {"a": 0.9, "b": None, "c": 0.7}


def writeCase(images, results, name, agreement, direction=(1.0, 0, 0, 0, 1, 0, 0, 0, 1)):
    """An image and its result, as ``metassl predict`` leaves them: slice 1 nucleus, slice 2 tract."""
    for folder in (images, results):
        folder.mkdir(exist_ok=True)
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1], labels[2, :2] = 3, 7
    parts = {
        images / f"{name}.nrrd": np.arange(120, dtype=np.int16).reshape(4, 5, 6),
        results / f"{name}_seg.nii.gz": labels,
        results / f"{name}_regions.nii.gz": labels // 3 + 1,
    }
    for path, array in parts.items():
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((1.0, 2.0, 3.0))
        image.SetOrigin((5.0, 6.0, 7.0))
        image.SetDirection(direction)
        sitk.WriteImage(image, str(path))
    told = {
        "model": "d",
        "case": name,
        "images": [str(images / f"{name}.nrrd")],
        "classes": {"nucleus": 3, "tract": 7},
        "volume_ml": {"nucleus": 0.18, "tract": 0.072},
        "regions": {},
        "agreement": {"mean": agreement, "classes": {}, "hold_out_cases": 0, "agree_less": None},
        "places": PLACES if name == "a" else [],
    }
    (results / f"{name}.json").write_text(json.dumps(told))


@pytest.fixture
def folder(user, tmp_path):
    """Three results, shown in the table."""
    for name, agreement in AGREEMENTS.items():
        writeCase(tmp_path / "images", tmp_path / "results", name, agreement)
    (tmp_path / "results" / "summary.json").write_text(json.dumps({"model": "d", "cases": [], "failed": []}))
    choose(user, tmp_path / "results")
    return tmp_path / "results"


def choose(user, path):
    user.ui.batchSection.collapsed = False
    user.ui.outputFolderPath.currentPath = str(path)
    waitUntil(lambda: user.ui.folderTable.rowCount, 10, "the results to be listed")


def press(user, name):
    user.click(name)
    user.waitUntilIdle(30)


def shown(user):
    """Names of image and segmentation in the slice views."""
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    image = slicer.mrmlScene.GetNodeByID(composite.GetBackgroundVolumeID() or "")
    visible = [
        node.GetName()
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        if node.GetDisplayNode().GetVisibility()
    ]
    return image and image.GetName(), visible


def decide(user, **decisions):
    for name, button in decisions.items():
        user.ui.folderTable.selectRow(user.columns("folderTable", 0).index(name))
        user.click(button)


def test_results_are_listed_those_that_agree_least_first(user, folder):
    assert user.columns("folderTable", 0) == ["b", "c", "a"] and user.columns("folderTable", 2) == [
        "",
        "0.700",
        "0.900",
    ]
    assert user.columns("folderTable", 3) == ["0", "0", "2"]
    header = [user.ui.folderTable.horizontalHeaderItem(n).text() for n in range(6)]
    assert header[4:] == ["nucleus ml", "tract ml"] and user.columns("folderTable", 4) == ["0.18"] * 3


def test_what_is_no_result_is_not_listed(user, folder):
    (folder / "broken.json").write_text("{")
    (folder / "d.json").write_text(json.dumps({"case": "d", "images": ["x"], "classes": {}, "volume_ml": {}}))
    told = json.loads((folder / "a.json").read_text())
    for name, wrong in {"images": "x", "classes": {"nucleus": 300}, "volume_ml": [1], "case": "b"}.items():
        (folder / "c.json").write_text(json.dumps({**told, "case": "c", name: wrong}))
        expected = ["a", "b", "c"] if name == "images" else ["a", "b"]
        assert sorted(case.name for case in casesIn(folder)) == expected, name
    assert casesIn(folder / "nowhere") == []


def test_double_click_shows_image_and_result_and_the_next_one_replaces_them(user, folder):
    user.ui.folderTable.cellDoubleClicked.emit(2, 0)
    user.waitUntilIdle(30)
    assert shown(user) == ("a", ["a segmentation"])
    assert not user.ui.reviewSection.collapsed and user.ui.placeTable.rowCount == 2
    press(user, "previousResultButton")
    assert shown(user) == ("c", ["c segmentation"])
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == 2, "image and regions of one case"
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 1
    press(user, "previousResultButton")
    assert shown(user)[0] == "b"
    assert not user.ui.previousResultButton.enabled and "first" in user.ui.previousResultButton.toolTip
    press(user, "nextResultButton")
    assert shown(user)[0] == "c"


@pytest.mark.parametrize("direction", [(1.0, 0, 0, 0, 1, 0, 0, 0, 1), LEFT_HANDED, (0.0, 0, 1, 1, 0, 0, 0, 1, 0)])
def test_results_lie_where_their_voxels_are_however_slicer_reads_the_image(user, tmp_path, direction):
    writeCase(tmp_path / "images", tmp_path / "results", "x", 0.5, direction)
    choose(user, tmp_path / "results")
    press(user, "nextResultButton")
    segmentation, volume = slicer.util.getNode("x segmentation"), slicer.util.getNode("x")
    ID = {name: ID for ID, name in segmentsOf(segmentation)}["nucleus"]
    labels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, ID, volume)
    image = slicer.util.arrayFromVolume(volume)
    assert sorted(image[labels > 0].tolist()) == list(range(30, 60)), "slice 1 of the file, whatever it is in Slicer"


def test_an_image_that_is_gone_is_named(user, folder, tmp_path):
    (tmp_path / "images" / "b.nrrd").unlink()
    press(user, "nextResultButton")
    assert "b cannot be loaded" in user.ui.folderStatus.text
    assert not slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")


def test_decisions_survive_a_restart(user, folder):
    decide(user, a="acceptButton", c="rejectButton")
    assert user.columns("folderTable", 1) == ["", "rejected", "accepted"]
    user.ui.outputFolderPath.currentPath = ""
    waitUntil(lambda: not user.ui.folderTable.rowCount, 10, "the table to be empty")
    choose(user, folder)
    assert user.columns("folderTable", 1) == ["", "rejected", "accepted"]


def test_decisions_about_a_result_that_was_replaced_do_not_count(user, folder, tmp_path):
    decide(user, a="acceptButton", c="rejectButton")
    writeCase(tmp_path / "images", folder, "a", 0.95)
    user.widget.loop.folder.refresh()
    assert user.columns("folderTable", 1) == ["", "rejected", ""] and not user.ui.folderStatus.text


@pytest.mark.parametrize(
    ("content", "decided", "ignored"),
    [
        ("case,decision,result\na,accepted,{a}\n", "accepted", 0),
        ("\ufeffcase;decision;result\r\na;accepted;{a}\r\n", "accepted", 0),
        ("case,decision,result\na,splendid,{a}\nzz,accepted,1\na,accepted\n", "", 3),
        ("nonsense\n1,2,3\n", "", 1),
        ("case,decision,result\na,accepted,other\n", "", 0),
        ("", "", 0),
        (b"\xff\xfe\x00", "", 1),
    ],
)
def test_a_file_of_decisions_that_others_wrote_is_read_with_care(folder, content, decided, ignored):
    cases = casesIn(folder)
    checksum = next(case.checksum for case in cases if case.name == "a")
    content = content if isinstance(content, bytes) else content.replace("{a}", checksum).encode()
    (folder / FILE).write_bytes(content)
    decisions = Decisions(folder, cases)
    assert (decisions.of("a"), decisions.ignored) == (decided, ignored)


def test_lines_that_cannot_be_understood_are_told(user, folder):
    (folder / FILE).write_text("case,decision,result\na,splendid,1\n")
    user.widget.loop.folder.refresh()
    assert "1 line(s)" in user.ui.folderStatus.text and FILE in user.ui.folderStatus.text


def test_a_decision_that_cannot_be_kept_is_told(user, folder, monkeypatch):
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(OSError("disk full")))
    decide(user, a="acceptButton")
    assert "cannot be kept: disk full" in user.ui.folderStatus.text and not (folder / FILE).exists()
    assert user.columns("folderTable", 1) == ["", "", ""], "the table does not say what the file does not"


def test_correct_opens_the_editor_and_the_label_is_remembered(user, folder, window):  # noqa: F811
    user.ui.folderTable.selectRow(2)
    press(user, "correctResultButton")
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    assert editor.segmentationNode().GetName() == "a corrected" and editor.sourceVolumeNode().GetName() == "a"
    assert user.columns("folderTable", 1) == ["", "", "corrected"]
    slicer.util.selectModule("MetaSSLSegment")
    processEvents()
    press(user, "useAsLabelButton")
    assert user.columns("folderTable", 1) == ["", "", "used as label"]
    (row,) = user.cases.rows
    assert (row.id, row.role) == ("a", "labelled") and sitk.GetArrayFromImage(sitk.ReadImage(row.label)).any()
    press(user, "previousResultButton")
    assert correctionOf(user.widget.displaySection.result) is None
    assert slicer.util.getNode("a corrected") is not None, "what a person drew is not removed"


def test_accepted_results_become_labels_with_the_values_of_the_table(user, folder, tmp_path):
    """In the table, tract has another value than in the model; a case that is there already is the same case."""
    user.cases.addDataset(dataset(tmp_path / "d") / "dataset.json")
    for c in user.cases.classes:
        c["value"] = {"nucleus": 3, "tract": 9}[c["name"]]
    user.cases.rows[1].images = [str(tmp_path / "images" / "c.nrrd")]
    user.cases.save()
    before = {path: path.read_bytes() for path in folder.iterdir() if path.name != FILE}
    decide(user, a="acceptButton", c="acceptButton", b="rejectButton")
    press(user, "useAcceptedButton")
    rows = {row.id: row for row in user.cases.rows}
    assert [row.role for row in user.cases.rows] == ["labelled"] * 3 and set(rows) == {"case 0", "case 1", "a"}
    for ID in ("case 1", "a"):
        label = sitk.ReadImage(rows[ID].label)
        array = sitk.GetArrayFromImage(label)
        assert (array == 3).sum() == 30 and (array == 9).sum() == 12 and label.GetSpacing() == (1.0, 2.0, 3.0)
        assert set(rows[ID].labels) == {"nucleus", "tract"}
    assert user.columns("folderTable", 1) == ["rejected", "used as label", "used as label"]
    assert {path: path.read_bytes() for path in before} == before
    assert not user.ui.useAcceptedButton.enabled


def test_a_class_that_was_not_found_is_no_class_of_the_label(user, folder):
    told = json.loads((folder / "a.json").read_text())
    told["classes"]["absent"], told["volume_ml"]["absent"] = 5, 0.0
    (folder / "a.json").write_text(json.dumps(told))
    user.widget.loop.folder.refresh()
    decide(user, a="acceptButton")
    press(user, "useAcceptedButton")
    assert user.cases.rows[0].labels == ["nucleus", "tract"]
    assert [c["name"] for c in user.cases.classes] == ["nucleus", "tract", "absent"]


def test_accepted_results_alone_begin_a_data_set(user, folder):
    decide(user, a="acceptButton")
    press(user, "useAcceptedButton")
    (case,) = user.cases.dataset({}).cases
    assert case.id == "a" and case.role == "labelled"
    assert [(c["name"], c["value"]) for c in user.cases.classes] == [("nucleus", 1), ("tract", 2)]
    assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(case.label)))) == {0, 1, 2}


def test_a_damaged_result_is_named_and_nothing_is_half_done(user, folder):
    decide(user, a="acceptButton")
    (folder / "a_seg.nii.gz").write_bytes(b"nothing")
    press(user, "useAcceptedButton")
    assert "a_seg.nii.gz cannot become a label" in user.ui.folderStatus.text
    assert user.columns("folderTable", 1)[2] == "accepted" and all(row.label is None for row in user.cases.rows)
    user.ui.folderTable.cellDoubleClicked.emit(2, 0)
    user.waitUntilIdle(30)
    assert "a_seg.nii.gz is damaged" in user.ui.folderStatus.text
