"""Which annotations to doubt: where the predictions confidently say something else than the annotation."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..data.dataset import IGNORE, Case, Dataset
from ..data.images import image_like, write_image
from ..data.labels import read_label
from ..data.overlap import dice_per_class
from ..errors import InputError
from ..files import write_json
from ..inference.model import Model
from ..inference.volume import VolumePrediction
from ..job import LEAST_FOR_HALVES
from .cases import UNWATCHED, Watch, class_indices, leave_out, predict_cases, require_known
from .places import BACKGROUND, DISCREPANT, SUSPICIOUS, Place, find_places

TEMPERATURE = 0.1
"""Of the softmin: how much the worst voxels decide."""
NOTE_OF_HALVES = (
    "Every annotation was compared with a model that has not seen it, but had half of the labelled cases only: hard "
    "cases look more doubtful than they are."
)
NOTE = (
    'The model was trained on the annotations of the cases with "trained_on": true, so it has learnt part of their '
    "mistakes: what it doubts deserves a look, but what it does not doubt may still be wrong."
)
ROLES = ("labelled", "hold-out")


@dataclass(frozen=True)
class Audit:
    """One annotation as the predictions see it.

    Attributes:
        case: id.
        role: of the case.
        trained_on: whether the model learnt from this annotation.
        score: 0-1, see ``softmin_score``; low means doubtful.
        dice: class name -> Dice of annotation and prediction.
        doubt_ml: volume of the doubted voxels.
        places: where they are; the classes of a place are what is annotated and what is predicted.
        doubted: uint8 labelmap in the image's geometry of the voxels where the predictions contradict the annotation
            with confidence: the class that is annotated there or, where nothing is, the one that is predicted.
        annotated: uint8 labelmap of the annotation as a training reads it, in the image's geometry.
    """

    case: str
    role: str
    trained_on: bool
    score: float
    dice: dict[str, float]
    doubt_ml: float
    places: tuple[Place, ...]
    doubted: sitk.Image
    annotated: sitk.Image

    @property
    def mean_dice(self) -> float:
        """Over the classes."""
        return float(np.mean(list(self.dice.values())))

    def to_dict(self) -> dict[str, Any]:
        """All but the labelmaps, JSON-ready."""
        names = ("case", "role", "trained_on", "score", "dice", "doubt_ml")
        return {**{name: getattr(self, name) for name in names}, "places": [place.to_dict() for place in self.places]}


def audit_dataset(
    model: Model, dataset: Dataset, out: Path | str, roles: Sequence[str] = ROLES, watch: Watch = UNWATCHED
) -> dict[str, Any]:
    """Compare the annotations of a data set with what a model predicts there.

    Writes for each case ``NAME_doubt.nii.gz`` (``Audit.doubted``) and ``NAME_annotation.nii.gz`` (``Audit.annotated``),
    and for all ``audit.json``, into ``out``.

    Args:
        model: a loaded model.
        dataset: its classes are the model's, by name.
        out: folder for the results.
        roles: of the cases.
        watch: follows.

    Returns:
        What audit.json says: "model", name of the data set that it was trained on, None by halves; "ignore_value", that
        of ignored voxels in ``NAME_annotation.nii.gz``; "note", how far to believe what follows; "cases", the most
        doubtful first, each with the fields of ``Audit`` but the labelmaps; "failed", ids of unreadable cases.

    Raises:
        InputError: the model does not fit the data set, or there is no annotated case.
        Stopped, OutOfMemoryError, DiskError: as they say.
    """
    require_known(model, dataset, classes=True)
    cases = dataset.with_role(*roles)
    if not cases:
        raise InputError("There is no annotated case to look at.", f"No case has the role {' or '.join(roles)}.")
    return _audited([(model, cases)], dataset, out, model.name, NOTE, watch)


def audit_by_halves(
    parts: Iterable[tuple[Model, Sequence[Case]]], dataset: Dataset, out: Path | str, watch: Watch = UNWATCHED
) -> dict[str, Any]:
    """Compare annotations with what models predict that have not seen them.

    Writes and returns what ``audit_dataset`` does.

    Args:
        parts: models, each with the cases that it judges; see ``halves_of``.
        dataset, out, watch: as for ``audit_dataset``.

    Raises:
        Stopped, OutOfMemoryError, DiskError: as they say.
    """
    return _audited(parts, dataset, out, None, NOTE_OF_HALVES, watch)


def halves_of(dataset: Dataset, seed: int) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """The labelled cases of a data set, by chance in two halves.

    Raises:
        InputError: there are too few.
    """
    cases = list(dataset.with_role("labelled"))
    if len(cases) < LEAST_FOR_HALVES:
        raise InputError(
            f"{len(cases)} labelled case(s) are too few for an audit by halves: it takes {LEAST_FOR_HALVES}.",
            "Train a model on all of them and name it: metassl audit MODEL dataset.json.",
        )
    random.Random(seed).shuffle(cases)
    return tuple(cases[::2]), tuple(cases[1::2])


def _audited(
    parts: Iterable[tuple[Model, Sequence[Case]]],
    dataset: Dataset,
    out: Path | str,
    name: str | None,
    note: str,
    watch: Watch,
) -> dict[str, Any]:
    failed: list[str] = []
    found: list[dict[str, Any]] = []
    for model, cases in parts:
        for audit, _, _ in audit_cases(model, dataset, cases, watch, failed):
            for kind, labelmap in (("doubt", audit.doubted), ("annotation", audit.annotated)):
                write_image(labelmap, Path(out) / f"{audit.case}_{kind}.nii.gz")
            found.append(audit.to_dict())
    found.sort(key=lambda audit: (audit["score"], audit["case"]))
    content = {"model": name, "ignore_value": ignored_as(dataset), "note": note, "cases": found, "failed": failed}
    write_json(Path(out) / "audit.json", content)
    return content


def audit_table(audit: dict[str, Any]) -> str:
    """What ``audit_dataset`` returns as text: a line per case, then how far to believe it."""
    width = max([len(case["case"]) for case in audit["cases"]] + [4])
    lines = [f"{'case':<{width}}  {'score':>6}  {'Dice':>6}  {'doubt ml':>9}  {'places':>6}  first place (RAS, mm)"]
    for case in audit["cases"]:
        dice, first = np.mean(list(case["dice"].values())), ""
        if case["places"]:
            place = case["places"][0]
            point = " ".join(f"{x:.1f}" for x in place["position"])
            first = f"{point}: annotated {place['classes'][0]}, predicted {place['classes'][1]}"
        lines.append(
            f"{case['case']:<{width}}  {case['score']:6.3f}  {dice:6.3f}  {case['doubt_ml']:9.3f}  "
            f"{len(case['places']):6}  {first}"
        )
    return "\n".join([*lines, audit["note"]])


def audit_cases(
    model: Model, dataset: Dataset, cases: Sequence[Case], watch: Watch, failed: list[str]
) -> Iterator[tuple[Audit, sitk.Image, VolumePrediction]]:
    """Audit, first channel and prediction of the cases that can be read; see ``audit_case`` and ``predict_cases``."""
    for case, images, prediction in predict_cases(model, cases, watch, failed):
        try:
            audit = audit_case(model, dataset, case, images[0], prediction)
        except InputError as error:
            leave_out(case, error, watch, failed)
        else:
            yield audit, images[0], prediction


def audit_case(model: Model, dataset: Dataset, case: Case, image: sitk.Image, prediction: VolumePrediction) -> Audit:
    """Compare the annotation of one case with its prediction.

    Args:
        model, dataset: as for ``audit_dataset``.
        case: with a label.
        image: its first channel.
        prediction: with regions and confidence.

    Raises:
        InputError: the annotation cannot be read.
    """
    annotated = read_label(case.label, dataset, image)
    predicted = class_indices(prediction.labelmap, model, dataset)
    confidence = np.nan_to_num(sitk.GetArrayViewFromImage(prediction.confidence))
    sure = ~np.isin(sitk.GetArrayViewFromImage(prediction.regions), DISCREPANT + SUSPICIOUS)
    contradicted = sure & (predicted != annotated) & (annotated != IGNORE)
    doubt = np.where(contradicted, confidence, 0).astype(np.float32)
    names = {0: BACKGROUND, **{k: c.name for k, c in enumerate(dataset.classes, 1)}}
    learnt = (model.metadata.get("metassl", {}).get("provenance") or {}).get("cases") or {}
    values = np.zeros(256, np.uint8)
    values[: len(dataset.classes) + 1] = 0, *(c.value for c in dataset.classes)
    values[IGNORE] = ignored_as(dataset)
    marked = np.where(contradicted, np.where(annotated > 0, annotated, predicted), 0)
    dice = dice_per_class(predicted, annotated, len(dataset.classes))
    return Audit(
        case=case.id,
        role=case.role,
        trained_on=case.id in learnt.get("labelled", ()),
        score=round(softmin_score(annotated, predicted, confidence), 4),
        dice={c.name: round(d, 4) for c, d in zip(dataset.classes, dice)},
        doubt_ml=round(float(contradicted.sum() * np.prod(image.GetSpacing())) / 1000, 4),
        places=tuple(find_places(doubt, annotated, predicted, names, image)),
        doubted=image_like(values[marked], image),
        annotated=image_like(values[annotated], image),
    )


def ignored_as(dataset: Dataset) -> int:
    """The value of ignored voxels in ``Audit.annotated``: that of the data set where it fits into a byte."""
    taken = {c.value for c in dataset.classes}
    wanted = (dataset.ignore_value, *range(255, 0, -1))
    return next(value for value in wanted if value in range(1, 256) and value not in taken)


def softmin_score(annotated: np.ndarray, predicted: np.ndarray, confidence: np.ndarray) -> float:
    """How well the annotation of a case fits what is predicted, 0-1; low when some voxels contradict it for certain.

    The softmin over the voxels that are annotated or predicted as a class: each counts by the probability that its
    annotation is right, those with the least the most. Idea: Lad and Mueller, arXiv 2307.05080 (cleanlab).

    Args:
        annotated, predicted: (k, j, i) class indices.
        confidence: (k, j, i), of the prediction.
    """
    inside = ((annotated > 0) | (predicted > 0)) & (annotated != IGNORE)
    if not inside.any():
        return 1.0
    right = np.where(annotated == predicted, confidence, 1 - confidence)[inside].astype(np.float64)
    weights = np.exp((1 - right) / TEMPERATURE - 1 / TEMPERATURE)
    return float((right * weights).sum() / weights.sum())
