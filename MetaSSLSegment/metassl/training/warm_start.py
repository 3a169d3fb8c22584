"""Warm start: a training that begins with the weights and thresholds of a trained model instead of random ones.

What it begins with is kept as ``start.pt`` in the run folder, so that the model may move while the run goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.dataset import Dataset, SegmentClass
from ..errors import InputError
from ..inference.model import Model, load_model
from ..job import Job
from ..planning.plan import Plan
from ..ssl.methods import Method
from ..ssl.thresholds import AdaptiveThresholds
from .checkpoint import load_checkpoint, save_checkpoint

OUTPUT = ".output_block."
"""In the names of the parameters that have one row per class."""


@dataclass(frozen=True)
class WarmStart:
    """What a training begins with.

    Attributes:
        plan: of the model, its network with as many output channels as the new data set needs.
        classes: names of the model's classes, class k being ``classes[k - 1]``.
        weights: state dict of the model's method.
        thresholds: (classes with background,) of the model.
        parent: for provenance: path, name of the data set, steps, ids of the labelled cases.
    """

    plan: Plan
    classes: tuple[str, ...]
    weights: dict[str, Tensor]
    thresholds: Tensor
    parent: dict[str, Any]

    def new_classes(self, classes: Sequence[SegmentClass]) -> list[str]:
        """Names of the classes that the model does not know."""
        return [c.name for c in classes if c.name not in self.classes]

    def give(self, method: Method, thresholds: AdaptiveThresholds, classes: Sequence[SegmentClass]) -> None:
        """Put weights and thresholds into a new training, in place.

        Output channels are matched by class name; those of new classes keep their random weights and first threshold.

        Raises:
            InputError: the weights are damaged.
        """
        known = [(k, 1 + self.classes.index(c.name)) for k, c in enumerate(classes, 1) if c.name in self.classes]
        mine, theirs = (torch.tensor(rows) for rows in zip((0, 0), *known))
        state = method.state_dict()
        for name, value in self.weights.items():
            if OUTPUT in name and name in state:
                rows = state[name].clone()
                rows[mine.to(rows.device)] = value[theirs].to(rows)
                state[name] = rows
            else:
                state[name] = value
        try:
            method.load_state_dict(state)
        except RuntimeError as error:
            raise InputError(
                f"The model to start from does not fit: {str(error).splitlines()[0]}", "Start from another model."
            ) from error
        thresholds.tau[..., mine.to(thresholds.tau.device)] = self.thresholds[theirs].to(thresholds.tau)

    def save(self, path: Path) -> None:
        """Write start.pt."""
        content = {"classes": list(self.classes), "weights": self.weights, "thresholds": self.thresholds}
        save_checkpoint(path, {**content, "plan": self.plan.to_dict(), "parent": self.parent})

    @classmethod
    def load(cls, path: Path) -> "WarmStart | None":
        """Read start.pt; None when the run started from random weights.

        Raises:
            InputError: it is damaged.
        """
        if not path.exists():
            return None
        content = load_checkpoint(path, torch.device("cpu"))
        try:
            plan, classes = Plan.from_dict(content["plan"], str(path)), tuple(content["classes"])
            return cls(plan, classes, content["weights"], content["thresholds"], content["parent"])
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} is damaged: {type(error).__name__} {error}.") from error


def start_from(folder: Path | str, settings: Mapping[str, Any], dataset: Dataset) -> tuple[Job, WarmStart]:
    """Job and beginning of a run that goes on from a model: plan, method and mirror axes are taken over.

    Args:
        folder: model folder, or the run folder that holds it.
        settings: given by the user, as in ``Job``.
        dataset: all cases to train on, the model's own too: what is not seen again is forgotten.

    Raises:
        InputError: the model has other channels, a class that the data set lacks, or does not fit the settings.
    """
    model = load_model(folder)
    _require_same_data(model, dataset)
    facts = model.metadata["metassl"]
    taken = {"method": str(facts["method"]), "mirror_axes": list(model.mirror_axes)}
    _require_same_network(model.plan, taken["method"], settings)
    if len(model.classes) == len(dataset.classes):
        taken["warm_up"] = 0.0  # all classes are known: the unlabelled crops teach from the first step
    kept = {name: value for name, value in settings.items() if name not in ("network", "patch", "spacing")}
    job = Job.from_dict({"version": 1, **taken, **kept}, "metassl train")  # version 1 has the former names
    provenance = facts.get("provenance") or {}
    start = WarmStart(
        replace(model.plan, network=replace(model.plan.network, out_channels=len(dataset.classes) + 1)),
        tuple(c.name for c in model.classes),
        {name: value.contiguous() for name, value in model.method.state_dict().items()},
        model.thresholds,
        {
            "path": str(Path(folder).absolute()),
            "name": model.name,
            "iterations": provenance.get("iterations"),
            "labelled": list((provenance.get("cases") or {}).get("labelled") or []),
        },
    )
    return job, start


def _require_same_data(model: Model, dataset: Dataset) -> None:
    """Channels alike; every class of the model is one of the data set."""
    if model.channels != dataset.channels:
        raise InputError(
            f"The model was trained on the channel(s) {', '.join(model.channels)}; the data set has "
            f"{', '.join(dataset.channels)}.",
            "Name the channels in dataset.json as the model has them when they are the same, or train without --from.",
        )
    missing = [c.name for c in model.classes if c.name not in {c.name for c in dataset.classes}]
    if missing:
        raise InputError(
            f"The data set lacks the model's class(es) {', '.join(missing)}.",
            "Classes may be added, not removed: give them their names as in the model, or train without --from.",
        )


def _require_same_network(plan: Plan, method: str, settings: Mapping[str, Any]) -> None:
    """The settings ask for nothing that the model's networks and plan do not have."""
    theirs = {"method": method, "network": plan.network.size, "patch": plan.patch, "spacing": plan.spacing}
    for name, value in theirs.items():
        asked = settings.get(name, value)
        asked = tuple(asked) if isinstance(asked, list) else asked
        if asked not in (value, "auto"):
            triple = isinstance(value, tuple)
            text = " x ".join(f"{n:g}" for n in value[::-1]) if triple else value
            raise InputError(
                f"--{name} cannot be changed: the training goes on with the model's, {text}.",
                f"Leave --{name} out, or train without --from.",
            )
