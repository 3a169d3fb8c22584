"""What the engine says of the certainty of a case: how far its two predictions agree, and where to look first."""

import math
from typing import NamedTuple

from slicer.i18n import tr as _


class Place(NamedTuple):
    """A spot of doubtful voxels.

    Attributes:
        position: in mm, right-anterior-superior.
        classes: names of what is there now and of what it may be instead.
        volume: of its doubtful voxels, ml.
    """

    position: tuple
    classes: tuple
    volume: float


def agreementIn(summary):
    """Mean agreement, 0-1, in what NAME.json says; None when it is not told, or nothing was found.

    The numbers may come from anywhere: what does not fit counts as not told.
    """
    try:
        value = float(summary["agreement"]["mean"])
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
    return value if 0 <= value <= 1 else None


def classAgreementsIn(summary):
    """Class name -> agreement, 0-1, of the classes that were found."""
    try:
        classes = summary["agreement"]["classes"].items()
        found = {str(name): float(value) for name, value in classes if value is not None}
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        return {}
    return {name: value for name, value in found.items() if 0 <= value <= 1}


def rankIn(summary):
    """On how many of how many hold-out cases the predictions agree less than here; None when nobody knows."""
    try:
        less, cases = summary["agreement"]["agree_less"], summary["agreement"]["hold_out_cases"]
    except (TypeError, KeyError):
        return None
    known = type(less) is int and type(cases) is int and 0 <= less <= cases and cases
    return (less, cases) if known else None


def agreementInWords(summary):
    """How far the two predictions agree with confidence, a sentence; "" when it is not told."""
    mean = agreementIn(summary)
    if mean is None:
        return ""
    text = _("The two predictions agree with confidence on {mean:.3f} of what either found").format(mean=mean)
    classes = classAgreementsIn(summary)
    if len(classes) > 1:
        text += f" ({', '.join(f'{name} {value:.3f}' for name, value in classes.items())})"
    rank = rankIn(summary)
    if rank is not None:
        text += _("; on less in {less} of {cases} hold-out case(s)").format(less=rank[0], cases=rank[1])
    return text + "."


def placesIn(summary):
    """The places to look at, the largest doubt first; none when they are not told or damaged."""
    try:
        return [_placeOf(place) for place in summary.get("places") or ()]
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        return []


def _placeOf(told):
    position, classes = tuple(float(x) for x in told["position"]), tuple(told["classes"])
    volume = float(told["volume_ml"])
    isPlace = len(position) == 3 and len(classes) == 2 and all(isinstance(name, str) for name in classes)
    if not isPlace or not all(math.isfinite(number) for number in (*position, volume)):
        raise ValueError("no place")
    return Place(position, classes, volume)
