"""plan.json: spacing and intensities of the network's input, the patch, and the network.

All triples are in array order (k, j, i): inferior to superior, anterior to posterior, right to left, since every
volume is first brought into LPS orientation, or to the axes of an alignment, which are near these.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..data.alignment import Alignment
from ..data.images import flat_axis
from ..errors import InputError
from ..files import read_json, write_json
from ..validation import Fields, flag, items, number, text, triple, whole

VERSION = 2
"""Version 1 knew no alignment."""
SPACING = (1e-4, 1e4)
"""Smallest and largest voxel spacing, mm."""
LONGEST_AXIS = 4096
MOST_VOXELS = 2**28
"""Of a patch; about 645 along each axis."""
MOST_CHANNELS, MOST_FILTERS, MOST_STAGES = 64, 512, 10
LARGEST_VALUE = 1e30
"""Of an intensity, far inside float32."""
SMALLEST_STD = 1e-12


@dataclass(frozen=True)
class Intensity:
    """Intensity normalisation of one channel.

    Attributes:
        scheme: "ct" clips to the window [lower, upper] and standardises by mean and std, all measured on the foreground
            of the labelled cases; "zscore" standardises each volume by its own mean and standard deviation.
        lower, upper, mean, std: only for "ct", in the image's units.
    """

    scheme: str
    lower: float | None = None
    upper: float | None = None
    mean: float | None = None
    std: float | None = None


@dataclass(frozen=True)
class NetworkPlan:
    """A DynUNet.

    Attributes:
        size: "small", "standard" or "large".
        in_channels, out_channels: image channels; classes including background.
        filters: feature channels per stage.
        kernels, strides: per stage, one triple each; the first stride is 1.
    """

    size: str
    in_channels: int
    out_channels: int
    filters: tuple[int, ...]
    kernels: tuple[tuple[int, int, int], ...]
    strides: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Plan:
    """Everything needed to turn a volume into network input and back.

    Attributes:
        spacing: target voxel spacing in mm.
        patch: patch size in voxels, divisible by the product of the strides.
        intensities: one per channel.
        network: the network's plan.
        alignment: of volumes with thick oblique slices, and of single slices; None for LPS.
        single_slices: whether the network sees single slices; their thickness stays what it is, and patch, kernels and
            strides are 1 along the alignment's through-plane axis.
    """

    spacing: tuple[float, float, float]
    patch: tuple[int, int, int]
    intensities: tuple[Intensity, ...]
    network: NetworkPlan
    alignment: Alignment | None = None
    single_slices: bool = False

    @property
    def flat_axis(self) -> int | None:
        """The array axis along which single slices have one voxel; None where volumes are learnt from."""
        return self.alignment.through_plane if self.single_slices else None

    def voxels_of(self, size: Sequence[int], spacing: Sequence[float]) -> float:
        """About how many voxels a volume has at the plan's spacing; its axes in any order."""
        volume = math.prod(size) * math.prod(spacing)
        flat = flat_axis(size)
        if self.single_slices and flat is not None:
            volume *= self.spacing[self.flat_axis] / spacing[flat]
        return volume / math.prod(self.spacing)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-ready dictionary."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, content: Any, source: str = "plan.json") -> "Plan":
        """Validate a dictionary as read from JSON.

        Raises:
            InputError: not a plan of this version.
        """
        if not isinstance(content, dict) or content.get("version") not in (1, VERSION):
            raise InputError(f"{source} is not a MetaSSL plan of version 1 or {VERSION}.")
        fields = Fields(content, f"{source} is damaged:")
        network = fields.take("network", Fields)
        plan = cls(
            spacing=fields.take("spacing", triple, number, *SPACING),
            patch=fields.take("patch", triple, whole, 1, LONGEST_AXIS),
            intensities=fields.take("intensities", items, _intensity),
            network=NetworkPlan(
                size=network.take("size", text),
                in_channels=network.take("in_channels", whole, 1, MOST_CHANNELS),
                out_channels=network.take("out_channels", whole, 2, 256),
                filters=network.take("filters", items, whole, 1, MOST_FILTERS),
                kernels=network.take("kernels", items, triple, whole, 1, 7),
                strides=network.take("strides", items, triple, whole, 1, 4),
            ),
            alignment=fields.optional("alignment", _alignment),
            single_slices=bool(fields.optional("single_slices", flag)),
        )
        if problem := plan.contradiction():
            raise InputError(f"{source}: {problem}")
        return plan

    def contradiction(self) -> str:
        """What in it does not fit together, a sentence; "" when all does."""
        network = self.network
        if len(self.intensities) != network.in_channels:
            return f"the intensity rules do not fit the network's {network.in_channels} channels."
        stages = len(network.strides)
        lengths = {stages, len(network.filters), len(network.kernels)}
        if len(lengths) > 1 or not 3 <= stages <= MOST_STAGES or set(network.strides[0]) != {1}:
            return f"the network's filters, kernels and strides are not those of 3 to {MOST_STAGES} stages."
        steps = [math.prod(stride[axis] for stride in network.strides) for axis in range(3)]
        if any(n % step for n, step in zip(self.patch, steps)) or math.prod(self.patch) > MOST_VOXELS:
            return f"the patch {self.patch} does not fit the network, or has more than {MOST_VOXELS:,} voxels."
        if self.single_slices:
            axis = None if self.alignment is None else self.alignment.through_plane
            along = (self.patch, *network.kernels, *network.strides)
            if axis is None or any(triple[axis] != 1 for triple in along):
                return "the plan is one for single slices, but not flat along one axis."
        return ""

    def save(self, path: Path | str) -> None:
        """Write plan.json."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: Path | str) -> "Plan":
        """Read plan.json."""
        return cls.from_dict(read_json(path), str(path))


def _intensity(content: Any, name: str) -> Intensity:
    rule = Fields(content, name)
    scheme = rule.take("scheme", text, ("ct", "zscore"))
    if scheme == "zscore":
        return Intensity(scheme)
    lower, upper, mean = (rule.take(key, number, -LARGEST_VALUE, LARGEST_VALUE) for key in ("lower", "upper", "mean"))
    if lower >= upper:
        raise InputError(f"{name}.lower is {lower:g}; it must be below upper, {upper:g}.")
    return Intensity(scheme, lower, upper, mean, rule.take("std", number, SMALLEST_STD, LARGEST_VALUE))


def _alignment(content: Any, name: str) -> Alignment:
    fields = Fields(content, name)
    fields.take("axes", items, triple, number, -1.01, 1.01)
    fields.take("through_plane", whole, 0, 2)
    try:
        return Alignment.from_dict(fields.content)
    except ValueError as error:
        raise InputError(f"{name}: {error}.") from None
