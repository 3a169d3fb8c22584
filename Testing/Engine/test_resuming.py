"""What a seed tells, what no training may look at, and that a resumed trainer is the one that was stopped."""

from functools import partial

import numpy as np
import pytest
import tiny_trainer
import torch
from metassl.inference.model import load_model
from metassl.ssl.quadripartition import LABELLED, REFERENCE, SUPERVISED, UNLABELLED
from metassl.training.objective import Objective
from tiny_trainer import MemoryCase, steps


@pytest.fixture
def make_trainer(tmp_path, tiny_plan):
    """Makes a trainer of cases in memory; keywords are settings."""
    return partial(tiny_trainer.make_trainer, tmp_path, tiny_plan)


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.method.parameters()])


def moments(trainer):
    return [value for state in trainer.optimizer.state_dict()["state"].values() for value in state.values()]


@pytest.mark.parametrize("method", ["cps", "mean-teacher"])
def test_a_resumed_training_goes_on_where_it_was(method, make_trainer):
    stopped = make_trainer(method=method)
    list(steps(stopped, 3))
    stopped.budget.seconds = 12.5
    stopped.save()
    resumed = make_trainer(method=method)
    assert resumed.budget.iteration == 3 and resumed.budget.seconds == 12.5
    assert resumed.budget.megavoxels == stopped.budget.megavoxels > 0
    assert torch.equal(weights(resumed), weights(stopped))
    for mine, theirs in zip(moments(resumed), moments(stopped), strict=True):
        assert torch.equal(mine, theirs) and mine.abs().sum() > 0
    for part in ("heterogeneous", "trust"):
        states = [getattr(trainer.objective, part).state_dict() for trainer in (resumed, stopped)]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
        assert any(
            not torch.equal(value, getattr(make_fresh(make_trainer).objective, part).state_dict()[name])
            for name, value in states[1].items()
        )


def make_fresh(make_trainer):
    """A trainer that does not resume anything."""
    folder, plan = make_trainer.args
    return tiny_trainer.make_trainer(folder / "fresh", plan)


def test_the_step_after_a_resume_is_the_one_that_would_have_followed(make_trainer):
    stopped = make_trainer()
    list(steps(stopped, 2))
    stopped.save()
    resumed = make_trainer()
    prefetcher = resumed.prefetcher()
    crops = next(iter(prefetcher))
    prefetcher.close()
    assert torch.equal(crops.images, stopped.sampler.crops(2).images)
    resumed.step(crops)
    list(steps(stopped, 1))
    assert torch.equal(weights(resumed), weights(stopped))


def test_the_scale_of_gradients_is_resumed(make_trainer):
    stopped = make_trainer(precision="fp16")
    stopped.scaler.scale(torch.ones(1))
    stopped.scaler.update(512.0)
    stopped.save()
    assert make_trainer(precision="fp16").scaler.get_scale() == 512


def test_a_seed_tells_weights_crops_and_noise(make_trainer, monkeypatch):
    """The noise, as that of dropout, is another in every step, and the same in a repeated run."""
    drawn, forward = [], Objective.forward
    monkeypatch.setattr(Objective, "forward", lambda *data: drawn.append(torch.rand(1).item()) or forward(*data))
    first, again, other = make_trainer(seed=1), make_trainer(seed=1), make_trainer(seed=2)
    assert torch.equal(weights(first), weights(again)) and not torch.equal(weights(first), weights(other))
    assert first.sampler.crops(0).seeds == again.sampler.crops(0).seeds != other.sampler.crops(0).seeds
    for trainer in (first, again, other):
        list(steps(trainer, 3))
    assert drawn[:3] == drawn[3:6] and len({*drawn}) == 6


def test_hold_out_cases_are_never_trained_on(make_trainer):
    hold_out = MemoryCase("h", np.full((1, 10, 12, 9), 7, np.float32), "hold-out")
    trainer = make_trainer(hold_out=[hold_out], batch_labelled=3)
    assert max(trainer.sampler.crops(step).images.max() for step in range(12)) <= 1


def test_hold_out_dice_is_that_of_every_cases_own_label(make_trainer):
    cases = []
    for value, place in ((0, 0), (1, 5)):
        annotation = np.zeros((10, 12, 9), np.uint8)
        annotation[place : place + 2] = 1
        cases.append(MemoryCase(f"h{value}", np.full((1, 10, 12, 9), value, np.float32), "hold-out", annotation))
    trainer = make_trainer(hold_out=cases)
    trainer.hold_out.measure(lambda image: cases[int(image.max())].label(), 1)
    assert trainer.hold_out.result["dice"] == {"one": 1.0, "two": 1.0}  # class two is in neither


def test_the_model_gets_the_thresholds_by_which_its_unlabelled_voxels_were_judged(make_trainer, tmp_path):
    trainer = make_trainer()
    list(steps(trainer, 1))
    tau = trainer.objective.heterogeneous.thresholds.tau
    for n, (stream, branch) in enumerate((s, b) for s in (LABELLED, UNLABELLED) for b in (SUPERVISED, REFERENCE)):
        tau[stream, branch] = torch.tensor([0.1, 0.2, 0.3]) + 0.1 * n
    trainer.finish(lambda: False)
    assert load_model(tmp_path / "model").thresholds.tolist() == pytest.approx([0.4, 0.5, 0.6])


def test_labelled_crops_alone_are_seen_in_the_warm_up(make_trainer, monkeypatch):
    trainer, seen, streams = make_trainer(warm_up=0.2), [], Objective.streams
    monkeypatch.setattr(Objective, "streams", lambda self, *data: seen.append(data[0]) or streams(self, *data))
    list(steps(trainer, 3))
    assert [len(crops.images) for crops in seen] == [2, 2, 4]


def losses(monkeypatch, *values):
    """Every step's loss is one of the values times the sum of all weights."""
    left = iter(values)

    def forward(self, method, *_):
        return sum(p.sum() for p in method.trained_parameters()) * next(left), {}

    monkeypatch.setattr(Objective, "forward", forward)


def test_a_step_follows_its_own_gradient_alone(make_trainer, monkeypatch):
    losses(monkeypatch, 1.0, -1e-6)
    trainer, seen = make_trainer(), []
    parameters = list(trainer.method.trained_parameters())
    trainer.optimizer.step = lambda: seen.append(torch.cat([p.grad.flatten() for p in parameters]))
    list(steps(trainer, 2))
    assert seen[1].tolist() == pytest.approx([-1e-6] * len(seen[1]))  # shorter than the cut


def test_a_step_without_a_finite_gradient_changes_nothing(make_trainer, monkeypatch):
    losses(monkeypatch, float("nan"))
    trainer = make_trainer(weight_decay=0.1)
    before = weights(trainer)
    list(steps(trainer, 1))
    assert torch.equal(weights(trainer), before)
