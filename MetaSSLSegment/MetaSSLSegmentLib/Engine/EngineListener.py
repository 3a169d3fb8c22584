from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _nothing(*arguments):
    pass


@dataclass
class EngineListener:
    """What to call when the engine has something to say; one of done, failed and cancelled comes last. When done or
    cancelled raises an error, failed follows, so that nobody waits forever.

    Attributes:
        started: (), the process runs.
        progress: (phase, fraction 0-1, seconds left or None, text).
        event: (event), every event but progress, as a dictionary.
        log: (text), one or more lines for people.
        done: (event), the last event of work that was finished.
        failed: (Failure).
        cancelled: (event or None), the last event of work that was stopped; None when it had to be killed.
    """

    started: Callable[[], Any] = _nothing
    progress: Callable[[str, float, float | None, str], Any] = _nothing
    event: Callable[[dict], Any] = _nothing
    log: Callable[[str], Any] = _nothing
    done: Callable[[dict], Any] = _nothing
    failed: Callable[[Any], Any] = _nothing
    cancelled: Callable[[dict | None], Any] = _nothing
