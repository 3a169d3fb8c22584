"""Whether a case of the table is still the one that a training was measured on."""

import numpy as np
import SimpleITK as sitk
import slicer

from .CaseExporter import CaseExporter
from .CaseFiles import areSame
from .Grid import lpsGrid
from .Masks import ExportError


def isImageOf(row, volume, images):
    """Whether a case has these images: after Clear, or in another scene, another one may have its name.

    Args:
        row: CaseRow of the case.
        volume: its volume node; of a case of the scene, its place in the world and its voxels are compared.
        images: paths, one per channel.
    """
    if row.nodes is None:
        return areSame(row.images, images)
    try:
        node, image = CaseExporter.inWorld(volume), sitk.ReadImage(images[0])
    except (ExportError, RuntimeError):
        return False
    grids = zip(lpsGrid(node), (image.GetSpacing(), image.GetOrigin(), image.GetDirection()))
    isSameGrid = all(np.allclose(one, other, atol=1e-4) for one, other in grids if len(one) == len(other))
    return isSameGrid and np.array_equal(slicer.util.arrayFromVolume(node), sitk.GetArrayViewFromImage(image))
