"""From what the predictions say of their quality to the Dice that hold-out cases had: a line per class."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

ENOUGH_FOR_SLOPE = 5
"""With fewer cases than this only the level is corrected, not the slope."""
SLOPES = (0.0, 3.0)
"""Slopes out of this range come from chance."""


@dataclass(frozen=True)
class Calibration:
    """Expected Dice = slope x uncalibrated + offset, cut to 0-1.

    Attributes:
        lines: class name -> (slope, offset).
        cases: number of hold-out cases that it comes from.
        error: mean absolute difference to the Dice of a case and class that it was not made from (each case left out
            once); None with one case.
    """

    lines: dict[str, tuple[float, float]]
    cases: int
    error: float | None

    def __call__(self, name: str, uncalibrated: float) -> float:
        """Expected Dice of a class."""
        slope, offset = self.lines.get(name, (1.0, 0.0))
        return float(np.clip(slope * uncalibrated + offset, 0, 1))

    def to_dict(self) -> dict[str, Any]:
        """The calibration as JSON-ready dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Calibration":
        """Read what ``to_dict`` gave.

        Raises:
            KeyError, TypeError, ValueError: it is damaged.
        """
        lines = {str(name): (float(slope), float(offset)) for name, (slope, offset) in content["lines"].items()}
        error = content["error"]
        return cls(lines, int(content["cases"]), None if error is None else float(error))


def fit_calibration(
    uncalibrated: Sequence[Mapping[str, float | None]], dice: Sequence[Mapping[str, float]]
) -> Calibration | None:
    """The calibration that fits hold-out cases best, None without one in which a class was found.

    Args:
        uncalibrated: of every case, class name -> uncalibrated expected Dice; None where the class was not found.
        dice: of every case, class name -> Dice against the label.
    """
    pairs = {
        name: [(case[name], true[name]) for case, true in zip(uncalibrated, dice) if case[name] is not None]
        for name in (uncalibrated[0] if uncalibrated else ())
    }
    lines = {name: _line(found) for name, found in pairs.items() if found}
    if not lines:
        return None
    errors = []
    for found in pairs.values():
        for n, (x, y) in enumerate(found if len(found) > 1 else ()):
            slope, offset = _line(found[:n] + found[n + 1 :])
            errors.append(abs(np.clip(slope * x + offset, 0, 1) - y))
    lines = {name: (round(slope, 4), round(offset, 4)) for name, (slope, offset) in lines.items()}
    return Calibration(lines, len(dice), round(float(np.mean(errors)), 4) if errors else None)


def _line(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Slope and offset through (uncalibrated, Dice) pairs, by least squares; with few of them the slope is 1."""
    x, y = np.array(pairs, dtype=np.float64).T
    slope = 1.0
    if len(pairs) >= ENOUGH_FOR_SLOPE and x.std() > 1e-6:
        slope = float(np.clip(np.polyfit(x, y, 1)[0], *SLOPES))
    return slope, float(y.mean() - slope * x.mean())
