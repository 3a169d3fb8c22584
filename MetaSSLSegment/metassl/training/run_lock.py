"""One process per run folder: a lock that the system releases when its holder ends, however it ends."""

import errno
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ..errors import DiskError, InputError
from ..validation import Fields, text, whole

LOCK_FILE = ".lock"
"""Of a run folder."""
HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
"""What the systems say of a lock that somebody else holds; anything else means that the disk knows no locks."""
TRIES, SECONDS_BETWEEN = 5, 0.02
"""Of taking the lock: who only asks for the holder has it for a moment."""
BEYOND = 2**30
"""Windows locks bytes, and nobody can read those; this one is none of the holder's name."""


@contextmanager
def run_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a run folder; the file says who does and stays, empty, for the next one.

    Args:
        path: of the file, in the run folder, which is made when it is missing.

    Raises:
        InputError: another process holds it; says which.
        DiskError: the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        raise DiskError(
            f"Cannot write to {path.parent}: {error.strerror or error}.", "Choose a folder that you may write to."
        ) from error
    with open(handle, "r+", encoding="utf-8") as file:
        if not _took_soon(file):
            raise InputError(
                f"{path.parent} is in use by {_holder(file)}.",
                "Wait until that process has ended, stop it, or choose another folder.",
            )
        _say(file, {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")})
        try:
            yield
        finally:
            _say(file, None)


def run_holder(path: Path | str) -> str:
    """Who holds a run folder now, such as "process 7 on host since 2026-11-25 17:30:00"; "" when nobody does.

    What the lock's file says alone does not tell: a process that was killed leaves its name.
    """
    lock = Path(path) / LOCK_FILE
    try:
        if not lock.is_file():  # no training was ever held here
            return ""
        with open(lock, encoding="utf-8") as file:
            return "" if _took(file, shared=True) else _holder(file)
    except (OSError, ValueError):  # nobody may look
        return ""


def _took_soon(file: IO[str]) -> bool:
    for _ in range(TRIES):
        if _took(file):
            return True
        time.sleep(SECONDS_BETWEEN)
    return False


def _took(file: IO[str], shared: bool = False) -> bool:
    """Whether the lock could be taken; also where the disk knows no locks."""
    try:
        _lock(file, shared)
    except OSError as error:
        return error.errno not in HELD
    return True


def _lock(file: IO[str], shared: bool) -> None:
    """Take the lock without waiting; closing the file, or the end of the process, releases it.

    Shared with others who ask so, where the system can do that.
    """
    try:
        import fcntl
    except ImportError:
        import msvcrt

        file.seek(BEYOND)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _say(file: IO[str], holder: dict | None) -> None:
    with suppress(OSError):  # a full disk; the lock holds all the same
        file.seek(0)
        file.truncate()
        file.write("" if holder is None else json.dumps(holder))
        file.flush()


def _holder(file: IO[str]) -> str:
    """Who holds the lock, as its file says."""
    try:
        file.seek(0)
        holder = Fields(json.loads(file.read(4096)), "the lock")
        return f"process {holder.take('pid', whole)} on {holder.take('host', text)} since {holder.take('since', text)}"
    except (OSError, ValueError, RecursionError, InputError):  # nothing yet, or damaged
        return "another process"
