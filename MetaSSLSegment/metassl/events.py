"""What a run tells: events for programs, a progress bar and sentences for people, and both in the run folder."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from .errors import DiskError, MetaSSLError

LINE_SECONDS = 10
"""How often progress is printed where no terminal can redraw a line."""


class Reporter:
    """Sends events and texts where they belong.

    With ``events`` standard output carries one ASCII JSON object per line and human text goes to standard error;
    without, people see a progress bar on standard error. Everything but progress is also kept in the run folder
    (``events.jsonl``, ``log.txt``) once ``keep_in`` was called.

    Args:
        events: whether a program reads standard output.
    """

    def __init__(self, events: bool = False):
        self.events = events
        self._folder: Path | None = None
        self._phase = ""
        self._phase_start = 0.0
        self._shown = 0.0
        self._open_line = False

    def keep_in(self, folder: Path | str) -> None:
        """Also append to ``events.jsonl`` and ``log.txt`` of this folder from now on."""
        self._folder = Path(folder)
        for name in ("events.jsonl", "log.txt"):
            end_cut_line(self._folder / name)

    def event(self, kind: str, **fields: Any) -> None:
        """Send an event: start, metrics, checkpoint, done and so on."""
        line = json.dumps({"event": kind, "time": round(time.time(), 3), **fields})
        if kind != "progress":
            self._keep("events.jsonl", line)
        if self.events:
            _write(sys.stdout, line + "\n")

    def info(self, text: str) -> None:
        """Tell people something."""
        self._keep("log.txt", time.strftime("%Y-%m-%d %H:%M:%S ") + text)
        _write(sys.stderr, ("\n" if self._open_line else "") + text + "\n")
        self._open_line = False

    def warning(self, text: str, **fields: Any) -> None:
        """Tell people and programs about something that may need attention."""
        self.info(f"Warning: {text}")
        self.event("warning", message=text, **fields)

    def error(self, error: MetaSSLError) -> None:
        """The last word of a run that failed."""
        self.info(f"Error: {error}" + (f"\n{error.hint}" if error.hint else ""))
        self.event("error", message=str(error), hint=error.hint, code=error.exit_code)

    def progress(self, phase: str, done: float, total: float, text: str = "", eta: float | None = None) -> None:
        """Show how far a phase is.

        Args:
            phase: what is being done, such as "training".
            done, total: in any unit.
            text: what is at hand right now.
            eta: seconds left; estimated from the phase's own pace when None.
        """
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._phase_start, self._shown = phase, now, -1e9
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
        try:
            with open(self._folder / name, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            folder, self._folder = self._folder, None  # nothing more can be kept there, not even this error
            raise DiskError(
                f"Cannot write {folder / name}: {error.strerror or error}.",
                "Free some disk space, then continue with: metassl train --resume RUN",
            ) from error


def _write(stream: TextIO, text: str) -> None:
    """Write at once; when nobody reads any more (the parent died), write to nowhere so that the run can be saved."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
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
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            file.truncate(whole)


def read_events(path: Path | str, kind: str | None = None) -> list[dict[str, Any]]:
    """The events of an events.jsonl, optionally of one kind; a line that a kill cut short is left out."""
    lines = Path(path).read_text(encoding="utf-8").split("\n")[:-1]
    events = [json.loads(line) for line in lines]
    return [event for event in events if kind is None or event["event"] == kind]
