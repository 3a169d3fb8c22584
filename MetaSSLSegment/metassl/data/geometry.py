"""Which grids can be used: one rule for files, DICOM series and the nodes of a scene, in numpy alone."""

from collections.abc import Sequence

import numpy as np

SINGULAR = 1e-3
"""Smallest volume that the three directions must span."""
SHEAR = 1e-3
"""Largest cosine between two axes, and largest deviation of a direction's length from 1.

A header that rounds directions to 4 decimals is off by less than 2e-4, a gantry tilted by half a degree by 9e-3. The
results are NIfTI files, which know right angles only: there a voxel at the end of a row of 500 may lie half a voxel
from where it was, which is as exact as the voxels of a label are.
"""
SMALLEST, LARGEST = 1e-6, 100.0
"""Millimetres that a voxel can be large: from those of electron microscopes to the coarsest of planning scans."""
FARTHEST = 1e5
"""Millimetres from the origin of the coordinates at which a volume can lie."""
GEOMETRY_REMEDIES = {
    "spacing": "Correct the spacing (Slicer: Volumes module, Volume information) and save it again.",
    "direction": "Correct the orientation in the file's header and save it again.",
    "shear": "Resample it onto a grid with right angles (Slicer: module Resample Scalar/Vector/DWI Volume).",
    "origin": "Correct it and save it again.",
}
"""What to do about each problem."""


def geometry_problem(
    spacing: Sequence[float], direction: np.ndarray, origin: Sequence[float]
) -> tuple[str, str] | None:
    """Why volumes on a grid cannot be used, or None when they can.

    The Slicer side asks before it writes a node and the engine before it reads a file, so that what the one exports the
    other accepts. Of a matrix from voxels to the world (LPS or RAS alike) the lengths of the first three columns are
    the spacing and the columns divided by them the direction; a column of length 0 is a problem of the spacing, so
    what the division by 0 gives does not matter.

    Args:
        spacing: (i, j, k) mm.
        direction: (3, 3); column a is the unit vector along voxel axis a.
        origin: mm.

    Returns:
        A key of ``GEOMETRY_REMEDIES``, and what the volume "has", for a message.
    """
    if not np.all(np.isfinite(spacing)) or np.min(spacing) < SMALLEST or np.max(spacing) > LARGEST:
        return "spacing", f"the impossible voxel spacing {' x '.join(f'{s:g}' for s in spacing)} mm"
    determinant = np.linalg.det(direction) if np.all(np.isfinite(direction)) else np.nan
    if not abs(determinant) >= SINGULAR:  # also of what is not a number
        return "direction", f"axis directions that span no volume (determinant {determinant:g})"
    off = np.abs(np.transpose(direction) @ direction - np.eye(3))
    if np.diag(off).max() > 2 * SHEAR:  # of the squared length
        return "direction", "axis directions that are not of length 1"
    if off.max() > SHEAR:
        return "shear", "axes that are not at right angles (a tilted gantry, or a transform that shears)"
    if not np.all(np.abs(origin) <= FARTHEST):  # also of what is not a number
        return "origin", f"the impossible origin {tuple(map(float, origin))}"
    return None
