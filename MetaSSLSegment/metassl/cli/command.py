"""What the commands have in common."""

import argparse
from collections.abc import Callable

from ..events import Reporter


def add_command(commands, run: Callable, help: str, *examples: str) -> argparse.ArgumentParser:
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


def device_for(device: str, threads: int, reporter: Reporter):
    """The torch.device that was asked for; sets the number of threads."""
    from ..devices import choose_device, limit_threads

    limit_threads(threads)
    return choose_device(device, reporter.warning)


def watch(reporter: Reporter, phase: str, should_stop: Callable[[], bool]):
    """How a command follows the work on many cases: a ``review.cases.Watch``."""
    from ..review.cases import Watch

    return Watch(reporter.phase(phase), should_stop, reporter.warning)
