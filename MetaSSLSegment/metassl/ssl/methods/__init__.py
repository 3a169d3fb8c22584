"""The SSL methods by name. A new method is one file here, one line in METHODS and its name in job.Job.method."""

from ...errors import InputError
from ...planning.plan import NetworkPlan
from .base import Method, Predictions, Streams
from .cct import CCT
from .cps import CPS
from .fixmatch import FixMatch
from .mean_teacher import MeanTeacher
from .r_drop import RDrop
from .supervised import Supervised

METHODS: dict[str, type[Method]] = {
    "cps": CPS,
    "mean-teacher": MeanTeacher,
    "fixmatch": FixMatch,
    "cct": CCT,
    "r-drop": RDrop,
    "supervised": Supervised,
}

__all__ = ["METHODS", "Method", "Predictions", "Streams", "build_method"]


def build_method(name: str, plan: NetworkPlan, ema_decay: float = 0.99) -> Method:
    """The method of that name with freshly initialised networks.

    Raises:
        InputError: no method has that name.
    """
    if name not in METHODS:
        raise InputError(f"Unknown method {name!r}; use one of {', '.join(METHODS)}.")
    return METHODS[name](plan, ema_decay)
