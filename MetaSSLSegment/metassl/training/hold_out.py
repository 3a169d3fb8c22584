"""Dice of the hold-out cases, on the way when that is quick, and at the end."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..data.dataset import SegmentClass
from ..data.overlap import dice_per_class
from ..errors import is_out_of_memory
from ..events import Reporter
from ..planning.cache import CachedCase

TIMES = (0.25, 0.5, 0.75)
"""Shares of the budget after which hold-out Dice is measured, besides the end."""
MOST_SHARE = 0.05
"""Measuring on the way may take this share of the whole training time each time, at the end any time."""


class HoldOut:
    """Measures the hold-out cases on the network's grid.

    Args:
        cases: the hold-out cases.
        classes: of the data set.
        reporter: where the results go.

    Attributes:
        result: Dice per class and mean, and number of cases, of the newest measurement; None before.
        seconds: that measuring all cases takes, by the newest measurement.
    """

    def __init__(self, cases: Sequence[CachedCase], classes: Sequence[SegmentClass], reporter: Reporter):
        self.cases, self.classes, self.reporter = cases, classes, reporter
        self.result: dict[str, Any] | None = None
        self.seconds = 0.0
        self._passed = 0

    def skip_to(self, spent: float) -> None:
        """Forget the times before this share of the budget."""
        self._passed = max(self._passed, sum(spent >= t for t in TIMES))

    def is_due(self, spent: float) -> bool:
        """Whether this step passed one of ``TIMES``."""
        before = self._passed
        self.skip_to(spent)
        return bool(self.cases) and before < self._passed and spent < 1

    def measure(
        self,
        predict: Callable[[np.ndarray], np.ndarray],
        iteration: int,
        most_seconds: float = math.inf,
    ) -> None:
        """Measure Dice per class and its mean over classes and cases.

        Given up, until the end of the training, when it turns out to take longer than ``most_seconds``, or more memory
        than there is: the training's own patch must not become smaller for it.

        Args:
            predict: from network input (channels, k, j, i) float32 to class indices (k, j, i).
            iteration: finished steps, for the report.
            most_seconds: see above.

        Raises:
            Stopped: of ``predict``.
        """
        begin, scores = time.monotonic(), []
        for number, case in enumerate(self.cases):
            self.reporter.progress("hold-out", number, len(self.cases), case.id)
            try:
                predicted = predict(np.asarray(case.image(), dtype=np.float32))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self.skip_to(1)
                self.reporter.warning(f"Not enough memory to measure the hold-out case {case.id}; training continues.")
                return
            scores.append(dice_per_class(predicted, np.asarray(case.label()), len(self.classes)))
            self.seconds = (time.monotonic() - begin) / len(scores) * len(self.cases)
            if self.seconds > most_seconds:
                self.skip_to(1)
                self.reporter.info("Measuring the hold-out cases takes long; it waits for the end of the training.")
                return
        self.reporter.progress("hold-out", 1, 1)
        mean = np.mean(scores, axis=0)
        self.result = {
            "dice": {c.name: round(float(d), 4) for c, d in zip(self.classes, mean)},
            "mean_dice": round(float(mean.mean()), 4),
            "cases": len(scores),
        }
        names = [c.name for c in self.classes]
        per_case = {
            case.id: {name: round(float(d), 4) for name, d in zip(names, score)}
            for case, score in zip(self.cases, scores)
        }
        self.reporter.event("hold-out", iteration=iteration, **self.result, per_case=per_case)
        self.reporter.info(f"Hold-out Dice after step {iteration}: {self.result['mean_dice']:.4f}")
