"""The confidence of voxels is what share of them is right."""

import numpy as np
import pytest
import torch
from metassl.data.dataset import IGNORE
from metassl.inference.decisions import decide_voxels, tempered
from metassl.review.calibration import Reliability


def overconfident(temperature, shape=(40, 40, 40), seed=0):
    """Confidence, predicted and annotated volumes whose logits are ``temperature`` times too large."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(1.5, 1, shape)
    right = generator.random(shape) < 1 / (1 + np.exp(-logits))
    return 1 / (1 + np.exp(-temperature * logits)), np.ones(shape, np.uint8), np.where(right, 1, 2).astype(np.uint8)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_undoes_what_made_the_confidence_wrong(temperature):
    found = Reliability()
    for seed in range(2):
        found.add(*overconfident(temperature, seed=seed), IGNORE)
    assert found.temperature() == pytest.approx(temperature, rel=0.05)
    assert found.error(found.temperature()) < 0.01
    if temperature != 1:
        assert found.error() > 0.04


def test_voxels_far_from_the_organ_and_ignored_ones_do_not_count():
    confidence = np.full((1, 1, 30), 0.75)
    predicted, annotated = np.zeros((2, 1, 1, 30), np.uint8)
    predicted[..., 10:12] = 1
    annotated[..., 11] = 1
    annotated[..., 12] = IGNORE
    found = Reliability()
    found.add(confidence, predicted, annotated, IGNORE)
    # 7 to 14 are near; 12 is ignored; 10 is wrong
    assert (found.right.sum(), found.wrong.sum()) == (6, 1)
    ((mean, right, share),) = found.diagram()
    assert (mean, right, share) == (pytest.approx(0.75, abs=0.01), pytest.approx(6 / 7), 1)
    assert found.error() == pytest.approx(6 / 7 - 0.75, abs=0.01)


def test_a_few_voxels_tell_no_temperature():
    found = Reliability()
    assert found.temperature() is None
    found.add(*overconfident(2, (4, 4, 4)), IGNORE)
    assert found.wrong.sum() < 50 and found.temperature() is None
    found = Reliability()
    found.add(np.full((8, 8, 8), 0.9), *np.ones((2, 8, 8, 8), np.uint8), IGNORE)
    assert found.temperature() is None, "nothing is wrong"


def test_the_temperature_changes_the_confidence_alone():
    values = torch.tensor([0.5, 0.8, 1.0, float("nan")])
    # logit 0.8 = ln 4, half of it is ln 2
    assert tempered(values, 2.0).tolist() == pytest.approx([0.5, 2 / 3, 1, float("nan")], nan_ok=True)
    assert tempered(values, 1.0) is values
    torch.manual_seed(0)
    supervised, reference = torch.randn(2, 3, 4, 4, 4).softmax(1)
    both, thresholds = torch.cat((supervised, reference)), torch.tensor([0.5, 0.6, 0.7])
    plain = decide_voxels(both, thresholds=thresholds, confidence=True)
    cooler = decide_voxels(both, thresholds=thresholds, confidence=True, temperature=3.0)
    for name in ("label", "region", "other"):
        assert torch.equal(plain[name], cooler[name])
    assert torch.allclose(torch.logit(cooler["confidence"]), torch.logit(plain["confidence"]) / 3, atol=1e-5)
