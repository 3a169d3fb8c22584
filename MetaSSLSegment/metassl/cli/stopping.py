"""Requests to stop a command, and what happens when it takes long to heed them."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ..errors import Stopped
from ..events import Reporter
from ..files import remove_unfinished

GRACE = 4.0
"""Seconds after which a command that was asked to stop ends at once, or says what it still has to do."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_requests(events: bool, late: Callable[[bool], None] = lambda heard: None) -> Iterator[Callable[[], bool]]:
    """Collect requests to stop: Ctrl-C, SIGTERM, and with events a line on standard input or its end.

    A second Ctrl-C interrupts at once; a second SIGTERM does not, since job schedulers send it to launchers, which hand
    it on, and to their processes. Standard input is not read without events: a run under nohup or CI has none.

    Args:
        events: whether to listen to standard input.
        late: called in a thread when the command still runs ``GRACE`` seconds after a request; with whether it has
            asked since.
    """
    stop, heard, over = threading.Event(), threading.Event(), threading.Event()
    signals = []

    def should_stop() -> bool:
        if stop.is_set():
            heard.set()
        return stop.is_set()

    def on_signal(number: int, _) -> None:
        if number == signal.SIGINT and signals:
            raise KeyboardInterrupt
        signals.append(number)
        stop.set()

    def hear_signal() -> None:  # while the main thread is deep in ITK or torch, Python calls no handler
        while number := hearing.recv(1):
            if number[0] in SIGNALS:
                stop.set()

    def read_line() -> None:
        with suppress(OSError, ValueError):
            while os.read(sys.stdin.fileno(), 1) not in (b"", b"\n"):  # at the end the parent is gone
                pass
        stop.set()

    def watch() -> None:
        stop.wait()
        if not over.wait(GRACE):
            late(heard.is_set())

    hearing, telling = socket.socketpair()
    telling.setblocking(False)
    previous = {number: signal.signal(number, on_signal) for number in SIGNALS}
    before = signal.set_wakeup_fd(telling.fileno(), warn_on_full_buffer=False)
    for run in (hear_signal, watch, *([read_line] if events else [])):
        threading.Thread(target=run, daemon=True).start()
    try:
        yield should_stop
    finally:
        over.set()
        stop.set()
        signal.set_wakeup_fd(before)
        for number, handler in previous.items():
            signal.signal(number, handler)
        telling.close()


def end_or_say(reporter: Reporter, heard: bool) -> None:
    """End the process when nothing is lost by that; otherwise say what a stop waits for.

    All files are replaced in one step, so only a training, and a case that is segmented already, need to be waited for.
    """
    training = reporter.at_hand in ("training", "hold-out")
    if training or (heard and reporter.at_hand == "segmenting") or int(os.environ.get("WORLD_SIZE", 1)) > 1:
        reporter.info("Stopping: what is at hand is finished and saved first.")
        return
    remove_unfinished()
    reporter.error(Stopped("Stopped."))
    os._exit(Stopped.exit_code)


def stoppable(progress: Callable[..., None], should_stop: Callable[[], bool]) -> Callable[..., None]:
    """The progress function, made to raise Stopped when a stop was asked for."""

    def tell(*arguments: object) -> None:
        if should_stop():
            raise Stopped("Stopped.")
        progress(*arguments)

    return tell
