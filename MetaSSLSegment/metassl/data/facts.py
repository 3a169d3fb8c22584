"""What planning needs to know of the voxels of a case, found out while it is checked."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .dataset import IGNORE, Case, Dataset
from .formats.dicom import MODALITY

PERCENTILES = (0.5, 5.0, 25.0, 50.0, 75.0, 95.0, 99.5)
SAMPLED = 1_000_000
"""Voxels of a larger volume that are looked at."""
FOREGROUND = 10_000
"""Foreground voxels of a case that a CT window is measured on."""
CT_WORD = re.compile(r"(?<![a-z])ct(?![a-z])", re.IGNORECASE)
OTHER_WORD = re.compile(r"(?<![a-z])(mr|mri|t1|t2|flair|adc|dwi|us|pet|pt)", re.IGNORECASE)
OUTSIDE_THE_SCANNER = -1500
"""Lower values are no Hounsfield units but fill what no ray has passed."""
AIR, FAT_TO_BLOOD, BETWEEN = (-1100, -800), (-200, 300), (-600, -250)
"""Hounsfield units of air and lungs, of soft tissues, and of what hardly anything has."""


@dataclass(frozen=True)
class ChannelFacts:
    """Facts about one channel of a case.

    Attributes:
        percentiles: intensities at ``PERCENTILES``.
        like_ct: whether the intensities are distributed as in CT.
        modality: of a DICOM series, "" of other files.
        foreground: (n,) float32 intensities of random foreground voxels; empty without a label, or where the channel is
            known not to be CT.
    """

    percentiles: tuple[float, ...]
    like_ct: bool
    modality: str
    foreground: np.ndarray


def channel_facts(
    case: Case, dataset: Dataset, images: Sequence[sitk.Image], label: np.ndarray | None
) -> tuple[ChannelFacts, ...]:
    """Facts about the channels of a case.

    Args:
        case: the case.
        dataset: says what its channels are.
        images: float32 channels.
        label: (k, j, i) class indices of a labelled case that is trained on, else None.
    """
    places = None if label is None else _foreground(case, label)
    facts = []
    for channel, image in enumerate(images):
        voxels = sitk.GetArrayViewFromImage(image).reshape(-1)
        modality = image.GetMetaData(MODALITY) if image.HasMetaDataKey(MODALITY) else ""
        known = told_ct(dataset, channel)
        inside = voxels[places] if places is not None and known is not False else np.zeros(0, np.float32)
        voxels = sampled(voxels)
        percentiles = tuple(float(v) for v in np.percentile(voxels, PERCENTILES))
        facts.append(ChannelFacts(percentiles, looks_like_ct(voxels), modality, inside))
    return tuple(facts)


def sampled(voxels: np.ndarray) -> np.ndarray:
    """``SAMPLED`` of the voxels (n,), the same ones of the same volume; all where they are fewer."""
    if voxels.size <= SAMPLED:
        return voxels
    return voxels[np.random.default_rng(0).integers(voxels.size, size=SAMPLED)]


def told_ct(dataset: Dataset, channel: int) -> bool | None:
    """Whether a channel is CT by the data set's setting or else by its name; None when neither says it."""
    setting = dataset.intensities[channel] if dataset.intensities else "auto"
    if setting != "auto":
        return setting == "ct"
    name = dataset.channels[channel]
    if CT_WORD.search(name):
        return True
    return False if OTHER_WORD.search(name) else None


def is_ct(dataset: Dataset, channel: int, cases: Sequence[Sequence[ChannelFacts]]) -> bool:
    """Whether a channel is CT: by its setting or its name; when these do not say it, by most cases.

    Args:
        dataset: says what its channels are.
        channel: number of the channel.
        cases: facts about all channels of every case; may be empty where setting or name say it.
    """
    told = told_ct(dataset, channel)
    return _share_of_ct(channel, cases) > 0.5 if told is None else told


def guesses(dataset: Dataset, cases: Sequence[Sequence[ChannelFacts]]) -> list[tuple[bool, str]]:
    """What nobody said about the channels and had to be found out, as far as CT comes into it.

    Args:
        dataset, cases: as in ``is_ct``.

    Returns:
        Whether all cases agree, and a sentence, for every such channel.
    """
    found = []
    for channel, name in enumerate(dataset.channels):
        share = _share_of_ct(channel, cases) if cases and told_ct(dataset, channel) is None else 0.0
        if share:
            kind = "CT (Hounsfield units)" if share > 0.5 else "other than CT"
            of = "all" if share == 1 else f"{share:.0%} of the"
            found.append((share == 1, f"The channel {name!r} is taken for {kind}: {of} cases look like CT."))
    return found


def _share_of_ct(channel: int, cases: Sequence[Sequence[ChannelFacts]]) -> float:
    """Share of the cases that are CT: of those whose modality is stated, or else by their voxels."""
    facts = [channels[channel] for channels in cases]
    stated = [fact.modality == "CT" for fact in facts if fact.modality]
    return float(np.mean(stated or [fact.like_ct for fact in facts]))


def looks_like_ct(voxels: np.ndarray) -> bool:
    """Whether intensities are those of CT: air and soft tissues, and little between them or beside them.

    A few negative voxels make no CT: MR has them after resampling, and phase images by the half, at all values.
    """
    inside = voxels[voxels > OUTSIDE_THE_SCANNER]
    if not inside.size:
        return False
    air, tissue, between = (
        np.count_nonzero((inside >= low) & (inside <= high)) / inside.size for low, high in (AIR, FAT_TO_BLOOD, BETWEEN)
    )
    return bool(air >= 0.005 and tissue >= 0.05 and air + tissue >= 0.5 and between <= 0.5 * air)


def _foreground(case: Case, label: np.ndarray) -> np.ndarray:
    """Flat places of up to ``FOREGROUND`` random foreground voxels, in order; the same for the same case."""
    places = np.flatnonzero((label > 0) & (label != IGNORE))
    random = np.random.default_rng(zlib.crc32(case.id.encode()))
    return np.sort(random.choice(places, min(len(places), FOREGROUND), replace=False))
