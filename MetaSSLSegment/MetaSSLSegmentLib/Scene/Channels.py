"""Several volumes of the scene that are the channels of one case."""

import itertools

import numpy as np
import slicer
from metassl import InputError
from slicer.i18n import tr as _

from .Grid import ijkToWorld

TOLERANCE = 0.1
"""Channels may lie this many voxels apart, as the engine allows it too."""


def requireOneGrid(volumes):
    """Refuse volumes that cannot be the channels of one case.

    Args:
        volumes: volume nodes; those without voxels, or under non-linear transforms, are left to the export.

    Raises:
        InputError: a volume occurs twice, or they differ in size, spacing, position or directions.
    """
    first, *others = volumes
    for volume in others:
        if volumes.count(volume) > 1:
            raise InputError(_("{name} is chosen for two channels.").format(name=volume.GetName()))
        if first.GetImageData() is None or volume.GetImageData() is None:
            continue
        sizes = [" x ".join(map(str, node.GetImageData().GetDimensions())) for node in (first, volume)]
        if sizes[0] != sizes[1]:
            differ = _("{second} has {secondSize} voxels, {first} has {firstSize}").format(
                second=volume.GetName(), secondSize=sizes[1], first=first.GetName(), firstSize=sizes[0]
            )
        elif not _isLinear(first) or not _isLinear(volume) or _distance(first, volume) <= TOLERANCE:
            continue
        else:
            differ = _("{second} has another position, spacing or direction than {first}").format(
                second=volume.GetName(), first=first.GetName()
            )
        raise InputError(
            _("{differ}; the channels of a case must lie on one grid.").format(differ=differ),
            _(
                "Resample {second} with the module Resample Image (BRAINS), with {first} as the reference, and choose "
                "the result."
            ).format(second=volume.GetName(), first=first.GetName()),
        )


def volumeRoles(number, channels):
    """The role of the node reference to the volume of each channel, of the case of the scene with this number."""
    return [f"caseVolume{number}", *(f"caseVolume{number}Channel{n}" for n in range(2, 1 + channels))]


def inWords(count):
    """A number of channels."""
    return _("1 image channel") if count == 1 else _("{count} image channels").format(count=count)


def _isLinear(volume):
    transform = volume.GetParentTransformNode()
    return transform is None or bool(transform.IsTransformToWorldLinear())


def _distance(first, second):
    """How far the corners of two volumes of one size lie apart at most, in voxels."""
    size = np.array(first.GetImageData().GetDimensions()) - 1
    corners = np.array([[*(size * corner), 1] for corner in itertools.product((0, 1), repeat=3)])
    apart = (_toWorld(first) @ corners.T - _toWorld(second) @ corners.T)[:3]
    return np.linalg.norm(apart, axis=0).max() / min(first.GetSpacing())


def _toWorld(volume):
    """4 x 4 matrix from (i, j, k) to RAS in the world."""
    return slicer.util.arrayFromVTKMatrix(ijkToWorld(volume))
