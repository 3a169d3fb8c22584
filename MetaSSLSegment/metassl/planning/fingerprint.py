"""The fingerprint of what a model learnt from, and what is unusual about a volume that it is to segment."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..data.alignment import Alignment, aligned_header
from ..data.checking import Measured
from ..data.dataset import MOST_CLASSES
from ..data.facts import PERCENTILES, looks_like_ct, sampled
from ..data.images import flat_axis, oriented_header
from ..validation import HUGE, Fields, items, number, triple, whole
from .plan import LARGEST_VALUE, Intensity

COARSER, FINER = 2.0, 5.0
"""Voxels so many times as large or as small as all that were learnt from are unusual; small ones are averaged."""
LARGER = 3.0
"""So are volumes that are so many times as large or as small along an axis."""
NARROW = 0.1
"""So are CT volumes whose intensities span less than this share of the window."""


LEAST_CASES = 3
"""Fewer labelled cases do not tell that a class always forms one part."""


@dataclass(frozen=True)
class ChannelFingerprint:
    """Intensities of one channel: the lowest and the highest that any case has at each of ``PERCENTILES``.

    Attributes:
        lowest, highest: in the image's units.
        like_ct: share of the cases whose intensities look like CT.
    """

    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    like_ct: float


@dataclass(frozen=True)
class Fingerprint:
    """Ranges over the cases that a model learnt from, along the axes (k, j, i) that all are aligned to.

    Attributes:
        spacing: smallest and largest, (2, 3) mm.
        extent: of the volumes, smallest and largest, (2, 3) mm.
        channels: one per image channel.
        connected: network classes that formed one part in every labelled case that has them, at least ``LEAST_CASES``.
    """

    spacing: tuple[tuple[float, ...], ...]
    extent: tuple[tuple[float, ...], ...]
    channels: tuple[ChannelFingerprint, ...]
    connected: tuple[int, ...] = ()

    @classmethod
    def of(cls, measured: Sequence[Measured], alignment: Alignment | None = None) -> "Fingerprint":
        """The fingerprint of at least one case; ``alignment`` is the plan's."""
        headers = [aligned_header(m.header, alignment) for m in measured]
        spacings = np.array([header.spacing for header in headers])
        extents = spacings * [header.size for header in headers]
        channels = []
        for facts in zip(*(m.channels for m in measured)):
            values = np.array([fact.percentiles for fact in facts])
            like_ct = float(np.mean([fact.like_ct for fact in facts]))
            channels.append(ChannelFingerprint(*_range(values), like_ct))
        return cls(_range(spacings), _range(extents), tuple(channels), _connected(measured))

    def fits(self, channels: int, classes: int) -> bool:
        """Whether it can be that of a model with so many image channels and foreground classes."""
        return len(self.channels) == channels and max(self.connected, default=0) <= classes

    def to_dict(self) -> dict[str, Any]:
        """The fingerprint as JSON-ready dictionary."""
        return {"percentiles": PERCENTILES, **asdict(self)}

    @classmethod
    def from_dict(cls, content: Any, name: str = "fingerprint") -> "Fingerprint":
        """Validate what ``to_dict`` gave, as read from JSON; ``name`` is its place there.

        Raises:
            InputError: it is damaged.
        """
        fields = Fields(content, name)
        spacing, extent = (fields.take(key, _range_of_triples) for key in ("spacing", "extent"))
        connected = fields.optional("connected", items, whole, 1, MOST_CLASSES) or ()
        return cls(spacing, extent, fields.take("channels", items, _channel), connected)


def _connected(measured: Sequence[Measured]) -> tuple[int, ...]:
    labelled = [m for m in measured if m.classes is not None and m.case.role == "labelled"]
    found = []
    for k in sorted(frozenset().union(*(m.classes for m in labelled))):
        having = [m for m in labelled if k in m.classes]
        if len(having) >= LEAST_CASES and all(k in m.connected for m in having):
            found.append(k)
    return tuple(found)


def _range_of_triples(value: Any, name: str) -> tuple[tuple[float, float, float], ...]:
    return items(value, name, triple, number, 0, HUGE, count=2)


def _channel(content: Any, name: str) -> ChannelFingerprint:
    fields = Fields(content, name)
    lowest, highest = (fields.take(key, _percentiles) for key in ("lowest", "highest"))
    return ChannelFingerprint(lowest, highest, fields.take("like_ct", number, 0, 1))


def _percentiles(value: Any, name: str) -> tuple[float, ...]:
    return items(value, name, number, -LARGEST_VALUE, LARGEST_VALUE, count=len(PERCENTILES))


def unusual(
    images: Sequence[sitk.Image],
    known: Fingerprint,
    rules: Sequence[Intensity],
    alignment: Alignment | None = None,
) -> list[str]:
    """Sentences on how far a volume is from all that a model learnt from; none for a usual one.

    Args:
        images: float32 channels.
        known: of the model.
        rules: the model's intensity rules, one per channel.
        alignment: of the model's plan.
    """
    grid = oriented_header(images[0].GetSize(), images[0].GetSpacing(), images[0].GetDirection())
    grid = aligned_header(grid, alignment)
    spacing, extent = np.array(grid.spacing), np.array(grid.spacing) * grid.size
    found, axes = [], [axis for axis in range(3) if axis != flat_axis(grid.size)]
    if _is_far(spacing, known.spacing, FINER, COARSER, axes):
        found.append(f"its voxels are {_mm(spacing)}, those that the model learnt from {_between(known.spacing)}.")
    if _is_far(extent, known.extent, LARGER, LARGER, axes):
        found.append(f"it is {_mm(extent)} large, the volumes that the model learnt from {_between(known.extent)}.")
    for place, (image, channel, rule) in enumerate(zip(images, known.channels, rules), 1):
        voxels = sampled(sitk.GetArrayViewFromImage(image).reshape(-1))
        name = f"channel {place}" if len(images) > 1 else "it"
        found += [f"{name} {what}" for what in _unusual_intensities(voxels, channel, rule)]
    return [
        f"This volume is unlike those that the model learnt from: {sentence} Expect worse results."
        for sentence in found
    ]


def _unusual_intensities(voxels: np.ndarray, known: ChannelFingerprint, rule: Intensity) -> list[str]:
    if rule.scheme != "ct":
        unlike = looks_like_ct(voxels) and not known.like_ct
        return ["looks like CT (Hounsfield units), and those did not."] if unlike else []
    values = np.percentile(voxels, PERCENTILES)
    window = f"the CT window of the model ({rule.lower:.0f} to {rule.upper:.0f})"
    above = (values > rule.upper) & (np.array(known.highest) <= rule.upper)
    if above[: PERCENTILES.index(75) + 1].any():
        return [f"has {np.mean(voxels > rule.upper):.0%} of its voxels above {window}."]
    below = (values < rule.lower) & (np.array(known.lowest) >= rule.lower)
    if below[PERCENTILES.index(95) :].any():
        return [f"has {np.mean(voxels < rule.lower):.0%} of its voxels below {window}."]
    span, least = values[-1] - values[0], known.lowest[-1] - known.highest[0]
    if span < NARROW * (rule.upper - rule.lower) < least:
        return [f"has intensities from {values[0]:.3g} to {values[-1]:.3g} only, for {window}."]
    return []


def _range(values: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(values.min(axis=0).tolist()), tuple(values.max(axis=0).tolist())


def _is_far(
    value: np.ndarray, known: Sequence[Sequence[float]], smaller: float, larger: float, axes: Sequence[int]
) -> bool:
    low, high = np.array(known)[:, axes]
    return bool(np.any(value[axes] * smaller < low) or np.any(value[axes] > larger * high))


def _mm(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.3g}" for value in values[::-1]) + " mm"


def _between(known: Sequence[Sequence[float]]) -> str:
    return f"{_mm(known[0])} to {_mm(known[1])} (right-left x anterior-posterior x inferior-superior)"
