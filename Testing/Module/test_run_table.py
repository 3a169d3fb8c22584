"""The trainings so far: their room on the disk, and models as single files."""

import os
import shutil
import zipfile

import pytest
import qt
import slicer
from metassl.training.run_lock import run_lock
from MetaSSLSegmentLib.Engine.RunFiles import exportModel, factsOf, importModel
from MetaSSLSegmentLib.Sections import RunTable
from test_runs import DONE, STOPPED, makeModel, makeRun


@pytest.fixture
def runs(user, tmp_path):
    """Two trainings: one with a model, one that was stopped before it had one."""
    first = makeRun(tmp_path / "runs" / "a", DONE)
    metadata = {"metassl": {"classes": [], "provenance": {"hold_out": {"mean_dice": 0.75, "dice": {}}}}}
    metadata["metassl"]["provenance"]["cases"] = {"labelled": ["x", "y"], "hold-out": ["z"], "ignored": ["w"]}
    makeModel(first / "model", metadata)
    os.utime(first / "job.json", (1000000000, 1000000000))
    second = makeRun(tmp_path / "runs" / "b", STOPPED)
    for run in (first, second):
        (run / "cache").mkdir()
        (run / "cache" / "x.npy").write_bytes(bytes(3_000_000))
    user.ui.runsSection.collapsed = False
    return first, second


def choose(user, name):
    user.ui.runTable.selectRow(user.columns("runTable", 0).index(name))


def test_runs_are_listed_with_what_they_take(user, runs):
    table = {name: n for n, name in enumerate(user.columns("runTable", 0))}
    shown = {name: [user.columns("runTable", column)[n] for column in (1, 2, 3)] for name, n in table.items()}
    assert shown == {"a": ["finished", "3.0", "0.750"], "b": ["unfinished", "3.0", ""]}
    assert user.columns("runTable", 4)[table["a"]].startswith("2001-09-0"), "the date"
    assert [user.columns("runTable", 5)[table[name]] for name in ("a", "b")] == ["3", ""], "cases"
    assert not user.ui.deleteRunButton.enabled and "Select" in user.ui.deleteRunButton.toolTip
    choose(user, "b")
    assert not user.ui.exportModelButton.enabled and "no model" in user.ui.exportModelButton.toolTip


def test_the_cache_goes_and_the_rest_stays(user, runs):
    choose(user, "a")
    user.click("deleteCacheButton")
    user.waitUntilIdle(10)
    assert not (runs[0] / "cache").exists() and (runs[0] / "model" / "models" / "model.pt").exists()
    assert (runs[1] / "cache").exists() and "3 MB" in user.ui.workText.text
    choose(user, "a")
    assert not user.ui.deleteCacheButton.enabled


def test_a_run_is_deleted_after_a_question_only(user, runs, monkeypatch):
    answers = [False, True]
    asked = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: asked.append(text) or answers.pop(0))
    choose(user, "a")
    user.click("deleteRunButton")
    assert runs[0].exists() and not user.widget.logic.busy()
    user.click("deleteRunButton")
    user.waitUntilIdle(10)
    assert not runs[0].exists() and runs[1].exists() and "Delete a " in asked[0]
    assert user.columns("runTable", 0) == ["b"]
    assert [user.ui.modelBox.itemData(n) for n in range(user.ui.modelBox.count)] == []


def test_a_model_goes_to_another_computer_as_one_file(user, runs, tmp_path, monkeypatch):
    file = str(tmp_path / "ä model")
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *arguments: file)
    choose(user, "a")
    user.click("exportModelButton")
    user.waitUntilIdle(10)
    shutil.rmtree(runs[0])
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *arguments: file + ".zip")
    user.click("importModelButton")
    user.waitUntilIdle(10)
    assert "can be chosen" in user.ui.workText.text
    user.ui.modelBox.setCurrentIndex(0)
    assert "Hold-out Dice 0.750" in user.ui.modelText.text


def test_a_file_that_holds_no_model_is_refused_and_leaves_nothing(tmp_path):
    file = tmp_path / "x.zip"
    for content in (None, b"no archive"):
        if content is None:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("note.txt", "nothing")
        else:
            file.write_bytes(content)
        with pytest.raises(ValueError, match=r"holds no MetaSSL model|damaged"):
            importModel(file, tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_an_archive_never_writes_outside_of_its_folder(tmp_path):
    model = makeModel(tmp_path / "model")
    exportModel(model, tmp_path / "m.zip")
    with zipfile.ZipFile(tmp_path / "m.zip", "a") as archive:
        archive.writestr("../outside.txt", "evil")
    found = importModel(tmp_path / "m.zip", tmp_path / "in" / "new")
    assert found.path == tmp_path / "in" / "new"
    assert not (tmp_path / "in" / "outside.txt").exists() and not (tmp_path / "outside.txt").exists()


def test_runs_are_looked_at_once_after_work(user, runs, monkeypatch):
    looked = []
    monkeypatch.setattr(RunTable, "factsOf", lambda run: looked.append(run.name) or factsOf(run))
    choose(user, "a")
    user.click("deleteCacheButton")
    user.waitUntilIdle(10)
    assert sorted(looked) == ["a", "b"]


def test_a_run_that_another_process_works_on_is_neither_resumed_nor_deleted(user, runs):
    """As by a second Slicer, or on the command line."""
    with run_lock(runs[1] / ".lock"):
        user.widget.onRunsChanged()
        state = dict(zip(user.columns("runTable", 0), user.columns("runTable", 1)))
        assert state == {"a": "finished", "b": "in use"}
        assert user.ui.resumeBox.count == 0 and user.ui.resumeButton.isHidden()
        choose(user, "b")
        for button in (user.ui.deleteRunButton, user.ui.deleteCacheButton):
            assert not button.enabled and f"b is in use by process {os.getpid()} on " in button.toolTip
        assert "in use by process" in user.ui.runTable.item(user.columns("runTable", 0).index("b"), 1).toolTip()
    user.widget.onRunsChanged()
    assert "in use" not in user.columns("runTable", 1) and user.ui.resumeBox.currentText == "b"
    choose(user, "b")
    assert user.ui.deleteRunButton.enabled


def test_a_run_that_has_come_into_use_since_it_was_listed_is_not_deleted(user, runs, monkeypatch):
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: True)
    choose(user, "b")
    for button in ("deleteRunButton", "deleteCacheButton"):
        with run_lock(runs[1] / ".lock"):
            user.click(button)
            user.waitUntilIdle(10)
        assert "b is in use by process" in user.ui.workText.text and (runs[1] / "cache" / "x.npy").exists()
        user.widget.onRunsChanged()
        choose(user, "b")
