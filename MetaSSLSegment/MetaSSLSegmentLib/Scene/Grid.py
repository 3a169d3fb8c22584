"""The grid of a volume: in the world, and as SimpleITK has it."""

import numpy as np
import SimpleITK as sitk
import slicer
import vtk

TO_LPS = np.diag([-1.0, -1.0, 1.0])


def ijkToWorld(node):
    """vtkMatrix4x4 from (i, j, k) of a volume node to RAS in the world; its parent transform, if any, is linear."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    if node.GetParentTransformNode() is not None:
        toWorld = vtk.vtkMatrix4x4()
        node.GetParentTransformNode().GetMatrixTransformToWorld(toWorld)
        vtk.vtkMatrix4x4.Multiply4x4(toWorld, matrix, matrix)
    return matrix


def lpsGrid(node):
    """Spacing, origin and directions of a volume node in LPS; a parent transform does not count."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASDirectionMatrix(matrix)
    direction = TO_LPS @ slicer.util.arrayFromVTKMatrix(matrix)[:3, :3]
    return node.GetSpacing(), (TO_LPS @ node.GetOrigin()).tolist(), direction.ravel().tolist()


def giveGrid(image, grid):
    """Give a sitk.Image spacing, origin and directions, as ``lpsGrid`` gives them."""
    spacing, origin, direction = grid
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)


def onGridOf(image, node):
    """A sitk.Image on the grid of a volume node, by nearest neighbours; voxels outside of it become 0.

    Slicer reverses the slices of left-handed files, so that voxels of a file and of its node do not always correspond.
    """
    if image.GetDimension() == 2:
        return sitk.JoinSeries([image])
    grid = sitk.Image(list(node.GetImageData().GetDimensions()), image.GetPixelID())
    giveGrid(grid, lpsGrid(node))
    return sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor)
