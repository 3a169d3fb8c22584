"""The patch follows from memory and time, with memory and pace that are made up."""

import math

import pytest
import torch
from metassl import devices
from metassl.job import Job
from metassl.planning.memory import bytes_per_voxel, fixed_bytes
from metassl.training import fitting
from metassl.training.fitting import SHARE, STEPS, Fit, measure_pace
from test_cost import network_plan

CPU = torch.device("cpu")
NETWORK = network_plan("small", (64, 64, 64))
PLANNED = 400_000


@pytest.fixture
def machine(monkeypatch):
    """Sets the free bytes and the million voxels per second of a pretended device."""

    def pretend(free=None, pace=1e9):
        monkeypatch.setattr(fitting, "free_memory", lambda device: free)
        monkeypatch.setattr(fitting, "measure_pace", lambda *_: pace)

    pretend()
    return pretend


def fit_of(device="cpu", **settings):
    return Fit(Job(**settings), torch.device(device), torch.bfloat16)


def test_nothing_limits_a_fast_computer_with_much_memory(machine):
    fit = fit_of(minutes=10)
    assert fit.most_voxels(NETWORK, PLANNED) == PLANNED and fit.limits == []


@pytest.mark.parametrize("method", ["supervised", "mean-teacher", "cps"])
def test_memory_limits_the_patch(machine, method):
    machine(free=1_000_000_000)
    fit = fit_of("cuda:0", iterations=100, method=method)
    voxels = fit.most_voxels(NETWORK, PLANNED)
    kind = {"networks": 2 if method == "cps" else 1, "weak_views": method != "supervised"}
    crops = 2 if method == "supervised" else 4
    needed = fixed_bytes(NETWORK, kind["networks"]) + crops * voxels * bytes_per_voxel(NETWORK, **kind)
    assert needed == pytest.approx(0.8e9, rel=0.01) or voxels == PLANNED
    assert fit.limits == ([] if voxels == PLANNED else ["memory"])
    machine(free=1_000)
    assert fit.most_voxels(NETWORK, PLANNED) == 0  # planning then takes the smallest patch that the network allows


def test_time_limits_the_patch_but_less_than_in_proportion(machine):
    machine(pace=1.0)  # 10 minutes: 450 million voxels beside the rest of a step
    fit = fit_of(minutes=10, method="supervised")
    voxels = fit.most_voxels(NETWORK, PLANNED)
    steps = 450e6 / (2 * PLANNED)
    assert voxels == pytest.approx(PLANNED * SHARE * (steps / STEPS) ** 0.25, rel=0.01) and fit.limits == ["time"]
    assert fit.steps(NETWORK, 100_000) == pytest.approx(2250, rel=0.01)
    machine(pace=1 / 16)
    assert fit_of(minutes=10, method="supervised").most_voxels(NETWORK, PLANNED) == pytest.approx(voxels / 2, rel=0.01)


def test_every_method_gets_the_same_patch(machine):
    """So that a comparison of methods compares nothing else; those that cost more make fewer steps."""
    machine(pace=1.0)
    fits = [fit_of(minutes=10, method=method, warm_up=0.0) for method in ("supervised", "fixmatch", "cps")]
    assert len({fit.most_voxels(NETWORK, PLANNED) for fit in fits}) == 1
    steps = [fit.steps(NETWORK, 100_000) for fit in fits]
    assert steps[0] > steps[1] > steps[2]


def test_a_budget_of_steps_does_not_ask_for_the_pace(machine, monkeypatch):
    monkeypatch.setattr(fitting, "measure_pace", None)
    fit = fit_of(iterations=50)
    assert fit.most_voxels(NETWORK, PLANNED) == PLANNED and fit.steps(NETWORK, PLANNED) == 50


def test_a_budget_of_voxels_needs_no_clock(machine, monkeypatch):
    monkeypatch.setattr(fitting, "measure_pace", None)
    fit = fit_of(megavoxels=2 * PLANNED * STEPS / 1e6, method="supervised")
    assert fit.most_voxels(NETWORK, PLANNED) == pytest.approx(PLANNED * SHARE, rel=0.01)


def test_the_warm_up_is_part_of_the_average_step(machine):
    long, short = fit_of(megavoxels=1000.0, warm_up=0.9), fit_of(megavoxels=1000.0, warm_up=0.0)
    assert long.steps(NETWORK, 100_000) > 1.5 * short.steps(NETWORK, 100_000)


def test_the_pace_is_that_of_real_passes():
    pace = measure_pace(network_plan("small", (16, 16, 16)), CPU, torch.float32)
    assert math.isfinite(pace) and pace > 0


def test_free_memory_is_known_here():
    free = devices.free_memory(CPU)
    assert free is None or 2**20 < free < 2**50
