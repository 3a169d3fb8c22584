"""Files in, files out: segment volumes and write labelmap, regions, confidence and their numbers."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ..data.dataset import ROLES, Case
from ..data.reading import read_images
from ..errors import SMALLER_VOLUME, InputError, MetaSSLError, OutOfMemoryError, is_out_of_memory
from ..files import write_json
from ..inference.model import Model
from ..inference.volume import VolumePrediction, predict_volume
from ..planning.fingerprint import unusual
from ..review.agreement import agreement_of
from ..review.places import places_of_prediction
from .cases import find_cases
from .measures import measure_prediction
from .writing import KINDS, BackgroundWriter, result_path, write_volumes


def predict_files(
    model: Model,
    inputs: Sequence[Path | str],
    out: Path | str,
    *,
    regions: bool = True,
    confidence: bool = True,
    overlap: float = 0.5,
    mirror: bool = False,
    keep_largest: bool | None = None,
    exact_confidence: bool = False,
    roles: Sequence[str] = ROLES,
    progress: Callable[[float, float, str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    warn: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Segment every case of the inputs.

    For each case ``NAME_seg.nii.gz``, ``NAME_regions.nii.gz``, ``NAME_confidence.nii.gz`` in the input's geometry and
    ``NAME.json`` with volumes and, when regions and confidence are made, agreement and the places to look at;
    for all together ``summary.json``. Existing files are replaced. A case is written while the next one is segmented.

    Args:
        model: a loaded model.
        inputs: image files, folders in any layout that ``prepare`` reads, or a dataset.json.
        out: folder for the results.
        regions, confidence, overlap, mirror, keep_largest: see ``predict_volume``.
        exact_confidence: see ``write_volumes``.
        roles: which cases of a folder or dataset.json to segment.
        progress: called with finished cases (a fraction of the current one counts), all cases, and the case's name.
        should_stop: asked after every window.
        warn: called with a sentence about a case that failed, or that needs attention.

    Returns:
        What the JSON files say, one dictionary per segmented case.

    Raises:
        InputError: some inputs cannot be used (the others are segmented first), there are none, a result
            would overwrite one of them, or the overlap is out of range.
        OutOfMemoryError: memory is too small for some inputs; the others are segmented first.
        Stopped: ``should_stop`` said so; finished cases are written.
        DiskError: as it says; cases before are written.
    """
    if not 0 <= overlap < 1:
        raise InputError(f"overlap is {overlap:g}; it must be at least 0 and below 1.", "0.5 is usual.")
    out = Path(out)
    warn, progress = warn or (lambda text: None), progress or (lambda *_: None)
    cases = find_cases(inputs, len(model.channels), roles, warn)
    _require_inputs_stay(cases, out)
    if mirror and not model.mirror_axes:
        warn("The model was not trained with mirrored crops, so mirrored views are not averaged.")
    results: list[dict[str, Any]] = []
    failed = _Failures(warn)

    def segment(number: int, case: Case) -> VolumePrediction:
        def windows(done: int, total: int) -> None:
            progress(number + done / total, len(cases), case.id)
            writer.check()

        return predict_volume(
            model,
            _read_channels(case, model, warn),
            regions=regions,
            confidence=confidence,
            overlap=overlap,
            mirror=mirror,
            keep_largest=keep_largest,
            progress=windows,
            should_stop=should_stop,
            warn=warn,
        )

    def write(case: Case, prediction: VolumePrediction, begin: float) -> None:
        write_volumes(prediction, out, case.id, exact_confidence)
        numbers = measure_prediction(model, prediction)
        if prediction.regions is not None and prediction.confidence is not None:
            numbers["agreement"] = agreement_of(model, prediction)
            numbers["places"] = [place.to_dict() for place in places_of_prediction(prediction, model.classes)]
        seconds = round(time.monotonic() - begin, 2)
        result = {"case": case.id, "images": list(case.images), "seconds": seconds, **numbers}
        write_json(out / f"{case.id}.json", {"model": model.name, **result})
        results.append(result)

    with BackgroundWriter(write, failed.left_out) as writer:
        for number, case in enumerate(cases):
            begin = time.monotonic()
            with failed.left_out(case):
                writer.put(case, writer.beside(partial(segment, number, case)), begin)
    write_json(out / "summary.json", {"model": model.name, "cases": results, "failed": list(failed.errors)})
    failed.raise_any(len(cases))
    return results


class _Failures:
    """The cases that could not be segmented.

    Attributes:
        errors: by the name of the case.
    """

    def __init__(self, warn: Callable[[str], None]):
        self.errors: dict[str, MetaSSLError] = {}
        self.warn = warn

    @contextmanager
    def left_out(self, case: Case) -> Iterator[None]:
        """A case that cannot be used, or does not fit into memory, is left out, so that the others go on."""
        try:
            yield
        except (RuntimeError, MemoryError, MetaSSLError) as error:
            if is_out_of_memory(error):
                files = ", ".join(dict.fromkeys(case.images))
                self.errors[case.id] = OutOfMemoryError(f"Not enough memory to segment {files}.", SMALLER_VOLUME)
            elif isinstance(error, InputError):
                self.errors[case.id] = InputError(str(error), error.hint)
            else:
                raise
            self.warn(f"{case.id} is left out: {self.errors[case.id]} {self.errors[case.id].hint}")

    def raise_any(self, count: int) -> None:
        """Raise an error about all of them, if there are any; ``count`` cases were to be segmented."""
        if not self.errors:
            return
        message = f"{len(self.errors)} of {count} inputs could not be segmented: {', '.join(self.errors)}."
        hint = "The messages above say why; the others are done."
        lacking = [error for error in self.errors.values() if isinstance(error, OutOfMemoryError)]
        if lacking:
            raise OutOfMemoryError(f"{message} {lacking[0]}", f"{lacking[0].hint} {hint}")
        raise InputError(message, hint)


def _require_inputs_stay(cases: Sequence[Case], out: Path) -> None:
    """Raise InputError when a result has the path of an input, or of its label."""
    written = {result_path(out, case.id, kind).resolve() for case in cases for kind in KINDS}
    for path in (Path(file) for case in cases for file in (*case.images, case.label) if file is not None):
        if path.resolve() in written:
            raise InputError(
                f"{path} is an input and would be overwritten by a result.",
                "Write the results into another folder, or leave this file out of the inputs.",
            )


def _read_channels(case: Case, model: Model, warn: Callable[[str], None]) -> list[sitk.Image]:
    """The channels of a case, with a warning where they are unlike those of the training.

    Raises:
        InputError: they are not as many as the model needs, or cannot be used.
    """
    if len(case.images) != len(model.channels):
        raise InputError(
            f"The model needs {len(model.channels)} channel(s) ({', '.join(model.channels)}), this case has "
            f"{len(case.images)}.",
            "Name the channels' files NAME_0000, NAME_0001 and so on, in the order of training.",
        )
    images = read_images(case, lambda fix: warn(f"{case.id}: {fix.message}"))
    if model.fingerprint:
        for sentence in unusual(images, model.fingerprint, model.plan.intensities, model.plan.alignment):
            warn(f"{case.id}: {sentence}")
    return images
