"""One volume is segmented while the person goes on working; the engine does what the test says."""

import json
from pathlib import Path

import numpy as np
import pytest
import slicer
from harness.interaction import failOnCallbackErrors, waitUntil
from MetaSSLSegmentLib.Engine.Runs import Runs
from MetaSSLSegmentLib.Scene.ResultLoader import ResultLoader
from MetaSSLSegmentLib.Sections.Segmentation import Segmentation
from MetaSSLSegmentLib.Sections.Task import Task
from test_data_section import FakeLogic
from test_exchange import CLASSES, engineResult, volumeNode


@pytest.fixture
def started(tmp_path):
    """The volume, the task, and the results so far; the engine has just written its files."""
    model = tmp_path / "model"
    (model / "configs").mkdir(parents=True)
    (model / "configs" / "metadata.json").write_text(json.dumps({"metassl": {"classes": CLASSES}}))
    logic, results, volume = FakeLogic(), [], volumeNode()
    logic.loader, logic.runs = ResultLoader(), Runs(tmp_path / "runs")
    with failOnCallbackErrors():
        task = Task(logic)
        Segmentation(task, volume, model, ("segmentation", "regions"), results.append).start([])
        waitUntil(lambda: logic.engine.commands, 10)
        (command,) = logic.engine.commands
        folder = Path(command[command.index("--out") + 1])
        folder.mkdir()
        engineResult(folder, volume, np.full((4, 5, 6), 3, np.uint8))
        yield volume, task, results


def theEngineIsDone(task):
    task.logic.engine.listener.done({"event": "done"})
    waitUntil(lambda: not task.isRunning, 10)


def segmentationsInScene():
    return slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_the_result_lands_on_its_volume(started):
    volume, task, results = started
    theEngineIsDone(task)
    assert [result.volumeNode for result in results] == [volume] and not task.problem
    assert segmentationsInScene() == [results[0].nodes["segmentation"]]


def turned(volume):
    """Other voxels of the same size."""
    slicer.util.updateVolumeFromArray(volume, slicer.util.arrayFromVolume(volume)[::-1].copy())


def replaced(volume):
    """Another scene is opened, in which another volume has the ID and the voxels."""
    ID = volume.GetID()
    slicer.mrmlScene.Clear(False)
    assert volumeNode(name="another").GetID() == ID


@pytest.mark.parametrize("happens", [turned, replaced, lambda volume: slicer.mrmlScene.RemoveNode(volume)])
def test_a_result_never_lands_on_what_was_not_segmented(started, happens):
    volume, task, results = started
    happens(volume)
    theEngineIsDone(task)
    assert results == [] and segmentationsInScene() == []
    kept = Path(task.problem.split("the results are in ")[1])
    assert (kept / "volume_seg.nii.gz").is_file()
