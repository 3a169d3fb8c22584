"""Files in, files out: segment volumes and write labelmap, regions, confidence and their numbers."""

import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..data.dataset import ROLES, Case, Dataset, unique_names
from ..data.images import dicom_series, is_image_file, stem, write_image
from ..data.reading import read_images
from ..errors import InputError
from ..files import write_json
from ..inference.model import Model
from ..inference.volume import predict_volume
from ..regions import REGIONS

CHANNEL_ENDING = re.compile(r"_(\d{4})$")
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
        inputs: image files, folders of images, folders of one DICOM series, or a dataset.json.
        out: folder for the results.
        regions, confidence, overlap, mirror, keep_largest: see ``inference.predict_volume``.
        roles: which cases of a dataset.json to segment.
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
    cases = find_cases(inputs, len(model.channels), roles)
    _require_inputs_stay(cases, out)
    warn = warn or (lambda text: None)
    if mirror and not model.mirror_axes:
        warn("The model was not trained with mirrored crops, so mirrored views are not averaged.")
    results, failed = [], []
    for number, case in enumerate(cases):

        def windows(done: int, total: int, number: int = number, name: str = case.id) -> None:
            if progress:
                progress(number + done / total, len(cases), name)

        begin = time.monotonic()
        try:
            images = _read(case, model)
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
        results.append(
            {"case": case.id, "images": list(case.images), "seconds": round(time.monotonic() - begin, 2)}
            | measure_prediction(model, prediction)
        )
        write_json(out / f"{case.id}.json", {"model": model.name, **results[-1]})
    write_json(out / "summary.json", {"model": model.name, "cases": results, "failed": failed})
    if failed:
        raise InputError(
            f"{len(failed)} of {len(cases)} inputs could not be segmented: {', '.join(failed)}.",
            "The messages above say why; the others are done.",
        )
    return results


def _require_inputs_stay(cases: Sequence[Case], out: Path) -> None:
    """Raise InputError when a result has the path of an input."""
    written = {(out / f"{case.id}_{kind}.nii.gz").resolve() for case in cases for kind in KINDS}
    for path in (Path(image) for case in cases for image in case.images):
        if path.resolve() in written:
            raise InputError(
                f"{path} is an input and would be overwritten by a result.",
                "Write the results into another folder, or leave this file out of the inputs.",
            )


def _read(case: Case, model: Model) -> list[sitk.Image]:
    """The channels of a case, as many as the model needs.

    Raises:
        InputError: too many or too few, or they cannot be used.
    """
    if len(case.images) != len(model.channels):
        raise InputError(
            f"The model needs {len(model.channels)} channel(s) ({', '.join(model.channels)}), this case has "
            f"{len(case.images)}.",
            "Name the channels' files NAME_0000, NAME_0001 and so on, in the order of training.",
        )
    return read_images(case)


def measure_prediction(model: Model, prediction) -> dict[str, Any]:
    """Volumes in ml per class, and per region its share and volume, over the whole image and inside each class."""
    labels = sitk.GetArrayViewFromImage(prediction.labelmap)
    voxel_ml = float(np.prod(prediction.labelmap.GetSpacing())) / 1000
    counts = np.bincount(labels.ravel(), minlength=256)
    found: dict[str, Any] = {
        "volume_ml": {c.name: round(float(counts[c.value]) * voxel_ml, 4) for c in model.classes},
    }
    if prediction.confidence is not None:
        certainty = sitk.GetArrayViewFromImage(prediction.confidence)
        found["mean_confidence"] = {
            c.name: round(float(certainty[labels == c.value].mean()), 4) if counts[c.value] else None
            for c in model.classes
        }
    if prediction.regions is not None:
        region = sitk.GetArrayViewFromImage(prediction.regions)
        parts = {"all": slice(None)} | {c.name: labels == c.value for c in model.classes}
        found["regions"] = {name: _shares(region[part], voxel_ml) for name, part in parts.items()}
    return found


def _shares(region: np.ndarray, voxel_ml: float) -> dict[str, dict[str, float]]:
    counts = np.bincount(region.ravel(), minlength=5)
    total = max(int(counts[1:].sum()), 1)
    return {
        r.code: {
            "share": round(float(counts[r.value]) / total, 5),
            "volume_ml": round(float(counts[r.value]) * voxel_ml, 4),
        }
        for r in REGIONS
    }


def find_cases(inputs: Sequence[Path | str], channels: int, roles: Sequence[str] = ROLES) -> list[Case]:
    """The cases that the inputs name, each with a name of its own.

    Args:
        inputs: see ``predict_files``.
        channels: image channels that the model needs; with several, files ``NAME_0000``, ``NAME_0001`` and so on
            belong together.
        roles: which cases of a dataset.json to take.

    Raises:
        InputError: an input does not exist or holds no volume, or there is nothing to segment.
    """
    found: list[tuple[str, tuple[str, ...]]] = []
    loose: list[Path] = []
    for path in map(Path, inputs):
        if not path.exists():
            raise InputError(f"{path} does not exist.", "Check the path.")
        if path.suffix == ".json":
            found += [(case.id, case.images) for case in Dataset.load(path).with_role(*roles)]
        elif path.is_dir() and (files := sorted(p for p in path.iterdir() if is_image_file(p))):
            loose += files
        elif path.is_dir():
            series = (
                [path] if dicom_series(path) else [p for p in sorted(path.iterdir()) if p.is_dir() and dicom_series(p)]
            )
            if not series:
                raise InputError(f"{path} holds no volume.", "Give image files, or folders of images or DICOM series.")
            found += [(Path(os.path.abspath(p)).name, (str(p.absolute()),)) for p in series]
        else:
            loose.append(path)
    found += _grouped(loose, channels)
    if not found:
        raise InputError("There is nothing to segment.", f"No case has one of the roles {', '.join(roles)}.")
    # summary.json is about all cases; 200: evaluate looks for these names, so only what no disk takes is shortened
    names = unique_names((name for name, _ in found), taken=["summary"], longest=200)
    return [Case(name, images) for name, (_, images) in zip(names, found)]


def _grouped(files: Sequence[Path], channels: int) -> list[tuple[str, tuple[str, ...]]]:
    """Name and channel files of each case; one file is one case unless the model needs several channels."""
    groups: dict[tuple[Path, str], list[str]] = {}
    for file in files:
        name = stem(file)
        if channels > 1:
            name = CHANNEL_ENDING.sub("", name)
        groups.setdefault((file.absolute().parent, name), []).append(str(file.absolute()))
    found = []
    for (_, name), paths in groups.items():
        if channels == 1:
            found += [(name, (path,)) for path in paths]
        else:  # one file may hold all channels
            found.append((name, tuple(paths * channels if len(paths) == 1 else sorted(paths))))
    return found
