"""The cache: every case preprocessed once, as arrays that training maps into memory and cuts crops from."""

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

from ..data.dataset import IGNORE, Case, Dataset
from ..data.images import volume_header
from ..data.labels import read_label
from ..data.reading import read_images
from ..errors import DiskError, InputError, Stopped
from ..files import MOST_BYTES, PARTIAL, read_json, replacing, require_whole, write_json
from ..validation import Fields, text, triple, whole
from .plan import Plan
from .resampling import label_to_grid, to_grid

CACHE_VERSION = 1
VOXELS_IN_FLIGHT = 150_000_000
"""Voxels of all channels that are preprocessed at the same time; each needs some 30 bytes."""
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
        return self._mapped("image")

    def label(self) -> np.ndarray:
        """(k, j, i) uint8 class indices or ``dataset.IGNORE``, read-only."""
        return self._mapped("label")

    def foreground(self) -> dict[int, np.ndarray]:
        """Class index -> (n, 3) voxel coordinates of up to ``FOREGROUND_VOXELS`` of its voxels."""
        voxels = self._mapped("foreground")
        return {int(k): voxels[voxels[:, 0] == k, 1:] for k in np.unique(voxels[:, 0])}

    def is_whole(self, channels: int) -> bool:
        """Whether the arrays have the sizes that they were made with; a copy or a failing disk may have cut them."""
        try:
            image = self._mapped("image")
            whole = image.shape == (channels, *self.shape) and image.dtype == np.float16
            if self.role != "unlabelled":
                label, voxels = self._mapped("label"), self._mapped("foreground")
                whole &= label.shape == self.shape and label.dtype == np.uint8
                places = voxels[:, 1:]
                whole &= bool(voxels.dtype == np.int32 and np.all((places >= 0) & (places < self.shape)))
            return whole
        except (OSError, ValueError, IndexError):
            return False

    def _mapped(self, part: str) -> np.ndarray:
        return np.load(self.folder / f"{self.id}.{part}.npy", mmap_mode="r")


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
    missing = [case for case in cases if _find_cached(case, dataset, plan, folder) is None]
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
    return [_find_cached(case, dataset, plan, folder) for case in cases]


def _preprocess(case: Case, dataset: Dataset, plan: Plan, folder: Path) -> None:
    fingerprint = _fingerprint(case, dataset, plan)
    (folder / f"{case.id}.json").unlink(missing_ok=True)
    images = read_images(case)
    array, _ = to_grid(images, plan)
    _save_array(folder / f"{case.id}.image.npy", array.astype(np.float16))
    if case.role != "unlabelled":
        label = label_to_grid(read_label(case.label, dataset, images[0]), images[0], plan)
        _save_array(folder / f"{case.id}.label.npy", label)
        _save_array(folder / f"{case.id}.foreground.npy", _sample_foreground(label, case.id))
    write_json(folder / f"{case.id}.json", {"fingerprint": fingerprint, "shape": list(array.shape[1:])})


def _save_array(path: Path, array: np.ndarray) -> None:
    with replacing(path) as temporary:
        np.save(temporary, array)
        require_whole(temporary, array.nbytes)


def _sample_foreground(label: np.ndarray, name: str) -> np.ndarray:
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


def _find_cached(case: Case, dataset: Dataset, plan: Plan, folder: Path) -> CachedCase | None:
    """The case if the cache holds it as it would be preprocessed now."""
    try:
        content = Fields(read_json(folder / f"{case.id}.json"), "cache")
        shape = content.take("shape", triple, whole, 1)
        if content.take("fingerprint", text, (), MOST_BYTES) != _fingerprint(case, dataset, plan):
            return None
    except InputError:  # missing or damaged
        return None
    cached = CachedCase(case.id, case.role, folder, shape)
    return cached if cached.is_whole(len(dataset.channels)) else None


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
        for partial in folder.glob(f"{PARTIAL}*"):
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
            f"The preprocessed volumes need about {needed / 1e6:,.0f} MB in {folder}, {free / 1e6:,.0f} MB are free.",
            "Free some disk space, choose a run folder on another disk, or a coarser --spacing.",
        )
    return largest
