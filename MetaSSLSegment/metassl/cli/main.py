"""The command ``metassl``: what all commands have in common, and how they end."""

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial

from .. import __version__
from ..errors import DiskError, MetaSSLError, MissingDependencyError, OutOfMemoryError, Stopped, is_out_of_memory
from ..events import Reporter, write_to_nowhere
from .commands import add_commands
from .stopping import end_or_say, stop_requests

EXIT_CODES = """exit codes:
  0 done   1 unexpected error   2 bad input   3 out of memory   4 missing Python package   5 disk
  130 stopped by the user, everything saved"""

BROKEN_LIBRARY = (126, 127, 182, 193, 1114)
"""Windows' numbers of the errors of a library that is there, but not what it needs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, or without one print the help; returns the process's exit code."""
    _open_closed_streams()
    try:
        parser = build_parser()
        args = parser.parse_args(arguments)
        if args.command is None:
            parser.print_help()
            return 0
        _escape_unknown_characters(args.events)
        _shorten_spinning()
        return _run(args)
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                write_to_nowhere(stream)


def _run(args: argparse.Namespace) -> int:
    reporter = Reporter(args.events)
    listens = args.events and os.environ.get("RANK", "0") == "0"
    try:
        with stop_requests(listens, partial(end_or_say, reporter)) as should_stop:
            return args.command(args, reporter, should_stop) or 0
    except Exception as error:
        known = explain(error)
        reporter.error(known)
        if known.exit_code == 1:
            raise
        return known.exit_code
    except KeyboardInterrupt:
        reporter.error(Stopped("Interrupted."))
        return Stopped.exit_code


def _open_closed_streams() -> None:
    """A stream that the parent closed becomes one to nowhere, lest the next file that is opened takes its place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _escape_unknown_characters(events: bool) -> None:
    """Names that the terminal's character set lacks must not end a run; programs read UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace", **({"encoding": "utf-8"} if events else {}))


def _shorten_spinning() -> None:
    """Threads that wait for each other sleep soon, before PyTorch is imported.

    While they spin, which GNU's OpenMP does for long, they keep the threads that they wait for off the cores when other
    programs want these too (docs/benchmarks.md, Training).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def explain(error: Exception) -> MetaSSLError:
    """Any exception as an error with exit code and hint."""
    if isinstance(error, MetaSSLError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return MissingDependencyError(
            f"The Python package {error.name} is not installed.", f"Install it with: pip install {error.name}"
        )
    ours = str(getattr(error, "name", "")).startswith("metassl")
    if (isinstance(error, ImportError) and not ours) or getattr(error, "winerror", None) in BROKEN_LIBRARY:
        return MissingDependencyError(
            f"A Python package is installed but cannot be loaded: {error}", "Install it again, then restart."
        )
    if is_out_of_memory(error):
        return OutOfMemoryError(
            f"Not enough memory: {error}", "Close other programs, use a smaller --patch or --network small."
        )
    if isinstance(error, OSError):
        return DiskError(f"{error.filename or 'A file'}: {error.strerror or error}.", "Check the path and the disk.")
    text = " ".join(str(error).split())
    return MetaSSLError(f"{type(error).__name__}: {text}", "This is a defect; please report it with the log.")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="metassl",
        description="Train a segmentation model on a few labelled and many unlabelled volumes, and segment with it.",
        epilog=EXIT_CODES + "\n\n'metassl COMMAND --help' explains a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"metassl {__version__}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    add_commands(commands)
    return parser
