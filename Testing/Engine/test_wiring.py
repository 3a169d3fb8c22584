"""That the trainer uses what it is made of: schedule, ramp, decay, views, trust, crops, scaler, page-locked memory."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tiny_trainer
import torch
from metassl.crops.prefetching import Prefetcher
from metassl.crops.sampling import CropSampler
from metassl.data.dataset import IGNORE
from metassl.events import Reporter
from metassl.job import Job
from metassl.ssl.methods import Streams, build_method
from metassl.training.hold_out import HoldOut
from metassl.training.objective import Objective
from metassl.training.trainer import GRADIENT_NORM
from tiny_trainer import CLASSES, MemoryCase, flat_crops, steps


@pytest.fixture
def make_trainer(tmp_path, tiny_plan):
    """Makes a trainer of cases in memory; keywords are settings."""
    return partial(tiny_trainer.make_trainer, tmp_path, tiny_plan)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        # 5 % of the peak at first, then 0.01 (1 - t)^0.9
        ("poly", [0.0005, 0.01 * 0.9**0.9, 0.01 * 0.8**0.9, 0.01 * 0.7**0.9]),
        ("cosine", [0.0005, 0.00975528, 0.00904508, 0.00793893]),
    ],
)
def test_the_learning_rate_follows_its_schedule(schedule, rates, make_trainer):
    trainer = make_trainer(method="supervised", learning_rate=0.01, schedule=schedule)
    found = [t.optimizer.param_groups[0]["lr"] for t in steps(trainer, 4)]
    assert found == pytest.approx(rates, rel=1e-5)


def test_the_unlabelled_loss_and_the_trust_rise_with_the_ramp(make_trainer, monkeypatch):
    """exp(-5 (1 - t / T)^2) with T = 0.4 of 10 steps, times lambda_max = 2."""
    trainer, seen = make_trainer(ramp=0.4, consistency=2.0), []
    streams, forward = Objective.streams, Objective.forward
    monkeypatch.setattr(Objective, "streams", lambda self, *data: seen.append(data[-1]) or streams(self, *data))
    monkeypatch.setattr(Objective, "forward", lambda self, *data: seen.append(data[-1]) or forward(self, *data))
    for _ in steps(trainer, 6):
        pass
    ramp = [0.006738, 0.060055, 0.286505, 0.731616, 1, 1]
    assert seen[::2] == pytest.approx(ramp, abs=1e-5)
    assert seen[1::2] == pytest.approx([2 * value for value in ramp], abs=1e-5)


def test_annotations_are_doubted_in_the_warm_up_already(make_trainer, monkeypatch):
    trainer, trust, loss = make_trainer(ramp=0.4, warm_up=0.5), [], []
    streams, forward = Objective.streams, Objective.forward
    monkeypatch.setattr(Objective, "streams", lambda self, *data: trust.append(data[-1]) or streams(self, *data))
    monkeypatch.setattr(Objective, "forward", lambda self, *data: loss.append(data[-1]) or forward(self, *data))
    for _ in steps(trainer, 6):
        pass
    assert trust == pytest.approx([0.006738, 0.060055, 0.286505, 0.731616, 1, 1], abs=1e-5)
    assert loss == pytest.approx([0.006738] * 6, abs=1e-5)  # of 5 steps after the warm-up, none is over


def test_weights_decay(make_trainer, monkeypatch):
    """Without a gradient AdamW multiplies every weight by 1 - rate x decay; the first rate is 5 % of the peak."""

    def flat(self, method, *_):
        return sum(p.sum() for p in method.trained_parameters()) * 0, {}

    monkeypatch.setattr(Objective, "forward", flat)
    trainer = make_trainer(learning_rate=1.0, weight_decay=0.1)
    before = [p.detach().clone() for p in trainer.method.trained_parameters()]
    list(steps(trainer, 1))
    for was, now in zip(before, trainer.method.trained_parameters(), strict=True):
        torch.testing.assert_close(now.detach(), 0.995 * was)


def test_the_strong_view_is_the_noisy_one(tiny_plan):
    """Of a crop of one intensity the weak view has one, too; about half of the strong ones are full of noise."""
    objective = Objective(Job(method="cps", pasting="off"), tiny_plan, 2)
    streams = objective.streams(flat_crops(32), 16, 1.0)
    weak, strong = (view[:, 0, 2:6, 2:6, 2:6].flatten(1).std(1) for view in (streams.weak, streams.strong))
    assert weak.max() < 1e-4
    assert 8 <= (strong > 0.01).sum() <= 24


def test_the_teacher_judges_the_weak_view(tiny_plan):
    torch.manual_seed(0)
    method = build_method("mean-teacher", tiny_plan.network)
    with torch.no_grad():
        for parameter in method.teacher.parameters():
            parameter.mul_(0.5)  # another network than the student
    weak, strong = torch.randn(2, 2, 1, 8, 8, 8)
    ((supervised, reference),) = method(Streams(weak, strong, torch.zeros(2, 8, 8, 8), labelled=1)).pairs
    torch.testing.assert_close(supervised, method.network(strong))
    torch.testing.assert_close(reference[1:], method.teacher(weak[1:]))
    torch.testing.assert_close(reference[:1], supervised[:1])


def test_crops_are_bent(tiny_plan):
    """Straight lines of the volume are none in a crop: the elastic field is at work, not only an affine map."""
    place = torch.stack(torch.meshgrid(*[torch.arange(10.0)] * 3, indexing="ij")).sum(0)
    crops = replace(flat_crops(16), images=place.expand(16, 1, 10, 10, 10))
    objective = Objective(Job(method="cps", pasting="off"), tiny_plan, 2)
    weak = objective.streams(crops, 8, 1.0).weak[:, 0, 2:6, 2:6, 2:6]
    grid = torch.stack(torch.meshgrid(*[torch.arange(4.0)] * 3, indexing="ij")).flatten(1).T
    design = torch.cat((grid, torch.ones(len(grid), 1)), 1)
    # nodes at the corners of the patch: the field is trilinear, and so bent, within it
    residual = [view.flatten() - design @ torch.linalg.lstsq(design, view.flatten()).solution for view in weak]
    assert max(r.abs().max() for r in residual) > 0.05


@pytest.mark.parametrize(("chosen", "least"), [("on", 0.1), ("off", 1.0)])
def test_a_doubted_annotation_counts_less_in_the_streams(chosen, least, tiny_plan):
    objective = Objective(Job(method="cps", pasting="off", annotation_trust=chosen), tiny_plan, 2)
    objective.trust.voxels.copy_(torch.tensor([[100.0, 1.0], [100.0, 100.0], [100.0, 100.0]]))  # of case 1 1 % overlaps
    crops = flat_crops(4)
    trust = objective.streams(crops, 2, 1.0).trust.flatten(1)
    assert trust.amin(1).tolist() == pytest.approx([1, least, 1, 1])
    assert trust.amax(1).tolist() == pytest.approx([1, least, 1, 1])
    assert objective.streams(crops, 2, 0.0).trust.min() == 1


def test_unlabelled_crops_come_from_everywhere():
    """Where the labelled cases have foreground, and anywhere else."""
    place = np.stack(np.meshgrid(*[np.arange(40, dtype=np.float32)] * 3, indexing="ij"))
    sampler = CropSampler([MemoryCase("l", place)], [MemoryCase("u", place)], (1, 1), patch=(8, 8, 8), seed=0)
    centres = np.array([sampler.crops(step).images[1, :, 5, 5, 5].numpy() for step in range(120)])
    assert (centres.min(0) < 8).all() and (centres.max(0) > 32).all()
    inside = ((centres > 10) & (centres < 30)).all(1).mean()  # 1 in 4 of the half that falls anywhere
    corners = ((centres < 8).all(1) | (centres > 32).all(1)).mean()
    assert inside > 0.05 and corners > 0.3


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_gradients_are_cut_in_their_own_scale(precision, make_trainer):
    """Under fp16 they are 65536 times too long until they are unscaled."""
    trainer, norms = make_trainer(method="supervised", precision=precision), []
    parameters = list(trainer.method.trained_parameters())
    trainer.optimizer.step = lambda: norms.append(torch.cat([p.grad.flatten() for p in parameters]).norm().item())
    trainer.scaler.scale(sum(p.sum() for p in parameters)).backward()
    trainer.update()
    assert norms == [pytest.approx(GRADIENT_NORM, rel=1e-3)]


def test_hold_out_dice_leaves_out_ignored_voxels(monkeypatch):
    annotation = np.zeros((4, 4, 4), np.uint8)
    annotation[0], annotation[1] = 1, IGNORE
    case = MemoryCase("h", np.zeros((1, 4, 4, 4), np.float32), "hold-out")
    monkeypatch.setattr(MemoryCase, "label", lambda self: annotation)
    hold_out = HoldOut([case], CLASSES[:1], Reporter())
    hold_out.measure(lambda image: (np.arange(4) < 2).astype(np.uint8)[:, None, None] * np.ones((4, 4, 4), np.uint8), 1)
    assert hold_out.result["dice"] == {"one": 1.0}


def test_hold_out_dice_is_told_case_by_case(capsys):
    cases = [
        MemoryCase(name, np.full((1, 6, 6, 6), value, np.float32), "hold-out") for name, value in (("a", 0), ("b", 1))
    ]
    right = cases[0].label()

    def predict(image):
        return np.where(right == 2, 0, right) if image.max() else right

    HoldOut(cases, CLASSES, Reporter(events=True)).measure(predict, 7)
    event = next(e for e in map(json.loads, capsys.readouterr().out.splitlines()) if e["event"] == "hold-out")
    assert event["per_case"] == {"a": {"one": 1.0, "two": 1.0}, "b": {"one": 1.0, "two": 0.0}}
    assert event["dice"] == {"one": 1.0, "two": 0.5} and event["mean_dice"] == 0.75


def test_hold_out_distances_are_told_case_by_case_where_they_are_defined(monkeypatch, capsys):
    """Plates of one voxel; class one lies 2 slices of 3 mm too high, class two is predicted in one case only."""

    def plates(one, two=None):
        array = np.zeros((9, 6, 6), np.uint8)
        array[one, 1:5, 1:5] = 1
        if two is not None:
            array[two, 1:5, 1:5] = 2
        return array

    labels, predicted = {"a": plates(2, 7), "b": plates(2)}, {"a": plates(4, 7), "b": plates(2, 7)}
    labels["a"][0, 0] = IGNORE
    predicted["a"][0, 0] = 1
    monkeypatch.setattr(MemoryCase, "label", lambda self: labels[self.id])
    cases = [MemoryCase(name, np.full((1, 9, 6, 6), n, np.float32), "hold-out") for n, name in enumerate(labels)]
    hold_out = HoldOut(cases, CLASSES, Reporter(events=True))
    hold_out.measure(lambda image: predicted["ab"[int(image.max())]], 7, spacing=(3.0, 1.0, 1.0))
    event = next(e for e in map(json.loads, capsys.readouterr().out.splitlines()) if e["event"] == "hold-out")
    assert event["hd95_per_case"] == {"a": {"one": 6.0, "two": 0.0}, "b": {"one": 0.0, "two": None}}
    assert event["hd95"] == hold_out.result["hd95"] == {"one": 3.0, "two": 0.0}
    hold_out.measure(lambda image: predicted["a"], 8)
    assert "hd95" not in hold_out.result, "on the way Dice alone"


@pytest.mark.parametrize(("device", "pins"), [("cuda", True), ("cpu", False)])
def test_crops_for_a_gpu_are_page_locked(device, pins, make_trainer, monkeypatch):
    trainer, pinned = make_trainer(), []
    trainer.device = torch.device(device)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self.dtype) or self)
    prefetcher = trainer.prefetcher()
    assert isinstance(prefetcher, Prefetcher) and next(iter(prefetcher)) is not None
    prefetcher.close()
    assert set(pinned) == ({torch.float32, torch.uint8} if pins else set())
