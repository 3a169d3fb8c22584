"""Intensity normalisation: which rule a channel gets, and what the rule does to a volume."""

import re
import zlib
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk

from ..data.dataset import IGNORE, Case, Dataset
from ..data.labels import read_label
from ..data.reading import read_images
from ..errors import InputError, Stopped
from .plan import Intensity

PROBED_CASES = 8
"""Unlabelled cases whose voxels are read to tell CT from MR."""
CT_WORD = re.compile(r"(?<![a-z])ct(?![a-z])", re.IGNORECASE)
OTHER_MODALITY = re.compile(r"(?<![a-z])(mr|mri|t1|t2|flair|adc|dwi|us|pet|pt)", re.IGNORECASE)


def plan_intensities(
    dataset: Dataset,
    progress: Callable[[int, int, str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[Intensity, ...]:
    """One rule per channel; CT rules are measured on the foreground of the labelled cases.

    A channel is CT or not by its name; when that does not say it, by the voxels of the labelled and a few other cases.

    Raises:
        InputError: a case cannot be read, or CT without a foreground voxel.
        Stopped: ``should_stop`` said so.
    """
    labelled = dataset.with_role("labelled")
    known = [
        bool(CT_WORD.search(c)) if CT_WORD.search(c) or OTHER_MODALITY.search(c) else None for c in dataset.channels
    ]
    undecided = any(k is None for k in known)
    probed = [*labelled, *dataset.with_role("unlabelled")[:PROBED_CASES]] if undecided else labelled
    if not undecided and not any(known):
        return tuple(Intensity("zscore") for _ in known)
    like_ct: list[list[bool]] = [[] for _ in known]
    samples: list[list[np.ndarray]] = [[] for _ in known]
    for number, case in enumerate(probed):
        if should_stop and should_stop():
            raise Stopped("Stopped while planning.")
        images = read_images(case)
        inside = _foreground(case, dataset, images[0])
        for channel, image in enumerate(images):
            array = sitk.GetArrayViewFromImage(image)
            # Hounsfield units are whole, and air has about -1000
            like_ct[channel].append(bool(array.min() < -200 and not np.any(array % 1)))
            if inside is not None:
                samples[channel].append(array[inside])
        if progress:
            progress(number + 1, len(probed), case.id)
    ct = [np.mean(found) > 0.5 if k is None else k for k, found in zip(known, like_ct)]
    return tuple(_ct_rule(np.concatenate(s)) if c else Intensity("zscore") for c, s in zip(ct, samples))


def _foreground(case: Case, dataset: Dataset, image: sitk.Image) -> np.ndarray | None:
    """Boolean array with up to 50,000 random foreground voxels of a labelled case."""
    if case.role != "labelled":
        return None
    label = read_label(case.label, dataset, image)
    places = np.flatnonzero((label > 0) & (label != IGNORE))
    random = np.random.default_rng(zlib.crc32(case.id.encode()))
    inside = np.zeros(label.size, bool)
    inside[random.choice(places, min(len(places), 50_000), replace=False)] = True
    return inside.reshape(label.shape)


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
