"""Requests to stop a command."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_requests(events: bool) -> Iterator[Callable[[], bool]]:
    """Collect requests to stop: Ctrl-C, SIGTERM, and with events a line on standard input or its end.

    A second Ctrl-C interrupts at once; a second SIGTERM does not, since job schedulers send it to launchers, which hand
    it on, and to their processes. Standard input is not read without events: a run under nohup or CI has none.
    """
    stop = threading.Event()

    def on_signal(number: int, _) -> None:
        if number == signal.SIGINT and stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    def read_line() -> None:
        sys.stdin.readline()  # "" at the end of standard input: the parent is gone
        stop.set()

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    if events:
        threading.Thread(target=read_line, daemon=True).start()
    try:
        yield stop.is_set
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
