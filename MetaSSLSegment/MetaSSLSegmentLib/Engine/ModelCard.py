import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple


class ModelCard(NamedTuple):
    """What is worth knowing of a model before it is used; unknown facts are empty.

    Attributes:
        classes: names of what it segments.
        channels: names of the volumes that it needs for each case.
        method: key of the method.
        cases: role -> number of cases that it was trained with.
        steps: number of training steps.
        spacing: of the voxels that it computes with, mm, (i, j, k).
        holdOutDice: mean over the hold-out cases, or None.
        classDice: class name -> the same of this class.
    """

    classes: tuple = ()
    channels: tuple = ()
    method: str = ""
    cases: Mapping = MappingProxyType({})
    steps: int | None = None
    spacing: tuple = ()
    holdOutDice: float | None = None
    classDice: Mapping = MappingProxyType({})


def cardOf(model):
    """The card of a model folder; an empty one when its metadata.json is missing or damaged."""
    try:
        content = json.loads((Path(model) / "configs" / "metadata.json").read_text(encoding="utf-8"))
        facts = content["metassl"]
        provenance = facts.get("provenance") or {}
        holdOut = provenance.get("hold_out") or {}
        return ModelCard(
            classes=tuple(str(c["name"]) for c in facts["classes"]),
            channels=tuple(str(channel) for channel in facts.get("channels") or ()),
            method=str(facts.get("method") or ""),
            cases={str(role): len(cases) for role, cases in (provenance.get("cases") or {}).items()},
            steps=None if provenance.get("iterations") is None else int(provenance["iterations"]),
            spacing=tuple(float(length) for length in (facts.get("plan") or {}).get("spacing") or ())[::-1],
            classDice={str(name): float(dice) for name, dice in (holdOut.get("dice") or {}).items()},
            holdOutDice=None if holdOut.get("mean_dice") is None else float(holdOut["mean_dice"]),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ModelCard()
