"""From a data set's fingerprint to a plan: spacing, intensities, patch and network, much as nnU-Net plans.

Source of the rules: Isensee et al., nnU-Net, Nature Methods 2021; budgets are our own, for minutes on a small computer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..data.alignment import MIXTURE_REMEDY, acquisition_alignment, aligned_header, mixture
from ..data.checking import Measured, check_dataset
from ..data.dataset import Dataset
from ..data.images import VolumeHeader, flat_axis, volume_header
from ..errors import InputError
from ..job import Job
from .intensities import are_told, plan_intensities
from .plan import NetworkPlan, Plan

ANISOTROPIC = 3.0
"""A data set whose coarsest axis is more than this many times its finest is resampled finer than the median there."""
SMALLEST_FEATURE_MAP = 4
COVERED = 0.25
"""Where a patch would cover less of the median volume than this, voxels become coarser, as nnU-Net's low resolution."""
BEYOND = 1e9
"""Millimetres between single slices, for rules that compare spacings: nothing reaches from one to the next."""
COARSER = 1.03
"""Factor of a step towards coarser voxels."""


@dataclass(frozen=True)
class NetworkSize:
    """Budget of a network: first and most filters, most stages, voxels of a patch on a CPU and on a GPU."""

    filters: int
    most_filters: int
    stages: int
    voxels_cpu: int
    voxels_gpu: int


SIZES = {
    "small": NetworkSize(16, 128, 4, 400_000, 1_000_000),
    "standard": NetworkSize(32, 320, 5, 600_000, 2_100_000),
    "large": NetworkSize(48, 384, 6, 1_000_000, 3_200_000),
}


def make_plan(
    dataset: Dataset,
    job: Job,
    device_type: str = "cpu",
    most_voxels: Callable[[NetworkPlan, int], int] | None = None,
    *,
    measured: Sequence[Measured] = (),
    progress: Callable[[int, int, str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Plan:
    """Plan a training from what checking its cases has measured.

    Args:
        dataset: checked data set.
        job: ``network``, ``patch`` and ``spacing`` overrule the plan.
        device_type: "cpu", "cuda" or "mps".
        most_voxels: from the network and the voxels of its patch, as they would be on any computer, to the voxels that
            a patch may have on this one.
        measured: what ``check_dataset`` reports; without it the cases are read now, or only their headers where the
            data set says that no channel is CT.
        progress, should_stop: of that reading, see ``check_dataset``.

    Raises:
        InputError: no labelled case, single slices among volumes, or the patch that the job asks for is too small for
            the network.
        Stopped: ``should_stop`` said so.
    """
    cases = dataset.with_role("labelled", "unlabelled")
    if not dataset.with_role("labelled"):
        raise InputError(
            "There is no labelled case to train on.", "Give at least one case a label and the role labelled."
        )
    if not measured and not are_told(dataset):
        measured = check_dataset(dataset, progress=progress, should_stop=should_stop).measured
    trained = {case.id for case in cases}
    measured = [m for m in measured if m.case.id in trained]
    found = {m.case.id: m.header for m in measured} or {case.id: volume_header(case.images[0]) for case in cases}
    if mixed := mixture(found):
        raise InputError(mixed, MIXTURE_REMEDY)
    alignment = acquisition_alignment([*found.values()])
    headers = [aligned_header(header, alignment) for header in found.values()]
    flat = np.arange(3) == flat_axis(headers[0].size)
    thickness = np.median([h.spacing for h in headers], axis=0)
    # what lies beyond a slice is out of the reach of kernels, strides and patches
    spacing = tuple(np.where(flat, BEYOND, job.spacing or target_spacing(_within_slices(headers, flat))).tolist())
    sizes = np.array([h.size for h in headers]) * _within_slices(headers, flat) / np.array(spacing)
    name = job.network
    if name == "auto":
        name = "standard" if device_type == "cuda" else "small"
    voxels = SIZES[name].voxels_gpu if device_type == "cuda" else SIZES[name].voxels_cpu
    counts = len(dataset.channels), len(dataset.classes) + 1
    least = tuple(np.where(flat, 1, SMALLEST_FEATURE_MAP).tolist())
    if job.patch:
        wanted = tuple(np.where(flat, 1, job.patch).tolist())
        strides = plan_strides(wanted, spacing, SIZES[name].stages)
        patch, network = _round_up(wanted, strides), plan_network(name, *counts, spacing, strides)
    else:
        median = np.median(sizes, axis=0)
        patch, strides = patch_and_strides(median, spacing, voxels, SIZES[name].stages, least)
        if most_voxels is not None:
            voxels = min(voxels, most_voxels(plan_network(name, *counts, spacing, strides), int(np.prod(patch))))
        if not job.spacing:
            coarse = coarser_spacing(median, spacing, voxels / COVERED)
            median, spacing = median * np.array(spacing) / np.array(coarse), coarse
        patch, strides = patch_and_strides(median, spacing, voxels, SIZES[name].stages, least)
        network = plan_network(name, *counts, spacing, strides)
    spacing = tuple(np.where(flat, thickness, spacing).tolist())
    return Plan(spacing, patch, plan_intensities(dataset, measured), network, alignment, bool(flat.any()))


def _within_slices(headers: Sequence[VolumeHeader], flat: np.ndarray) -> np.ndarray:
    """(cases, 3) spacings in mm, with ``BEYOND`` along the axis across single slices."""
    return np.where(flat, BEYOND, [header.spacing for header in headers])


def plan_network(
    size: str, in_channels: int, out_channels: int, spacing: Sequence[float], strides: Sequence[tuple[int, int, int]]
) -> NetworkPlan:
    """A network of a size, with filters and kernels for its strides."""
    filters = tuple(min(SIZES[size].filters * 2**n, SIZES[size].most_filters) for n in range(len(strides)))
    return NetworkPlan(size, in_channels, out_channels, filters, plan_kernels(spacing, strides), tuple(strides))


def target_spacing(spacings: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Median spacing per axis; on a strongly anisotropic axis the 10th percentile, so that fine volumes keep detail.

    Args:
        spacings: (k, j, i) mm, one per case.
    """
    target = np.median(spacings, axis=0)
    coarsest = int(target.argmax())
    if target[coarsest] > ANISOTROPIC * target.min():
        finer = np.percentile(np.array(spacings)[:, coarsest], 10)
        target[coarsest] = max(finer, np.delete(target, coarsest).max())
    return tuple(float(t) for t in target)


def coarser_spacing(size: Sequence[float], spacing: Sequence[float], voxels: float) -> tuple[float, float, float]:
    """Spacing with which a volume has at most so many voxels; the finest axes become coarser first.

    Args:
        size: of the volume in voxels of ``spacing``.
        spacing: mm.
        voxels: that the volume may have.
    """
    mm, extent = np.array(spacing, dtype=float), np.array(size) * np.array(spacing)
    while np.prod(np.maximum(extent / mm, 1)) > voxels and np.any(extent / mm > 2 * SMALLEST_FEATURE_MAP):
        mm = np.where(mm <= COARSER * mm.min(), mm * COARSER, mm)
    return tuple(float(m) for m in mm)


def plan_strides(patch: Sequence[int], spacing: Sequence[float], stages: int) -> tuple[tuple[int, int, int], ...]:
    """Strides per stage: an axis is halved while it is not coarser than twice the finest and stays large enough.

    Returns:
        At least three strides, as DynUNet needs; the first is (1, 1, 1).
    """
    strides = [(1, 1, 1)]
    size, mm = np.array(patch), np.array(spacing, dtype=float)
    while len(strides) < max(stages, 3):
        halved = (size >= 2 * SMALLEST_FEATURE_MAP) & (
            mm < 2 * mm[size >= 2 * SMALLEST_FEATURE_MAP].min(initial=np.inf)
        )
        if not halved.any():
            break
        strides.append(tuple(2 if h else 1 for h in halved))
        size, mm = np.where(halved, -(-size // 2), size), np.where(halved, mm * 2, mm)
    return tuple(strides + [(1, 1, 1)] * (3 - len(strides)))


def plan_kernels(spacing: Sequence[float], strides: Sequence[Sequence[int]]) -> tuple[tuple[int, int, int], ...]:
    """Kernel sizes per stage: 1 on an axis until it is at most twice as coarse as the finest, 3 from then on.

    An axis too short to be halved further stays fine; the others must not lose their kernels to that.
    """
    mm, wide, found = np.array(spacing, dtype=float), np.zeros(3, bool), []
    for stride in strides:
        mm = mm * np.array(stride)
        wide |= mm <= 2 * mm.min()
        found.append(tuple(3 if w else 1 for w in wide))
    return tuple(found)


def patch_and_strides(
    median_size: Sequence[float],
    spacing: Sequence[float],
    voxels: int,
    stages: int,
    least: Sequence[int] = (SMALLEST_FEATURE_MAP,) * 3,
) -> tuple[tuple[int, int, int], tuple[tuple[int, int, int], ...]]:
    """The largest patch within the voxel budget: the median volume, at least ``least``, cut where longest in mm."""
    patch = np.maximum(np.ceil(median_size), least).astype(int)
    while True:
        strides = plan_strides(patch, spacing, stages)
        rounded = _round_up(patch, strides)
        can_shrink = patch > 2 * SMALLEST_FEATURE_MAP
        if np.prod(rounded) <= voxels or not can_shrink.any():
            return rounded, strides
        longest = int(np.argmax(patch * np.array(spacing) * can_shrink))
        patch[longest] = rounded[longest] - np.prod([s[longest] for s in strides])


def _round_up(patch: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[int, int, int]:
    """The patch with every axis a multiple of what the network halves it by, and two feature voxels at least."""
    step = np.prod(np.array(strides), axis=0)
    rounded = np.maximum(-(-np.array(patch) // step) * step, np.where(step > 1, 2 * step, step))
    return tuple(int(n) for n in rounded)


def describe_plan(plan: Plan) -> str:
    """The plan in a few lines for people."""
    network = plan.network
    rules = ", ".join(
        f"CT {rule.lower:.0f} to {rule.upper:.0f}" if rule.scheme == "ct" else "z-score per volume"
        for rule in plan.intensities
    )
    aligned = "single slices" if plan.single_slices else "aligned by their thick slices"
    size = " x ".join(str(n) for n in plan.patch[::-1])
    spacing = " x ".join(f"{s:.3g}" for s in plan.spacing[::-1])
    return (
        f"Plan: patch {size} voxels of {spacing} mm (right-left x anterior-posterior x inferior-superior), "
        f"intensities: {rules}{', ' + aligned if plan.alignment else ''}\n"
        f"Network: {network.size}, {len(network.strides)} stages, filters {'-'.join(map(str, network.filters))}"
    )
