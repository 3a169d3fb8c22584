"""The commands that say what to look at, what to annotate next and which annotations to doubt."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..data.dataset import Dataset
from ..events import Reporter
from .commands import add_command
from .options import add_setting
from .stopping import stop_requests


def add_review_commands(commands) -> None:
    """Add them to the sub-parsers."""
    for add in (_add_rank, _add_audit, _add_report):
        add(commands)


def _add_rank(commands) -> None:
    help = "put the unlabelled cases in the order in which to annotate them"
    parser = add_command(
        commands, _rank, help, "rank run/model dataset.json --out ranking.csv", "rank dataset.json (before any model)"
    )
    parser.add_argument("model", type=Path, nargs="?", help="model (or run) folder; without it: typical cases first")
    parser.add_argument("dataset", type=Path, help="dataset.json; its labelled cases count as annotated")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the order with all figures: .json or .csv")
    _add_machine(parser)


def _rank(args: argparse.Namespace, reporter: Reporter) -> None:
    from ..review.next_case import rank_cases, ranking_table, require_ending, write_ranking

    if args.out is not None:
        require_ending(args.out)
    dataset = Dataset.load(args.dataset)
    with _watch(args, reporter, "ranking") as watch:
        ranking = rank_cases(dataset, None if args.model is None else _model(args, reporter), watch)
    if args.out is not None:
        write_ranking(ranking, args.out)
        reporter.info(f"Wrote {args.out}")
    if not args.events:
        print(ranking_table(ranking))
    reporter.event("done", **ranking)


def _add_audit(commands) -> None:
    help = "compare the annotations with what a model predicts: which ones, and where, deserve a look"
    parser = add_command(commands, _audit, help, "audit run/model dataset.json --out audit")
    parser.add_argument("model", type=Path, help="model folder (or the run folder that holds it)")
    parser.add_argument("dataset", type=Path, help="dataset.json; its labelled and hold-out cases are looked at")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for audit.json and NAME_doubt.nii.gz")
    _add_machine(parser)


def _audit(args: argparse.Namespace, reporter: Reporter) -> None:
    from ..review.audit import audit_dataset, audit_table

    dataset = Dataset.load(args.dataset)
    with _watch(args, reporter, "auditing") as watch:
        audit = audit_dataset(_model(args, reporter), dataset, args.out, watch=watch)
    if not args.events:
        print(audit_table(audit))
    reporter.info(f"Wrote {args.out}")
    reporter.event("done", out=str(args.out), **audit)


def _add_report(commands) -> None:
    help = "write all of a run into one HTML file: data, curves, cases with pictures, places to look at"
    parser = add_command(commands, _report, help, "report run", "report run --out heart.html")
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file to write (default: RUN/report.html)")
    _add_machine(parser)


def _report(args: argparse.Namespace, reporter: Reporter) -> None:
    from ..review.report import write_report

    out = args.out or args.run / "report.html"
    with _watch(args, reporter, "reporting") as watch:
        write_report(args.run, out, _device(args, reporter), watch)
    reporter.info(f"Wrote {out}")
    reporter.event("done", out=str(out))


def _add_machine(parser: argparse.ArgumentParser) -> None:
    add_setting(parser, "device", default="auto")
    add_setting(parser, "threads", default=0)


def _device(args: argparse.Namespace, reporter: Reporter):
    """The device that was asked for; sets the number of threads."""
    import torch

    from ..devices import choose_device

    if args.threads:
        torch.set_num_threads(args.threads)
    return choose_device(args.device, reporter.warning)


def _model(args: argparse.Namespace, reporter: Reporter):
    """The model that was named, on the device that was asked for."""
    from ..inference.model import load_model

    return load_model(args.model, _device(args, reporter))


@contextmanager
def _watch(args: argparse.Namespace, reporter: Reporter, phase: str) -> Iterator:
    """How the command follows the work; it can be stopped while this lasts."""
    from ..review.cases import Watch

    with stop_requests(args.events) as should_stop:
        yield Watch(reporter.phase(phase), should_stop, reporter.warning)
