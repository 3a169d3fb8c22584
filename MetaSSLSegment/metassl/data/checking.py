"""Checking every case of a data set before training: what is wrong, and what to do about it."""

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, OutOfMemoryError, is_out_of_memory
from .alignment import MIXTURE_REMEDY, acquisition_alignment, aligned_header, mixture, stray_slices
from .components import largest_shares
from .dataset import IGNORE, Case, Dataset
from .facts import ChannelFacts, channel_facts, guesses
from .images import VolumeHeader, flat_axis, oriented_header
from .kept import KeptVolumes
from .labels import distinct_values, read_label_with_fixes
from .pool import map_cases, voxels_on_disk
from .reading import read_images
from .rules import REMEDIES, UnusableCase

ONE_PART = 0.99
"""Share of a class in its largest part from which it is taken for one; single stray voxels do not matter."""
MANY_VOXELS = 200_000_000
"""Larger volumes are warned of."""
SPACING_RATIO = 2.0
"""Spacings further from the median are warned of."""


@dataclass(frozen=True)
class Problem:
    """One finding.

    Attributes:
        case_id: the case, or None when it concerns the whole data set.
        severity: "fixed" (handled, only said), "warning", "excluded" (the case must not be used) or "stop" (nothing
            can be trained).
        code: short name of the rule, for programs.
        message: what is wrong.
        remedy: what to do about it, may be empty.
    """

    case_id: str | None
    severity: str
    code: str
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Report:
    """What was found out about a data set.

    Attributes:
        dataset: as it was checked.
        problems: all findings, those of the whole data set last.
        measured: the cases that can be used.
    """

    dataset: Dataset
    problems: tuple[Problem, ...]
    measured: tuple["Measured", ...] = ()

    @property
    def excluded(self) -> list[str]:
        """Ids of the cases that must not be used, in order."""
        return list(dict.fromkeys(p.case_id for p in self.problems if p.severity == "excluded"))

    def usable_dataset(self) -> Dataset:
        """The data set with the excluded cases ignored.

        Raises:
            InputError: nothing can be trained on what is left.
        """
        stops = [p for p in self.problems if p.severity == "stop"]
        if stops:
            raise InputError(" ".join(p.message for p in stops), stops[0].remedy)
        return self.dataset.with_roles({case_id: "ignored" for case_id in self.excluded})

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready dictionary; sizes (voxels) and spacings (mm) are (i, j, k)."""
        values = [None, *(c.value for c in self.dataset.classes)]
        return {
            "name": self.dataset.name,
            "cases": len(self.dataset.cases),
            "excluded": self.excluded,
            "problems": [asdict(p) for p in self.problems],
            "measured": {
                m.case.id: {
                    "size": list(m.size),
                    "spacing": [round(s, 4) for s in m.spacing],
                    "labels": None if m.classes is None else [values[k] for k in sorted(m.classes)],
                }
                for m in self.measured
            },
        }

    def text(self) -> str:
        """The report for a terminal: findings by case, then those of the data set, then the counts."""
        lines = []
        by_case = defaultdict(list)
        for problem in self.problems:
            by_case[problem.case_id].append(problem)
        for case_id in sorted(by_case, key=lambda i: (i is None, i)):
            lines.append("Data set" if case_id is None else f"Case {case_id}")
            for problem in by_case[case_id]:
                lines.append(f"  {problem.severity}: {problem.message}")
                if problem.remedy:
                    lines.append(f"      {problem.remedy}")
        cases = sum(case.role != "ignored" for case in self.dataset.cases)
        counts = {s: sum(p.severity == s for p in self.problems) for s in ("stop", "excluded", "warning", "fixed")}
        found = ", ".join(f"{count} {severity}" for severity, count in counts.items() if count) or "no problems"
        lines.append(f"Checked: {cases}. Usable: {cases - len(self.excluded)}. Found: {found}.")
        return "\n".join(lines)


@dataclass(frozen=True)
class Measured:
    """Facts about a usable case.

    Attributes:
        case: the case.
        size: in voxels, (i, j, k).
        spacing: in mm, (i, j, k).
        header: size and spacing along the anatomical axes, (k, j, i).
        digest: of the voxels.
        classes: network classes in its label; None when it has no label or the label is not used.
        connected: those of them that form one part.
        channels: facts about the intensities of every channel.
    """

    case: Case
    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    header: VolumeHeader
    digest: bytes
    classes: frozenset[int] | None
    channels: tuple[ChannelFacts, ...]
    connected: frozenset[int] = frozenset()


def check_dataset(
    dataset: Dataset,
    *,
    progress: Callable[[int, int, str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    kept: KeptVolumes | None = None,
) -> Report:
    """Read every case that is not ignored, several at a time, the way training will read it.

    Args:
        dataset: the cases; labels of unlabelled cases are not read.
        progress: called with (cases done, number of cases, id of the case done).
        should_stop: asked before every case.
        kept: where to leave what was read.

    Raises:
        Stopped: ``should_stop`` said so.
    """
    cases = [case for case in dataset.cases if case.role != "ignored"]
    problems, measured = [], []
    work = partial(_check_case, dataset=dataset, kept=kept)
    largest = max(map(voxels_on_disk, cases), default=1)
    for done, (case, checked) in enumerate(map_cases(work, cases, largest, should_stop, "The check was stopped."), 1):
        try:
            found, measures = checked.result()
            problems += found
            measured.append(measures)
        except UnusableCase as error:
            problems.append(Problem(case.id, "excluded", error.code, str(error), error.hint))
        except (MemoryError, RuntimeError, OutOfMemoryError) as error:
            if not is_out_of_memory(error):
                raise
            message = f"There is not enough memory to check the case {case.id}."
            problems.append(Problem(case.id, "excluded", "memory", message, REMEDIES["memory"]))
        if progress is not None:
            progress(done, len(cases), case.id)
    strays = stray_slices({m.case.id: m.header for m in measured})
    remedy = "Leave it out, or give the whole volume."
    said = "The image is a single slice (a localiser?) among volumes."
    problems += [Problem(case_id, "excluded", "stray-slice", said, remedy) for case_id in strays]
    measured = [m for m in measured if m.case.id not in strays]
    problems += _spacing_problems(measured) + _duplicates(measured)
    problems += _intensity_problems(dataset, measured) + _set_problems(dataset, measured)
    return Report(dataset, tuple(problems), tuple(measured))


def _check_case(case: Case, dataset: Dataset, kept: KeptVolumes | None) -> tuple[list[Problem], Measured]:
    problems, fixes = [], []
    images = read_images(case, fixes.append)
    if images[0].GetNumberOfPixels() > MANY_VOXELS:
        size = " x ".join(map(str, images[0].GetSize()))
        message = f"The volume is very large ({size} voxels); preparing and segmenting it takes long and much memory."
        problems.append(Problem(case.id, "warning", "large", message, "Crop it to the region of interest."))
    classes: frozenset[int] | None = None
    connected: frozenset[int] = frozenset()
    label = None
    if case.role in ("labelled", "hold-out"):
        label, label_fixes = read_label_with_fixes(case.label, dataset, images[0])
        fixes += label_fixes
        classes = frozenset(distinct_values(label)) - {0, IGNORE}
        connected = frozenset(k for k, share in largest_shares(label, classes).items() if share >= ONE_PART)
        if not classes:
            message = f"The label {case.label} is empty: everything is background."
            remedy = "If the case is not annotated yet, make it unlabelled; otherwise it teaches background only."
            problems.append(Problem(case.id, "warning", "label-empty", message, remedy))
    problems += [Problem(case.id, "fixed", fix.code, fix.message) for fix in fixes]
    size, spacing = images[0].GetSize(), images[0].GetSpacing()
    header = oriented_header(size, spacing, images[0].GetDirection())
    facts = channel_facts(case, dataset, images, label if case.role == "labelled" else None)
    if kept is not None:
        kept.put(case, images, label)
    return problems, Measured(case, size, spacing, header, _digest(images), classes, facts, connected)


def _digest(images: list[sitk.Image]) -> bytes:
    """A fingerprint of size and voxels of all channels."""
    digest = hashlib.blake2b(str(images[0].GetSize()).encode(), digest_size=16)
    for image in images:
        digest.update(np.ascontiguousarray(sitk.GetArrayViewFromImage(image)))
    return digest.digest()


def _spacing_problems(measured: list[Measured]) -> list[Problem]:
    """Warn of cases whose spacing is far from the median of the data set, along any axis that all are aligned to."""
    if not measured:
        return []
    alignment = acquisition_alignment([m.header for m in measured])
    headers = [aligned_header(m.header, alignment) for m in measured]
    spacings = [header.spacing[::-1] for header in headers]
    median = np.median(spacings, axis=0)
    remedy = "Resampling evens this out; check that the spacing is right and the scan is of the same kind."
    problems = []
    for m, header, spacing in zip(measured, headers, spacings):
        ratio = np.array(spacing) / median
        if (flat := flat_axis(header.size)) is not None:  # the thickness of a slice does not matter
            ratio[2 - flat] = 1
        if max(ratio.max(), 1 / ratio.min()) > SPACING_RATIO:
            own = _millimetres(spacing)
            message = (
                f"The voxel spacing {own} differs by more than {SPACING_RATIO:g}x from the data set's median "
                f"{_millimetres(median)} (right-left x anterior-posterior x inferior-superior)."
            )
            problems.append(Problem(m.case.id, "warning", "mixed-spacing", message, remedy))
    return problems


def _duplicates(measured: list[Measured]) -> list[Problem]:
    """Warn of cases with the same voxels, named at the later one."""
    groups = defaultdict(list)
    for m in measured:
        groups[m.digest].append(m.case)
    problems = []
    for first, *others in groups.values():
        for case in others:
            code, roles = "duplicate", {first.role, case.role}
            if "hold-out" in roles:
                code, why = "leak", "a hold-out case must not occur twice, its result means nothing (leak)."
            elif len(roles) > 1:
                why = "one image is labelled and unlabelled at once."
            else:
                why = "it counts twice."
            same = f"The image has the same voxels as that of case {first.id} ({first.role}; this one is {case.role})"
            remedy = "Set the role of one of them to ignored."
            problems.append(Problem(case.id, "warning", code, f"{same}: {why}", remedy))
    return problems


def _intensity_problems(dataset: Dataset, measured: list[Measured]) -> list[Problem]:
    """Say which channels are taken for CT though nothing states it."""
    remedy = "If that is wrong, prepare the data set with --intensities (auto, ct or other for every channel)."
    return [
        Problem(None, "fixed" if agree else "warning", "intensities", sentence, remedy)
        for agree, sentence in guesses(dataset, [m.channels for m in measured])
    ]


def _set_problems(dataset: Dataset, measured: list[Measured]) -> list[Problem]:
    """What makes training impossible, or a class unlearnable, once the excluded cases are left out."""
    if mixed := mixture({m.case.id: m.header for m in measured}):
        return [Problem(None, "stop", "mixture", mixed, MIXTURE_REMEDY)]
    labelled = [m for m in measured if m.case.role == "labelled"]
    if not labelled:
        remedy = "Correct the problems above, or give at least one case a label and the role labelled."
        return [Problem(None, "stop", "no-labelled-case", "No labelled case can be used.", remedy)]
    found = frozenset().union(*(m.classes or () for m in labelled))
    if not found:
        remedy = "Annotate a structure in at least one labelled case."
        return [Problem(None, "stop", "no-foreground", "The labels of all labelled cases are empty.", remedy)]
    remedy = "The model will not learn it: annotate it in a labelled case if it should."
    missing = [c for k, c in enumerate(dataset.classes, 1) if k not in found]
    message = "The class {0.name!r} (value {0.value}) occurs in no usable labelled case."
    return [Problem(None, "warning", "missing-class", message.format(c), remedy) for c in missing]


def _millimetres(spacing: tuple[float, ...] | np.ndarray) -> str:
    return " x ".join(f"{value:.3g}" for value in spacing) + " mm"
