"""plan.json: spacing and intensities of the network's input, the patch, and the network.

All triples are in array order (k, j, i): inferior to superior, anterior to posterior, right to left, since every
volume is first brought into LPS orientation, or to the axes of an alignment, which are near these.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..data.alignment import Alignment
from ..errors import InputError
from ..files import read_json, write_json

VERSION = 2
"""Version 1 knew no alignment."""


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
        alignment: of volumes with thick oblique slices; None for LPS.
    """

    spacing: tuple[float, float, float]
    patch: tuple[int, int, int]
    intensities: tuple[Intensity, ...]
    network: NetworkPlan
    alignment: Alignment | None = None

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
        try:
            network = dict(content["network"])
            alignment = content.get("alignment")
            plan = cls(
                spacing=_triple(content["spacing"], float),
                patch=_triple(content["patch"], int),
                intensities=tuple(Intensity(**values) for values in content["intensities"]),
                network=NetworkPlan(
                    size=str(network["size"]),
                    in_channels=int(network["in_channels"]),
                    out_channels=int(network["out_channels"]),
                    filters=tuple(int(f) for f in network["filters"]),
                    kernels=tuple(_triple(k, int) for k in network["kernels"]),
                    strides=tuple(_triple(s, int) for s in network["strides"]),
                ),
                alignment=alignment and Alignment.from_dict(alignment),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{source} is damaged: {type(error).__name__} {error}.") from error
        if len(plan.intensities) != plan.network.in_channels or any(
            i.scheme not in ("ct", "zscore") for i in plan.intensities
        ):
            raise InputError(
                f"{source}: the intensity rules do not fit the network's {plan.network.in_channels} channels."
            )
        return plan

    def save(self, path: Path | str) -> None:
        """Write plan.json."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: Path | str) -> "Plan":
        """Read plan.json."""
        return cls.from_dict(read_json(path), str(path))


def _triple(values: Any, kind: type) -> tuple:
    triple = tuple(kind(v) for v in values)
    if len(triple) != 3 or min(triple) <= 0:
        raise ValueError(f"{values!r} is not a triple of positive numbers")
    return triple
