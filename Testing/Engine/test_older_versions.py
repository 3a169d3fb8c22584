"""What the version before wrote is still read.

``version_1`` holds models that commit cae1192 trained for 80 steps on balls (CPS, Mean Teacher, supervised only), an
image, and what that code predicted of it.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.errors import InputError
from metassl.events import Reporter, read_events
from metassl.inference.model import load_model
from metassl.job import RENAMED, Job
from metassl.prediction.predict import predict_files
from metassl.training.checkpoint import load_checkpoint
from metassl.training.run_folder import RunFolder
from metassl.training.train import train
from volumes import write

FOLDER = Path(__file__).parent / "version_1"


def voxels(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.mark.parametrize("name", ["cps", "mean-teacher", "supervised"])
def test_a_model_of_version_1_predicts_the_same_voxels(name, tmp_path):
    model = load_model(FOLDER / name / "model")
    assert model.precision == "fp32" and model.mirror_axes == ("LR",)
    predict_files(model, [FOLDER / "image.nii.gz"], tmp_path, mirror=True, exact_confidence=True)
    for kind in ("seg", "regions"):
        found, expected = voxels(tmp_path / f"image_{kind}.nii.gz"), voxels(FOLDER / name / f"{kind}.nii.gz")
        assert expected.any()
        assert np.array_equal(found, expected), kind
    confidence = voxels(tmp_path / "image_confidence.nii.gz")
    np.testing.assert_allclose(confidence, voxels(FOLDER / name / "confidence.nii.gz"), atol=1e-4)


def test_a_setting_that_is_gone_does_not_make_a_model_unloadable(tmp_path):
    shutil.copytree(FOLDER / "cps" / "model", tmp_path / "model")
    file = tmp_path / "model" / "configs" / "metadata.json"
    content = json.loads(file.read_text())
    content["metassl"]["job"] |= {"gone": 1, "region_weights": "unheard of", "iterations": -5}
    file.write_text(json.dumps(content))
    assert load_model(tmp_path / "model").mirror_axes == ("LR",)


@pytest.fixture
def run(tmp_path):
    """A run folder of version 1 that was trained for 80 steps, with cases like its own."""
    grid = np.stack(np.meshgrid(*[np.arange(20)] * 3, indexing="ij"))
    cases = []
    for number, role in enumerate(["labelled"] * 2 + ["unlabelled"] * 2):
        ball = (((grid - 10 + number) ** 2).sum(0) < 25).astype(np.uint8)
        noise = np.random.default_rng(number).normal(100, 20, ball.shape)
        image = write(tmp_path / f"image{number}.nrrd", (ball * 80 + noise).astype(np.float32))
        label = write(tmp_path / f"label{number}.nrrd", ball)
        cases.append(Case(f"case{number}", (str(image),), str(label) if role == "labelled" else None, role))
    shutil.copytree(FOLDER / "mean-teacher" / "run", tmp_path / "run")
    dataset = Dataset("balls", ("MR",), (SegmentClass("ball", 1, (255, 0, 0)),), tuple(cases))
    dataset.save(tmp_path / "run" / "dataset.json")
    return RunFolder(tmp_path / "run")


def test_a_run_of_version_1_resumes(run):
    job, _ = run.load()
    assert (job.region_weights, job.annotation_trust, job.mirror_axes) == ("paper", "off", ("LR",))
    content = json.loads(run.job_file.read_text())
    content["iterations"] = 83
    run.job_file.write_text(json.dumps(content))
    summary = train(run, Reporter(), lambda: False)
    assert summary["iterations"] == 83 and not summary["stopped"]
    assert read_events(run.events_file, "start")[0]["iteration"] == 80
    before = load_checkpoint(FOLDER / "mean-teacher" / "run" / "checkpoint.pt", torch.device("cpu"))["method"]
    after = load_checkpoint(run.checkpoint_file, torch.device("cpu"))["method"]
    assert set(before) == set(after) and any(name.startswith("teacher.module.") for name in after)
    moved = [float((after[n] - v).abs().max()) for n, v in before.items() if v.is_floating_point() and v.ndim > 1]
    assert 0 < max(moved) < 0.2  # goes on from the former weights, not from new ones


def test_settings_of_version_1_have_their_present_names():
    old = {"version": 1, "weights": "paper", "normalisation": "region", "mirror": ["IS"], "annotations": "alike"}
    job = Job.from_dict({**old, "ema": 0.9})
    found = (job.region_weights, job.reduction, job.mirror_axes, job.annotation_trust, job.ema_decay)
    assert found == ("paper", "region", ("IS",), "off", 0.9)
    assert set(RENAMED) <= {*old, "ema"}


@pytest.mark.parametrize("version", [None, 0, 3, "2"])
def test_other_versions_of_a_job_are_refused(version):
    with pytest.raises(InputError, match=r"version 1 to 2 \(found") as caught:
        Job.from_dict({"version": version}, "here/job.json")
    assert "here/job.json" in str(caught.value) and caught.value.hint
