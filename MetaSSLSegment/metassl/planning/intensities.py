"""Intensity normalisation: which rule a channel gets, and what the rule does to a volume."""

from collections.abc import Sequence

import numpy as np

from ..data.checking import Measured
from ..data.dataset import Dataset
from ..data.facts import is_ct, told_ct
from ..errors import InputError
from .plan import Intensity


def are_told(dataset: Dataset) -> bool:
    """Whether no voxel has to be looked at to plan the intensities: every channel is said to be other than CT."""
    return all(told_ct(dataset, channel) is False for channel in range(len(dataset.channels)))


def plan_intensities(dataset: Dataset, measured: Sequence[Measured]) -> tuple[Intensity, ...]:
    """One rule per channel; CT rules are measured on the foreground of the labelled cases.

    Args:
        dataset: names its channels.
        measured: the cases that are trained on; may be empty when ``are_told``.

    Raises:
        InputError: CT without a foreground voxel.
    """
    return tuple(
        _ct_rule(np.concatenate([m.channels[channel].foreground for m in measured]))
        if is_ct(dataset, channel, [m.channels for m in measured])
        else Intensity("zscore")
        for channel in range(len(dataset.channels))
    )


def _ct_rule(values: np.ndarray) -> Intensity:
    if not len(values):
        raise InputError(
            "No labelled case has a foreground voxel, so CT intensities cannot be planned.",
            "Annotate at least one case, or correct its label.",
        )
    lower, upper = (float(v) for v in np.percentile(values, (0.5, 99.5)))
    if lower == upper:  # clipping to one value would erase the image
        return Intensity("zscore")
    clipped = np.clip(values, lower, upper).astype(np.float64)
    return Intensity("ct", lower, upper, float(clipped.mean()), float(clipped.std()))


def normalise_intensities(array: np.ndarray, rule: Intensity) -> np.ndarray:
    """Intensities as the rule says, float32, of the array's shape.

    "zscore" takes mean and deviation of the volume itself between its 0.5 and 99.5 percentiles, so that single bright
    voxels do not matter; when more than a quarter of the voxels have the lowest value (air, padding), of the others.
    Besides array and result there is at most one copy of the voxels at a time.
    """
    array = np.asarray(array, np.float32)
    if rule.scheme == "ct":
        return _scaled(array, rule.lower, rule.upper, rule.mean, max(rule.std, 1e-6))
    lowest = array.min()
    low, high, mean, std = _typical(array, lowest)
    result = _scaled(array, min(lowest, low), high, mean, max(std, 1e-12))
    return np.clip(result, -20, 20, out=result)


def _typical(array: np.ndarray, lowest: float) -> tuple[float, float, float, float]:
    """The 0.5 and 99.5 percentiles, and mean and deviation of the voxels clipped to them; see above."""
    air = np.count_nonzero(array == lowest) / array.size
    inside = array[array > lowest] if 0.25 < air < 1 else array.flatten()
    least, most = float(inside.min()), float(inside.max())
    low, high = (float(v) for v in np.percentile(inside, (0.5, 99.5), overwrite_input=True))
    if high <= low:  # nearly everything has one value
        low, high = least, most
    np.clip(inside, low, high, out=inside)
    mean = float(inside.mean(dtype=np.float64))
    # numpy's own deviation would hold all differences in float64
    parts = (np.subtract(part, mean, dtype=np.float64) for part in np.array_split(inside, -(-inside.size // 2**17)))
    return low, high, mean, float(np.sqrt(sum(np.dot(part, part) for part in parts) / inside.size))


def _scaled(array: np.ndarray, low: float, high: float, mean: float, std: float) -> np.ndarray:
    """A clipped, shifted and scaled copy; Python's floats, so all stays float32."""
    result = np.clip(array, low, high)
    result -= mean
    result /= std
    return result
