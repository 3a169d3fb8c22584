"""By which axes volumes are aligned before they become network input.

The patient's axes serve most data sets: every volume is brought to the nearest of right-left, anterior-posterior and
inferior-superior. Where slices are thick and oblique, as in short-axis series of the heart, that falls apart: on the
two sides of 45 degrees the thick axis would end on different array axes. Such data sets are aligned by the acquisition,
as the most typical of their volumes is: through-plane axis on through-plane axis, the others with as little rotation as
swapping and flipping allow. So are data sets of single slices, whatever their thickness.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import first_few
from .images import VolumeHeader, flat_axis, oriented_header

THICK = 2.0
"""Slices are thick when their distance is at least so many times the larger spacing within them."""
SAME_PLANE = 0.5
"""Cosine of the angle up to which two through-plane axes are taken for the same, 60 degrees. A sagittal series among
axial ones is aligned by the patient's axes."""
FEW_SLICES = 0.2
"""Where at most this share of the cases are single slices, it is a data set of volumes, and they are left out."""
MOST_COMPARED = 100
"""Volumes among which the most typical one is looked for."""

MIXTURE_REMEDY = "Make a data set of each, or set the role of the slices or of the volumes to ignored."


@dataclass(frozen=True)
class Alignment:
    """The axes that all volumes of a data set are brought to.

    Attributes:
        axes: unit vectors (LPS) of the array axes k, j, i of the most typical volume.
        through_plane: which of them is the through-plane axis.
    """

    axes: tuple[tuple[float, float, float], ...]
    through_plane: int

    def __post_init__(self):
        axes = np.array(self.axes, dtype=float)
        if axes.shape != (3, 3) or not np.allclose(axes @ axes.T, np.eye(3), atol=0.01):
            raise ValueError(f"{self.axes!r} are not three axes at right angles")
        if self.through_plane not in (0, 1, 2):
            raise ValueError(f"{self.through_plane!r} is not an axis")

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Alignment":
        """From a dictionary as read from JSON.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        return cls(tuple(tuple(float(c) for c in axis) for axis in content["axes"]), int(content["through_plane"]))


def stray_slices(headers: Mapping[str, VolumeHeader]) -> list[str]:
    """The cases that are single slices in a data set of volumes, as localisers are; none where slices are many.

    Args:
        headers: case id -> header.
    """
    slices = _single_slices(headers)
    return slices if len(slices) <= FEW_SLICES * len(headers) else []


def _single_slices(headers: Mapping[str, VolumeHeader]) -> list[str]:
    return [case for case, header in headers.items() if flat_axis(header.size) is not None]


def mixture(headers: Mapping[str, VolumeHeader]) -> str:
    """A sentence that names the single slices and the volumes of a data set that has both; "" of others.

    Args:
        headers: case id -> header.
    """
    slices = _single_slices(headers)
    volumes = [case for case in headers if case not in set(slices)]
    if not slices or not volumes:
        return ""
    return f"The data set mixes single slices ({first_few(slices)}) and volumes ({first_few(volumes)})."


def acquisition_alignment(headers: Sequence[VolumeHeader]) -> Alignment | None:
    """How the volumes of a data set are aligned; None for the patient's axes, unless most of them have thick slices
    or are single slices."""
    thick = [header for header in headers if _plane_axis(header) is not None]
    if 2 * len(thick) <= len(headers):
        return None
    thick = thick[:MOST_COMPARED]
    candidates = [Alignment(header.axes, _plane_axis(header)) for header in thick]
    return max(candidates, key=lambda candidate: sum(_best_order(candidate, header)[1] for header in thick))


def aligned_header(header: VolumeHeader, alignment: Alignment | None) -> VolumeHeader:
    """The header with its axes in the alignment's order; their signs stay."""
    if alignment is None:
        return header
    order = order_of_axes(alignment, header)
    return VolumeHeader(*(tuple(values[a] for a in order) for values in (header.size, header.spacing, header.axes)))


def order_of_axes(alignment: Alignment, header: VolumeHeader) -> list[int]:
    """For each array axis (k, j, i) of the alignment, the one of a volume that becomes it."""
    return _best_order(alignment, header)[0]


def _best_order(alignment: Alignment, header: VolumeHeader) -> tuple[list[int], float]:
    """The order, and how well the axes then agree: the sum of their absolute cosines."""
    cosines = np.abs(np.array(alignment.axes) @ np.transpose(header.axes))  # alignment's axes x volume's axes
    thick = _plane_axis(header)
    orders = [list(order) for order in permutations(range(3))]
    flat = flat_axis(header.size) is not None
    if flat or (thick is not None and cosines[alignment.through_plane, thick] >= SAME_PLANE):
        orders = [order for order in orders if order[alignment.through_plane] == thick]
    agreements = [float(np.trace(cosines[:, order])) for order in orders]
    best = int(np.argmax(agreements))
    return orders[best], agreements[best]


def _plane_axis(header: VolumeHeader) -> int | None:
    """The array axis across the slices of a volume, or across its only one."""
    flat = flat_axis(header.size)
    return through_plane_axis(header.spacing) if flat is None else flat


def through_plane_axis(spacing: Sequence[float]) -> int | None:
    """The array axis across thick slices, None where slices are not thick."""
    axis = int(np.argmax(spacing))
    return axis if spacing[axis] >= THICK * max(np.delete(spacing, axis)) else None


def align(image: sitk.Image, alignment: Alignment | None) -> sitk.Image:
    """The volume with its axes swapped and flipped to the alignment's, or to LPS; no voxel moves in the patient."""
    image = sitk.DICOMOrient(image, "LPS")
    if alignment is None:
        return image
    header = oriented_header(image.GetSize(), image.GetSpacing(), image.GetDirection())
    order = order_of_axes(alignment, header)
    if order != [0, 1, 2]:  # of array axes k, j, i, which are image axes 2, 1, 0
        image = sitk.PermuteAxes(image, [2 - axis for axis in order[::-1]])
    backwards = [np.dot(header.axes[a], alignment.axes[n]) < 0 for n, a in enumerate(order)]
    k, j, i = (slice(None, None, -1 if flip else 1) for flip in backwards)
    return image[i, j, k] if any(backwards) else image
