"""What older versions wrote, in the form of today's."""

from typing import Any

import torch
from torch import Tensor


def model_of_version_1(facts: dict[str, Any]) -> dict[str, Any]:
    """The section "metassl" of a version 1 metadata.json as version 2 has it.

    Version 1 held the whole job, of which inference needs three settings.

    Raises:
        KeyError, TypeError, AttributeError: it is damaged.
    """
    job = facts["job"]
    needed = {"method": job["method"], "precision": job.get("precision", "auto"), "mirror_axes": job.get("mirror", [])}
    return {**{k: v for k, v in facts.items() if k != "job"}, **needed, "version": 2, "settings": job}


def method_of_version_1(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A method's state dict: the teacher was a bare network, now it is inside torch's ``AveragedModel``."""
    teacher = {name for name in state if name.startswith("teacher.")}
    if not teacher or "teacher.n_averaged" in state:
        return state
    rest = {name: value for name, value in state.items() if name not in teacher}
    moved = {"teacher.module." + name.removeprefix("teacher."): state[name] for name in teacher}
    return rest | moved | {"teacher.n_averaged": torch.tensor(1)}
