"""The training loop. The saved model is that of the last step; nothing is selected on hold-out cases."""

import math
import platform
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from ..crops.prefetching import Prefetcher
from ..crops.sampling import Crops, CropSampler
from ..data.dataset import Dataset
from ..devices import autocast, choose_precision, describe_device
from ..distributed import is_first, largest_over_ranks, on_first_rank, rank, sum_gradients, world_size
from ..errors import DiskError, InputError, MetaSSLError, Stopped, is_out_of_memory
from ..events import Reporter, duration
from ..inference.model import save_model
from ..inference.volume import predict_labels
from ..job import Job
from ..networks.instance_norm import move_to_device
from ..planning.cache import CachedCase
from ..planning.plan import Plan
from ..ssl.methods import build_method
from ..ssl.quadripartition import REFERENCE, UNLABELLED
from ..validation import Fields, mapping, number, whole
from .budget import Budget
from .checkpoint import load_checkpoint, load_optimizer, save_checkpoint
from .hold_out import MOST_SHARE, HoldOut
from .objective import Objective
from .reports import Reports
from .run_folder import RunFolder
from .warm_start import WarmStart

CHECKPOINT_SECONDS = 60
PATIENCE = 0.5
"""Seconds after which a stop and the budget are looked at although no crops have come."""
GRADIENT_NORM = 0.12
"""Every step's gradient is cut to this length. Nearly all are longer: without it the large ones of the first steps stay
in AdamW's memory of squares and make the steps of the whole run smaller; see docs/benchmarks.md."""
DIVERGED_STEPS = 20
"""So many steps in a row without a finite loss end the run."""


class Trainer:
    """State of a run in memory, and the named steps of its loop."""

    def __init__(
        self,
        run: RunFolder,
        job: Job,
        dataset: Dataset,
        plan: Plan,
        cases: list[CachedCase],
        device: torch.device,
        reporter: Reporter,
    ):
        self.run, self.job, self.dataset, self.plan = run, job, dataset, plan
        self.device, self.reporter = device, reporter
        self.precision = choose_precision(device, job.precision)
        self.cases = {role: [c for c in cases if c.role == role] for role in ("labelled", "unlabelled", "hold-out")}
        torch.manual_seed(job.seed)
        self.method = move_to_device(build_method(job.method, plan.network, job.ema_decay), device)
        self.objective = Objective(job, plan, len(self.cases["labelled"])).to(device)
        start = WarmStart.load(run.start_file)
        self.parent = start.parent if start else None
        if start:
            start.give(self.method, self.objective.heterogeneous.thresholds, dataset.classes)
        self.optimizer = torch.optim.AdamW(
            self.method.trained_parameters(),
            lr=job.learning_rate,
            weight_decay=job.weight_decay,
            fused=device.type == "cuda" or None,  # under fp16's scaler also one question less to the GPU
        )
        torch.backends.cudnn.benchmark = True  # all patches have one size
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        supervised = job.method == "supervised"
        self.sampler = CropSampler(
            self.cases["labelled"],
            [] if supervised else self.cases["unlabelled"],
            (job.batch_labelled, 0 if supervised else job.batch_unlabelled),
            plan.patch,
            job.seed,
            rank(),
            world_size(),
        )
        self.budget = Budget(job, bool(start) and not start.new_classes(dataset.classes))
        self.reports = Reports(reporter, job, self.budget, self.cases)
        self.hold_out = HoldOut(self.cases["hold-out"], dataset.classes, reporter)
        self.diverged, self.saving_seconds = 0, 0.0
        self.last_checkpoint = time.monotonic()
        self.resume()

    def run_to_end(self, should_stop: Callable[[], bool]) -> dict[str, Any]:
        """The training loop."""
        self.reports.start(self.device, self.precision)
        with closing(self.prefetcher()) as batches:
            for crops in batches:
                stop, self.budget.seconds = largest_over_ranks(should_stop(), self.budget.look())
                if stop or self.budget.spent() >= 1:
                    break
                if crops is None:
                    continue
                metrics = self.step(crops)
                if is_first():
                    self.reports.step(metrics, self.objective.heterogeneous.thresholds)
                if time.monotonic() - self.last_checkpoint > CHECKPOINT_SECONDS:
                    self.save_on_the_way()
                if self.hold_out.is_due(spent := self.budget.spent()):
                    self.measure_hold_out(should_stop, most_seconds=MOST_SHARE * self.budget.seconds / spent)
        return self.finish(should_stop)

    def prefetcher(self) -> Prefetcher:
        """The crops from this step on; several ranks must make the same number of turns, so they wait for theirs."""
        patience = None if world_size() > 1 else PATIENCE
        return Prefetcher(self.sampler, self.budget.iteration, pin=self.device.type == "cuda", patience=patience)

    def step(self, crops: Crops) -> dict[str, Tensor]:
        """One optimiser step; returns what to report of it, still on the device."""
        # dropout and noise of this step, others on every rank
        torch.manual_seed((hash((self.job.seed, self.budget.iteration)) + rank()) % 2**63)
        for group in self.optimizer.param_groups:
            group["lr"] = self.budget.learning_rate()
        labelled, unlabelled = self.sampler.batch
        warming_up = self.budget.is_warming_up()
        if warming_up:
            crops, unlabelled = crops.first(labelled), 0
        streams = self.objective.streams(crops.to(self.device), labelled, self.budget.doubt())
        self.method.train()
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.device, self.precision):
            predictions = self.method.warm_up(streams) if warming_up else self.method(streams)
        loss, metrics = self.objective(self.method, predictions, streams, self.budget.consistency())
        self.scaler.scale(loss).backward()
        sum_gradients(self.method.trained_parameters())
        self.update()
        self.budget.iteration += 1
        passes = self.method.passes(self.plan.network, labelled, unlabelled)
        self.budget.megavoxels += passes * math.prod(self.plan.patch) / 1e6
        self.method.after_step(self.budget.iteration)
        return metrics

    def update(self) -> None:
        """Step the optimiser, unless the gradient is not finite.

        That is the one question that a step asks the device. Under fp16 some such steps are usual: at each the scaler
        halves its factor, until one fits. More of them than it has halvings mean divergence there too.
        """
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.method.trained_parameters(), GRADIENT_NORM)
        if finite := bool(torch.isfinite(norm)):
            self.scaler.step(self.optimizer)
        self.scaler.update()
        self.diverged = 0 if finite else self.diverged + 1
        if self.diverged >= DIVERGED_STEPS:
            raise MetaSSLError(
                f"Training diverged at step {self.budget.iteration}: the loss is not finite.",
                "Start again with a lower --learning-rate.",
            )

    def measure_hold_out(self, should_stop: Callable[[], bool], **options: Any) -> None:
        """``HoldOut.measure`` with these options; the other ranks wait for the first one in their next step."""
        if not is_first():
            return
        predict = partial(
            predict_labels,
            self.method,
            plan=self.plan,
            device=self.device,
            precision=self.precision,
            should_stop=should_stop,
        )
        with suppress(Stopped):
            self.hold_out.measure(predict, self.budget.iteration, **options)
        self.budget.reserve = self.saving_seconds + self.hold_out.seconds

    def save_on_the_way(self) -> None:
        """Write the checkpoint; when that fails now, a later one may succeed."""
        try:
            self.save()
        except DiskError as error:
            self.last_checkpoint = time.monotonic()
            self.reporter.warning(f"{error} Training continues; the checkpoint is tried again in a minute.")

    def save(self) -> None:
        """Write the checkpoint."""
        if not is_first():
            return
        content = {
            "iteration": self.budget.iteration,
            "seconds": self.budget.seconds,
            "megavoxels": self.budget.megavoxels,
            "method": self.method.state_dict(),
            "heterogeneous": self.objective.heterogeneous.state_dict(),
            "trust": self.objective.trust.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "hold_out": self.hold_out.result,
        }
        begin = time.monotonic()
        save_checkpoint(self.run.checkpoint_file, content, self.run.earlier_checkpoint_file)
        self.last_checkpoint = time.monotonic()
        self.saving_seconds = 2 * (self.last_checkpoint - begin)  # at the end the model follows
        self.budget.reserve = self.saving_seconds + self.hold_out.seconds
        self.reports.checkpoint(self.run.checkpoint_file)

    def resume(self) -> None:
        """Take the state of the newest checkpoint that is whole, and forget the events that came after it."""
        failure = None
        for file in on_first_rank(self.run.checkpoints):
            try:
                self.take_state(file)
            except InputError as error:
                failure = failure or error
                continue
            if failure:
                self.reporter.warning(f"{failure} The run goes on from the checkpoint before it.")
            break
        else:
            if failure:
                raise failure
        self.hold_out.skip_to(self.budget.spent())
        if is_first():
            self.reports.forget_later_events(self.run.events_file)

    def take_state(self, file: Path) -> None:
        """Take the state of a checkpoint.

        Raises:
            InputError: it is damaged, or of another job or plan; parts of it may be taken already.
        """
        state = Fields(load_checkpoint(file, self.device), f"{file} is damaged:")
        try:
            self.method.load_state_dict(state.take("method", mapping))
            self.objective.heterogeneous.load_state_dict(state.take("heterogeneous", mapping))
            self.objective.trust.load_state_dict(state.take("trust", mapping))
            load_optimizer(self.optimizer, state.take("optimizer", mapping))
            self.scaler.load_state_dict(state.take("scaler", mapping))
        except (LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise InputError(
                f"{file} does not fit its job.json and plan.json: {' '.join(str(error).split())[:300]}",
                "Train again in another folder.",
            ) from error
        self.budget.iteration = state.take("iteration", whole, 0)
        self.budget.seconds = state.take("seconds", number, 0)
        self.budget.megavoxels = state.optional("megavoxels", number, 0, 1e15) or 0.0
        self.hold_out.result = state.optional("hold_out", mapping)

    def finish(self, should_stop: Callable[[], bool]) -> dict[str, Any]:
        """Save checkpoint and model, measure the hold-out cases when the run is complete."""
        budget, complete = self.budget, self.budget.spent() >= 1
        self.save()
        if complete and self.cases["hold-out"]:
            self.measure_hold_out(should_stop, spacing=self.plan.spacing)
        budget.look()
        if budget.iteration and is_first():
            save_model(
                self.run.model,
                self.method,
                plan=self.plan,
                job=self.job,
                dataset=self.dataset,
                thresholds=self.objective.heterogeneous.thresholds.used(UNLABELLED, REFERENCE).cpu(),
                provenance=self.provenance(complete),
                fingerprint=self.run.fingerprint(),
            )
        pace = f"{budget.iteration} steps in {duration(budget.seconds)}"
        self.reports.annotations(self.objective)
        if complete:
            self.reporter.info(f"Done: {pace}. Model: {self.run.model}")
        else:
            self.reporter.info(f"Stopped: {pace}, saved. Continue with: metassl train --resume {self.run.path}")
        return {
            "stopped": not complete,
            "iterations": budget.iteration,
            "seconds": round(budget.seconds, 1),
            "model": str(self.run.model) if budget.iteration else None,
            "hold_out": self.hold_out.result,
        }

    def provenance(self, complete: bool) -> dict[str, Any]:
        """Where the model comes from."""
        return {
            "complete": complete,
            "parent": self.parent,
            "iterations": self.budget.iteration,
            "training_seconds": round(self.budget.seconds, 1),
            "ranks": world_size(),
            "cases": {role: [c.id for c in cases] for role, cases in self.cases.items()},
            "hold_out": self.hold_out.result,
            "software": {"metassl": __version__, "torch": torch.__version__, "python": platform.python_version()},
            "device": describe_device(self.device),
        }
