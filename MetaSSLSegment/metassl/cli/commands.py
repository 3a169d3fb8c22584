"""The commands: thin wrappers of the library's functions. torch is imported by the commands that need it only."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

from .. import __version__
from ..data.dataset import ROLES, Dataset
from ..errors import InputError, Stopped
from ..events import Reporter
from ..job import Job
from .options import add_settings
from .stopping import stop_requests


def add_commands(commands) -> None:
    """Add every command to the sub-parsers."""
    _add_sample(commands)
    _add_prepare(commands)
    _add_check(commands)
    _add_train(commands)
    _add_predict(commands)
    _add_evaluate(commands)
    _add_info(commands)


def _command(commands, name: str, function: Callable, help: str, example: str = "") -> argparse.ArgumentParser:
    """A command with the options that all commands have."""
    parser = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=f"example:\n  {example}" if example else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=function)
    parser.add_argument(
        "--events",
        action="store_true",
        help="standard output: JSON events, one per line; a line or the end of standard input asks for a stop",
    )
    return parser


def _add_sample(commands) -> None:
    parser = _command(
        commands,
        "sample",
        _sample,
        "write a small synthetic data set to try everything on",
        "metassl sample --out sample",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same volumes (default 0)")
    parser.add_argument("--labelled", type=int, default=4, metavar="N", help="labelled cases (default 4)")
    parser.add_argument("--unlabelled", type=int, default=16, metavar="N", help="unlabelled cases (default 16)")
    parser.add_argument("--test", type=int, default=4, metavar="N", help="test cases (default 4)")


def _sample(args: argparse.Namespace, reporter: Reporter) -> None:
    from ..data.sample import make_sample

    counts = {"labelled": args.labelled, "unlabelled": args.unlabelled, "test": args.test}
    path = make_sample(args.out, seed=args.seed, progress=reporter.phase("sample"), **counts)
    reporter.info(f"Wrote {path}")
    reporter.event("done", dataset=str(path))


def _add_prepare(commands) -> None:
    parser = _command(
        commands,
        "prepare",
        _prepare,
        "make dataset.json from a folder of volumes",
        "metassl prepare /data/heart --labelled heart_01 heart_02 --out dataset.json",
    )
    parser.add_argument(
        "source",
        type=Path,
        help="nnU-Net raw folder, MSD task, folder with images/ and labels/, flat folder, or folder of DICOM series",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the dataset.json to write")
    parser.add_argument("--name", help="name of the data set (default: the folder's)")
    for role in ROLES:
        parser.add_argument(
            f"--{role}",
            nargs="+",
            metavar="CASES",
            help=f"cases that are {role}: ids, patterns, a number of random labelled cases, or @FILE / @FILE.json:KEY",
        )


def _prepare(args: argparse.Namespace, reporter: Reporter) -> None:
    from ..layouts.prepare import prepare

    roles = {role: getattr(args, role.replace("-", "_")) for role in ROLES}
    chosen = {role: cases for role, cases in roles.items() if cases}
    dataset, notes = prepare(args.source, name=args.name, roles=chosen, progress=reporter.phase("reading"))
    dataset.save(args.out)
    for note in notes:
        reporter.info(note)
    counts = {role: len(dataset.with_role(role)) for role in ROLES}
    classes = ", ".join(f"{c.value} {c.name}" for c in dataset.classes)
    reporter.info(
        f"Wrote {args.out}: " + ", ".join(f"{n} {role}" for role, n in counts.items()) + f"; classes: {classes}"
    )
    reporter.event("done", dataset=str(args.out), cases=counts, notes=notes)


def _add_check(commands) -> None:
    parser = _command(
        commands,
        "check",
        _check,
        "report every problem of every case, and what to do about it",
        "metassl check dataset.json",
    )
    parser.add_argument("dataset", type=Path, help="dataset.json")


def _check(args: argparse.Namespace, reporter: Reporter) -> int:
    from ..data.checking import check_dataset

    with stop_requests(args.events) as should_stop:
        report = check_dataset(Dataset.load(args.dataset), progress=reporter.phase("checking"), should_stop=should_stop)
    print(report.text(), file=sys.stderr if args.events else sys.stdout)
    reporter.event("report", **report.to_dict())
    report.usable_dataset()
    reporter.event("done", excluded=report.excluded)
    return 0


def _add_train(commands) -> None:
    parser = _command(
        commands,
        "train",
        _train,
        "train a model on the labelled and unlabelled cases",
        "metassl train dataset.json --out run --minutes 10\n  metassl train --resume run",
    )
    parser.add_argument("dataset", type=Path, nargs="?", help="dataset.json")
    parser.add_argument("--out", type=Path, metavar="RUN", help="new run folder")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="go on with a run; a budget may be given anew")
    add_settings(parser)


def _train(args: argparse.Namespace, reporter: Reporter) -> int:
    """Train in this process, or in the processes that torchrun started."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return _train_as(True, args, reporter)
    from ..distributed import OtherRankFailed, process_group

    try:
        with process_group() as first:
            reporter.events = reporter.events and first
            return _train_as(first, args, reporter)
    except OtherRankFailed as error:
        if first:
            reporter.error(error)
        return error.exit_code


def _train_as(first: bool, args: argparse.Namespace, reporter: Reporter) -> int:
    """Train; only the first process prepares the run folder and listens to the parent."""
    from ..training.run_folder import RunFolder

    run = _run_folder(args) if first else RunFolder(args.resume or args.out or "")
    with stop_requests(args.events and first) as should_stop:
        from ..training.train import train

        summary = train(run, reporter, should_stop)
    reporter.event("done", **summary)
    return Stopped.exit_code if summary["stopped"] else 0


def _run_folder(args: argparse.Namespace):
    """The run to resume, or a new one."""
    from ..training.run_folder import RunFolder

    settings = {item.name: getattr(args, item.name) for item in fields(Job) if hasattr(args, item.name)}
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}
    if args.resume:
        return _resumed(args, settings)
    if args.dataset is None or args.out is None:
        raise InputError("metassl train needs dataset.json and --out RUN, or --resume RUN.")
    run = RunFolder(args.out)
    run.create(Job(**settings), Dataset.load(args.dataset))
    return run


def _resumed(args: argparse.Namespace, settings: dict):
    """The run to resume, with a new budget if one was given."""
    from ..training.run_folder import RunFolder

    if args.dataset is not None or args.out is not None:
        raise InputError("--resume takes data and folder from the run.", "Leave dataset.json and --out away.")
    run = RunFolder(args.resume)
    job, _ = run.load()
    other = sorted(set(settings) - {"minutes", "iterations", "device", "threads"})
    if other:
        raise InputError(
            f"A resumed run keeps its settings; --{other[0].replace('_', '-')} cannot be changed.",
            "Only --minutes or --iterations, --device and --threads may be given with --resume.",
        )
    if settings:
        no_budget = {"minutes": None, "iterations": None} if {"minutes", "iterations"} & set(settings) else {}
        replace(job, **{**no_budget, **settings}).save(run.job_file)
    return run


def _add_predict(commands) -> None:
    parser = _command(
        commands,
        "predict",
        _predict,
        "segment volumes: labelmap, regions, confidence and volumes in ml",
        "metassl predict run/model image.nii.gz --out results",
    )
    parser.add_argument("model", type=Path, help="model folder (or the run folder that holds it)")
    parser.add_argument(
        "inputs", type=Path, nargs="+", help="image files, folders of images or DICOM series, dataset.json"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write the results")
    parser.add_argument(
        "--roles",
        nargs="+",
        choices=ROLES,
        default=ROLES,
        metavar="ROLE",
        help=f"which cases of a dataset.json: {', '.join(ROLES)} (default all)",
    )
    parser.add_argument("--no-regions", action="store_true", help="leave the region labelmap out")
    parser.add_argument("--no-confidence", action="store_true", help="leave the confidence volume out")
    parser.add_argument("--overlap", type=float, default=0.5, metavar="X", help="overlap of the windows (default 0.5)")
    parser.add_argument(
        "--mirror", action="store_true", help="average over mirrored views, if the model was trained with them (slower)"
    )
    parser.add_argument(
        "--keep-largest", action="store_true", help="keep only the largest connected component of each class"
    )
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps (default auto)"
    )
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads, 0 for all (default 0)")


def _predict(args: argparse.Namespace, reporter: Reporter) -> None:
    import torch

    from ..devices import choose_device, describe_device
    from ..inference.model import load_model
    from ..prediction.predict import predict_files

    if args.threads:
        torch.set_num_threads(args.threads)
    device = choose_device(args.device)
    model = load_model(args.model, device)
    reporter.info(f"Device: {describe_device(device)}")
    with stop_requests(args.events) as should_stop:
        results = predict_files(
            model,
            args.inputs,
            args.out,
            regions=not args.no_regions,
            confidence=not args.no_confidence,
            overlap=args.overlap,
            mirror=args.mirror,
            keep_largest=args.keep_largest,
            roles=args.roles,
            progress=reporter.phase("segmenting"),
            should_stop=should_stop,
            warn=reporter.warning,
        )
    reporter.info(f"Wrote {len(results)} result(s) to {args.out}")
    reporter.event("done", out=str(args.out), results=results)


def _add_evaluate(commands) -> None:
    parser = _command(
        commands,
        "evaluate",
        _evaluate,
        "compare predictions with labels: Dice, HD95, ASSD, volume difference",
        "metassl evaluate results dataset.json --out metrics",
    )
    parser.add_argument("predictions", type=Path, help="folder of predicted labelmaps")
    parser.add_argument("labels", type=Path, help="folder of label files, or dataset.json")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write metrics.csv and .json (default: predictions)"
    )


def _evaluate(args: argparse.Namespace, reporter: Reporter) -> None:
    from ..evaluation.evaluate import evaluate_folder

    evaluation = evaluate_folder(args.predictions, args.labels, progress=reporter.phase("evaluating"))
    evaluation.write(args.out or args.predictions)
    print(evaluation.table(), file=sys.stderr if args.events else sys.stdout)
    reporter.event("done", out=str(args.out or args.predictions))


def _add_info(commands) -> None:
    _command(commands, "info", _info, "say which versions are installed and which device would be used", "metassl info")


def _info(args: argparse.Namespace, reporter: Reporter) -> None:
    import platform
    from importlib.metadata import PackageNotFoundError, version

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
        print("\n".join(f"{name:<13} {fact}" for name, fact in facts.items()))
    reporter.event("done", **facts)
