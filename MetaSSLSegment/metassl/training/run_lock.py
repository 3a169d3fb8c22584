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

HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
"""What the systems say of a lock that somebody else holds; anything else means that the disk knows no locks."""
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
        try:
            _lock(file)
        except OSError as error:
            if error.errno in HELD:
                raise InputError(
                    f"{path.parent} is in use by {_holder(file)}.",
                    "Wait until that process has ended, stop it, or choose another folder.",
                ) from None
        _say(file, {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")})
        try:
            yield
        finally:
            _say(file, None)


def _lock(file: IO[str]) -> None:
    """Take the lock without waiting; closing the file, or the end of the process, releases it."""
    try:
        import fcntl
    except ImportError:
        import msvcrt

        file.seek(BEYOND)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


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
