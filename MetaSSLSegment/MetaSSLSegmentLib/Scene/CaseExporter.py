from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
from metassl import GEOMETRY_REMEDIES, geometry_problem
from slicer.i18n import tr as _

from .Grid import giveGrid, ijkToWorld, lpsGrid
from .Masks import ExportError, drawSegments, fillEmptySlices
from .Pieces import atOnce, inThread


class CaseExporter:
    """Writes volumes and segmentations of the scene to files, in LPS, as they lie in the world.

    The scene's own nodes are never touched: linear parent transforms are applied to a copy that shares the voxels.
    Large volumes take seconds: ``...Pieces`` are the same work for ``Pieces``.
    """

    def exportVolume(self, volumeNode, path):
        """Write a scalar volume (.nrrd).

        Raises:
            ExportError: no voxels, not scalar, non-linear or shearing transform, or the file cannot be written.
        """
        atOnce(self.volumePieces(volumeNode, path))

    def volumePieces(self, volumeNode, path):
        """The work of ``exportVolume``."""
        node = self.inWorld(volumeNode)
        yield from _write(node, slicer.util.arrayFromVolume(node), path)

    def exportSegmentation(self, segmentationNode, volumeNode, values, path):
        """Write the segments as one labelmap on the grid of the volume.

        Args:
            segmentationNode: the segments; each is resampled to the volume's grid when it has another one.
            volumeNode: gives size, spacing, origin and directions.
            values: segment name -> voxel value, 1-255; other segments are left out.
            path: the file (.nrrd).

        Raises:
            ExportError: segments overlap, or anything that ``exportVolume`` refuses.
        """
        atOnce(self.segmentationPieces(segmentationNode, volumeNode, values, path))

    def segmentationPieces(self, segmentationNode, volumeNode, values, path, empty=0, moved=True):
        """The work of ``exportSegmentation``.

        Args:
            segmentationNode, volumeNode, values, path: as there.
            empty: value of slices without a segment.
            moved: whether the file lies where the volume lies now; or where it lies without its parent transform, as
                the file does from which it was loaded.
        """
        _requireLinear(segmentationNode)
        volume = self.inWorld(volumeNode)
        labels = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
        yield from drawSegments(labels, segmentationNode, volume, values)
        if empty:
            fillEmptySlices(labels, empty)
        yield from _write(volume if moved else volumeNode, labels, path)

    @staticmethod
    def inWorld(volumeNode):
        """A volume node outside the scene with the same voxels, its linear parent transform applied."""
        name = volumeNode.GetName()
        image = volumeNode.GetImageData()
        if image is None or image.GetNumberOfPoints() == 0:
            raise ExportError(_("{name} holds no voxels. Load it again.").format(name=name))
        if image.GetNumberOfScalarComponents() != 1:
            raise ExportError(
                _("{name} has several values per voxel. Use the module Vector to Scalar Volume first.").format(
                    name=name
                )
            )
        _requireLinear(volumeNode)
        matrix = ijkToWorld(volumeNode)
        axes = slicer.util.arrayFromVTKMatrix(matrix)
        spacing = np.linalg.norm(axes[:3, :3], axis=0)
        problem = geometry_problem(spacing, axes[:3, :3] / np.maximum(spacing, 1e-300), axes[:3, 3])
        if problem is not None:
            code, text = problem
            raise ExportError(
                _("{name} has {problem}.").format(name=name, problem=text) + " " + GEOMETRY_REMEDIES[code]
            )
        copy = slicer.vtkMRMLScalarVolumeNode()
        copy.SetName(name)
        copy.SetAndObserveImageData(image)
        copy.SetIJKToRASMatrix(matrix)
        return copy


def _write(node, voxels, path):
    """Pieces: write voxels (k, j, i) on the grid of a node, in LPS."""
    path, grid = Path(path), lpsGrid(node)

    def write():
        image = sitk.GetImageFromArray(voxels)
        giveGrid(image, grid)
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(path), useCompression=False)
        if path.stat().st_size < voxels.nbytes:  # onto a full disk, ITK may lose the end without a word
            raise OSError("its end is missing")

    try:
        yield from inThread(write)
    except (RuntimeError, OSError) as error:
        raise ExportError(
            _("{path} cannot be written. Check the folder and the free disk space.").format(path=path)
        ) from error


def _requireLinear(node):
    transform = node.GetParentTransformNode()
    if transform is not None and not transform.IsTransformToWorldLinear():
        raise ExportError(
            _(
                "{name} lies under a non-linear transform. Harden the transform (module Transforms, or right-click in "
                "the module Data) and start again."
            ).format(name=node.GetName())
        )
