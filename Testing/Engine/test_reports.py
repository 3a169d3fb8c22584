"""What people are told about a training."""

from types import SimpleNamespace

import pytest
import torch
from metassl.training.reports import Reports


class Listener:
    """Keeps what was said."""

    def __init__(self):
        self.events, self.warnings = [], []

    def event(self, name, **facts):
        self.events.append((name, facts))

    def warning(self, text):
        self.warnings.append(text)


class Trust:
    """Three cases; the last one's annotation is contradicted."""

    def __init__(self, best):
        self.best = best

    def __call__(self, cases, ramp):
        return torch.tensor([1.0, 1.0, 0.125])

    def dice(self):
        return torch.tensor([self.best, self.best - 0.125, 0.0625])


@pytest.mark.parametrize(("best", "doubted"), [(0.75, ["c"]), (0.5, ["c"]), (0.375, [])])
def test_a_model_that_has_learnt_little_doubts_no_annotation(best, doubted):
    listener = Listener()
    budget = SimpleNamespace(doubt=lambda: 1.0, iteration=8)
    reports = Reports(listener, None, budget, {"labelled": [SimpleNamespace(id=name) for name in "abc"]})
    reports.annotations(SimpleNamespace(uses_trust=True, trust=Trust(best)))
    ((name, facts),) = listener.events
    assert name == "annotations" and facts["doubted"] == doubted and len(listener.warnings) == len(doubted)
    assert facts["cases"]["c"] == {"dice": 0.0625, "trust": 0.125}
