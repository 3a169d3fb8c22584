"""``metassl audit``: by a model, or every half of the labelled cases by a model that was trained on the other half."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from ..data.dataset import Case, Dataset
from ..errors import InputError, Stopped
from ..events import Reporter
from ..job import Job
from .command import add_command, device_for, watch
from .options import add_settings, job_given, settings_given

WITH_A_MODEL = {"device", "threads"}
"""Settings that an audit by a model knows; by halves it knows those of a training."""


def add_audit(commands) -> None:
    help = "compare the annotations with what a model predicts: which ones, and where, deserve a look"
    examples = ("audit run/model dataset.json --out audit", "audit dataset.json --out audit --minutes 5 (by halves)")
    parser = add_command(commands, _audit, help, *examples)
    text = (
        "model folder (or the run folder that holds it); without it two models are trained, each with the budget, and "
        "every half of the labelled cases is compared with the model of the other half"
    )
    parser.add_argument("model", type=Path, nargs="?", help=text)
    parser.add_argument("dataset", type=Path, help="dataset.json; its labelled and hold-out cases are looked at")
    text = "for audit.json, NAME_doubt.nii.gz and NAME_annotation.nii.gz; by halves also for the two runs"
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=text)
    add_settings(parser)


def _audit(args: argparse.Namespace, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    from ..review.audit import audit_by_halves, audit_dataset, audit_table

    dataset, following = Dataset.load(args.dataset), watch(reporter, "auditing", should_stop)
    if args.model is None:
        parts = _trained_halves(args.out, dataset, job_given(args), reporter, should_stop)
        audit = audit_by_halves(parts, dataset, args.out, following)
    else:
        audit = audit_dataset(_model(args, reporter), dataset, args.out, watch=following)
    reporter.result(audit_table(audit))
    reporter.info(f"Wrote {args.out}")
    reporter.event("done", out=str(args.out), **audit)


def _model(args: argparse.Namespace, reporter: Reporter):
    """The model that was named, on the device that was asked for."""
    from ..inference.model import load_model

    settings = settings_given(args)
    if other := sorted(set(settings) - WITH_A_MODEL):
        raise InputError(
            f"--{other[0].replace('_', '-')} is a setting of a training; an audit by a model trains nothing.",
            "Leave it out, or leave the model out for an audit by halves.",
        )
    return load_model(args.model, device_for(settings.get("device", "auto"), settings.get("threads", 0), reporter))


def _trained_halves(
    out: Path, dataset: Dataset, job: Job, reporter: Reporter, should_stop: Callable[[], bool]
) -> Iterator[tuple]:
    """Model and the cases that it audits: the other half's and, once, those that are held out."""
    from ..devices import choose_device
    from ..inference.model import load_model
    from ..review.audit import halves_of

    first, second = halves_of(dataset, job.seed)
    held_out = dataset.with_role("hold-out")
    for name, left, unseen in (("first", second, held_out), ("second", first, ())):
        reporter.info(f"Training on the {name} half of the labelled cases, to audit the other one.")
        model = _trained(out / f"{name} half", _without(dataset, left), job, reporter, should_stop)
        yield load_model(model, choose_device(job.device)), (*left, *unseen)


def _without(dataset: Dataset, left: tuple[Case, ...]) -> Dataset:
    """The data set with these cases unlabelled, and nothing held out."""
    held_out = {case.id: "ignored" for case in dataset.with_role("hold-out")}
    return dataset.with_roles({**held_out, **{case.id: "unlabelled" for case in left}})


def _trained(folder: Path, dataset: Dataset, job: Job, reporter: Reporter, should_stop: Callable[[], bool]) -> Path:
    """Run folder of a complete training; one that was stopped goes on."""
    from ..training.run_folder import RunFolder
    from ..training.train import train

    run = RunFolder(folder)
    new = not run.job_file.exists()
    with run.held(new=new):
        if new:
            run.create(job, dataset)
        elif run.load() != (job, dataset):
            raise InputError(
                f"{folder} was trained with other settings or cases.", "Choose another folder for --out, or delete it."
            )
        summary = train(run, reporter, should_stop)
    if summary["stopped"]:
        raise Stopped("Stopped. The same command goes on.")
    return run.path
