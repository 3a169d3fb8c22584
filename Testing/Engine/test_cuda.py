"""On an NVIDIA GPU every method trains, a step asks one question, and results are those of the CPU."""

import warnings

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from metassl import Dataset, Job, RunFolder, load_model, make_sample, predict_volume, train
from metassl.data.reading import read_images
from metassl.events import Reporter
from metassl.ssl.methods import METHODS
from metassl.training.trainer import Trainer

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU"),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return Dataset.load(make_sample(tmp_path_factory.mktemp("sample") / "s", labelled=2, unlabelled=2, test=1))


@pytest.mark.parametrize("precision", ["auto", "fp16", "fp32"])
@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_trains_and_the_cpu_predicts_alike(method, precision, dataset, tmp_path, monkeypatch):
    run, step = RunFolder(tmp_path / "run"), Trainer.step

    def watched(*arguments):  # the steps alone: a checkpoint asks for every tensor
        torch.cuda.set_sync_debug_mode("warn")
        try:
            return step(*arguments)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Trainer, "step", watched)
    run.create(Job(method=method, iterations=20, device="cuda", precision=precision), dataset)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        summary = train(run, Reporter(), lambda: False)
    assert summary["iterations"] == 20
    questions = [w for w in caught if "synchronizing" in str(w.message)]
    assert len(questions) <= 20, "whether the gradient is finite, and nothing else"
    images = read_images(dataset.with_role("ignored")[0])
    found = [
        sitk.GetArrayFromImage(predict_volume(load_model(run.model, device), images).labelmap)
        for device in ("cuda", "cpu")
    ]
    assert np.mean(found[0] == found[1]) > 0.99
