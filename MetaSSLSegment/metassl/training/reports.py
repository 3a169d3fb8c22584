"""What a training tells on its way: its start, the metrics of its steps, the annotations that counted little."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from ..distributed import world_size
from ..events import Reporter, drop_events
from ..job import Job
from ..planning.cache import CachedCase
from ..regions import REGIONS
from ..ssl.quadripartition import LABELLED, REFERENCE, SUPERVISED, UNLABELLED
from ..ssl.thresholds import AdaptiveThresholds
from .budget import Budget
from .objective import Objective

METRICS_SECONDS = 1.0
DOUBTED = 0.5
"""Cases whose annotation is trusted less than this are named to the user."""
LEARNT = 0.5
"""Dice with the best annotation below which a model has learnt too little to doubt any."""


class Reports:
    """Tells people and programs about one training.

    Args:
        reporter: where it goes.
        job, budget, cases: of the run; cases by role.
    """

    def __init__(self, reporter: Reporter, job: Job, budget: Budget, cases: Mapping[str, Sequence[CachedCase]]):
        self.reporter, self.job, self.budget, self.cases = reporter, job, budget, cases
        self._collected: list[dict[str, Tensor]] = []
        self._last_metrics = 0.0
        self._checkpoints_said = False

    def start(self, device: torch.device, precision: torch.dtype) -> None:
        """Say what is about to happen."""
        job, budget = self.job, self.budget
        counts = {role: len(cases) for role, cases in self.cases.items()}
        self.reporter.event(
            "start",
            method=job.method,
            loss=job.loss,
            device=str(device),
            precision=str(precision).removeprefix("torch."),
            cases=counts,
            iteration=budget.iteration,
            minutes=job.minutes,
            iterations=job.iterations,
            ranks=world_size(),
            version=__version__,
        )
        loss = {"metassl": " with the MetaSSL loss", "own": " with its own loss"}[job.loss]
        self.reporter.info(
            f"Training: {job.method}{'' if job.method == 'supervised' else loss}, {counts['labelled']} labelled and "
            f"{counts['unlabelled']} unlabelled cases"
            + (f", {world_size()} processes" if world_size() > 1 else "")
            + (f", resumed after step {budget.iteration}" if budget.iteration else "")
        )

    def step(self, metrics: dict[str, Tensor], thresholds: AdaptiveThresholds) -> None:
        """Collect a step's metrics, still on the device; about once a second send their means."""
        self._collected.append(metrics)
        left = self.budget.seconds_left()
        self.reporter.progress("training", self.budget.spent(), 1, f"step {self.budget.iteration}", left)
        now = time.monotonic()
        if now - self._last_metrics < METRICS_SECONDS and self.budget.spent() < 1:
            return
        self._last_metrics = now
        # the first step after the warm-up has more to report than those before it
        collected = {k: [m[k].float() for m in self._collected if k in m] for k in metrics}
        means = {k: torch.stack(values).mean(0).tolist() for k, values in collected.items()}
        self._collected = []
        shares = means.pop("shares", None)
        fields: dict[str, Any] = {
            "iteration": self.budget.iteration,
            "seconds": round(self.budget.seconds, 2),
            "fraction": round(min(1.0, self.budget.spent()), 4),
            "eta_seconds": None if left is None else round(left, 1),
            "loss": {name: round(value, 6) for name, value in means.items()},
            "consistency": round(self.budget.consistency(), 6),
            "learning_rate": self.budget.learning_rate(),
        }
        if shares is not None:
            streams = (("labelled", LABELLED), ("unlabelled", UNLABELLED))
            fields["shares"] = {
                name: {region.code: round(share, 5) for region, share in zip(REGIONS, shares[stream])}
                for name, stream in streams
            }
            fields["thresholds"] = {
                f"{name} {side}": [round(t, 5) for t in thresholds.used(stream, branch).tolist()]
                for name, stream in streams
                for side, branch in (("supervised", SUPERVISED), ("reference", REFERENCE))
            }
        self.reporter.event("metrics", **fields)

    def checkpoint(self, file: Path) -> None:
        """Say that a checkpoint was written; the first time also how much room they take."""
        if not self._checkpoints_said:
            self.reporter.info(f"A checkpoint takes {file.stat().st_size / 1e6:.0f} MB; the newest two are kept.")
        self._checkpoints_said = True
        seconds = round(self.budget.seconds, 2)
        self.reporter.event("checkpoint", iteration=self.budget.iteration, seconds=seconds)

    def forget_later_events(self, file: Path) -> None:
        """Drop the metrics and checkpoints of steps that a resumed run does again, and what is damaged.

        Raises:
            DiskError: the file cannot be written.
        """

        def is_past(event: dict[str, Any]) -> bool:
            iteration = event.get("iteration")
            return not isinstance(iteration, int) or iteration <= self.budget.iteration

        if file.is_file() and (damaged := drop_events(file, is_past)):
            self.reporter.warning(f"{damaged} damaged line(s) of {file} were left out.")

    def annotations(self, objective: Objective) -> None:
        """Name the labelled cases whose annotation counted little."""
        if not objective.uses_trust:
            return
        cases = self.cases["labelled"]
        trust = objective.trust(range(len(cases)), self.budget.doubt()).tolist()
        dice = objective.trust.dice().tolist()
        least = DOUBTED if max(dice) >= LEARNT else 0.0
        self.reporter.event(
            "annotations",
            iteration=self.budget.iteration,
            cases={c.id: {"dice": round(d, 4), "trust": round(t, 4)} for c, d, t in zip(cases, dice, trust)},
            doubted=[c.id for c, t in zip(cases, trust) if t < least],
        )
        for case, d, t in zip(cases, dice, trust):
            if t < least:
                self.reporter.warning(
                    f"The annotation of {case.id} disagrees with what the model learnt from the other cases (Dice "
                    f"{d:.2f}, others up to {max(dice):.2f}) and counted little. Check it, correct it or leave it out."
                )
