"""Requests to stop a command: signals, and lines on standard input."""

import signal
import sys
import threading
from collections.abc import Callable


class stop_requests:
    """Collect requests to stop: Ctrl-C, SIGTERM, and with events a line on standard input or its end.

    A second Ctrl-C interrupts at once; a second SIGTERM does not, since job schedulers send it to launchers, which hand
    it on, and to their processes. Standard input is not read without events: a run under nohup or CI has none.
    """

    def __init__(self, events: bool):
        self._events = events
        self._stop = threading.Event()
        self._previous: dict = {}

    def __enter__(self) -> Callable[[], bool]:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._on_signal)
        if self._events:
            threading.Thread(target=self._read, daemon=True).start()
        return self._stop.is_set

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _) -> None:
        if number == signal.SIGINT and self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()

    def _read(self) -> None:
        sys.stdin.readline()  # "" at the end of standard input: the parent is gone
        self._stop.set()
