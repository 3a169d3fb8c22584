"""The cache: every case preprocessed once, as arrays that training maps into memory and cuts crops from."""

import json
import math
import shutil
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..data.dataset import IGNORE, Case, Dataset
from ..data.images import VolumeHeader, volume_header
from ..data.kept import KeptVolumes
from ..data.labels import read_label
from ..data.pool import map_cases, source_state
from ..data.reading import MOST_VOXELS, read_images
from ..errors import DiskError, InputError
from ..files import MOST_BYTES, PARTIAL, make_durable, read_json, replacing, require_whole, write_json
from ..validation import Fields, text, triple, whole
from .plan import Plan
from .resampling import label_to_grid, to_grid

CACHE_VERSION = 1
TOGETHER_SECONDS = 5
"""How long finished cases may wait for each other to be made durable together."""
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
    kept: KeptVolumes | None = None,
    headers: Mapping[str, VolumeHeader] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    warn: Callable[[str], None] | None = None,
) -> list[CachedCase]:
    """Preprocess all labelled, unlabelled and hold-out cases, several at a time; unchanged ones are reused.

    A case's json file is written last: a case without it, or with another fingerprint, is done again.

    Args:
        dataset, plan: of the training.
        folder: of the cache.
        kept: volumes that are read already.
        headers: case id -> header, of the cases whose headers are read already.
        progress: called with (cases done, number of cases, id of the case done).
        should_stop: asked before every case.
        warn: called with a sentence about a case that cannot be read any more and is left out.

    Raises:
        InputError: a case cannot be read, and without it no labelled case is left; names it.
        DiskError: not enough space.
        Stopped: ``should_stop`` said so; finished cases stay.
    """
    _make_folder(folder)
    cases = dataset.with_role("labelled", "unlabelled", "hold-out")
    found = {case.id: _find_cached(case, dataset, plan, folder) for case in cases}
    missing = [case for case in cases if found[case.id] is None]
    largest = _require_space(missing, headers or {}, plan, folder)
    done = len(cases) - len(missing)
    kept = kept or KeptVolumes(0)
    stopped = "Stopped while preprocessing; the finished cases are kept."
    failed: dict[str, InputError] = {}

    finished = _Finished(folder)

    def work(case: Case) -> dict[str, Any]:
        return _preprocess(case, dataset, plan, folder, kept)

    with closing(finished):
        for case, preprocessed in map_cases(work, missing, largest, should_stop, stopped):
            try:
                content = preprocessed.result()
                finished.add(case.id, content)
                found[case.id] = CachedCase(case.id, case.role, folder, tuple(content["shape"]))
            except InputError as error:
                failed[case.id] = error
                if warn:
                    warn(f"Case {case.id} is left out: {error} {error.hint}")
            done += 1
            if progress:
                progress(done, len(cases), case.id)
    left = [case for case in cases if case.id not in failed]
    if failed and not any(case.role == "labelled" for case in left):
        case_id, error = next(iter(failed.items()))
        raise InputError(f"Case {case_id}: {error}", error.hint) from error
    return [found[case.id] for case in left]


class _Finished:
    """Writes the json files of finished cases, once the arrays of several together are on the disk.

    Args:
        folder: the cache.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._waiting: dict[str, dict[str, Any]] = {}
        self._written = time.monotonic()

    def add(self, case_id: str, content: dict[str, Any]) -> None:
        """A finished case and what its json file says."""
        self._waiting[case_id] = content
        if time.monotonic() - self._written > TOGETHER_SECONDS:
            self.close()

    def close(self) -> None:
        """Write what is left.

        Raises:
            DiskError: the disk is full.
        """
        try:
            make_durable(path for case_id in self._waiting for path in self._folder.glob(f"{escape(case_id)}.*.npy"))
        except OSError as error:
            raise DiskError(
                f"Cannot write to {self._folder}: {error.strerror or error}.", "Free some disk space."
            ) from error
        for case_id, content in self._waiting.items():
            write_json(self._folder / f"{case_id}.json", content, durable=False)
        self._waiting.clear()
        self._written = time.monotonic()


def _preprocess(case: Case, dataset: Dataset, plan: Plan, folder: Path, kept: KeptVolumes) -> dict[str, Any]:
    """Write the arrays of a case; returns what its json file is to say."""
    fingerprint = _fingerprint(case, dataset, plan)
    (folder / f"{case.id}.json").unlink(missing_ok=True)
    images, label = kept.take(case) or (read_images(case), None)
    if label is None and case.role != "unlabelled":
        label = read_label(case.label, dataset, images[0])
    _require_size(images[0], plan)
    array, _ = to_grid(images, plan)
    _save_array(folder / f"{case.id}.image.npy", array.astype(np.float16))
    if label is not None:
        label = label_to_grid(label, images[0], plan)
        _save_array(folder / f"{case.id}.label.npy", label)
        _save_array(folder / f"{case.id}.foreground.npy", _sample_foreground(label, case.id))
    return {"fingerprint": fingerprint, "shape": list(array.shape[1:])}


def _require_size(image: sitk.Image, plan: Plan) -> None:
    """Raise when the volume at the plan's spacing would be too large: its own spacing is far from the others'."""
    voxels = plan.voxels_of(image.GetSize(), image.GetSpacing())
    if voxels > MOST_VOXELS:
        spacing, planned = (" x ".join(f"{s:.3g}" for s in mm) for mm in (image.GetSpacing(), plan.spacing[::-1]))
        raise InputError(
            f"At the planned voxel spacing of {planned} mm this volume of {spacing} mm would have {voxels:.2g} voxels.",
            "Check that its spacing is right, or give a coarser --spacing.",
        )


def _save_array(path: Path, array: np.ndarray) -> None:
    with replacing(path, durable=False) as temporary:
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
    sources = [[path, *source_state(path)] for path in files]
    classes = [[c.name, c.value] for c in dataset.classes]
    rules = [plan.spacing, [asdict(i) for i in plan.intensities], classes, dataset.ignore_value]
    if plan.alignment is not None:
        rules.append(asdict(plan.alignment))
    if dataset.label_values:
        rules.append(sorted(dataset.label_values.items()))
    return json.dumps([CACHE_VERSION, case.role, sources, rules])


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


def _require_space(cases: Sequence[Case], headers: Mapping[str, VolumeHeader], plan: Plan, folder: Path) -> int:
    """Raise DiskError when the cache of these cases will not fit; return the voxels of the largest case, at least 1."""
    needed, largest = 0, 1
    for case in cases:
        try:
            header = headers.get(case.id) or volume_header(case.images[0])
        except InputError:  # said when its turn comes
            continue
        volume = plan.voxels_of(header.size, header.spacing)
        if volume > MOST_VOXELS:
            continue
        largest = max(largest, int(max(volume, math.prod(header.size)) * len(case.images)))
        needed += int(volume * (2 * len(case.images) + 1))
    free = shutil.disk_usage(folder).free
    if needed > 0.95 * free:
        raise DiskError(
            f"The preprocessed volumes need about {needed / 1e6:,.0f} MB in {folder}, {free / 1e6:,.0f} MB are free.",
            "Free some disk space, choose a run folder on another disk, or a coarser --spacing.",
        )
    return largest
