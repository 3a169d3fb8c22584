"""``metassl train``: new runs, resumed ones, and those that go on from a model."""

import argparse
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from ..data.dataset import Dataset
from ..errors import DiskError, InputError, OutOfMemoryError, Stopped
from ..events import Reporter
from ..job import BUDGETS
from .command import add_command, watch
from .options import add_settings, job_given, settings_given

RESUMABLE = {*BUDGETS, "device", "threads"}
"""Settings that a resumed run may change."""


def add_train(commands) -> None:
    help = "train a model on the labelled and unlabelled cases"
    parser = add_command(commands, _train, help, "train dataset.json --out run --minutes 10", "train --resume run")
    parser.add_argument("dataset", type=Path, nargs="?", help="dataset.json")
    parser.add_argument("--out", type=Path, metavar="RUN", help="new run folder")
    text = (
        "start from a trained model (its folder, or the run that holds it) instead of random weights: plan, method and "
        "mirror axes are its own; dataset.json names all cases, old ones too, and may have more classes"
    )
    parser.add_argument("--from", dest="parent", type=Path, metavar="MODEL", help=text)
    parser.add_argument("--resume", type=Path, metavar="RUN", help="continue a run; a new budget may be given")
    add_settings(parser)


def _train(args: argparse.Namespace, reporter: Reporter, should_stop: Callable[[], bool]) -> int:
    """Train in this process, or in the processes that torchrun started."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return _train_as(True, args, reporter, should_stop)
    from ..distributed import OtherRankFailed, process_group

    try:
        with process_group() as first:
            reporter.events = reporter.events and first
            return _train_as(first, args, reporter, should_stop)
    except OtherRankFailed as error:
        if first:
            reporter.error(error)
        return error.exit_code


def _train_as(first: bool, args: argparse.Namespace, reporter: Reporter, should_stop: Callable[[], bool]) -> int:
    """Train; only the first process prepares the run folder and holds it."""
    from ..training.run_folder import RunFolder

    run = RunFolder(args.resume or args.out or "")
    new = _new_run(args) if first and not args.resume else ()
    with run.held(new=bool(new)) if first else nullcontext():
        if new:
            run.create(*new)
        elif first:
            _resume_run(run, args)
        from ..training.train import train

        summary = train(run, reporter, should_stop)
        if first and summary["model"] and not summary["stopped"]:
            _keep_hold_out_facts(run, reporter, should_stop)
    reporter.event("done", **summary)
    return Stopped.exit_code if summary["stopped"] else 0


def _keep_hold_out_facts(run, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    """Let the model know how far its predictions agree, and how sure they may be; it is of use without that, too."""
    from ..devices import choose_device
    from ..inference.model import load_model
    from ..review.agreement import keep_hold_out_facts

    job, dataset = run.load()
    if not dataset.with_role("hold-out"):
        return
    try:
        model = load_model(run.model, choose_device(job.device))
        keep_hold_out_facts(run.model, model, dataset, watch(reporter, "comparing", should_stop))
    except Stopped:
        return
    except (OutOfMemoryError, MemoryError, DiskError) as error:
        reporter.warning(f"Agreement and confidence of the hold-out cases are not kept: {error}")


def _new_run(args: argparse.Namespace) -> tuple:
    """Job, data set and warm start (or None) of a new run."""
    if args.dataset is None or args.out is None:
        raise InputError("metassl train needs dataset.json and --out RUN, or --resume RUN.")
    job, dataset, start = job_given(args), Dataset.load(args.dataset), None
    if args.parent is not None:
        from ..training.warm_start import start_from

        job, start = start_from(args.parent, settings_given(args), dataset)
    return job, dataset, start


def _resume_run(run, args: argparse.Namespace) -> None:
    """Check that the run can be resumed as asked for; a new budget becomes the job's."""
    if args.dataset is not None or args.out is not None or args.parent is not None:
        raise InputError(
            "--resume takes data, folder and start from the run.",
            "Give neither dataset.json, --out nor --from with it.",
        )
    job, _ = run.load()
    settings = settings_given(args)
    if other := sorted(set(settings) - RESUMABLE):
        raise InputError(
            f"A resumed run keeps its settings; --{other[0].replace('_', '-')} cannot be changed.",
            "Only a budget, --device and --threads may be given with --resume.",
        )
    if settings:
        no_budget = dict.fromkeys(BUDGETS) if set(BUDGETS) & set(settings) else {}
        replace(job, **{**no_budget, **settings}).save(run.job_file)
