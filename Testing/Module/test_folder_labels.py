"""A folder's results and a person's own work: nothing that was drawn, decided or annotated is lost or mixed up."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from harness.interaction import processEvents, waitUntil
from MetaSSLSegmentLib.Scene.CaseFiles import FILES, filesOf
from MetaSSLSegmentLib.Scene.CaseNodes import segmentsOf
from MetaSSLSegmentLib.Scene.ResultFolder import FILE, casesIn
from test_data_section import dataset
from test_folder_table import choose, decide, folder, press, writeCase  # noqa: F401


def showFirst(user):
    """Show the first result (b) as the button Next does; returns volume and segmentation."""
    press(user, "nextResultButton")
    return slicer.util.getNode("b"), slicer.util.getNode("b segmentation")


@pytest.mark.parametrize("role", ["labelled", "hold-out"])
def test_a_case_that_has_an_annotation_keeps_it_when_its_result_is_accepted(user, folder, tmp_path, role):  # noqa: F811
    user.cases.addDataset(dataset(tmp_path / "d") / "dataset.json")
    row = user.cases.rows[0]
    row.images, row.role, label = [str(tmp_path / "images" / "a.nrrd")], role, row.label
    user.cases.save()
    decide(user, a="acceptButton", c="acceptButton")
    press(user, "useAcceptedButton")
    assert (row.role, row.label) == (role, label), "its annotation is a person's, and may be held out"
    assert "1 case(s) are labelled now" in user.ui.folderStatus.text and row.id in user.ui.folderStatus.text
    assert user.columns("folderTable", 1) == ["", "used as label", "accepted"]


def test_what_became_a_label_before_something_failed_is_told_and_kept(user, folder):  # noqa: F811
    decide(user, c="acceptButton", a="acceptButton")
    (folder / "a_seg.nii.gz").write_bytes(b"nothing")
    press(user, "useAcceptedButton")
    assert "a_seg.nii.gz cannot become a label" in user.ui.folderStatus.text
    assert user.columns("folderTable", 1) == ["", "used as label", "accepted"]
    assert user.ui.caseTable.rowCount == 1 and user.cases.counts()["labelled"] == 1


def test_another_folder_may_be_chosen_while_labels_are_written(user, folder, tmp_path):  # noqa: F811
    writeCase(tmp_path / "images", tmp_path / "other", "z", 0.5)
    decide(user, a="acceptButton")
    user.click("useAcceptedButton")
    user.ui.outputFolderPath.currentPath = str(tmp_path / "other")
    user.widget.loop.folder.refresh()
    user.waitUntilIdle(30)
    assert user.columns("folderTable", 0) == ["z"] and user.columns("folderTable", 1) == [""]
    assert not (tmp_path / "other" / FILE).exists()
    choose(user, folder)
    waitUntil(lambda: len(user.columns("folderTable", 0)) == 3, 10, "the first folder")
    assert user.columns("folderTable", 1) == ["", "", "used as label"]


def test_a_result_that_was_segmented_again_since_it_was_accepted_becomes_no_label(user, folder, tmp_path):  # noqa: F811
    decide(user, a="acceptButton")
    writeCase(tmp_path / "images", folder, "a", 0.1)
    press(user, "useAcceptedButton")
    assert "a was segmented again" in user.ui.folderStatus.text and not user.cases.counts()["labelled"]


def test_a_file_that_points_nowhere_does_not_hide_the_results(user, folder):  # noqa: F811
    try:
        (folder / "gone.json").symlink_to(folder / "nowhere")
    except OSError:
        pytest.skip("no links on this system")
    assert len(casesIn(folder)) == 3


def test_volumes_of_classes_that_a_result_does_not_name_make_it_none(user, folder):  # noqa: F811
    told = json.loads((folder / "a.json").read_text())
    (folder / "a.json").write_text(json.dumps({**told, "volume_ml": {"vein": 1.0}}))
    assert [case.name for case in casesIn(folder)] == ["b", "c"]


@pytest.mark.parametrize("content", [b"patient,remark\n1,good\n", b"\xff\xfe\x00", b"case,decision,result\nq,yes,1\n"])
def test_a_file_of_decisions_that_is_not_understood_is_kept_beside_the_new_one(user, folder, content):  # noqa: F811
    (folder / FILE).write_bytes(content)
    user.widget.loop.folder.refresh()
    decide(user, a="acceptButton", c="rejectButton")
    assert user.columns("folderTable", 1) == ["", "rejected", "accepted"]
    others = [path.read_bytes() for path in folder.glob("review*.csv") if path.name != FILE]
    assert others == [content]


def test_a_result_that_a_person_has_drawn_in_stays(user, folder):  # noqa: F811
    volume, segmentation = showFirst(user)
    ID = {name: ID for ID, name in segmentsOf(segmentation)}["tract"]
    voxels = np.zeros((4, 5, 6), np.uint8)
    voxels[3] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, segmentation, ID, volume)
    press(user, "nextResultButton")
    kept = slicer.util.getNode("b segmentation")
    assert slicer.util.arrayFromSegmentBinaryLabelmap(kept, ID, volume)[3].all() and slicer.util.getNode("b") is volume


def test_a_copy_of_an_image_of_a_folder_stays(user, folder):  # noqa: F811
    volume, _segmentation = showFirst(user)
    copy = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    copy.Copy(volume)
    copy.SetName("mine")
    press(user, "nextResultButton")
    assert slicer.util.getNode("mine") is copy
    assert volume.GetScene() is None, "the image of the result before is gone"


def test_an_image_that_a_person_has_moved_is_not_its_file_any_more(user, folder):  # noqa: F811
    volume, segmentation = showFirst(user)
    assert filesOf(volume) == json.loads(volume.GetAttribute(FILES))
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[2, 3] = 50
    slicer.util.updateTransformMatrixFromArray(transform, matrix)
    for node in (volume, segmentation):
        node.SetAndObserveTransformNodeID(transform.GetID())
        node.HardenTransform()
    press(user, "useAsLabelButton")
    (row,) = user.cases.rows
    assert row.nodes is not None and not row.images, "a label 50 mm beside the image would teach nonsense"


def test_an_image_is_found_again_after_scene_and_data_were_moved(user, folder, tmp_path):  # noqa: F811
    project = tmp_path / "project"
    project.mkdir()
    writeCase(project / "images", project / "results", "m", 0.5)
    choose(user, project / "results")
    waitUntil(lambda: user.columns("folderTable", 0) == ["m"], 10, "the other folder")
    press(user, "nextResultButton")
    slicer.util.saveNode(slicer.util.getNode("m segmentation"), str(project / "m.seg.nrrd"))
    slicer.util.saveScene(str(project / "scene.mrml"))
    slicer.mrmlScene.Clear(False)
    processEvents()
    project.rename(tmp_path / "moved")
    slicer.util.loadScene(str(tmp_path / "moved" / "scene.mrml"))
    processEvents()
    press(user, "useAsLabelButton")
    (row,) = user.cases.rows
    assert row.images == [str(tmp_path / "moved" / "images" / "m.nrrd")]
    assert sitk.ReadImage(row.images[0]).GetSize() == sitk.ReadImage(row.label).GetSize()


@pytest.mark.parametrize("change", ["import", "undo"])
def test_a_label_that_is_being_written_reaches_its_case_whatever_happens_to_the_list(
    user,
    folder,  # noqa: F811
    tmp_path,
    change,
):
    slicer.util.saveScene(str(tmp_path / "empty.mrml"))
    decide(user, a="acceptButton")
    user.click("useAcceptedButton")
    if change == "import":
        slicer.mrmlScene.SetURL(str(tmp_path / "empty.mrml"))
        slicer.mrmlScene.Import()
    else:
        user.widget.onSceneChanged(None, None)
    user.waitUntilIdle(30)
    if user.cases.rows:
        assert user.cases.rows[0].label and user.columns("folderTable", 1)[2] == "used as label"
    else:
        assert user.columns("folderTable", 1)[2] == "accepted" and "list of cases" in user.ui.folderStatus.text


def test_a_volume_that_is_a_case_of_the_scene_is_no_second_case(user, folder, tmp_path):  # noqa: F811
    volume = slicer.util.loadVolume(str(tmp_path / "images" / "b.nrrd"))
    row = user.cases.addNodes(volume)
    decide(user, b="acceptButton")
    press(user, "useAcceptedButton")
    assert "b is in the table as a volume of the scene" in user.ui.folderStatus.text
    for number in (0, 1):
        user.ui.folderTable.cellDoubleClicked.emit(number, 0)
        user.waitUntilIdle(30)
    assert [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if node.GetName() == "b"] == [
        volume
    ]
    user.ui.folderTable.cellDoubleClicked.emit(0, 0)
    user.waitUntilIdle(30)
    press(user, "useAsLabelButton")
    assert user.cases.rows == [row] and row.role == "labelled" and user.columns("folderTable", 1)[0] == "used as label"
    decide(user, b="acceptButton")
    press(user, "useAcceptedButton")
    assert "b has an annotation and keeps it" in user.ui.folderStatus.text


def test_another_result_that_is_chosen_is_what_use_as_label_takes(user, folder):  # noqa: F811
    """Not a drawing of another case that was begun before, and may be unfinished."""
    volume, _segmentation = showFirst(user)
    user.widget.loop.review.drawing = None
    user.cases.classes.append({"name": "nucleus", "value": 3, "colour": [1, 2, 3], "terminology": None, "segments": []})
    user.widget.loop.review.draw(volume)
    assert "drawn" in user.ui.agreementText.text
    press(user, "nextResultButton")
    assert "drawn" not in user.ui.agreementText.text
    press(user, "useAsLabelButton")
    assert [row.id for row in user.cases.rows] == ["c"]


def test_what_is_selected_is_the_same_case_when_the_folder_has_changed(user, folder, tmp_path):  # noqa: F811
    user.ui.folderTable.selectRow(0)
    writeCase(tmp_path / "images", folder, "b", 0.95)
    user.widget.loop.folder.refresh()
    assert user.columns("folderTable", 0) == ["c", "a", "b"]
    user.click("rejectButton")
    assert user.columns("folderTable", 1) == ["", "", "rejected"]
