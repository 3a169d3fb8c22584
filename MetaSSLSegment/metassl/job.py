"""job.json: every setting of a training run, its default and its explanation, in one place."""

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import InputError
from .files import read_json, write_json

VERSION = 1


def setting(default: Any, help: str, choices: tuple = (), low: float | None = None, high: float | None = None):
    """A dataclass field with what the command line and the module need to offer it."""
    return field(default=default, metadata={"help": help, "choices": choices, "low": low, "high": high})


@dataclass(frozen=True)
class Job:
    """All settings of a training run. Every field is an option of ``metassl train`` with the same name."""

    method: str = setting(
        "cps",
        "how the two predictions of a voxel are made",
        choices=("cps", "mean-teacher", "fixmatch", "cct", "r-drop", "supervised"),
    )
    loss: str = setting("metassl", "the method's own unlabelled loss, or MetaSSL", choices=("metassl", "own"))
    minutes: float | None = setting(None, "training time; 10 when no budget is given", low=0.01)
    iterations: int | None = setting(None, "number of training steps, instead of a time", low=1)
    network: str = setting(
        "auto", "network size; auto takes small on a CPU", choices=("auto", "small", "standard", "large")
    )
    patch: tuple[int, int, int] | None = setting(None, "patch size (k j i) in voxels instead of the planned one", low=8)
    spacing: tuple[float, float, float] | None = setting(
        None, "voxel spacing (k j i) in mm instead of the planned one", low=0.01
    )
    batch_labelled: int = setting(2, "labelled crops per step", low=1)
    batch_unlabelled: int = setting(2, "unlabelled crops per step", low=1)
    learning_rate: float = setting(4e-3, "peak learning rate of AdamW", low=0.0)
    weight_decay: float = setting(1e-4, "weight decay of AdamW", low=0.0)
    schedule: str = setting("poly", "how the learning rate falls over the budget", choices=("poly", "cosine"))
    mirror: tuple[str, ...] = setting((), "anatomical axes along which crops are mirrored", choices=("LR", "PA", "IS"))
    ema: float = setting(0.99, "decay of the Mean Teacher's weights", low=0.0, high=1.0)
    consistency: float = setting(1.0, "final weight of the unlabelled loss (lambda_max)", low=0.0)
    ramp: float = setting(0.6, "share of the budget over which that weight rises", low=0.0, high=1.0)
    weights: str = setting(
        "mild",
        "MetaSSL region weights: on unlabelled crops the same as on labelled ones; as in the article, where discrepant "
        "voxels teach next to nothing; or as in its released code, with DS above DC",
        choices=("mild", "paper", "released-code"),
    )
    normalisation: str = setting(
        "voxel", "MetaSSL weights count per voxel, or per region total", choices=("voxel", "region")
    )
    partition: str = setting(
        "annotation",
        "MetaSSL regions of labelled crops: prediction against annotation, or prediction against prediction",
        choices=("annotation", "networks"),
    )
    pasting: str = setting(
        "labelled",
        "what is pasted into the strong views of unlabelled crops: parts of labelled ones, or nothing",
        choices=("labelled", "off"),
    )
    annotations: str = setting(
        "judged",
        "with MetaSSL, believe each labelled case as far as the model agrees with it on the whole, or all alike",
        choices=("judged", "alike"),
    )
    threshold_memory: float = setting(
        0.5, "share of the newest batch in the confidence thresholds (alpha)", low=0.0, high=1.0
    )
    threshold_cap: float = setting(0.9, "upper bound of the confidence thresholds when used", low=0.0, high=1.0)
    device: str = setting("auto", "auto, cpu, cuda, cuda:N or mps")
    precision: str = setting("auto", "number format inside the network", choices=("auto", "bf16", "fp16", "fp32"))
    threads: int = setting(0, "CPU threads, 0 for all", low=0)
    seed: int = setting(0, "seed of initial weights, crops and augmentation", low=0)

    def __post_init__(self):
        for item in fields(self):
            _validate(item.name, getattr(self, item.name), item.metadata)
        if self.minutes is not None and self.iterations is not None:
            raise InputError("Both minutes and iterations are given.", "Give one budget.")
        if self.minutes is None and self.iterations is None:
            object.__setattr__(self, "minutes", 10.0)

    def save(self, path: Path | str) -> None:
        """Write job.json."""
        write_json(path, {"version": VERSION, **asdict(self)})

    @classmethod
    def from_dict(cls, content: Any, source: str = "job.json") -> "Job":
        """Validate a dictionary as read from JSON.

        Raises:
            InputError: an unknown setting, or a value out of its range.
        """
        if not isinstance(content, dict) or content.get("version") != VERSION:
            raise InputError(f"{source} is not a MetaSSL job of version {VERSION}.")
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(content) - known - {"version"})
        if unknown:
            raise InputError(f"{source}: unknown setting {', '.join(unknown)}.")
        values = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items() if name in known}
        return cls(**values)

    @classmethod
    def load(cls, path: Path | str) -> "Job":
        """Read job.json."""
        return cls.from_dict(read_json(path), str(path))


def _validate(name: str, value: Any, rules: Any) -> None:
    """Raise InputError, naming setting, value and allowed range, when the value breaks the field's rules."""
    if value is None:
        return
    for item in value if isinstance(value, tuple) else (value,):
        if rules["choices"] and item not in rules["choices"]:
            raise InputError(f"{name} is {item!r}; use one of {', '.join(rules['choices'])}.")
        low, high = rules["low"], rules["high"]
        if low is None:
            continue
        if not isinstance(item, (int, float)) or isinstance(item, bool) or not math.isfinite(item):
            raise InputError(f"{name} is {item!r}; it must be a number.")
        if item < low or (high is not None and item > high):
            allowed = f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
            raise InputError(f"{name} is {item:g}; it must be {allowed}.")
