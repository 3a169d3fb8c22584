"""The commands that say what to annotate next, and what there is to say of a run."""

import argparse
from collections.abc import Callable
from pathlib import Path

from ..data.dataset import Dataset
from ..events import Reporter
from .command import add_command, device_for, watch
from .options import add_setting


def add_rank(commands) -> None:
    help = "put the unlabelled cases in the order in which to annotate them"
    parser = add_command(
        commands, _rank, help, "rank dataset.json", "rank run/model dataset.json --out ranking.csv (with agreement)"
    )
    parser.add_argument("model", type=Path, nargs="?", help="model (or run) folder: say how far its predictions agree")
    parser.add_argument("dataset", type=Path, help="dataset.json; its labelled cases count as annotated")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the order with all figures: .json or .csv")
    _add_machine(parser)


def _rank(args: argparse.Namespace, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    from ..review.next_case import rank_cases, ranking_table, require_ending, write_ranking

    if args.out is not None:
        require_ending(args.out)
    dataset = Dataset.load(args.dataset)
    model = None if args.model is None else _model(args, reporter)
    ranking = rank_cases(dataset, model, watch(reporter, "ranking", should_stop))
    if args.out is not None:
        write_ranking(ranking, args.out)
        reporter.info(f"Wrote {args.out}")
    reporter.result(ranking_table(ranking))
    reporter.event("done", **ranking)


def add_report(commands) -> None:
    help = "write all of a run into one HTML file: data, curves, cases with pictures, places to look at"
    parser = add_command(commands, _report, help, "report run", "report run --out heart.html")
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file to write (default: RUN/report.html)")
    _add_machine(parser)


def _report(args: argparse.Namespace, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    from ..review.report import write_report

    out = args.out or args.run / "report.html"
    curve = write_report(
        args.run, out, device_for(args.device, args.threads, reporter), watch(reporter, "reporting", should_stop)
    )
    reporter.info(f"Wrote {out}")
    reporter.event("done", out=str(out), learning_curve=curve)


def _add_machine(parser: argparse.ArgumentParser) -> None:
    add_setting(parser, "device", default="auto")
    add_setting(parser, "threads", default=0)


def _model(args: argparse.Namespace, reporter: Reporter):
    """The model that was named, on the device that was asked for."""
    from ..inference.model import load_model

    return load_model(args.model, device_for(args.device, args.threads, reporter))
