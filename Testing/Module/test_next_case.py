"""The case to annotate next, the order of the table of cases, and first labels from elsewhere."""

from pathlib import Path

import numpy as np
import pytest
import qt
import SimpleITK as sitk
import slicer
from harness.interaction import processEvents
from MetaSSLSegmentLib.Scene.CaseNodes import segmentsOf
from MetaSSLSegmentLib.Scene.Correction import correctionOf
from reviewing import window  # noqa: F401
from test_data_section import dataset
from test_exchange import volumeNode
from test_folder_table import writeCase
from test_review_section import model, paint


@pytest.fixture
def engine(user, monkeypatch):
    """The engine's answers to rank, whose cases are ``ranking``, and predict; ``commands`` are what it was asked."""

    class Engine:
        commands, ranking = [], []

        def start(self, arguments, listener):
            self.commands.append([str(word) for word in arguments])
            if arguments[0] == "rank":
                event = {"event": "done", "cases": self.ranking, "failed": []}
            else:
                self._predict(Path(arguments[2]), Path(arguments[4]))
                event = {"event": "done", "results": [1]}
            qt.QTimer.singleShot(0, lambda: listener.done(event))

        def _predict(self, image, out):
            grid = sitk.ReadImage(str(image))
            writeCase(out.parent / "unused", out, image.stem, 0.6)
            for kind in ("seg", "regions", "confidence"):
                array = np.zeros(grid.GetSize()[::-1], np.uint8)
                array[1] = 3
                labels = sitk.GetImageFromArray(array)
                labels.CopyInformation(grid)
                sitk.WriteImage(labels, str(out / f"{image.stem}_{kind}.nii.gz"))

    engine = Engine()
    engine.commands, engine.ranking = [], []
    monkeypatch.setattr(user.widget.logic.engine, "start", engine.start)
    return engine


def cases(user, tmp_path, count=6):
    user.cases.addDataset(dataset(tmp_path / "d", count) / "dataset.json")
    user.widget.dataSection.refresh()
    processEvents()


def test_before_any_model_the_case_is_opened_to_draw_in(user, engine, tmp_path, window):  # noqa: F811
    cases(user, tmp_path)
    engine.ranking = [{"case": "case 3", "like": None}, {"case": "case 1", "like": "case 0"}]
    user.click("annotateNextButton")
    user.waitUntilIdle(30)
    command = engine.commands[0]
    assert command[0] == "rank" and command[1].endswith("dataset.json"), "no model is given"
    assert user.widget.dataSection.caseTable.selected() == ["case 3"]
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    drawn, volume = editor.segmentationNode(), editor.sourceVolumeNode()
    assert volume.GetName() == "case 3" and [name for _ID, name in segmentsOf(drawn)] == ["nucleus", "tract"]
    assert window.moduleSelector().selectedModule == "SegmentEditor"
    slicer.util.selectModule("MetaSSLSegment")
    processEvents()
    assert "case 3 drawn" in user.ui.agreementText.text
    user.click("useAsLabelButton")
    assert "No segment has a voxel" in user.ui.reviewStatus.text
    assert user.cases.rows[3].role == "unlabelled"
    voxels = np.zeros((4, 5, 6))
    voxels[0] = 1
    paint(drawn, "tract", voxels, volume)
    user.click("useAsLabelButton")
    user.waitUntilIdle(30)
    row = user.cases.rows[3]
    assert row.role == "labelled" and (sitk.GetArrayFromImage(sitk.ReadImage(row.label)) == 7).sum() == 30
    assert not user.ui.useAsLabelButton.enabled, "used once"


def test_with_a_model_its_prediction_is_the_beginning(user, engine, tmp_path, window):  # noqa: F811
    cases(user, tmp_path)
    folder = model(user, tmp_path)
    (folder / "configs" / "metadata.json").write_text(
        '{"metassl": {"classes": [{"name": "nucleus", "value": 3, "colour": [1, 2, 3]}]}}'
    )
    engine.ranking = [{"case": "case 5"}, {"case": "case 1"}, {"case": "case 3"}]
    user.click("annotateNextButton")
    user.waitUntilIdle(30)
    assert [command[0] for command in engine.commands] == ["rank", "predict"]
    assert engine.commands[0][1].endswith("dataset.json") and len(engine.commands[0]) == 2, "no model: it is quick"
    assert engine.commands[1][1] == str(folder)
    assert window.moduleSelector().selectedModule == "SegmentEditor"
    result = user.widget.displaySection.result
    assert result.volumeNode.GetName() == "case 5" and correctionOf(result) is not None
    assert user.ui.dataStatus.text == "case 5 is the one to annotate next."
    agreements = [row.agreement for row in user.cases.rows]
    assert agreements == [None, None, None, None, None, 0.6], "that of the result"
    slicer.util.selectModule("MetaSSLSegment")
    processEvents()
    user.click("useAsLabelButton")
    user.waitUntilIdle(30)
    assert user.cases.rows[5].role == "labelled" and user.cases.rows[5].label


def test_a_case_of_the_scene_can_come_next(user, engine, window):  # noqa: F811
    first, second = volumeNode(name="one"), volumeNode(name="two")
    for volume in (first, second):
        user.cases.addNodes(volume)
    user.cases.classes = [{"name": "nucleus", "value": 3, "colour": [1, 2, 3], "segments": ["nucleus"]}]
    user.widget.dataSection.refresh()
    engine.ranking = [{"case": "two"}]
    user.click("annotateNextButton")
    user.waitUntilIdle(30)
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    assert editor.sourceVolumeNode() is second


def test_while_another_module_is_open_nothing_is_put_in_its_place(user, engine, tmp_path, window):  # noqa: F811
    cases(user, tmp_path)
    folder = model(user, tmp_path)
    engine.ranking = [{"case": "case 5"}]
    user.click("annotateNextButton")
    slicer.util.selectModule("SegmentEditor")
    user.waitUntilIdle(30)
    assert folder.exists() and correctionOf(user.widget.displaySection.result) is None


@pytest.mark.parametrize("ranking", [[], [{"case": "nobody"}], [{}]])
def test_when_no_case_can_be_read_it_says_so(user, engine, tmp_path, ranking):
    cases(user, tmp_path)
    engine.ranking = ranking
    user.click("annotateNextButton")
    user.waitUntilIdle(30)
    assert "No unlabelled case can be read" in user.ui.dataStatus.text


def test_an_image_that_is_gone_is_named(user, engine, tmp_path):
    cases(user, tmp_path)
    Path(user.cases.rows[3].images[0]).unlink()
    engine.ranking = [{"case": "case 3"}]
    user.click("annotateNextButton")
    user.waitUntilIdle(30)
    assert "case 3 cannot be loaded" in user.ui.dataStatus.text


def test_without_unlabelled_cases_the_button_says_so(user, tmp_path):
    assert "no unlabelled case" in user.ui.annotateNextButton.toolTip and not user.ui.annotateNextButton.enabled
    cases(user, tmp_path)
    assert user.ui.annotateNextButton.enabled


# The order of the table


def click(user, column):
    user.ui.caseTable.horizontalHeader().sectionClicked.emit(column)
    return user.columns("caseTable", 0)


def test_the_table_is_sorted_by_any_column(user, tmp_path):
    cases(user, tmp_path, 12)
    rows = user.cases.rows
    facts = [("case 10", 0.5, 9, "excluded"), ("case 2", 0.25, 100, ""), ("case 9", None, 30, "warning")]
    rows[:] = rows[:3]
    for row, (ID, agreement, length, severity) in zip(rows, facts):
        row.id, row.agreement, row.size, row.spacing, row.severity = ID, agreement, [length, 2, 2], [1], severity
        row.status = severity
    user.widget.dataSection.refresh()
    assert user.columns("caseTable", 0) == ["case 10", "case 2", "case 9"], "as they were added"
    assert click(user, 0) == ["case 2", "case 9", "case 10"], "2 before 10"
    assert click(user, 0) == ["case 10", "case 9", "case 2"], "again: the other way round"
    assert click(user, 6) == ["case 2", "case 10", "case 9"], "unknown comes last"
    assert user.columns("caseTable", 6) == ["0.250", "0.500", ""]
    assert click(user, 6) == ["case 10", "case 2", "case 9"], "also the other way round"
    assert click(user, 3) == ["case 10", "case 9", "case 2"], "by voxels, not by text"
    assert click(user, 2) == ["case 10", "case 9", "case 2"], "the worst first"
    assert [row.id for row in user.cases.rows] == ["case 10", "case 2", "case 9"], "the list keeps its own order"


def test_the_agreement_is_beside_the_role_once_it_is_known(user, tmp_path):
    cases(user, tmp_path)
    table, header = user.ui.caseTable, user.ui.caseTable.horizontalHeader()
    assert table.isColumnHidden(6)
    user.cases.rows[1].agreement = 0.75
    user.widget.dataSection.refresh()
    assert not table.isColumnHidden(6)
    order = [table.horizontalHeaderItem(header.logicalIndex(n)).text() for n in range(7)]
    assert order == ["Case", "Role", "Agreement", "Status", "Size", "Spacing (mm)", "Classes"]


def test_what_is_selected_stays_selected_and_is_what_is_shown(user, tmp_path):
    cases(user, tmp_path, 12)
    user.select(["case 10", "case 2"])
    click(user, 0)
    click(user, 0)
    assert user.columns("caseTable", 0)[:2] == ["case 11", "case 10"]
    assert sorted(user.widget.dataSection.caseTable.selected()) == ["case 10", "case 2"]
    user.ui.caseTable.cellDoubleClicked.emit(1, 0)
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert slicer.mrmlScene.GetNodeByID(composite.GetBackgroundVolumeID()).GetName() == "case 10"


def test_what_is_selected_stays_selected_when_it_gets_another_place(user, tmp_path):
    cases(user, tmp_path, 4)
    header = user.ui.caseTable.horizontalHeader()
    header.sectionClicked.emit(1)
    first = user.columns("caseTable", 0)[0]
    user.setRole([first], "ignored")
    assert user.columns("caseTable", 0)[-1] == first
    assert user.widget.dataSection.caseTable.selected() == [first]
    user.click("removeCasesButton")
    assert user.widget.dataSection.caseTable.selected() == [], "another press takes no other case"


def test_agreement_is_kept_with_the_scene(user, tmp_path):
    cases(user, tmp_path)
    user.cases.rows[1].agreement = 0.75
    user.cases.save()
    slicer.util.saveScene(str(tmp_path / "s.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "s.mrb"))
    processEvents()
    assert [row.agreement for row in user.cases.rows] == [None, 0.75, None, None, None, None]


def test_where_first_labels_come_from_is_said_until_there_are_some(user, tmp_path):
    assert user.ui.firstLabelsText.visible
    for name in ("nnInteractive", "TotalSegmentator", "MultiverSeg"):
        assert f">{name}</a>" in user.ui.firstLabelsText.text
    cases(user, tmp_path)
    assert not user.ui.firstLabelsText.visible
