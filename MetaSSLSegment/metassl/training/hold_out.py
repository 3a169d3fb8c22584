"""Dice of the hold-out cases, on the way when that is quick, and at the end; there HD95 too."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..data.dataset import SegmentClass
from ..data.distances import hd95_per_class
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
        result: Dice per class and mean, HD95 per class when it was measured (None: undefined in all cases), and number
            of cases, of the newest measurement; None before.
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
        spacing: Sequence[float] | None = None,
    ) -> None:
        """Measure Dice per class and its mean over classes and cases, and HD95 when the spacing is given.

        Given up, until the end of the training, when it turns out to take longer than ``most_seconds``, or more memory
        than there is: the training's own patch must not become smaller for it.

        Args:
            predict: from network input (channels, k, j, i) float32 to class indices (k, j, i).
            iteration: finished steps, for the report.
            most_seconds: see above.
            spacing: of the network's grid, mm, (k, j, i).

        Raises:
            Stopped: of ``predict``.
        """
        begin, scores, distances = time.monotonic(), [], []
        for number, case in enumerate(self.cases):
            self.reporter.progress("hold-out", number, len(self.cases), case.id)
            try:
                predicted = predict(np.asarray(case.image(), dtype=np.float32))
                label = np.asarray(case.label())
                scores.append(dice_per_class(predicted, label, len(self.classes)))
                if spacing is not None:
                    distances.append(hd95_per_class(predicted, label, len(self.classes), spacing))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self.skip_to(1)
                self.reporter.warning(f"Not enough memory to measure the hold-out case {case.id}; training continues.")
                return
            self.seconds = (time.monotonic() - begin) / len(scores) * len(self.cases)
            if self.seconds > most_seconds:
                self.skip_to(1)
                self.reporter.info("Measuring the hold-out cases takes long; it waits for the end of the training.")
                return
        self.reporter.progress("hold-out", 1, 1)
        names, ids = [c.name for c in self.classes], [case.id for case in self.cases]
        mean = np.mean(scores, axis=0)
        self.result = {
            "dice": _by_class(names, mean),
            "mean_dice": round(float(mean.mean()), 4),
            "cases": len(scores),
        }
        per_case = {"per_case": {ID: _by_class(names, score) for ID, score in zip(ids, scores)}}
        if distances:
            self.result["hd95"] = _by_class(names, [_mean_of_defined(found) for found in zip(*distances)])
            per_case["hd95_per_case"] = {ID: _by_class(names, found) for ID, found in zip(ids, distances)}
        self.reporter.event("hold-out", iteration=iteration, **self.result, **per_case)
        self.reporter.info(f"Hold-out Dice after step {iteration}: {self.result['mean_dice']:.4f}")


def _by_class(names: Sequence[str], values: Sequence[float | None]) -> dict[str, float | None]:
    """Class name -> rounded value."""
    return {name: None if value is None else round(float(value), 4) for name, value in zip(names, values)}


def _mean_of_defined(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return statistics.fmean(defined) if defined else None
