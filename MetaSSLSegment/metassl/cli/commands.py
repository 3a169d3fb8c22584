"""The commands: thin wrappers of the library's functions. torch is imported by the commands that need it only."""

import argparse
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from .. import __version__
from ..data.dataset import INTENSITIES, ROLES, Dataset
from ..errors import InputError, MissingDependencyError, Stopped
from ..events import Reporter
from ..job import Job
from .options import add_roles, add_setting, add_settings, job_given, settings_given, source_and_roles
from .stopping import stoppable

RESUMABLE = {"minutes", "iterations", "device", "threads"}
"""Settings that a resumed run may change."""


def add_commands(commands) -> None:
    """Add every command to the sub-parsers."""
    for add in (_add_sample, _add_prepare, _add_check, _add_train, _add_predict, _add_evaluate, _add_info):
        add(commands)


def _add_command(commands, run: Callable, help: str, *examples: str) -> argparse.ArgumentParser:
    """A command, named after the function that runs it, with the option that all commands have."""
    parser = commands.add_parser(
        run.__name__.strip("_"),
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog="\n  metassl ".join(["example:", *examples]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=run)
    text = "standard output: JSON events, one per line; a line or the end of standard input asks for a stop"
    parser.add_argument("--events", action="store_true", help=text)
    return parser


def _add_sample(commands) -> None:
    help = "write a small synthetic data set to try everything on"
    parser = _add_command(commands, _sample, help, "sample --out sample")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same volumes (default 0)")
    for kind, count in (("labelled", 4), ("unlabelled", 16), ("test", 4)):
        parser.add_argument(f"--{kind}", type=int, default=count, metavar="N", help=f"{kind} cases (default {count})")


def _sample(args: argparse.Namespace, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    from ..data.sample import make_sample

    counts = {"labelled": args.labelled, "unlabelled": args.unlabelled, "test": args.test}
    progress = stoppable(reporter.phase("sample"), should_stop)
    path = make_sample(args.out, seed=args.seed, progress=progress, **counts)
    reporter.info(f"Wrote {path}")
    reporter.event("done", dataset=str(path))


def _add_prepare(commands) -> None:
    help = "make dataset.json from a folder of volumes"
    example = "prepare /data/heart --labelled heart_01 heart_02 --out dataset.json"
    parser = _add_command(commands, _prepare, help, example)
    text = "folder of volumes or DICOM series in any layout of docs/data.md, or the list in it (dataset.json)"
    parser.add_argument("source", type=Path, nargs="?", metavar="SOURCE", help=text)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the dataset.json to write")
    parser.add_argument("--name", help="name of the data set (default: the folder's)")
    text = "what the voxels of every channel are: auto, ct (Hounsfield units) or other (default auto)"
    parser.add_argument("--intensities", nargs="+", choices=INTENSITIES, default=(), metavar="KIND", help=text)
    add_roles(parser)


def _prepare(args: argparse.Namespace, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    from ..layouts.prepare import prepare, require_own

    source, roles = source_and_roles(args)
    require_own(args.out)
    progress = stoppable(reporter.phase("reading"), should_stop)
    dataset, notes = prepare(source, name=args.name, roles=roles, progress=progress)
    if args.intensities:
        dataset = replace(dataset, intensities=tuple(args.intensities))
    dataset.save(args.out)
    for note in notes:
        reporter.info(note)
    counts = {role: len(dataset.with_role(role)) for role in ROLES}
    cases = ", ".join(f"{n} {role}" for role, n in counts.items())
    classes = ", ".join(f"{c.value} {c.name}" for c in dataset.classes)
    reporter.info(f"Wrote {args.out}: {cases}; classes: {classes}")
    reporter.event("done", dataset=str(args.out), cases=counts, notes=notes)


def _add_check(commands) -> None:
    help = "report every problem of every case, and what to do about it"
    parser = _add_command(commands, _check, help, "check dataset.json")
    parser.add_argument("dataset", type=Path, help="dataset.json")


def _check(args: argparse.Namespace, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    from ..data.checking import check_dataset

    report = check_dataset(Dataset.load(args.dataset), progress=reporter.phase("checking"), should_stop=should_stop)
    reporter.result(report.text())
    reporter.event("report", **report.to_dict())
    report.usable_dataset()
    reporter.event("done", excluded=report.excluded)


def _add_train(commands) -> None:
    help = "train a model on the labelled and unlabelled cases"
    parser = _add_command(commands, _train, help, "train dataset.json --out run --minutes 10", "train --resume run")
    parser.add_argument("dataset", type=Path, nargs="?", help="dataset.json")
    parser.add_argument("--out", type=Path, metavar="RUN", help="new run folder")
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
    reporter.event("done", **summary)
    return Stopped.exit_code if summary["stopped"] else 0


def _new_run(args: argparse.Namespace) -> tuple[Job, Dataset]:
    if args.dataset is None or args.out is None:
        raise InputError("metassl train needs dataset.json and --out RUN, or --resume RUN.")
    return job_given(args), Dataset.load(args.dataset)


def _resume_run(run, args: argparse.Namespace) -> None:
    """Check that the run can be resumed as asked for; a new budget becomes the job's."""
    if args.dataset is not None or args.out is not None:
        raise InputError("--resume takes data and folder from the run.", "Give neither dataset.json nor --out with it.")
    job, _ = run.load()
    settings = settings_given(args)
    if other := sorted(set(settings) - RESUMABLE):
        raise InputError(
            f"A resumed run keeps its settings; --{other[0].replace('_', '-')} cannot be changed.",
            "Only --minutes or --iterations, --device and --threads may be given with --resume.",
        )
    if settings:
        no_budget = {"minutes": None, "iterations": None} if {"minutes", "iterations"} & set(settings) else {}
        replace(job, **{**no_budget, **settings}).save(run.job_file)


def _add_predict(commands) -> None:
    help = "segment volumes: labelmap, regions, confidence and volumes in ml"
    parser = _add_command(commands, _predict, help, "predict run/model image.nii.gz --out results")
    parser.add_argument("model", type=Path, help="model folder (or the run folder that holds it)")
    parser.add_argument("inputs", type=Path, nargs="+", help="image files, folders as for prepare, dataset.json")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write the results")
    text = f"which cases of a folder or dataset.json: {', '.join(ROLES)} (default all)"
    parser.add_argument("--roles", nargs="+", choices=ROLES, default=ROLES, metavar="ROLE", help=text)
    parser.add_argument("--no-regions", action="store_true", help="write no labelmap of the regions")
    parser.add_argument("--no-confidence", action="store_true", help="write no confidence volume")
    parser.add_argument("--exact-confidence", action="store_true", help="confidence as float32, not in steps of 1/255")
    parser.add_argument("--overlap", type=float, default=0.5, metavar="X", help="overlap of windows (default 0.5)")
    parser.add_argument("--mirror", action="store_true", help="average over views mirrored as in training; slower")
    parts = parser.add_mutually_exclusive_group()
    text = "keep only the largest part of each class (default: of those that formed one part in all labelled cases)"
    parts.add_argument("--keep-largest", dest="keep_largest", action="store_true", default=None, help=text)
    parts.add_argument("--keep-all", dest="keep_largest", action="store_false", help="keep all parts of each class")
    add_setting(parser, "device", default="auto")
    add_setting(parser, "threads", default=0)


def _predict(args: argparse.Namespace, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    from ..devices import choose_device, describe_device, limit_threads
    from ..inference.model import load_model
    from ..prediction.predict import predict_files

    limit_threads(args.threads)
    device = choose_device(args.device, reporter.warning)
    model = load_model(args.model, device)
    reporter.info(f"Device: {describe_device(device)}")
    if args.keep_largest is None and (names := ", ".join(c.name for c in model.one_part)):
        reporter.info(f"Only the largest part is kept of {names}, as in all labelled cases (--keep-all: all parts).")
    results = predict_files(
        model,
        args.inputs,
        args.out,
        regions=not args.no_regions,
        confidence=not args.no_confidence,
        overlap=args.overlap,
        mirror=args.mirror,
        keep_largest=args.keep_largest,
        exact_confidence=args.exact_confidence,
        roles=args.roles,
        progress=reporter.phase("segmenting"),
        should_stop=should_stop,
        warn=reporter.warning,
    )
    reporter.info(f"Wrote {len(results)} result(s) to {args.out}")
    reporter.event("done", out=str(args.out), results=results)


def _add_evaluate(commands) -> None:
    help = "compare predictions with labels: Dice, HD95, ASSD, volume difference"
    parser = _add_command(commands, _evaluate, help, "evaluate results dataset.json --out metrics")
    parser.add_argument("predictions", type=Path, help="folder of predicted labelmaps")
    parser.add_argument("labels", type=Path, help="folder of label files, folder as for prepare, or dataset.json")
    parser.add_argument("--out", type=Path, metavar="DIR", help="for metrics.csv and .json (default: predictions)")


def _evaluate(args: argparse.Namespace, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    from ..evaluation.evaluate import evaluate_folder

    progress = stoppable(reporter.phase("evaluating"), should_stop)
    evaluation = evaluate_folder(args.predictions, args.labels, progress=progress)
    evaluation.write(args.out or args.predictions)
    reporter.result(evaluation.table())
    reporter.event("done", out=str(args.out or args.predictions), failed=evaluation.failed)


def _add_info(commands) -> None:
    _add_command(commands, _info, "show the installed versions and the device that would be used", "info")


def _info(args: argparse.Namespace, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    for name in ("torch", "monai", "SimpleITK", "skimage"):
        _import(name)
    import torch

    from ..devices import choose_device, choose_precision, describe_device

    def installed(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "missing"

    device = choose_device("auto")
    facts = {
        "metassl": __version__,
        "python": platform.python_version(),
        **{name: installed(name) for name in ("torch", "monai", "numpy", "SimpleITK", "scikit-image")},
        "device": f"{device}: {describe_device(device)}",
        "precision": str(choose_precision(device)).removeprefix("torch."),
        "threads": str(torch.get_num_threads()),
    }
    if not args.events:
        reporter.result("\n".join(f"{name:<13} {fact}" for name, fact in facts.items()))
    reporter.event("done", **facts)


def _import(name: str) -> None:
    """Import a package that must work.

    Raises:
        ModuleNotFoundError: it is not installed.
        MissingDependencyError: it is installed, but broken.
    """
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            raise
        raise _broken(name, error) from error
    except Exception as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> MissingDependencyError:
    return MissingDependencyError(
        f"The Python package {name} is installed but cannot be loaded: {error}",
        f"Install it again: pip install --force-reinstall {name}",
    )
