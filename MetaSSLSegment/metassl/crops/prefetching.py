"""The crops of coming steps, read ahead from the cache by a thread."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import replace

from .sampling import Crops, CropSampler


class Prefetcher:
    """Reads the crops of coming steps in one background thread (no worker processes: they hang under Slicer).

    Args:
        sampler: where the crops come from.
        first: number of the first step.
        depth: how many steps to read ahead.
        pin: copy into page-locked memory, for a GPU.
        patience: seconds after which None comes in place of crops that are not there yet, so that a stop or the end of
            the budget is noticed while a disk is slow; None waits for them.
    """

    def __init__(
        self, sampler: CropSampler, first: int, depth: int = 3, pin: bool = False, patience: float | None = None
    ):
        self._patience = patience
        self._queue: queue.Queue = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(sampler, first, pin), name="crops", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Crops | None]:
        while True:
            try:
                item = self._queue.get(timeout=self._patience)
            except queue.Empty:
                item = None
            if isinstance(item, Exception):
                raise item
            yield item

    def close(self) -> None:
        """Stop reading."""
        self._closed.set()
        while self._thread.is_alive():
            while not self._queue.empty():
                self._queue.get_nowait()
            self._thread.join(0.01)

    def _run(self, sampler: CropSampler, step: int, pin: bool) -> None:
        try:
            while not self._closed.is_set():
                crops = sampler.crops(step)
                if pin:
                    crops = replace(crops, images=crops.images.pin_memory(), labels=crops.labels.pin_memory())
                self._queue.put(crops)
                step += 1
        except Exception as error:  # handed to the training thread, which raises it
            self._queue.put(error)
