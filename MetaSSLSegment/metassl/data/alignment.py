"""By which axes volumes are aligned before they become network input.

The patient's axes serve most data sets: every volume is brought to the nearest of right-left, anterior-posterior and
inferior-superior. Where slices are thick and oblique, as in short-axis series of the heart, that falls apart: on the
two sides of 45 degrees the thick axis would end on different array axes. Such data sets are aligned by the acquisition,
as the most typical of their volumes is: through-plane axis on through-plane axis, the others with as little rotation as
swapping and flipping allow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import SimpleITK as sitk

THICK = 2.0
"""Slices are thick when their distance is at least so many times the larger spacing within them."""
SAME_PLANE = 0.5
"""Cosine of the angle up to which two through-plane axes are taken for the same, 60 degrees. A sagittal series among
axial ones is aligned by the patient's axes."""
MOST_COMPARED = 100
"""Volumes among which the most typical one is looked for."""


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


def acquisition_alignment(spacings: Sequence[Sequence[float]], directions: Sequence[np.ndarray]) -> Alignment | None:
    """How the volumes of a data set are aligned; None for the patient's axes, unless most volumes have thick slices.

    Args:
        spacings: (k, j, i) mm of every volume in LPS orientation.
        directions: per volume (3, 3), a row per array axis: its unit vector (LPS).
    """
    thick = [(np.array(d), through_plane_axis(s)) for s, d in zip(spacings, directions)]
    thick = [(d, axis) for d, axis in thick if axis is not None][:MOST_COMPARED]
    if 2 * len(thick) <= len(spacings):
        return None
    candidates = [Alignment(tuple(map(tuple, direction.tolist())), axis) for direction, axis in thick]
    return max(candidates, key=lambda c: sum(_agreement(c, direction, axis) for direction, axis in thick))


def through_plane_axis(spacing: Sequence[float]) -> int | None:
    """The array axis across thick slices, None where slices are not thick."""
    axis = int(np.argmax(spacing))
    return axis if spacing[axis] >= THICK * max(np.delete(spacing, axis)) else None


def order_of_axes(alignment: Alignment, direction: np.ndarray, spacing: Sequence[float]) -> tuple[int, ...]:
    """For each array axis of the alignment, the axis (k, j, i) of a volume that becomes it.

    Args:
        direction: (3, 3), a row per array axis of the volume: its unit vector (LPS).
        spacing: (k, j, i) mm.
    """
    return _best_order(alignment, np.asarray(direction), through_plane_axis(spacing))


def align(image: sitk.Image, alignment: Alignment | None) -> sitk.Image:
    """The volume with its axes swapped and flipped to the alignment's, or to LPS; no voxel moves in the patient."""
    image = sitk.DICOMOrient(image, "LPS")
    if alignment is None:
        return image
    direction = np.reshape(image.GetDirection(), (3, 3)).T[::-1]
    order = order_of_axes(alignment, direction, image.GetSpacing()[::-1])
    # array axes k, j, i are image axes 2, 1, 0
    if order != (0, 1, 2):
        image = sitk.PermuteAxes(image, [2 - axis for axis in order[::-1]])
    backwards = [float(np.dot(direction[a], alignment.axes[n])) < 0 for n, a in enumerate(order)]
    if any(backwards):
        k, j, i = (slice(None, None, -1 if flip else 1) for flip in backwards)
        image = image[i, j, k]
    return image


def _best_order(alignment: Alignment, direction: np.ndarray, thick: int | None) -> tuple[int, ...]:
    cosines = np.abs(np.array(alignment.axes) @ direction.T)  # alignment's axes x volume's axes
    orders = list(permutations(range(3)))
    if thick is not None and cosines[alignment.through_plane, thick] >= SAME_PLANE:
        orders = [order for order in orders if order[alignment.through_plane] == thick]
    return max(orders, key=lambda order: sum(cosines[n, a] for n, a in enumerate(order)))


def _agreement(alignment: Alignment, direction: np.ndarray, thick: int) -> float:
    cosines = np.abs(np.array(alignment.axes) @ direction.T)
    return sum(cosines[n, a] for n, a in enumerate(_best_order(alignment, direction, thick)))
