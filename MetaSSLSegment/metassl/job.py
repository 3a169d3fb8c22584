"""job.json: every setting of a training run, its default and its explanation, in one place."""

import reprlib
import typing
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any

from .errors import InputError, first_few
from .files import read_json, write_json
from .validation import items, number, text, whole

VERSION = 2
RENAMED = {
    "weights": "region_weights",
    "normalisation": "reduction",
    "mirror": "mirror_axes",
    "annotations": "annotation_trust",
    "ema": "ema_decay",
}
"""Settings of version 1 by their present names."""
BUDGETS = ("minutes", "iterations", "megavoxels")
"""Settings that say how long to train; one of them is given."""
FEW_STEPS = 150
"""A budget with fewer steps is warned of."""
LEAST_FOR_HALVES = 8
"""Labelled cases that an audit by halves takes; fewer teach each half's model too little."""
PRECISIONS = ("auto", "bf16", "fp16", "fp32")
GROUPS = ("budget and device", "data and network", "method", "MetaSSL loss", "expert")
"""Headings under which settings are offered, in order."""


def setting(
    group: str, default: Any, help: str, choices: tuple = (), low: float | None = None, high: float | None = None
):
    """A dataclass field with what the command line and the module need to offer it."""
    metadata = {"group": group, "help": help, "choices": choices, "low": low, "high": high}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Job:
    """All settings of a training run. Every field is an option of ``metassl train`` with the same name.

    ``patch`` and ``spacing`` are in array order (k, j, i), as in every file; the command line takes them as people
    think, (i, j, k).
    """

    minutes: float | None = setting(
        "budget and device", None, "training time; 10 when no budget is given", low=0.01, high=1e7
    )
    iterations: int | None = setting(
        "budget and device", None, "number of training steps, instead of a time", low=1, high=10**9
    )
    megavoxels: float | None = setting(
        "expert",
        None,
        "million voxels to pass forwards and back through a network, instead of a time",
        low=0.001,
        high=1e12,
    )
    device: str = setting("budget and device", "auto", "where to compute: auto, cpu, cuda, cuda:N or mps")
    threads: int = setting("budget and device", 0, "CPU threads, 0 for all", low=0, high=4096)
    seed: int = setting("budget and device", 0, "seed of initial weights, crops and augmentation", low=0, high=2**62)
    network: str = setting(
        "data and network",
        "auto",
        "size of the network; auto takes small on a CPU",
        choices=("auto", "small", "standard", "large"),
    )
    patch: tuple[int, int, int] | None = setting(
        "data and network",
        None,
        "patch size in voxels (right-left, anterior-posterior, inferior-superior) instead of the planned one",
        low=8,
        high=1024,
    )
    spacing: tuple[float, float, float] | None = setting(
        "data and network",
        None,
        "voxel spacing in mm (right-left, anterior-posterior, inferior-superior) instead of the planned one",
        low=0.01,
        high=1000.0,
    )
    mirror_axes: tuple[str, ...] = setting(
        "data and network", (), "anatomical axes along which crops are mirrored at random", choices=("LR", "PA", "IS")
    )
    method: str = setting(
        "method",
        "mean-teacher",
        "how the two predictions of a voxel are made",
        choices=("cps", "mean-teacher", "fixmatch", "cct", "r-drop", "supervised"),
    )
    loss: str = setting(
        "method",
        "metassl",
        "how the two predictions are compared on unlabelled crops: MetaSSL loss, or the method's own loss",
        choices=("metassl", "own"),
    )
    consistency: float = setting("method", 1.0, "final weight of the unlabelled loss (lambda_max)", low=0.0, high=1e6)
    warm_up: float = setting(
        "method", 0.4, "share of the budget at its beginning for labelled crops alone", low=0.0, high=1.0
    )
    ramp: float = setting("method", 0.6, "share of the budget over which the unlabelled loss rises", low=0.0, high=1.0)
    region_weights: str = setting(
        "MetaSSL loss",
        "mild",
        "how much UC, US, DC and DS voxels teach: on unlabelled crops as on labelled ones (mild); as in the article, "
        "where discrepant voxels teach next to nothing (paper); or as in its released code, with DS above DC",
        choices=("mild", "paper", "released-code"),
    )
    reduction: str = setting(
        "MetaSSL loss",
        "voxel",
        "divide the weighted loss by the number of all voxels, or that of each region by the region's own number",
        choices=("voxel", "region"),
    )
    partition: str = setting(
        "MetaSSL loss",
        "annotation",
        "regions of labelled crops: prediction against annotation, or prediction against prediction",
        choices=("annotation", "networks"),
    )
    annotation_trust: str = setting(
        "MetaSSL loss",
        "on",
        "let a labelled case teach less when the model contradicts its annotation as a whole",
        choices=("on", "off"),
    )
    threshold_memory: float = setting(
        "MetaSSL loss", 0.5, "share of the newest batch in the confidence thresholds (alpha)", low=0.0, high=1.0
    )
    threshold_cap: float = setting(
        "MetaSSL loss", 0.9, "upper bound of the confidence thresholds when used", low=0.0, high=1.0
    )
    batch_labelled: int = setting("expert", 2, "labelled crops per step", low=1, high=1000)
    batch_unlabelled: int = setting("expert", 2, "unlabelled crops per step", low=1, high=1000)
    learning_rate: float = setting("expert", 4e-3, "peak learning rate of AdamW", low=0.0, high=1000.0)
    weight_decay: float = setting("expert", 1e-4, "weight decay of AdamW", low=0.0, high=1000.0)
    schedule: str = setting("expert", "poly", "how the learning rate falls over the budget", choices=("poly", "cosine"))
    ema_decay: float = setting("expert", 0.99, "decay of Mean Teacher's moving average", low=0.0, high=1.0)
    pasting: str = setting(
        "expert",
        "labelled",
        "what is pasted into the strong views of unlabelled crops: parts of labelled ones, or nothing",
        choices=("labelled", "off"),
    )
    precision: str = setting("expert", "auto", "number format inside the network", choices=PRECISIONS)

    def __post_init__(self):
        for item in fields(self):
            _validate(item, getattr(self, item.name))
        for name in ("threshold_memory", "threshold_cap"):
            if getattr(self, name) == 0:
                raise InputError(f"{name} is 0; it must be above 0.")
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(f"Both {' and '.join(given)} are given.", "Give one budget.")
        if not given:
            object.__setattr__(self, "minutes", 10.0)

    def save(self, path: Path | str) -> None:
        """Write job.json."""
        write_json(path, {"version": VERSION, **asdict(self)})

    @classmethod
    def from_dict(cls, content: Any, source: str = "job.json") -> "Job":
        """Validate a dictionary as read from JSON; settings of version 1 are read by their present names.

        Raises:
            InputError: an unknown setting or version, or a value out of its range.
        """
        version = content.get("version") if isinstance(content, dict) else None
        if version not in (1, VERSION):
            raise InputError(
                f"{source} is not a MetaSSL job of version 1 to {VERSION} (found {reprlib.repr(version)}).",
                "Resume the run with the version of MetaSSL that started it.",
            )
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items() if k != "version"}
        if version == 1:
            values = _from_version_1(values)
        unknown = sorted(set(values) - {item.name for item in fields(cls)})
        if unknown:
            raise InputError(f"{source}: unknown setting {first_few([name[:40] for name in unknown])}.")
        try:
            return cls(**values)
        except InputError as error:
            raise InputError(f"{source}: {error}", error.hint) from None

    @classmethod
    def load(cls, path: Path | str) -> "Job":
        """Read job.json."""
        return cls.from_dict(read_json(path), str(path))


def _from_version_1(values: dict[str, Any]) -> dict[str, Any]:
    """The settings of a version 1 job by their present names and values."""
    values = {RENAMED.get(name, name): value for name, value in values.items()}
    trust = {"judged": "on", "alike": "off"}
    if isinstance(values.get("annotation_trust"), str):
        values["annotation_trust"] = trust.get(values["annotation_trust"], values["annotation_trust"])
    return values


def words_of(item: Field) -> tuple[type, int | str | None]:
    """Of which type the values of a setting are, and how many it has: None for one, "+" for any number."""
    kind = item.type
    if NoneType in typing.get_args(kind):
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) is not tuple:
        return kind, None
    words = typing.get_args(kind)
    return words[0], "+" if Ellipsis in words else len(words)


def _validate(item: Field, value: Any) -> None:
    """Raise InputError, naming setting, value and what is allowed, when the value breaks the field's rules."""
    kind, count = words_of(item)
    name, rules = item.name, item.metadata
    if value is None and NoneType in typing.get_args(item.type):
        return
    if count is not None:
        items(value, name, lambda *_: None, count=None if count == "+" else count)
    for one in value if count is not None else (value,):
        if kind is str:
            text(one, name, rules["choices"])
        else:
            (whole if kind is int else number)(one, name, rules["low"], rules["high"])
