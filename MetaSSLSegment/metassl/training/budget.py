"""How much of a run's budget is spent, and the learning rate and loss weights that follow from it."""

import math
import time

from ..job import Job

LEAST_TRAINING = 0.8
"""At least this share of a time budget is for training, however long its end may take."""
WARM_UP = 0.02
"""Share of the budget over which the learning rate rises linearly."""


class Budget:
    """Steps and seconds of a run.

    Seconds are what a person waits once training has begun: waiting for data, checkpoints and hold-out cases count.

    Args:
        job: says how much there is.
        warm_start: whether the networks know all classes from the beginning: the unlabelled loss then needs no rise.

    Attributes:
        iteration: finished steps.
        seconds: so far, as of the last ``look``.
        megavoxels: million voxels passed forwards and back through a network so far, see ``Method.passes``.
        reserve: seconds that saving the model and measuring hold-out cases will take at the end.
    """

    def __init__(self, job: Job, warm_start: bool = False):
        self.job = job
        self.warm_start = warm_start
        self.iteration = 0
        self.seconds = 0.0
        self.megavoxels = 0.0
        self.reserve = 0.0
        self._looked: float | None = None

    def look(self) -> float:
        """Look at the clock; returns the seconds so far. The first look starts it."""
        now = time.monotonic()
        self.seconds += now - (now if self._looked is None else self._looked)
        self._looked = now
        return self.seconds

    def spent(self) -> float:
        """Share of the budget that is spent, 0 to 1 and above."""
        if self.job.iterations is not None:
            return self.iteration / self.job.iterations
        if self.job.megavoxels is not None:
            return self.megavoxels / self.job.megavoxels
        whole = 60 * self.job.minutes
        return self.seconds / max(whole - self.reserve, LEAST_TRAINING * whole)

    def seconds_left(self) -> float | None:
        """Training time left, None before the first step."""
        if self.job.minutes is not None:
            return max(0.0, 60 * self.job.minutes - self.seconds)
        return self.seconds * max(0.0, 1 / self.spent() - 1) if self.iteration else None

    def learning_rate(self) -> float:
        """Learning rate of the coming step."""
        spent = min(self.spent(), 1.0)
        fall = (1 - spent) ** 0.9 if self.job.schedule == "poly" else 0.5 * (1 + math.cos(math.pi * spent))
        # the warm-up starts above zero, so that even the very first step learns
        return self.job.learning_rate * fall * min(1.0, 0.05 + spent / WARM_UP)

    def is_warming_up(self) -> bool:
        """Whether the coming step sees labelled crops alone."""
        return self.job.method != "supervised" and self.spent() < self.job.warm_up

    def ramp(self) -> float:
        """How much the other prediction counts by now, 0 to 1; t of ``_rise`` begins after the warm-up."""
        return self._rise((self.spent() - self.job.warm_up) / max(1 - self.job.warm_up, 1e-9))

    def doubt(self) -> float:
        """How much the network's own judgement of the annotations counts by now, 0 to 1.

        t of ``_rise`` begins with the training: wrong annotations must be doubted before they are learnt by heart.
        """
        return self._rise(self.spent())

    def _rise(self, t: float) -> float:
        """exp(-5 (1 - t / T_r)^2)."""
        rise = min(1.0, max(0.0, t) / self.job.ramp) if self.job.ramp > 0 else 1.0
        return math.exp(-5 * (1 - rise) ** 2)

    def consistency(self) -> float:
        """Weight of the unlabelled loss, lambda(t) = lambda_max ramp(t); from a warm start lambda_max."""
        return self.job.consistency * (1.0 if self.warm_start else self.ramp())
