"""What a training step asks of the device and sends to it, counted on the CPU: for each, a GPU would be awaited."""

import numpy as np
import pytest
import torch
from metassl.data.dataset import Dataset, SegmentClass
from metassl.events import Reporter
from metassl.job import Job
from metassl.ssl.methods import METHODS
from metassl.training.run_folder import RunFolder
from metassl.training.trainer import Trainer
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes


class Counter(TorchDispatchMode):
    """Counts questions to the device (numbers wanted on the host) and bytes of tensors made of host numbers."""

    ASKS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique")

    def __init__(self):
        super().__init__()
        self.asked, self.uploaded = [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.split(".")[0]
        if name.startswith(self.ASKS):
            self.asked.append(name)
        if name == "lift_fresh":
            self.uploaded += args[0].nbytes
        return function(*args, **(kwargs or {}))


def uncounted(function):
    def call(*arguments, **options):
        with _disable_current_modes():
            return function(*arguments, **options)

    return call


@pytest.fixture
def trainer_of(tmp_path, tiny_plan, array_case):
    """Makes a trainer of a method on two labelled and two unlabelled cases in memory."""

    def make(method, **settings):
        classes = (SegmentClass("a", 1, (1, 1, 1)), SegmentClass("b", 2, (2, 2, 2)))
        dataset = Dataset("test", ("MR",), classes, ())
        cases = []
        for n, role in enumerate(("labelled", "labelled", "unlabelled", "unlabelled")):
            case = array_case(f"case{n}", (12, 12, 12))
            object.__setattr__(case, "role", role)
            cases.append(case)
        job = Job(method=method, iterations=10, device="cpu", precision="fp32", **settings)
        return Trainer(RunFolder(tmp_path), job, dataset, tiny_plan, cases, torch.device("cpu"), Reporter())

    return make


@pytest.mark.parametrize("loss", ["metassl", "own"])
@pytest.mark.parametrize("method", list(METHODS))
def test_a_step_asks_one_question_and_uploads_little(method, loss, trainer_of, monkeypatch):
    uploads = []
    upload = torch.from_numpy

    def counted(array):
        uploads.append(np.asarray(array).nbytes)
        return upload(array)

    trainer = trainer_of(method, loss=loss)
    crops = [trainer.sampler.crops(n) for n in range(3)]
    trainer.step(crops[0])
    # counters of steps live on the host, the optimiser's inside its fused kernel; neither is a question to a GPU
    for place, name in ((trainer.optimizer, "step"), (trainer.method, "after_step")):
        monkeypatch.setattr(place, name, uncounted(getattr(place, name)))
    monkeypatch.setattr(torch, "from_numpy", counted)
    with Counter() as counter:
        trainer.step(crops[1])
        trainer.step(crops[2])
    assert len(counter.asked) == 2, counter.asked  # whether the gradient is finite
    assert len(uploads) == 2, "one upload per step beside the crops"
    assert counter.uploaded + sum(uploads) < 2 * 1_000_000


class Copies(TorchDispatchMode):
    """Lists the tensors that are copied from one device to another."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.__name__.startswith(("_to_copy", "copy_", "_local_scalar_dense")):
            self.found.append(function.__name__)
        return function(*args, **(kwargs or {}))


def test_the_teacher_is_updated_on_the_device_alone(tiny_plan):
    method = METHODS["mean-teacher"](tiny_plan.network).to("meta")
    with Copies() as copies:
        method.after_step(3)
    assert copies.found == []
