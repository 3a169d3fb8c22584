"""Where every piece of work of the panel begins and ends."""

from types import SimpleNamespace

import pytest
import qt
import slicer
from harness.interaction import failOnCallbackErrors, processEvents
from MetaSSLSegmentLib.Scene.CaseList import CaseList
from MetaSSLSegmentLib.Sections.Task import Task
from test_data_section import FakeLogic
from test_exchange import volumeNode


@pytest.fixture
def label():
    return qt.QLabel()


@pytest.fixture
def bar():
    return qt.QProgressBar()


@pytest.fixture
def ends():
    return []


@pytest.fixture
def task(label, bar, ends):
    logic = FakeLogic()
    with failOnCallbackErrors():
        yield Task(logic, label, bar, ended=lambda: ends.append(logic.claimed))


def test_work_claims_the_engine_until_it_has_ended(task, label, bar, ends):
    assert not bar.visible and not task.isRunning
    task.begin("Something is being done.", temporary=True)
    folder = task.folder
    assert task.logic.claimed == label.text == "Something is being done." and task.isRunning
    assert folder.is_dir() and bar.visible and bar.value == 0
    task.progress("reading", 0.426, 185, "case 7")
    assert label.text == "reading: 43 %, 3:05 min left, case 7" and bar.value == 42
    task.progress("reading", 0.5)
    assert label.text == "reading: 50 %"
    task.finish("Read.")
    assert (label.text, label.styleSheet, task.logic.claimed) == ("Read.", "", "")
    assert ends == ["Something is being done."], "told once, before other work can begin"
    assert not task.isRunning and not bar.visible and task.folder is None and not folder.exists()


def test_what_fails_is_told_in_red_and_ends(task, label, ends):
    task.begin("Something is being done.", temporary=True)
    folder = task.folder
    task.run(["check", folder], done=pytest.fail)
    assert task.logic.engine.commands == [["check", str(folder)]]
    task.logic.engine.listener.failed(SimpleNamespace(text=lambda: "No space left."))
    assert label.text == "No space left." and "color" in label.styleSheet and not folder.exists()
    assert len(ends) == 1 and not task.logic.claimed


def test_a_stop_is_shown_until_the_engine_has_ended(task, label):
    task.begin("Something is being done.")
    task.run(["check"], done=pytest.fail)
    task.cancel(text="A moment...")
    assert task.logic.engine.stopped and task.isStopping and task.isRunning
    task.progress("checking", 0.9)
    assert label.text == "A moment..."
    task.logic.engine.listener.cancelled(None)
    assert label.text == "Stopped." and not task.isStopping and not task.logic.claimed


def test_a_listener_may_be_another_one(task):
    task.begin("Something is being done.")
    heard = []
    task.run(["check"], done=heard.append, event=heard.append, cancelled=heard.append)
    task.logic.engine.listener.event("an event")
    task.logic.engine.listener.cancelled("a stop")
    task.logic.engine.listener.done("an end")
    assert heard == ["an event", "a stop", "an end"] and task.isRunning, "who listens goes on with the work"


def casesOfTheScene():
    cases = CaseList(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    cases.addNodes(volumeNode())
    return cases


def test_an_export_is_stopped_at_once(task, label, tmp_path):
    task.begin("Something is being done.")
    task.export(casesOfTheScene(), tmp_path / "run", done=pytest.fail)
    task.cancel()
    processEvents(50)
    assert "Stopped" in label.text and not task.logic.claimed and not task.logic.engine.stopped
    assert not (tmp_path / "run").exists()


def test_nothing_stays_when_the_panel_goes_away(task, tmp_path, ends):
    task.begin("Something is being done.", temporary=True)
    folder = task.folder
    task.export(casesOfTheScene(), folder / "run", done=pytest.fail)
    task.abandon()
    processEvents(50)
    assert not folder.exists() and ends == []


def test_other_work_can_begin_also_when_the_end_went_wrong(label):
    def broken():
        raise OSError("no")

    task = Task(FakeLogic(), label, ended=broken)
    task.begin("Something is being done.")
    with pytest.raises(OSError, match="no"):
        task.finish("Done.")
    assert not task.logic.claimed and not task.isRunning


def test_a_text_without_work_is_only_shown(task, label, ends):
    task.begin("Something is being done.")
    task.finish()
    assert label.text == "Something is being done."
    task.finish("Nothing to do.")
    assert label.text == "Nothing to do." and len(ends) == 1
