"""Several cases at a time in threads, within the threads and the memory that there are."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ..errors import Stopped
from .dataset import Case

MOST_WORKERS = 4
VOXELS_IN_FLIGHT = 150_000_000
"""Voxels of all channels that are worked on at the same time; each needs some 30 bytes."""
WAITING = 8
"""Cases that are given out ahead, so that a slow one keeps no thread waiting."""


def map_cases(
    work: Callable[[Case], Any],
    cases: Sequence[Case],
    largest: int,
    should_stop: Callable[[], bool] | None = None,
    stopped: str = "Stopped.",
) -> Iterator[tuple[Case, Future]]:
    """Do the work for several cases at a time; yields every case with its finished future, in the order of the cases.

    Args:
        work: called with a case, in a thread.
        cases: all of them.
        largest: voxels of the largest case, all channels together.
        should_stop: asked before every case.
        stopped: message of the Stopped that it raises; the cases that are being worked on are finished first.
    """
    workers = max(1, min(thread_limit(), MOST_WORKERS, VOXELS_IN_FLIGHT // max(1, largest)))
    ahead = iter(cases)
    with _threads_per_worker(workers), ThreadPoolExecutor(workers) as pool:
        running: deque[tuple[Case, Future]] = deque()
        try:
            while True:
                if should_stop and should_stop():
                    raise Stopped(stopped)
                while len(running) < workers + WAITING and (case := next(ahead, None)) is not None:
                    running.append((case, pool.submit(work, case)))
                if not running:
                    return
                case, future = running.popleft()
                future.exception()
                yield case, future
        finally:
            for _, future in running:
                future.cancel()


def thread_limit() -> int:
    """Threads that SimpleITK and pools of cases may use together, see ``devices.limit_threads``."""
    return sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()


@contextmanager
def _threads_per_worker(workers: int) -> Iterator[None]:
    """SimpleITK's own threads, shared among the workers."""
    threads = thread_limit()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(max(1, threads // workers))
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def voxels_on_disk(case: Case) -> int:
    """About how many voxels the images of a case have, by the bytes of their files."""
    return sum(state[0] for state in map(source_state, dict.fromkeys(case.images)))


def source_state(path: Path | str) -> tuple[int, int]:
    """Size in bytes and time of change; of a folder those of all its files together; (0, 0) of what is not there."""
    try:
        files = [entry.path for entry in os.scandir(path)] if os.path.isdir(path) else [path]
        states = [os.stat(file) for file in files]
    except (OSError, ValueError):
        return 0, 0
    return sum(s.st_size for s in states), max((s.st_mtime_ns for s in states), default=0)
