"""What is written of a case, and a thread that writes while the next case is segmented."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import numpy as np
import SimpleITK as sitk

from ..data.dataset import Case
from ..data.images import image_like, write_image
from ..errors import MetaSSLError, is_out_of_memory
from ..inference.volume import VolumePrediction

KINDS = ("seg", "regions", "confidence")
"""Endings of the written volumes' names."""
STEPS = 255
"""Steps of confidence between 0 and 1 in a file; full precision takes five times the space and ten times the time."""
STEP = float(np.nextafter(np.float32(1 / STEPS), np.float32(0)))
"""Height of a step: the largest float32 that does not lead beyond 1."""

Result = TypeVar("Result")


def result_path(out: Path, name: str, kind: str) -> Path:
    """Where a volume of a case is written."""
    return out / f"{name}_{kind}.nii.gz"


def write_volumes(prediction: VolumePrediction, out: Path, name: str, exact_confidence: bool = False) -> None:
    """Write labelmap, regions and confidence, as far as they were made.

    Args:
        prediction: of the case.
        out, name: folder, and what the case is called there.
        exact_confidence: write confidence as float32; else in steps of 1/255, without a number 0. Readers see 0-1.

    Raises:
        DiskError, OutOfMemoryError: as they say.
    """
    for kind, image in zip(KINDS, (prediction.labelmap, prediction.regions, prediction.confidence)):
        if image is None:
            continue
        if kind != "confidence" or exact_confidence:
            write_image(image, result_path(out, name, kind))
        else:
            write_image(_in_steps(image), result_path(out, name, kind), STEP)


def _in_steps(confidence: sitk.Image) -> sitk.Image:
    """Confidence 0-1 as uint8 numbers of steps."""
    steps = np.empty(confidence.GetSize()[::-1], np.uint8)
    for plane, values in zip(steps, sitk.GetArrayViewFromImage(confidence)):
        plane[:] = np.rint(np.nan_to_num(values) * STEPS)
    return image_like(steps, confidence)


class BackgroundWriter:
    """Writes one case at a time in a thread; leaving the context waits for it.

    Args:
        write: writes a case, called with the arguments of ``put``.
        left_out: makes a context that takes a lack of memory for a case, so that the others go on.
    """

    def __init__(self, write: Callable[..., None], left_out: Callable[[Case], AbstractContextManager[None]]):
        self.write, self.left_out = write, left_out
        self._thread: Thread | None = None
        self._case: tuple[Any, ...] = ()
        self._error: Exception | None = None

    def put(self, *case: Any) -> None:
        """Begin to write a case when the one before is written.

        Raises:
            DiskError: of the case before.
        """
        self.finish()
        self._case, thread = case, Thread(target=self._write)
        try:
            thread.start()
            self._thread = thread
        except RuntimeError:  # the system gives no thread any more
            self._write()

    def _write(self) -> None:
        try:
            self.write(*self._case)
            self._case = ()
        except Exception as error:
            self._error = error

    def beside(self, work: Callable[[], Result]) -> Result:
        """Work while a case is written or, when memory is too short for both, after that."""
        try:
            return work()
        except (RuntimeError, MemoryError, MetaSSLError) as error:
            if self._thread is None or not is_out_of_memory(error):
                raise
        self.finish()
        return work()

    def check(self) -> None:
        """Raise the error of writing, if there is one by now; a lack of memory is left to ``finish``.

        Raises:
            DiskError: as it says.
        """
        if self._error and not is_out_of_memory(self._error):
            error, self._error = self._error, None
            raise error

    def finish(self) -> None:
        """Wait until all is written; what memory was too short for is written again, now that nothing else is done.

        Raises:
            DiskError: as it says.
        """
        if self._thread:
            self._thread.join()
            self._thread = None
        self.check()
        if self._error:
            self._error = None
            with self.left_out(self._case[0]):
                self.write(*self._case)
        self._case = ()

    def __enter__(self) -> "BackgroundWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()
