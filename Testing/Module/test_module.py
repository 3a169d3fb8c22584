"""What a user does in the module, with the real engine in a real child process."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from harness.interaction import LatencyMonitor, screenshot, waitUntil
from harness.module_loading import loadModule
from metassl import Job
from metassl.regions import REGIONS
from user import FOLDER, MODULE

SECTIONS = ("setup", "data", "training", "segment", "display")


def test_opening_the_module_imports_neither_torch_nor_monai_nor_skimage():
    """They take seconds, and may not be installed."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from harness import minislicer; minislicer.bootstrap()\n"
        "from harness.module_loading import openModule\n"
        "panel = openModule(sys.argv[2])\n"
        "print([name for name in ('torch', 'monai', 'skimage') if name in sys.modules])\n"
        "panel.close()\n"
    )
    run = subprocess.run([sys.executable, "-c", code, FOLDER, MODULE], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "[]"


def test_the_module_sample_data_offers_the_sample_after_the_start(monkeypatch):
    monkeypatch.setattr(slicer.modules, "sampleDataSources", {}, raising=False)
    loadModule(MODULE)
    slicer.app.completeStartup()
    (source,) = slicer.modules.sampleDataSources["MetaSSL"]
    assert source.sampleName == "MetaSSLSample" and Path(source.thumbnailFileName).is_file()


def test_the_five_steps(user, sample, tmp_path, record_property):
    """Data, training with stop and resume, segmentation, display; the panel stays responsive all the while."""
    user.addFolder(sample.parent)
    assert user.columns("caseTable", 1).count("labelled") == 2
    assert user.columns("caseTable", 1).count("unlabelled") == 3
    assert all(user.columns("caseTable", 3)[:5]), "sizes are shown"
    assert user.columns("classTable", 1) == ["nucleus", "shell", "tract"]
    assert "all can be used" in user.ui.dataStatus.text

    user.startTraining(budgetKind="iterations", iterations=100000, network="small", seed=3)
    with LatencyMonitor() as latency:
        waitUntil(lambda: user.widget.logic.curves.hasPoints("losses"), 120, "the first metrics")
        waitUntil(lambda: "left" in user.ui.workText.text, 10)
        assert user.ui.cancelButton.text == "Stop" and user.ui.workFrame.visible
        user.click("cancelButton")
        user.waitUntilIdle(120)
    print(f"event loop latency during training: {latency}")
    record_property("latency_median_ms", latency.median)
    record_property("latency_maximum_ms", latency.maximum)
    record_property("busiest_ms", latency.busiest)
    assert latency.busiest < 100
    assert "Stopped after" in user.ui.trainingStatus.text
    run = user.widget.logic.runs.unfinished()[0]
    assert (run / "checkpoint.pt").exists()

    job = json.loads((run / "job.json").read_text())
    assert (job["iterations"], job["seed"], job["loss"]) == (100000, 3, "metassl")
    job["iterations"] = json.loads((run / "events.jsonl").read_text().splitlines()[-1])["iterations"] + 3
    (run / "job.json").write_text(json.dumps(job))  # the rest of the budget would take hours
    user.click("resumeButton")
    user.waitUntilIdle(120)
    assert user.ui.trainingStatus.text.startswith("Finished"), user.ui.trainingStatus.text
    assert user.widget.logic.runs.unfinished() == []
    table = slicer.util.getNode("MetaSSL losses")
    steps = slicer.util.arrayFromTableColumn(table, "step")
    assert len(steps) >= 2 and np.all(np.diff(steps) > 0), "points of before and after the stop"

    case = json.loads(sample.read_text())["cases"][-1]
    volume = slicer.util.loadVolume(str(sample.parent / case["images"][0]))
    nodesBefore = slicer.mrmlScene.GetNumberOfNodes()
    result = user.segment(volume)
    assert "Done" in user.ui.segmentStatus.text, user.ui.segmentStatus.text
    assert set(result.nodes) == {"segmentation", "regions", "confidence"}
    for name in ("regions", "confidence"):
        node = result.nodes[name]
        assert node.GetImageData().GetDimensions() == volume.GetImageData().GetDimensions()
        assert node.GetSpacing() == volume.GetSpacing() and node.GetOrigin() == volume.GetOrigin()
    regions = slicer.util.arrayFromVolume(result.nodes["regions"])
    assert set(np.unique(regions)) <= {0, 1, 2, 3, 4} and regions.any()
    colours = result.nodes["regions"].GetDisplayNode().GetColorNode()
    for region in REGIONS:
        colour = [0.0] * 4
        colours.GetColor(region.value, colour)
        assert np.allclose(np.array(colour[:3]) * 255, region.colour, atol=1)
        assert region.code in colours.GetColorName(region.value)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(n)) for n in (volume, *result.nodes.values())}
    assert len(parents) == 1

    for mode in ("segmentation", "regions", "confidence", "image"):
        user.click(f"{mode}Button")
        composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
        assert composite.GetBackgroundVolumeID() == volume.GetID()
        expected = result.nodes["regions"].GetID() if mode == "regions" else None
        assert composite.GetLabelVolumeID() == expected
    rows = user.columns("regionTable", 0)
    assert rows == ["nucleus", "shell", "tract", "whole volume"]
    voxels = np.prod(volume.GetSpacing()) * regions.size / 1000
    assert float(user.columns("regionTable", 1)[-1]) == pytest.approx(voxels, rel=0.02)

    again = user.segment(volume)
    assert again.nodes["segmentation"].GetID() != result.nodes["segmentation"].GetID(), "edits are never overwritten"
    tables = [n for n in slicer.util.getNodesByClass("vtkMRMLColorTableNode") if n.GetName().startswith("MetaSSL")]
    assert len(tables) == 2, "colour tables are shared"
    assert slicer.mrmlScene.GetNumberOfNodes() > nodesBefore
    for section in SECTIONS:
        getattr(user.ui, f"{section}Section").collapsed = False
        picture = screenshot(getattr(user.ui, f"{section}Section"), tmp_path / f"{section}.png")
        assert sitk.ReadImage(str(picture)).GetWidth() > 300


def test_a_volume_removed_during_its_segmentation_keeps_the_results_on_disk(user, sample, trained):
    """Nothing that took time is lost."""
    user.widget.segmentSection.chooseModel(trained)
    volume = slicer.util.loadVolume(str(next((sample.parent / "images").iterdir())))
    user.parameters.inputVolume = volume
    user.click("applyButton")
    waitUntil(lambda: user.widget.logic.engine.isRunning, 10)
    slicer.mrmlScene.Clear(False)
    user.waitUntilIdle(120)
    assert "the results are in" in user.ui.segmentStatus.text
    folder = user.ui.segmentStatus.text.split("the results are in ")[1]
    assert list(sitk.ReadImage(f"{folder}/volume_seg.nii.gz").GetSize())


def test_a_folder_is_segmented(user, sample, trained, tmp_path):
    """Every volume of the folder gets its files."""
    user.widget.segmentSection.chooseModel(trained)
    user.ui.inputFolderPath.currentPath = str(sample.parent / "images")
    user.ui.outputFolderPath.currentPath = str(tmp_path / "out")
    user.click("batchButton")
    user.waitUntilIdle(120)
    assert "6 volume(s) segmented" in user.ui.segmentStatus.text, user.ui.segmentStatus.text
    assert len(list((tmp_path / "out").glob("*_seg.nii.gz"))) == 6


def test_scripts_train_and_segment_without_the_panel(user, sample, tmp_path):
    logic = user.widget.logic
    model = logic.train(sample, iterations=2, network="small", method="supervised", device="cpu")
    assert model.parent.parent == tmp_path / "runs" and not logic.busy()
    volume = slicer.util.loadVolume(str(next((sample.parent / "images").iterdir())))
    result = logic.segment(volume, model.parent, kinds=("segmentation",), careful=True)
    assert list(result.nodes) == ["segmentation"] and result.volumeNode is volume
    assert result.summary()["volume_ml"].keys() == {"nucleus", "shell", "tract"}
    with pytest.raises(RuntimeError, match="holds no MetaSSL model"):
        logic.segment(volume, tmp_path)
    with pytest.raises(RuntimeError, match="gone"):
        logic.train(tmp_path / "gone" / "dataset.json")


def test_a_training_that_cannot_begin_says_why_and_leaves_nothing(user, sample):
    """A refused data set makes no run folder."""
    user.addFolder(sample.parent)
    for row in user.cases.rows:
        if row.label:
            row.images = [str(sample.parent / "gone.nii.gz")]
    user.startTraining(budgetKind="iterations", iterations=2)
    user.waitUntilIdle(60)
    assert "No labelled case can be used" in user.ui.trainingStatus.text
    runs = user.widget.logic.runs
    assert runs.unfinished() == [] or user.ui.resumeBox.count == len(runs.unfinished())


@pytest.mark.slow
def test_the_self_test_passes(user):
    """The one that also runs inside the real application."""
    import MetaSSLSegment

    MetaSSLSegment.MetaSSLSegmentTest().runTest()


def test_the_panel_says_what_is_missing(user):
    """Buttons that cannot be pressed explain themselves."""
    assert not user.ui.startButton.enabled and "Add cases" in user.ui.startButton.toolTip
    assert not user.ui.applyButton.enabled and "Train a model" in user.ui.applyButton.toolTip
    assert not user.ui.regionsButton.enabled and "Segment a volume" in user.ui.regionsButton.toolTip


def test_choices_are_saved_with_the_scene_and_come_back(user, sample, tmp_path):
    """Cases, roles and settings survive saving, closing and loading the scene."""
    user.addFolder(sample.parent)
    user.choose("methodBox", "fixmatch")
    user.setRole(["sample_01"] if "sample_01" in user.columns("caseTable", 0) else [user.cases.rows[0].id], "hold-out")
    user.ui.minutesSpin.value = 33
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    assert user.columns("caseTable", 0) == [] and user.ui.methodBox.currentData == Job().method
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert "hold-out" in user.columns("caseTable", 1)
    assert user.ui.methodBox.currentData == "fixmatch" and user.ui.minutesSpin.value == 33


def test_a_scene_of_a_version_that_called_the_region_weights_weights_is_read(user, tmp_path):
    """What no setting is called any more is passed over; the others come back."""
    user.choose("methodBox", "fixmatch")
    user.parameters.parameterNode.SetParameter("weights", "paper")
    user.parameters.parameterNode.UnsetParameter("regionWeights")
    slicer.util.saveScene(str(tmp_path / "scene.mrml"))
    slicer.mrmlScene.Clear(False)
    user.choose("regionWeightsBox", "released-code")
    slicer.util.loadScene(str(tmp_path / "scene.mrml"))
    assert user.parameters.parameterNode.GetParameter("weights") == "paper", "it was in the scene"
    assert user.ui.methodBox.currentData == "fixmatch"
    assert user.ui.regionWeightsBox.currentData == user.parameters.regionWeights == Job().region_weights


def test_annotations_that_contradict_the_others_are_named(user):
    section = user.widget.trainingSection
    section._onEvent({"event": "annotations", "cases": {}, "doubted": ["case 7", "b"]})
    section._onDone({"event": "done", "iterations": 3, "seconds": 2.0})
    assert "case 7, b" in user.ui.trainingStatus.text and "3 steps" in user.ui.trainingStatus.text
    section._onEvent({"event": "annotations", "cases": {}, "doubted": []})
    section._onDone({"event": "done", "iterations": 3, "seconds": 2.0})
    assert "annotation" not in user.ui.trainingStatus.text
