"""Volumes of small data sets, kept in memory from checking to caching so that they are read once."""

from threading import Lock

import numpy as np
import SimpleITK as sitk

from .dataset import Case
from .pool import source_state

MOST_BYTES = 250_000_000


class KeptVolumes:
    """What was read of the first cases, as many as there is room for.

    Args:
        room: bytes that may be kept.
    """

    def __init__(self, room: int = MOST_BYTES):
        self._room = room
        self._kept: dict[str, tuple] = {}
        self._lock = Lock()

    def put(self, case: Case, images: list[sitk.Image], label: np.ndarray | None) -> None:
        """Keep the float32 channels and the class indices (k, j, i) of a case, if there is room."""
        size = sum(4 * image.GetNumberOfPixels() for image in images) + (0 if label is None else label.nbytes)
        state = _state_of(case)
        with self._lock:
            if size <= self._room:
                self._room -= size
                self._kept[case.id] = size, state, images, label

    def take(self, case: Case) -> tuple[list[sitk.Image], np.ndarray | None] | None:
        """The channels and class indices of a case, once; None when they are not kept or a file has changed."""
        with self._lock:
            if case.id not in self._kept:
                return None
            size, state, images, label = self._kept.pop(case.id)
            self._room += size
        return (images, label) if state == _state_of(case) else None


def _state_of(case: Case) -> list:
    """Changes when a file of the case does, or when other files are its files."""
    files = [*case.images, *([] if case.role == "unlabelled" else [case.label])]
    return [case.role, *((path, source_state(path)) for path in files)]
