"""Files in, files out: segment volumes and write labelmap, regions, confidence and their numbers."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ..data.dataset import ROLES, Case
from ..data.images import write_image
from ..data.reading import read_images
from ..errors import InputError
from ..files import write_json
from ..inference.model import Model
from ..inference.volume import predict_volume
from .cases import find_cases
from .measures import measure_prediction

KINDS = ("seg", "regions", "confidence")
"""Endings of the written volumes' names."""


def predict_files(
    model: Model,
    inputs: Sequence[Path | str],
    out: Path | str,
    *,
    regions: bool = True,
    confidence: bool = True,
    overlap: float = 0.5,
    mirror: bool = False,
    keep_largest: bool = False,
    roles: Sequence[str] = ROLES,
    progress: Callable[[float, float, str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    warn: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Segment every case of the inputs.

    For each case ``NAME_seg.nii.gz``, ``NAME_regions.nii.gz``, ``NAME_confidence.nii.gz`` in the input's geometry and
    ``NAME.json``; for all together ``summary.json``. Existing files are replaced.

    Args:
        model: a loaded model.
        inputs: image files, folders in any layout that ``prepare`` reads, or a dataset.json.
        out: folder for the results.
        regions, confidence, overlap, mirror, keep_largest: see ``predict_volume``.
        roles: which cases of a folder or dataset.json to segment.
        progress: called with finished cases (a fraction of the current one counts), all cases, and the case's name.
        should_stop: asked after every window.
        warn: called with a sentence about a case that failed, or that needs attention.

    Returns:
        What the JSON files say, one dictionary per segmented case.

    Raises:
        InputError: some inputs cannot be used (the others are segmented first), there are none, a result
            would overwrite one of them, or the overlap is out of range.
        Stopped: ``should_stop`` said so; finished cases are written.
        OutOfMemoryError, DiskError: as they say.
    """
    if not 0 <= overlap < 1:
        raise InputError(f"overlap is {overlap:g}; it must be at least 0 and below 1.", "0.5 is usual.")
    out = Path(out)
    warn, progress = warn or (lambda text: None), progress or (lambda *_: None)
    cases = find_cases(inputs, len(model.channels), roles, warn)
    _require_inputs_stay(cases, out)
    if mirror and not model.mirror_axes:
        warn("The model was not trained with mirrored crops, so mirrored views are not averaged.")
    results, failed = [], []
    for number, case in enumerate(cases):

        def windows(done: int, total: int, number: int = number, name: str = case.id) -> None:
            progress(number + done / total, len(cases), name)

        begin = time.monotonic()
        try:
            images = _read_channels(case, model)
        except InputError as error:
            failed.append(case.id)
            warn(f"{case.id} is left out: {error} {error.hint}")
            continue
        prediction = predict_volume(
            model,
            images,
            regions=regions,
            confidence=confidence,
            overlap=overlap,
            mirror=mirror,
            keep_largest=keep_largest,
            progress=windows,
            should_stop=should_stop,
            warn=warn,
        )
        for kind, image in zip(KINDS, (prediction.labelmap, prediction.regions, prediction.confidence)):
            if image is not None:
                write_image(image, out / f"{case.id}_{kind}.nii.gz")
        seconds = round(time.monotonic() - begin, 2)
        numbers = measure_prediction(model, prediction)
        results.append({"case": case.id, "images": list(case.images), "seconds": seconds, **numbers})
        write_json(out / f"{case.id}.json", {"model": model.name, **results[-1]})
    write_json(out / "summary.json", {"model": model.name, "cases": results, "failed": failed})
    if failed:
        raise InputError(
            f"{len(failed)} of {len(cases)} inputs could not be segmented: {', '.join(failed)}.",
            "The messages above say why; the others are done.",
        )
    return results


def _require_inputs_stay(cases: Sequence[Case], out: Path) -> None:
    """Raise InputError when a result has the path of an input, or of its label."""
    written = {(out / f"{case.id}_{kind}.nii.gz").resolve() for case in cases for kind in KINDS}
    for path in (Path(file) for case in cases for file in (*case.images, case.label) if file is not None):
        if path.resolve() in written:
            raise InputError(
                f"{path} is an input and would be overwritten by a result.",
                "Write the results into another folder, or leave this file out of the inputs.",
            )


def _read_channels(case: Case, model: Model) -> list[sitk.Image]:
    """The channels of a case; InputError when they are not as many as the model needs, or cannot be used."""
    if len(case.images) != len(model.channels):
        raise InputError(
            f"The model needs {len(model.channels)} channel(s) ({', '.join(model.channels)}), this case has "
            f"{len(case.images)}.",
            "Name the channels' files NAME_0000, NAME_0001 and so on, in the order of training.",
        )
    return read_images(case)
