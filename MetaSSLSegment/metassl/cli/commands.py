"""The commands: thin wrappers of the library's functions. torch is imported by the commands that need it only."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from .. import __version__
from ..data.dataset import INTENSITIES, ROLES, Dataset
from ..errors import MissingDependencyError
from ..events import Reporter
from .audit import add_audit
from .command import add_command, device_for
from .options import add_roles, add_setting, source_and_roles
from .review import add_rank, add_report
from .stopping import stoppable
from .train import add_train


def add_commands(commands) -> None:
    """Add every command to the sub-parsers."""
    for add in (
        _add_sample,
        _add_prepare,
        _add_check,
        add_train,
        _add_predict,
        add_rank,
        add_audit,
        add_report,
        _add_evaluate,
        _add_info,
    ):
        add(commands)


def _add_sample(commands) -> None:
    help = "write a small synthetic data set to try everything on"
    parser = add_command(commands, _sample, help, "sample --out sample")
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
    parser = add_command(commands, _prepare, help, example)
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
    parser = add_command(commands, _check, help, "check dataset.json")
    parser.add_argument("dataset", type=Path, help="dataset.json")


def _check(args: argparse.Namespace, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    from ..data.checking import check_dataset

    report = check_dataset(Dataset.load(args.dataset), progress=reporter.phase("checking"), should_stop=should_stop)
    reporter.result(report.text())
    reporter.event("report", **report.to_dict())
    report.usable_dataset()
    reporter.event("done", excluded=report.excluded)


def _add_predict(commands) -> None:
    help = "segment volumes: labelmap, regions, confidence and volumes in ml"
    parser = add_command(commands, _predict, help, "predict run/model image.nii.gz --out results")
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
    from ..devices import describe_device
    from ..inference.model import load_model
    from ..prediction.predict import predict_files

    device = device_for(args.device, args.threads, reporter)
    model = load_model(args.model, device)
    reporter.info(f"Device: {describe_device(device)}")
    if args.keep_largest is None and (names := ", ".join(model.classes[k - 1].name for k in model.one_part)):
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
    parser = add_command(commands, _evaluate, help, "evaluate results dataset.json --out metrics")
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
    add_command(commands, _info, "show the installed versions and the device that would be used", "info")


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
