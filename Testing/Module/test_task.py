"""Where every piece of work of the panel begins and ends."""

from types import SimpleNamespace

import pytest
import qt
import slicer
from harness.interaction import failOnCallbackErrors, processEvents
from MetaSSLSegmentLib.Scene.CaseList import CaseList
from MetaSSLSegmentLib.Sections.Task import Task
from MetaSSLSegmentLib.Sections.WorkLine import WorkLine
from test_data_section import FakeLogic
from test_exchange import volumeNode


@pytest.fixture
def label():
    return qt.QLabel()


@pytest.fixture
def ui():
    """The widgets of the line at the top."""
    frame = qt.QFrame()
    made = {"workText": qt.QLabel(frame), "workProgress": qt.QProgressBar(frame), "cancelButton": qt.QPushButton(frame)}
    return SimpleNamespace(workFrame=frame, **made)


@pytest.fixture
def ends():
    return []


@pytest.fixture
def task(label, ui, ends):
    logic = FakeLogic()
    with failOnCallbackErrors():
        yield Task(logic, WorkLine(ui), label, ended=lambda: ends.append(logic.claimed))


def test_work_claims_the_engine_until_it_has_ended(task, label, ui, ends):
    assert ui.workFrame.isHidden() and not task.isRunning
    task.begin("Something is being done.", temporary=True)
    folder = task.folder
    assert task.logic.claimed == label.text == ui.workText.text == "Something is being done." and task.isRunning
    assert folder.is_dir() and ui.workFrame.visible and ui.cancelButton.enabled
    assert ui.workProgress.maximum == 0, "busy, while nobody knows how long"
    task.progress("reading", 0.426, 185, "case 7")
    assert ui.workText.text == "reading: 43 %, 3:05 min left, case 7" and ui.workProgress.value == 42
    task.progress("reading", 0.5)
    assert ui.workText.text == "reading: 50 %"
    task.finish("Read.")
    assert (label.text, label.styleSheet, task.logic.claimed) == ("Read.", "", "")
    assert ui.workText.text == "Read." and ui.cancelButton.isHidden() and ui.workProgress.isHidden()
    assert ends == ["Something is being done."], "told once, before other work can begin"
    assert not task.isRunning and task.folder is None and not folder.exists()


def test_what_fails_is_told_in_red_and_ends(task, label, ui, ends):
    task.begin("Something is being done.", temporary=True)
    folder = task.folder
    task.run(["check", folder], done=pytest.fail)
    assert task.logic.engine.commands == [["check", str(folder)]]
    task.logic.engine.listener.failed(SimpleNamespace(text=lambda: "No space left."))
    for shown in (label, ui.workText):
        assert shown.text == task.problem == "No space left." and "color" in shown.styleSheet
    assert not folder.exists() and len(ends) == 1 and not task.logic.claimed


def test_only_one_piece_of_work_is_done_at_a_time(task):
    task.begin("Something is being done.")
    other = Task(task.logic)
    with pytest.raises(RuntimeError, match="Something is being done"):
        other.begin("Something else.")
    assert not other.isRunning


def test_a_stop_is_shown_until_the_engine_has_ended(task, label, ui):
    task.begin("Something is being done.")
    task.run(["check"], done=pytest.fail)
    task.cancel(text="A moment...")
    assert task.logic.engine.stopped and task.isStopping and task.isRunning and not ui.cancelButton.enabled
    task.progress("checking", 0.9)
    assert ui.workText.text == "A moment..."
    task.logic.engine.listener.cancelled(None)
    assert label.text == "Stopped." and not task.isStopping and not task.logic.claimed


def test_the_button_stops_only_the_work_that_is_running(task, ui):
    other = Task(task.logic, WorkLine(ui))
    stops = []
    task.stopText, task.onStop = "Stop", lambda: stops.append(task.cancel(kill="Stop at once"))
    other.begin("Something else.")
    assert ui.cancelButton.text == "Cancel"
    other.finish("Done.")
    task.begin("Something is being done.")
    task.run(["train"], done=pytest.fail)
    assert ui.cancelButton.text == "Stop"
    ui.cancelButton.click()
    assert ui.cancelButton.text == "Stop at once" and ui.cancelButton.enabled and stops == [None]


def test_a_listener_may_be_another_one(task):
    task.begin("Something is being done.")
    heard = []
    task.run(["check"], done=heard.append, event=heard.append, cancelled=heard.append)
    task.logic.engine.listener.event("an event")
    task.logic.engine.listener.cancelled("a stop")
    task.logic.engine.listener.done("an end")
    assert heard == ["an event", "a stop", "an end"] and task.isRunning, "who listens goes on with the work"


# Its scene


def test_work_ends_with_its_scene_and_its_result_is_not_used(task, label, ends):
    task.begin("Something is being done.", temporary=True)
    folder = task.folder
    task.run(["check", folder], done=pytest.fail, event=pytest.fail)
    task.sceneCloses()
    assert "the scene was closed" in label.text and not task.logic.claimed and len(ends) == 1
    assert task.logic.engine.stopped and task.logic.engine.listener is None and not folder.exists()
    task.sceneCloses()
    assert len(ends) == 1


def test_an_export_ends_with_its_scene(task, label, tmp_path):
    task.begin("A training is running.")
    task.export(casesOfTheScene(), tmp_path / "run", done=pytest.fail)
    task.sceneCloses()
    slicer.mrmlScene.Clear(False)
    processEvents(50)
    assert "the scene was closed" in label.text and not (tmp_path / "run").exists()


@pytest.mark.parametrize("how", ["begin", "run"])
def test_work_that_needs_the_scene_no_more_goes_on(task, how):
    heard = []
    task.begin("A training is running.", survives=how == "begin")
    task.run(["train"], done=heard.append, survives=how == "run")
    task.sceneCloses()
    assert task.isRunning and not task.logic.engine.stopped
    task.logic.engine.listener.done("an end")
    assert heard == ["an end"]


# When nobody looks


@pytest.fixture
def mainWindow(monkeypatch):
    window = qt.QMainWindow()
    window.objectName = "qSlicerMainWindow"
    monkeypatch.setattr(slicer.app, "mainWindow", window)
    window.show()
    yield window
    window.delete()


@pytest.mark.parametrize("isInFront", [True, False])
def test_the_end_is_told_in_the_status_bar_when_another_module_is_in_front(task, mainWindow, isInFront):
    task.logic.isInFront = isInFront
    task.begin("A training is running.")
    task.finish("Finished:\n300 steps.")
    assert mainWindow.statusBar().currentMessage() == ("" if isInFront else "MetaSSL: Finished: 300 steps.")


@pytest.mark.parametrize("agrees", [True, False])
def test_slicer_is_not_closed_during_work_without_a_question(task, mainWindow, monkeypatch, agrees):
    questions = []
    monkeypatch.setattr(slicer.app, "testing", False)
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: questions.append(text) or agrees)
    task.begin("A training is running.")
    assert mainWindow.close() == agrees
    assert len(questions) == 1 and questions[0].startswith("A training is running. Closing Slicer ends it.")
    mainWindow.show()
    task.finish("Finished.")
    assert mainWindow.close() and len(questions) == 1, "afterwards nobody is asked"


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


def test_a_script_works_without_a_panel(tmp_path):
    task = Task(FakeLogic())
    task.begin("Something is being done.")
    task.progress("reading", 0.5)
    task.finish("No.", wrong=True)
    assert task.problem == "No." and not task.logic.claimed


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

    task = Task(FakeLogic(), None, label, ended=broken)
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
