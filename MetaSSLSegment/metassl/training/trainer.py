"""Training: from a run folder with job.json and dataset.json to a model folder; it can be stopped and resumed.

The reported model is that of the last step; nothing is selected on hold-out cases. Under torchrun several processes
train one model, see ``distributed``; the first of them reads, reports and writes for all.
"""

import json
import math
import platform
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .. import __version__
from ..crops.augmentation import Augmentation
from ..crops.pasting import paste_labelled
from ..crops.sampling import Crops, CropSampler, Prefetcher
from ..data.checking import check_dataset
from ..data.dataset import IGNORE, Dataset
from ..devices import autocast, choose_precision, describe_device, is_out_of_memory
from ..distributed import (
    SilentReporter,
    announce_failure,
    is_first,
    largest_over_ranks,
    on_first_rank,
    own_device,
    rank,
    sum_gradients,
    world_size,
)
from ..errors import InputError, MetaSSLError, OutOfMemoryError
from ..events import Reporter, duration, read_events
from ..files import write_text
from ..inference.model import save_model
from ..inference.volume import predict_labels
from ..job import Job
from ..networks.instance_norm import move_to_device
from ..planning.plan import Plan
from ..planning.planner import describe_plan, make_plan
from ..planning.preprocessing import CachedCase, build_cache
from ..regions import REGIONS
from ..ssl.annotation_trust import AnnotationTrust
from ..ssl.losses import HeterogeneousLoss, dice_ce_loss
from ..ssl.methods import Streams, build_method
from ..ssl.quadripartition import LABELLED, REFERENCE, SUPERVISED, UNLABELLED, Branch, pseudo_labellers
from .checkpoint import load_checkpoint, save_checkpoint
from .run_folder import RunFolder

CHECKPOINT_SECONDS = 60
METRICS_SECONDS = 1.0
HOLD_OUT_TIMES = (0.25, 0.5, 0.75)
"""Shares of the budget after which hold-out Dice is measured, besides the end."""
HOLD_OUT_SHARE = 0.05
"""Measuring hold-out Dice on the way may take this share of the whole training time each time, at the end any time."""
GRADIENT_NORM = 0.12
"""Every step's gradient is cut to this length. Nearly all are longer: without it the large ones of the first steps stay
in AdamW's memory of squares and make the steps of the whole run smaller; see docs/benchmarks.md."""
CERTAIN_LOGIT = 8.0
WARM_UP = 0.02
"""Share of the budget over which the learning rate rises linearly."""
DOUBTED = 0.5
"""Annotations that are trusted less than this are named to the user."""
DIVERGED_STEPS = 20
"""So many steps in a row without a finite loss end the run."""


def train(run: RunFolder, reporter: Reporter, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """Train the run, or go on with it, until its budget is spent or a stop is asked for.

    Args:
        run: a created run folder.
        reporter: where events and texts go.
        should_stop: asked between steps.

    Returns:
        What the "done" event says: stopped, iterations, seconds, model (path or None), hold_out.

    Raises:
        InputError: the data cannot be trained on.
        OutOfMemoryError: also the smallest patch does not fit.
        Stopped: stopped before the first step.
    """
    job, dataset = on_first_rank(run.load)
    if not is_first():
        reporter = SilentReporter()
    reporter.keep_in(run.path)
    if job.threads:
        torch.set_num_threads(job.threads)
    device = own_device(job.device)
    reporter.info(f"Device: {describe_device(device)}")
    dataset, plan, cases = on_first_rank(prepare, run, job, dataset, device, reporter, should_stop)
    while True:
        try:
            return Trainer(run, job, dataset, plan, cases, device, reporter).run_to_end(should_stop)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            announce_failure(error)
        plan = on_first_rank(shrink, run, plan, reporter)
        if device.type == "cuda":
            torch.cuda.empty_cache()


def prepare(
    run: RunFolder,
    job: Job,
    dataset: Dataset,
    device: torch.device,
    reporter: Reporter,
    should_stop: Callable[[], bool],
) -> tuple[Dataset, Plan, list[CachedCase]]:
    """Check, plan and preprocess, as far as an earlier start of the run has not."""
    plan = run.plan()
    if plan is None:
        dataset = usable_dataset(dataset, job, reporter, should_stop)
        dataset.save(run.dataset_file)
        plan = make_plan(dataset, job, device.type, progress=reporter.phase("planning"), should_stop=should_stop)
        plan.save(run.plan_file)
    reporter.info(describe_plan(plan))
    cases = build_cache(dataset, plan, run.cache, progress=reporter.phase("preprocessing"), should_stop=should_stop)
    return dataset, plan, cases


def shrink(run: RunFolder, plan: Plan, reporter: Reporter) -> Plan:
    """The plan with a smaller patch, saved.

    Raises:
        OutOfMemoryError: the patch is as small as the network allows.
    """
    plan = _smaller(plan)
    plan.save(run.plan_file)
    reporter.warning(f"Out of memory; going on with a patch of {plan.patch} voxels.")
    return plan


def usable_dataset(dataset: Dataset, job: Job, reporter: Reporter, should_stop: Callable[[], bool]) -> Dataset:
    """The data set without the cases that fail the checks; says what was found.

    Raises:
        InputError: nothing is left to train on.
    """
    report = check_dataset(dataset, progress=reporter.phase("checking"), should_stop=should_stop)
    if report.problems:
        reporter.info(report.text())
    for problem in report.problems:
        if problem.severity != "stop":
            reporter.event("problem", **asdict(problem))
    usable = report.usable_dataset()
    if job.method != "supervised" and not usable.with_role("unlabelled"):
        raise InputError(
            f"{job.method} needs unlabelled cases and there are none.",
            "Add volumes without a label, set the role of some cases to unlabelled, or train with --method supervised.",
        )
    return usable


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
        torch.manual_seed(job.seed)
        self.method = move_to_device(build_method(plan, job), device)
        self.heterogeneous = HeterogeneousLoss(
            plan.network.out_channels,
            region_weights=job.region_weights,
            reduction=job.reduction,
            partition=job.partition,
            alpha=job.threshold_memory,
            cap=job.threshold_cap,
        ).to(device)
        self.trust = AnnotationTrust(sum(c.role == "labelled" for c in cases)).to(device)
        self.optimizer = torch.optim.AdamW(
            self.method.trained_parameters(), lr=job.learning_rate, weight_decay=job.weight_decay
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        self.augment = Augmentation(plan.patch, plan.spacing, job.mirror_axes)
        self.roles = {role: [c for c in cases if c.role == role] for role in ("labelled", "unlabelled", "hold-out")}
        supervised = job.method == "supervised"
        self.sampler = CropSampler(
            self.roles["labelled"],
            [] if supervised else self.roles["unlabelled"],
            (job.batch_labelled, 0 if supervised else job.batch_unlabelled),
            plan.patch,
            job.seed,
            rank(),
            world_size(),
        )
        self.iteration = 0
        self.seconds = 0.0
        self.diverged = 0
        self.hold_out: dict[str, Any] | None = None
        self.last_checkpoint = time.monotonic()
        self.last_metrics = 0.0
        self.collected: list[dict[str, Tensor]] = []
        self.resume()

    def run_to_end(self, should_stop: Callable[[], bool]) -> dict[str, Any]:
        """The training loop."""
        self.start()
        with closing(Prefetcher(self.sampler, self.iteration, pin=self.device.type == "cuda")) as batches:
            for crops in batches:
                stop, self.seconds = largest_over_ranks(should_stop(), self.seconds)
                if stop or self.spent() >= 1:
                    break
                begin = time.monotonic()
                metrics = self.step(crops)
                self.seconds += time.monotonic() - begin
                self.report(metrics)
                if time.monotonic() - self.last_checkpoint > CHECKPOINT_SECONDS:
                    self.save()
                if self.hold_out_is_due():
                    self.measure_hold_out(should_stop, HOLD_OUT_SHARE * self.seconds / self.spent())
        return self.finish(should_stop)

    def start(self) -> None:
        """Say what is about to happen."""
        counts = {role: len(cases) for role, cases in self.roles.items()}
        self.reporter.event(
            "start",
            method=self.job.method,
            loss=self.job.loss,
            device=str(self.device),
            precision=str(self.precision).removeprefix("torch."),
            cases=counts,
            iteration=self.iteration,
            minutes=self.job.minutes,
            iterations=self.job.iterations,
            ranks=world_size(),
            version=__version__,
        )
        loss = "" if self.job.method == "supervised" else f" with the {self.loss_name()} loss"
        self.reporter.info(
            f"Training {self.job.method}{loss} on {counts['labelled']} labelled and {counts['unlabelled']} unlabelled "
            f"cases"
            + (f" in {world_size()} processes" if world_size() > 1 else "")
            + (f", going on after step {self.iteration}" if self.iteration else "")
        )

    def loss_name(self) -> str:
        """The unlabelled loss as people call it."""
        return "MetaSSL" if self.job.loss == "metassl" else "own"

    def spent(self) -> float:
        """Share of the budget that is spent, 0 to 1 and above."""
        if self.job.iterations is not None:
            return self.iteration / self.job.iterations
        return self.seconds / (60 * self.job.minutes)

    def learning_rate(self) -> float:
        """Learning rate of the coming step."""
        spent = min(self.spent(), 1.0)
        fall = (1 - spent) ** 0.9 if self.job.schedule == "poly" else 0.5 * (1 + math.cos(math.pi * spent))
        # the warm-up starts above zero, so that also the very first step learns
        return self.job.learning_rate * fall * min(1.0, 0.05 + spent / WARM_UP)

    def ramp(self) -> float:
        """How far the network's own judgement counts yet, exp(-5 (1 - t / T_r)^2), from 0 to 1."""
        rise = min(1.0, self.spent() / self.job.ramp) if self.job.ramp > 0 else 1.0
        return math.exp(-5 * (1 - rise) ** 2)

    def consistency(self) -> float:
        """Weight of the unlabelled loss, lambda(t) = lambda_max ramp(t)."""
        return self.job.consistency * self.ramp()

    def step(self, crops: Crops) -> dict[str, Tensor]:
        """One optimiser step; returns what to report of it, still on the device."""
        # dropout and noise of this step, others on every rank
        torch.manual_seed((hash((self.job.seed, self.iteration)) + rank()) % 2**63)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        streams = self.streams(crops)
        self.method.train()
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.device, self.precision):
            predictions = self.method(streams)
        loss, metrics = self.loss(predictions, streams)
        self.scaler.scale(loss).backward()
        sum_gradients(self.method.trained_parameters())
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.method.trained_parameters(), GRADIENT_NORM)
        self.update(norm)
        self.iteration += 1
        self.method.after_step(self.iteration)
        return metrics

    def streams(self, crops: Crops) -> Streams:
        """Crops as the method sees them."""
        images = crops.images.to(self.device, non_blocking=True)
        labels = crops.labels.to(self.device, non_blocking=True)
        weak, strong, labels = self.augment(images, labels, crops.seeds)
        count = self.sampler.batch[0]
        cases = crops.cases[:count]
        trust = torch.ones(labels.shape, device=self.device)
        if self.judges_annotations:
            trust[:count] *= self.trust(cases, self.ramp()).view(-1, 1, 1, 1)
        if self.job.pasting == "off":
            return Streams(weak, strong, labels, count, None, trust, cases)
        strong, labels, trust, pasted = paste_labelled(strong, labels, trust, count, crops.seeds)
        return Streams(weak, strong, labels, count, pasted, trust, cases)

    def loss(self, predictions, streams: Streams) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss, and its parts for the report."""
        branches = {id(logits): Branch.of(logits) for logits in predictions.trained}
        count = streams.labelled
        supervised = torch.stack(
            [
                dice_ce_loss(branches[id(p)].log_probability[:count], streams.labels[:count], streams.trust[:count])
                for p in predictions.trained
            ]
        ).mean()
        metrics = {"supervised": supervised.detach()}
        if not predictions.pairs:
            return supervised, metrics
        pairs = []
        for pair in predictions.pairs:
            for logits in pair:
                if id(logits) not in branches:
                    branches[id(logits)] = Branch.of(logits)
            pairs.append(tuple(branches[id(logits)] for logits in pair))
        if self.job.loss == "metassl":
            terms = self.heterogeneous(
                pairs, streams.labels, count, self.method.symmetric, streams.pasted, streams.trust
            )
            if self.judges_annotations:
                judges = pseudo_labellers(pairs, self.method.symmetric)
                self.trust.update(judges, streams.labels[:count], streams.cases)
            unlabelled = terms.labelled + terms.unlabelled
            metrics |= {
                "labelled": terms.labelled.detach(),
                "unlabelled": terms.unlabelled.detach(),
                "shares": terms.shares,
            }
        else:
            valid = streams.labels[count:] != IGNORE
            unlabelled = torch.stack(
                [self.method.own_loss(p[count:], self.known(q[count:], streams), valid) for p, q in predictions.pairs]
            ).mean()
            metrics["unlabelled"] = unlabelled.detach()
        return supervised + self.consistency() * unlabelled, metrics

    @property
    def judges_annotations(self) -> bool:
        """Whether annotations that the model contradicts count less."""
        return self.job.loss == "metassl" and self.job.method != "supervised" and self.job.annotation_trust == "on"

    def known(self, reference: Tensor, streams: Streams) -> Tensor:
        """Reference logits of the unlabelled crops that are certain of the annotation in the pasted voxels.

        Symmetric methods predict the pasted view with both branches and need no such help.
        """
        if self.method.symmetric or streams.pasted is None:
            return reference
        classes = reference.shape[1]
        labels = streams.labels[streams.labelled :].clamp(max=classes - 1)
        certain = CERTAIN_LOGIT * functional.one_hot(labels, classes).movedim(-1, 1).to(reference.dtype)
        return torch.where(streams.pasted.unsqueeze(1), certain, reference)

    def update(self, gradient_norm: Tensor) -> None:
        """Step the optimiser, unless the gradient is not finite (fp16's scaler sees to that itself)."""
        if self.scaler.is_enabled() or torch.isfinite(gradient_norm):
            self.diverged = 0
            self.scaler.step(self.optimizer)
            self.scaler.update()
            return
        self.diverged += 1
        if self.diverged >= DIVERGED_STEPS:
            raise MetaSSLError(
                f"Training diverged at step {self.iteration}: the loss is not finite.",
                "Start again with a lower --learning-rate.",
            )

    def report(self, metrics: dict[str, Tensor]) -> None:
        """Collect a step's metrics; about once a second send their means."""
        if not is_first():
            return
        self.collected.append(metrics)
        left = self.seconds_left()
        self.reporter.progress("training", self.spent(), 1, f"step {self.iteration}", left)
        now = time.monotonic()
        if now - self.last_metrics < METRICS_SECONDS and self.spent() < 1:
            return
        self.last_metrics = now
        means = {k: torch.stack([m[k].float() for m in self.collected]).mean(0).tolist() for k in metrics}
        self.collected = []
        shares = means.pop("shares", None)
        fields: dict[str, Any] = {
            "iteration": self.iteration,
            "seconds": round(self.seconds, 2),
            "fraction": round(min(1.0, self.spent()), 4),
            "eta_seconds": None if left is None else round(left, 1),
            "loss": {name: round(value, 6) for name, value in means.items()},
            "consistency": round(self.consistency(), 6),
            "learning_rate": self.learning_rate(),
        }
        if shares is not None:
            tau = self.heterogeneous.thresholds
            fields["shares"] = {
                name: {region.code: round(share, 5) for region, share in zip(REGIONS, shares[stream])}
                for name, stream in (("labelled", LABELLED), ("unlabelled", UNLABELLED))
            }
            fields["thresholds"] = {
                f"{name} {side}": [round(t, 5) for t in tau.used(stream, branch).tolist()]
                for name, stream in (("labelled", LABELLED), ("unlabelled", UNLABELLED))
                for side, branch in (("supervised", SUPERVISED), ("reference", REFERENCE))
            }
        self.reporter.event("metrics", **fields)

    def seconds_left(self) -> float | None:
        """Training time left, None before the first step."""
        if self.job.minutes is not None:
            return max(0.0, 60 * self.job.minutes - self.seconds)
        return self.seconds / self.iteration * (self.job.iterations - self.iteration) if self.iteration else None

    def hold_out_is_due(self) -> bool:
        """Whether this step passed one of ``HOLD_OUT_TIMES``."""
        if not self.roles["hold-out"]:
            return False
        due = sum(self.spent() >= t for t in HOLD_OUT_TIMES)
        passed, self.hold_outs = due > self.hold_outs, due
        return passed and self.spent() < 1

    def measure_hold_out(self, should_stop: Callable[[], bool], most_seconds: float = math.inf) -> None:
        """Dice of the hold-out cases, per class and mean, on the network's grid.

        Given up, until the end of the training, when it turns out to take longer than ``most_seconds``. The other ranks
        wait for the first one in their next step.
        """
        if not is_first():
            return
        begin = time.monotonic()
        classes = len(self.dataset.classes)
        scores = []
        for number, case in enumerate(self.roles["hold-out"]):
            if should_stop():
                return
            self.reporter.progress("hold-out", number, len(self.roles["hold-out"]), case.id)
            image = np.asarray(case.image(), dtype=np.float32)
            predicted = predict_labels(self.method, image, self.plan, self.device, self.precision)
            scores.append(_dice(predicted, np.asarray(case.label()), classes))
            if (time.monotonic() - begin) / len(scores) * len(self.roles["hold-out"]) > most_seconds:
                self.hold_outs = len(HOLD_OUT_TIMES)
                self.reporter.info("Measuring the hold-out cases takes long; it is left for the end of the training.")
                return
        self.reporter.progress("hold-out", 1, 1)
        mean = np.nanmean(np.array(scores), axis=0)
        self.hold_out = {
            "dice": {c.name: round(float(d), 4) for c, d in zip(self.dataset.classes, mean)},
            "mean_dice": round(float(np.nanmean(mean)), 4),
            "cases": len(scores),
        }
        self.reporter.event("hold-out", iteration=self.iteration, **self.hold_out)
        self.reporter.info(f"Hold-out Dice after step {self.iteration}: {self.hold_out['mean_dice']:.4f}")

    def save(self) -> None:
        """Write the checkpoint."""
        if not is_first():
            return
        content = {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "method": self.method.state_dict(),
            "heterogeneous": self.heterogeneous.state_dict(),
            "trust": self.trust.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "hold_out": self.hold_out,
        }
        save_checkpoint(self.run.checkpoint_file, content)
        self.last_checkpoint = time.monotonic()
        self.reporter.event("checkpoint", iteration=self.iteration, seconds=round(self.seconds, 2))

    def resume(self) -> None:
        """Take the state of the checkpoint, if there is one, and forget metrics that came after it."""
        if on_first_rank(self.run.checkpoint_file.exists):
            state = load_checkpoint(self.run.checkpoint_file, self.device)
            try:
                self.method.load_state_dict(state["method"])
                self.heterogeneous.load_state_dict(state["heterogeneous"])
                self.trust.load_state_dict(state["trust"])
                self.optimizer.load_state_dict(state["optimizer"])
                self.scaler.load_state_dict(state["scaler"])
                self.iteration, self.seconds = state["iteration"], state["seconds"]
                self.hold_out = state["hold_out"]
            except (KeyError, ValueError, RuntimeError) as error:
                raise InputError(
                    f"{self.run.checkpoint_file} does not fit its job.json and plan.json: {error}",
                    "Train again in another folder.",
                ) from error
        self.hold_outs = sum(self.spent() >= t for t in HOLD_OUT_TIMES)
        if is_first():
            forget_events_after(self.run.events_file, self.iteration)

    def finish(self, should_stop: Callable[[], bool]) -> dict[str, Any]:
        """Save checkpoint and model, measure the hold-out cases when the run is complete."""
        complete = self.spent() >= 1
        self.save()
        if complete and self.roles["hold-out"]:
            self.measure_hold_out(should_stop)
        if self.iteration and is_first():
            save_model(
                self.run.model,
                self.method,
                plan=self.plan,
                job=self.job,
                dataset=self.dataset,
                thresholds=self.heterogeneous.thresholds.used(UNLABELLED, REFERENCE).cpu(),
                provenance=self.provenance(complete),
            )
        summary = {
            "stopped": not complete,
            "iterations": self.iteration,
            "seconds": round(self.seconds, 1),
            "model": str(self.run.model) if self.iteration else None,
            "hold_out": self.hold_out,
        }
        pace = f"{self.iteration} steps in {duration(self.seconds)}"
        self.report_annotations()
        if complete:
            self.reporter.info(f"Done: {pace}. Model: {self.run.model}")
        else:
            self.reporter.info(f"Stopped: {pace}, saved. Continue with: metassl train --resume {self.run.path}")
        return summary

    def report_annotations(self) -> None:
        """Name the labelled cases whose annotation counted little."""
        if not self.judges_annotations:
            return
        cases = self.roles["labelled"]
        trust = self.trust(range(len(cases)), self.ramp()).tolist()
        dice = self.trust.dice().tolist()
        self.reporter.event(
            "annotations",
            iteration=self.iteration,
            cases={c.id: {"dice": round(d, 4), "trust": round(t, 4)} for c, d, t in zip(cases, dice, trust)},
            doubted=[c.id for c, t in zip(cases, trust) if t < DOUBTED],
        )
        for case, d, t in zip(cases, dice, trust):
            if t < DOUBTED:
                self.reporter.warning(
                    f"The annotation of {case.id} disagrees with what the model learnt from the other cases (Dice "
                    f"{d:.2f}, others up to {max(dice):.2f}) and counted little. Look at it, mend it or leave it out."
                )

    def provenance(self, complete: bool) -> dict[str, Any]:
        """Where the model comes from."""
        return {
            "complete": complete,
            "iterations": self.iteration,
            "training_seconds": round(self.seconds, 1),
            "ranks": world_size(),
            "cases": {role: [c.id for c in cases] for role, cases in self.roles.items()},
            "hold_out": self.hold_out,
            "software": {"metassl": __version__, "torch": torch.__version__, "python": platform.python_version()},
            "device": describe_device(self.device),
        }


def forget_events_after(path, iteration: int) -> None:
    """Drop the metrics and checkpoints of steps that a resumed run does again."""
    if not path.exists():
        return
    kept = [e for e in read_events(path) if not isinstance(e.get("iteration"), int) or e["iteration"] <= iteration]
    write_text(path, "".join(json.dumps(event) + "\n" for event in kept))


def _smaller(plan: Plan) -> Plan:
    """The plan with the longest patch axis about halved.

    Raises:
        OutOfMemoryError: the patch is as small as the network allows.
    """
    step = np.prod(np.array(plan.network.strides), axis=0)
    patch = np.array(plan.patch)
    half = np.maximum(patch // 2 // step * step, 2 * step)
    axis = int(np.argmax(np.where(half < patch, patch, 0)))
    if half[axis] >= patch[axis]:
        raise OutOfMemoryError(
            f"Not enough memory, even with a patch of {plan.patch} voxels.",
            "Close other programs, or train with --network small, smaller batches or --device cpu.",
        )
    patch[axis] = half[axis]
    return replace(plan, patch=tuple(int(n) for n in patch))


def _dice(predicted: np.ndarray, label: np.ndarray, classes: int) -> list[float]:
    """Dice of classes 1 to ``classes``; NaN where neither has the class."""
    counted = label != IGNORE
    scores = []
    for k in range(1, classes + 1):
        a, b = (predicted == k) & counted, label == k
        size = a.sum() + b.sum()
        scores.append(2 * (a & b).sum() / size if size else math.nan)
    return scores
