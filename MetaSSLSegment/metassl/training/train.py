"""From a run folder to a model: check, plan, preprocess, train; anew with a smaller patch when memory runs short.

Under torchrun several processes train one model, see ``distributed``; the first of them reads, reports and writes for
all.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from ..data.checking import Measured, Report, check_dataset
from ..data.dataset import Dataset
from ..data.images import flat_axis
from ..data.kept import KeptVolumes
from ..devices import choose_precision, describe_device, leave_memory_to_others, limit_threads
from ..distributed import SilentReporter, announce_failure, is_first, on_first_rank, own_device
from ..errors import InputError, OutOfMemoryError, is_out_of_memory
from ..events import Reporter
from ..job import FEW_STEPS, Job
from ..planning.cache import CachedCase, build_cache
from ..planning.fingerprint import Fingerprint
from ..planning.plan import Plan
from ..planning.planner import describe_plan, make_plan
from .fitting import Fit
from .run_folder import RunFolder
from .trainer import Trainer
from .warm_start import WarmStart


def train(run: RunFolder, reporter: Reporter, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """Train the run, or continue it, until its budget is spent or a stop is asked for.

    Args:
        run: a created run folder.
        reporter: where events and texts go.
        should_stop: asked between steps.

    Returns:
        What the "done" event says: stopped, iterations, seconds, model (path or None), hold_out.

    Raises:
        InputError: the data cannot be trained on.
        OutOfMemoryError: not even the smallest patch fits.
        Stopped: stopped before the first step.
    """
    with run.held() if is_first() else nullcontext():
        return _train(run, reporter, should_stop)


def _train(run: RunFolder, reporter: Reporter, should_stop: Callable[[], bool]) -> dict[str, Any]:
    job, dataset = on_first_rank(run.load)
    if not is_first():
        reporter = SilentReporter()
    reporter.keep_in(run.path)
    limit_threads(job.threads)
    device = own_device(job.device, reporter.warning)
    reporter.info(f"Device: {describe_device(device)}")
    leave_memory_to_others(device)
    dataset, plan, cases = on_first_rank(prepare_data, run, job, dataset, device, reporter, should_stop)
    while True:
        try:
            return Trainer(run, job, dataset, plan, cases, device, reporter).run_to_end(should_stop)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            announce_failure(error)
        plan = on_first_rank(shrink_patch, run, plan, reporter)
        if device.type == "cuda":
            torch.cuda.empty_cache()


def prepare_data(
    run: RunFolder,
    job: Job,
    dataset: Dataset,
    device: torch.device,
    reporter: Reporter,
    should_stop: Callable[[], bool],
) -> tuple[Dataset, Plan, list[CachedCase]]:
    """Check, plan and preprocess, unless an earlier start of the run has done so."""
    plan, kept, headers = run.plan(), KeptVolumes(), {}
    if plan is None:
        report = usable_cases(dataset, job, reporter, should_stop, kept)
        dataset = report.usable_dataset()
        dataset.save(run.dataset_file)
        measured = report.measured
        plan = started_plan(run, dataset, measured, reporter) or fitted_plan(dataset, job, device, measured, reporter)
        run.save_fingerprint(Fingerprint.of([m for m in measured if m.case.role != "hold-out"], plan.alignment))
        plan.save(run.plan_file)
        headers = {m.case.id: m.header for m in measured}
    else:
        reporter.info(describe_plan(plan))
    cases = build_cache(
        dataset,
        plan,
        run.cache,
        kept=kept,
        headers=headers,
        progress=reporter.phase("preprocessing"),
        should_stop=should_stop,
        warn=reporter.warning,
    )
    return dataset, plan, cases


def started_plan(run: RunFolder, dataset: Dataset, measured: Sequence[Measured], reporter: Reporter) -> Plan | None:
    """The plan of the model that the run starts from, None without one; says where it starts.

    Raises:
        InputError: one of model and data set is of single slices, the other of volumes.
    """
    start = WarmStart.load(run.start_file)
    if start is None:
        return None
    if start.plan.single_slices != any(flat_axis(m.size) is not None for m in measured):
        kinds = ("volumes", "single slices")
        model, data = kinds[start.plan.single_slices], kinds[not start.plan.single_slices]
        raise InputError(
            f"The model {start.parent['path']} learnt from {model}, and the data set has {data}.",
            f"Start from a model that learnt from {data}, or train without --from.",
        )
    new = start.new_classes(dataset.classes)
    reporter.info(
        f"Starting from the model {start.parent['path']}, trained on {start.parent['name']} for "
        f"{start.parent['iterations']} steps" + (f"; new: {', '.join(new)}" if new else "")
    )
    reporter.info(describe_plan(start.plan))
    return start.plan


def fitted_plan(
    dataset: Dataset, job: Job, device: torch.device, measured: Sequence[Measured], reporter: Reporter
) -> Plan:
    """The plan for this data set, computer and budget; says what was chosen and why."""
    fit = Fit(job, device, choose_precision(device, job.precision))
    plan = make_plan(dataset, job, device.type, fit.most_voxels, measured=measured)
    voxels = math.prod(plan.patch)
    steps = fit.steps(plan.network, voxels)
    reporter.event("plan", patch=list(plan.patch), network=plan.network.size, steps=steps, limits=fit.limits)
    reporter.info(describe_plan(plan))
    if fit.limits:
        why = {"memory": "fit into the memory", "time": "leave enough steps for learning"}
        reporter.info(
            f"The patch is smaller than the volumes would need, to {' and '.join(why[x] for x in fit.limits)}."
        )
    if steps is not None and job.iterations is None:
        reporter.info(f"This budget holds about {steps} steps on this device.")
        if steps < FEW_STEPS:
            reporter.warning(
                f"{steps} steps are too few to learn much. Give more time, crop the volumes, or use a faster device."
            )
    return plan


def usable_cases(
    dataset: Dataset, job: Job, reporter: Reporter, should_stop: Callable[[], bool], kept: KeptVolumes
) -> Report:
    """Check the data set and say what was found; what was read is kept for the cache.

    Raises:
        InputError: nothing is left to train on.
    """
    report = check_dataset(dataset, progress=reporter.phase("checking"), should_stop=should_stop, kept=kept)
    if report.problems:
        reporter.info(report.text())
    for problem in report.problems:
        if problem.severity != "stop":
            reporter.event("problem", **asdict(problem))
    if job.method != "supervised" and not report.usable_dataset().with_role("unlabelled"):
        raise InputError(
            f"{job.method} needs unlabelled cases and there are none.",
            "Add volumes without a label, set the role of some cases to unlabelled, or train with --method supervised.",
        )
    return report


def shrink_patch(run: RunFolder, plan: Plan, reporter: Reporter) -> Plan:
    """The plan with the longest patch axis about halved, saved.

    Raises:
        OutOfMemoryError: the patch is as small as the network allows.
    """
    step = np.prod(np.array(plan.network.strides), axis=0)
    patch = np.array(plan.patch)
    half = np.maximum(patch // 2 // step * step, 2 * step)
    axis = int(np.argmax(np.where(half < patch, patch, 0)))
    if half[axis] >= patch[axis]:
        raise OutOfMemoryError(
            f"Not enough memory, even with a patch of {' x '.join(map(str, plan.patch[::-1]))} voxels.",
            "Close other programs, or train with --network small, smaller batches or --device cpu.",
        )
    patch[axis] = half[axis]
    plan = replace(plan, patch=tuple(int(n) for n in patch))
    plan.save(run.plan_file)
    reporter.warning(f"Out of memory; continuing with a patch of {' x '.join(map(str, plan.patch[::-1]))} voxels.")
    return plan
