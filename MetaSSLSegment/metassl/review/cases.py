"""The cases of a data set through a model, one after the other."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk

from ..data.dataset import Case, Dataset
from ..data.reading import read_images
from ..errors import InputError, Stopped
from ..inference.model import Model
from ..inference.volume import VolumePrediction, predict_volume


@dataclass(frozen=True)
class Watch:
    """How a command follows the work on many cases.

    Attributes:
        progress: called with finished cases (a fraction of the current one counts), all cases, and the case's name.
        should_stop: asked on the way.
        warn: called with a sentence about a case that is left out, or that needs attention.
    """

    progress: Callable[[float, float, str], None] = field(default=lambda done, total, text="": None)
    should_stop: Callable[[], bool] = field(default=lambda: False)
    warn: Callable[[str], None] = field(default=lambda text: None)


UNWATCHED = Watch()
"""Nobody follows."""


def read_cases(cases: Sequence[Case], watch: Watch, failed: list[str]) -> Iterator[tuple[int, Case, list[sitk.Image]]]:
    """Number, case and channels of the readable cases.

    Args:
        cases: in order.
        watch: follows.
        failed: takes the ids of the cases that cannot be read.

    Raises:
        Stopped: ``should_stop`` said so.
    """
    for number, case in enumerate(cases):
        if watch.should_stop():
            raise Stopped("Stopped.")
        watch.progress(number, len(cases), case.id)
        try:
            images = read_images(case)
        except InputError as error:
            leave_out(case, error, watch, failed)
        else:
            yield number, case, images
    watch.progress(1, 1, "")


def leave_out(case: Case, error: InputError, watch: Watch, failed: list[str]) -> None:
    """Go on without a case that cannot be read."""
    failed.append(case.id)
    watch.warn(f"{case.id} is left out: {error} {error.hint}")


def predict_cases(
    model: Model, cases: Sequence[Case], watch: Watch, failed: list[str]
) -> Iterator[tuple[Case, list[sitk.Image], VolumePrediction]]:
    """Case, channels and prediction with regions and confidence of the readable cases.

    Args:
        model: a loaded model.
        cases, watch, failed: see ``read_cases``.

    Raises:
        Stopped: ``should_stop`` said so.
        OutOfMemoryError: as it says.
    """
    for number, case, images in read_cases(cases, watch, failed):

        def windows(done: int, total: int, number: int = number, name: str = case.id) -> None:
            watch.progress(number + done / total, len(cases), name)

        options = {"progress": windows, "should_stop": watch.should_stop, "warn": watch.warn}
        yield case, images, predict_volume(model, images, **options)


def class_indices(labelmap: sitk.Image, model: Model, dataset: Dataset) -> np.ndarray:
    """(k, j, i) uint8 class indices of the data set from a labelmap of the model's values, matched by class name."""
    index = np.zeros(256, np.uint8)
    names = {c.name: k for k, c in enumerate(dataset.classes, 1)}
    for c in model.classes:
        index[c.value] = names.get(c.name, 0)
    return index[sitk.GetArrayViewFromImage(labelmap)]


def require_known(model: Model, dataset: Dataset, classes: bool = False) -> None:
    """Raise InputError unless the model knows the data set's channels and, when asked for, all its classes."""
    if len(model.channels) != len(dataset.channels):
        raise InputError(
            f"The model needs {len(model.channels)} channel(s) ({', '.join(model.channels)}), the data set has "
            f"{len(dataset.channels)} ({', '.join(dataset.channels)}).",
            "Use the model that was trained on data of this kind.",
        )
    unknown = [c.name for c in dataset.classes if c.name not in {known.name for known in model.classes}]
    if classes and unknown:
        raise InputError(
            f"The model does not know the class(es) {', '.join(unknown)} of the data set.",
            "Use the model that was trained on these annotations.",
        )
