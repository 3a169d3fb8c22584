"""What a run tells: events for programs, a progress bar and sentences for people, and both in the run folder."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from .errors import MetaSSLError, visible
from .files import append_text, replacing

LINE_SECONDS = 10
"""How often progress is printed where no terminal can redraw a line."""
LONGEST_LINE = 2**22
"""Bytes of an event; longer lines are damage."""


class Reporter:
    """Sends events and texts where they belong.

    With ``events`` standard output carries one ASCII JSON object per line and human text goes to standard error;
    without, people see a progress bar on standard error. Everything but progress is also kept in the run folder
    (``events.jsonl``, ``log.txt``) once ``keep_in`` was called; when that fails it is said once, and work goes on.

    Args:
        events: whether a program reads standard output.

    Attributes:
        at_hand: name of the newest phase.
    """

    def __init__(self, events: bool = False):
        self.events = events
        self.at_hand = ""
        self._folder: Path | None = None
        self._failing: set[str] = set()
        self._phase_start = 0.0
        self._shown = 0.0
        self._open_line = False

    def keep_in(self, folder: Path | str) -> None:
        """Also append to ``events.jsonl`` and ``log.txt`` of this folder from now on."""
        self._folder = Path(folder)
        for name in ("events.jsonl", "log.txt"):
            with suppress(OSError):  # said when the first line cannot be kept
                end_cut_line(self._folder / name)

    def event(self, kind: str, **fields: Any) -> None:
        """Send an event: start, metrics, checkpoint, done and so on."""
        line = json.dumps({"event": kind, "time": round(time.time(), 3), **fields})
        if self.events:
            _write(sys.stdout, line + "\n")
        if kind != "progress":
            self._keep("events.jsonl", line)

    def info(self, text: str) -> None:
        """Tell people something, in one line or several."""
        text = visible(text, keep="\n\t")
        _write(sys.stderr, ("\n" if self._open_line else "") + text + "\n")
        self._open_line = False
        # indented, so that no line of a text looks like another entry
        self._keep("log.txt", time.strftime("%Y-%m-%d %H:%M:%S ") + text.replace("\n", "\n    "))

    def result(self, text: str) -> None:
        """Tell people what was found: on standard output, unless that is for events."""
        _write(sys.stderr if self.events else sys.stdout, visible(text, keep="\n\t") + "\n")

    def warning(self, text: str, **fields: Any) -> None:
        """Tell people and programs about something that may need attention."""
        self.event("warning", message=text, **fields)
        self.info(f"Warning: {visible(text)}")

    def error(self, error: MetaSSLError) -> None:
        """The last word of a run that failed."""
        self.event("error", message=str(error), hint=error.hint, code=error.exit_code)
        self.info(f"Error: {error}" + (f"\n{error.hint}" if error.hint else ""))

    def progress(self, phase: str, done: float, total: float, text: str = "", eta: float | None = None) -> None:
        """Show how far a phase is.

        Args:
            phase: what is being done, such as "training".
            done, total: in any unit.
            text: what is at hand right now.
            eta: seconds left; estimated from the phase's own pace when None.
        """
        now = time.monotonic()
        if phase != self.at_hand:
            self.at_hand, self._phase_start, self._shown = phase, now, -1e9
        share = min(1.0, done / total) if total > 0 else 1.0
        if eta is None and share > 0:
            eta = (now - self._phase_start) * (1 - share) / share
        terminal = sys.stderr.isatty() and not self.events
        if share < 1 and now - self._shown < (0.2 if terminal or self.events else LINE_SECONDS):
            return
        self._shown = now
        if self.events:
            left = None if eta is None else round(eta, 1)
            self.event("progress", phase=phase, fraction=round(share, 4), eta_seconds=left, text=text)
            return
        filled = round(share * 24)
        text = visible(text)
        bar = f"{phase:<13} [{'#' * filled}{'.' * (24 - filled)}] {share:4.0%}  {duration(eta)} left  {text}"
        if terminal:
            _write(sys.stderr, f"\r{bar[:118]:<118}" + ("\n" if share >= 1 else ""))
            self._open_line = share < 1
        else:
            _write(sys.stderr, bar.rstrip() + "\n")

    def phase(self, name: str) -> Callable[..., None]:
        """A function (done, total, text="") that shows the progress of one phase."""
        return lambda done, total, text="": self.progress(name, done, total, text)

    def _keep(self, name: str, line: str) -> None:
        if self._folder is None:
            return
        path, failed = self._folder / name, name in self._failing
        try:
            append_text(path, ("\n" if failed else "") + line + "\n")  # the last one may have been cut short
            self._failing.discard(name)
        except OSError as error:
            said, self._failing = bool(self._failing), self._failing | {name}
            if not said:
                self.warning(f"Cannot write {path}: {error.strerror or error}. The work goes on without it.")


def _write(stream: TextIO, text: str) -> None:
    """Write at once; when nobody reads any more (the parent died), write to nowhere so that the run can be saved."""
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):
        write_to_nowhere(stream)


def write_to_nowhere(stream: TextIO) -> None:
    """From now on, what is written to a stream that nobody reads is lost without an error, at its end too."""
    with suppress(OSError, ValueError):  # a closed stream, or one without a file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def duration(seconds: float | None) -> str:
    """Seconds as people say them: 45 s, 3:05 min, 2:10 h."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60}:{whole % 60:02} min" if whole < 3600 else f"{whole // 3600}:{whole % 3600 // 60:02} h"


def end_cut_line(path: Path) -> None:
    """Remove the last line of a file when a kill cut it short."""
    if not path.exists():
        return
    with open(path, "rb+") as file:
        start = max(0, file.seek(0, os.SEEK_END) - LONGEST_LINE)
        file.seek(start)
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            file.truncate(start + whole)


def event_of(line: str | bytes) -> dict[str, Any] | None:
    """The event in a line; None when there is none, however damaged or foreign it is."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def read_events(path: Path | str, kind: str | None = None) -> list[dict[str, Any]]:
    """The events of an events.jsonl, optionally of one kind; damaged lines are left out."""
    events = (event_of(line) for line in _lines(path))
    return [event for event in events if event is not None and kind in (None, event["event"])]


def drop_events(path: Path | str, is_wanted: Callable[[dict[str, Any]], bool]) -> int:
    """Keep the wanted events of an events.jsonl; returns the number of damaged lines, which are dropped too.

    Raises:
        DiskError: it cannot be written.
    """
    damaged = 0
    with replacing(path) as temporary, open(temporary, "wb") as kept:
        for line in _lines(path):
            event = event_of(line)
            damaged += event is None and bool(line.strip())
            if event is not None and is_wanted(event):
                kept.write(line.strip() + b"\n")
    return damaged


def _lines(path: Path | str) -> Iterator[bytes]:
    """Whole lines, however large the file is; those beyond ``LONGEST_LINE`` come in pieces."""
    with open(path, "rb") as file:
        while line := file.readline(LONGEST_LINE):
            if line.endswith(b"\n") or len(line) == LONGEST_LINE:
                yield line
