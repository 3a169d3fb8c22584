"""From volumes to network input: orientation, spacing, intensities; once per case, kept in a memory-mapped cache.

A volume is brought into LPS orientation (its axes then run along the patient's as closely as they can), resampled to
the plan's spacing and normalised. Arrays are (k, j, i).
"""

import json
import math
import os
import shutil
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..data.dataset import IGNORE, Case, Dataset
from ..data.images import image_like, volume_header
from ..data.reading import read_images, read_label
from ..errors import DiskError, InputError, Stopped
from ..files import read_json, replacing, write_json
from .plan import Intensity, Plan

CACHE_VERSION = 1
VOXELS_IN_FLIGHT = 150_000_000
"""Voxels of all channels that are preprocessed at the same time; each needs some 30 bytes."""
SAME_SPACING = 0.01
"""Relative difference below which an axis is not resampled."""
SMOOTH_FROM = 1.5
"""An axis that becomes coarser by more than this factor is smoothed first, against aliasing."""
FOREGROUND_VOXELS = 2000
"""Number of foreground voxels per class and case that are remembered for centring crops."""


@dataclass(frozen=True)
class CachedCase:
    """A preprocessed case on disk; arrays are memory-mapped when asked for.

    Attributes:
        id, role: as in the data set.
        folder: the cache.
        shape: (k, j, i).
    """

    id: str
    role: str
    folder: Path
    shape: tuple[int, int, int]

    def image(self) -> np.ndarray:
        """(channels, k, j, i) float16, read-only."""
        return np.load(self.folder / f"{self.id}.image.npy", mmap_mode="r")

    def label(self) -> np.ndarray:
        """(k, j, i) uint8 class indices or ``dataset.IGNORE``, read-only."""
        return np.load(self.folder / f"{self.id}.label.npy", mmap_mode="r")

    def foreground(self) -> dict[int, np.ndarray]:
        """Class index -> (n, 3) voxel coordinates of up to ``FOREGROUND_VOXELS`` of its voxels."""
        voxels = np.load(self.folder / f"{self.id}.foreground.npy")
        return {int(k): voxels[voxels[:, 0] == k, 1:] for k in np.unique(voxels[:, 0])}


def to_grid(images: Sequence[sitk.Image], plan: Plan) -> tuple[np.ndarray, sitk.Image]:
    """Channels of one case as network input.

    Args:
        images: float32 volumes of one geometry.
        plan: spacing and intensities.

    Returns:
        (channels, k, j, i) float32, and an image whose geometry is that of the array (its voxels mean nothing).
    """
    # normalised first: resampling would blur the constant background that the statistics leave out
    normalised = [
        image_like(normalise(sitk.GetArrayViewFromImage(image), rule), image)
        for image, rule in zip(images, plan.intensities)
    ]
    resampled = [_resample(sitk.DICOMOrient(image, "LPS"), plan.spacing[::-1], sitk.sitkLinear) for image in normalised]
    return np.stack([sitk.GetArrayViewFromImage(image) for image in resampled]), resampled[0]


def label_to_grid(label: np.ndarray, reference: sitk.Image, plan: Plan) -> np.ndarray:
    """Class indices (k, j, i) on the grid of ``reference`` -> uint8 on the network's grid, by nearest neighbours."""
    image = sitk.DICOMOrient(image_like(label, reference), "LPS")
    return sitk.GetArrayFromImage(_resample(image, plan.spacing[::-1], sitk.sitkNearestNeighbor))


def normalise(array: np.ndarray, rule: Intensity) -> np.ndarray:
    """Intensities as the plan says, float32.

    "zscore" takes mean and deviation of the volume itself between its 0.5 and 99.5 percentiles, so that single bright
    voxels do not matter; when more than a quarter of the voxels have the lowest value (air, padding), of the others.
    """
    array = array.astype(np.float32)
    if rule.scheme == "ct":
        return (np.clip(array, rule.lower, rule.upper) - rule.mean) / max(rule.std, 1e-6)
    lowest = array.min()
    inside = array[array > lowest] if 0.25 < (array == lowest).mean() < 1 else array
    low, high = (float(v) for v in np.percentile(inside, (0.5, 99.5)))
    if high <= low:  # nearly everything has one value
        low, high = float(inside.min()), float(inside.max())
    typical = np.clip(inside, low, high)
    mean, std = (float(f(typical, dtype=np.float64)) for f in (np.mean, np.std))  # Python's floats: all stays float32
    return ((np.clip(array, min(lowest, low), high) - mean) / max(std, 1e-12)).clip(-20, 20)


def build_cache(
    dataset: Dataset,
    plan: Plan,
    folder: Path,
    *,
    progress: Callable[[int, int, str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[CachedCase]:
    """Preprocess all labelled, unlabelled and hold-out cases, several at a time; unchanged ones are reused.

    A case's json file is written last: a case without it, or with another fingerprint, is done again.

    Raises:
        InputError: a case cannot be read; names it.
        DiskError: not enough space.
        Stopped: ``should_stop`` said so; finished cases stay.
    """
    _make_folder(folder)
    cases = dataset.with_role("labelled", "unlabelled", "hold-out")
    missing = [case for case in cases if _cached(case, dataset, plan, folder) is None]
    largest = _require_space(missing, plan, folder)
    workers = max(1, min(os.cpu_count() or 1, 4, VOXELS_IN_FLIGHT // largest))
    waiting = list(reversed(missing))
    running: dict[Future, Case] = {}
    done = len(cases) - len(missing)
    with ThreadPoolExecutor(workers) as pool:
        while waiting or running:
            if should_stop and should_stop():
                waiting.clear()
                if not running:
                    break
            while waiting and len(running) < workers:
                case = waiting.pop()
                running[pool.submit(_preprocess, case, dataset, plan, folder)] = case
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                case = running.pop(future)
                try:
                    future.result()
                except InputError as error:
                    waiting.clear()
                    raise InputError(f"Case {case.id}: {error}", error.hint) from error
                done += 1
                if progress:
                    progress(done, len(cases), case.id)
    if done < len(cases):
        raise Stopped("Stopped while preprocessing; the finished cases are kept.")
    return [_cached(case, dataset, plan, folder) for case in cases]


def _preprocess(case: Case, dataset: Dataset, plan: Plan, folder: Path) -> None:
    fingerprint = _fingerprint(case, dataset, plan)
    (folder / f"{case.id}.json").unlink(missing_ok=True)
    images = read_images(case)
    array, _ = to_grid(images, plan)
    _save(folder / f"{case.id}.image.npy", array.astype(np.float16))
    if case.role != "unlabelled":
        label = label_to_grid(read_label(case.label, dataset, images[0]), images[0], plan)
        _save(folder / f"{case.id}.label.npy", label)
        _save(folder / f"{case.id}.foreground.npy", _some_foreground(label, case.id))
    write_json(folder / f"{case.id}.json", {"fingerprint": fingerprint, "shape": list(array.shape[1:])})


def _save(path: Path, array: np.ndarray) -> None:
    with replacing(path) as temporary:
        np.save(temporary, array)


def _some_foreground(label: np.ndarray, name: str) -> np.ndarray:
    """(n, 4) class index and coordinates of random foreground voxels; the same for the same case."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    chosen = [np.zeros((0, 4), np.int32)]
    for k in np.unique(label):
        if k not in (0, IGNORE):
            flat = np.flatnonzero(label == k)
            flat = random.choice(flat, min(len(flat), FOREGROUND_VOXELS), replace=False)
            places = np.stack(np.unravel_index(flat, label.shape), 1)
            chosen.append(np.column_stack((np.full(len(flat), k), places)).astype(np.int32))
    return np.concatenate(chosen)


def _cached(case: Case, dataset: Dataset, plan: Plan, folder: Path) -> CachedCase | None:
    """The case if the cache holds it as it would be preprocessed now."""
    path = folder / f"{case.id}.json"
    if not path.exists():
        return None
    content = read_json(path)
    parts = ("image",) if case.role == "unlabelled" else ("image", "label", "foreground")
    if content["fingerprint"] != _fingerprint(case, dataset, plan) or not all(
        (folder / f"{case.id}.{part}.npy").exists() for part in parts
    ):
        return None
    return CachedCase(case.id, case.role, folder, tuple(content["shape"]))


def _fingerprint(case: Case, dataset: Dataset, plan: Plan) -> str:
    """Changes when the sources or what is done to them change."""
    files = [*case.images] + ([case.label] if case.role != "unlabelled" else [])
    sources = [[path, *_state(Path(path))] for path in files]
    classes = [[c.name, c.value] for c in dataset.classes]
    rules = [plan.spacing, [asdict(i) for i in plan.intensities], classes, dataset.ignore_value]
    return json.dumps([CACHE_VERSION, case.role, sources, rules])


def _state(path: Path) -> tuple[int, int]:
    """Size in bytes and time of change; of a DICOM folder those of all its files together."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    try:
        states = [f.stat() for f in files]
    except OSError:
        raise InputError(f"{path} does not exist.", "Check the path, or make dataset.json again.") from None
    return sum(s.st_size for s in states), max((s.st_mtime_ns for s in states), default=0)


def _make_folder(folder: Path) -> None:
    """Make the cache folder, or clear it of what a killed process left half written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for partial in folder.glob(".partial-*"):
            partial.unlink()
    except OSError as error:
        raise DiskError(
            f"Cannot write to {folder}: {error.strerror or error}.", "Choose a run folder that you may write to."
        ) from error


def _require_space(cases: Sequence[Case], plan: Plan, folder: Path) -> int:
    """Raise DiskError when the cache of these cases will not fit; return the voxels of the largest case, at least 1."""
    needed, largest = 0, 1
    for case in cases:
        header = volume_header(case.images[0])
        volume = math.prod(header.size) * math.prod(header.spacing) / math.prod(plan.spacing)
        largest = max(largest, int(max(volume, math.prod(header.size)) * len(case.images)))
        needed += int(volume * (2 * len(case.images) + 1))
    free = shutil.disk_usage(folder).free
    if needed > 0.95 * free:
        raise DiskError(
            f"The preprocessed volumes need about {needed / 1e9:.1f} GB in {folder}, {free / 1e9:.1f} GB are free.",
            "Free some disk space, choose a run folder on another disk, or a coarser --spacing.",
        )
    return largest


def _resample(image: sitk.Image, spacing: Sequence[float], interpolator: int) -> sitk.Image:
    """The image on a grid of the given spacing (i, j, k, mm) that covers the same box; see ``SAME_SPACING``."""
    old = image.GetSpacing()
    new = [o if abs(o - n) <= SAME_SPACING * n else n for o, n in zip(old, spacing)]
    if new == list(old):
        return image
    size = [max(1, round(s * o / n)) for s, o, n in zip(image.GetSize(), old, new)]
    if interpolator != sitk.sitkNearestNeighbor:
        for axis, (o, n) in enumerate(zip(old, new)):
            if n > SMOOTH_FROM * o:
                image = sitk.RecursiveGaussian(image, 0.4 * n, False, sitk.RecursiveGaussianImageFilter.ZeroOrder, axis)
    resampler = sitk.ResampleImageFilter()
    resampler.SetInterpolator(interpolator)
    resampler.SetUseNearestNeighborExtrapolator(True)
    resampler.SetSize(size)
    resampler.SetOutputSpacing(new)
    resampler.SetOutputDirection(image.GetDirection())
    # the outer corner of the first voxel stays where it is
    resampler.SetOutputOrigin(
        image.TransformContinuousIndexToPhysicalPoint([(n / o - 1) / 2 for o, n in zip(old, new)])
    )
    return resampler.Execute(image)
