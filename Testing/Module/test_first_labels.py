"""Segmentations of other extensions are labels: in layers that may overlap, on a grid of their own, cropped, as Slicer
itself writes them."""

import numpy as np
import pytest
import slicer
import vtk
from metassl import Case, Dataset, SegmentClass, check_dataset
from metassl.data.labels import read_label
from metassl.data.reading import read_images
from test_exchange import rotation, volumeNode

SIZE = 12
OBLIQUE = rotation()[:3, :3]


def cube(first, last):
    mask = np.zeros((SIZE, SIZE, SIZE), np.uint8)
    mask[first:last, first:last, first:last] = 1
    return mask


def promptedSegments(volume):
    """As nnInteractive and MultiverSeg leave it: objects one after the other, each in a layer of its own, with
    whatever name the person gave, and an empty one that is waiting for the next prompt."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "prompted")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name, mask in (("vein", cube(2, 5)), ("liver", cube(5, 9) - cube(5, 6)), ("Segment_3", cube(0, 0))):
        ID = node.GetSegmentation().AddEmptySegment(name, name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, ID, volume)
        node.GetSegmentation().SeparateSegmentLabelmap(ID)
    return node


def ownGrid(volume):
    """As TotalSegmentator's fast mode leaves it: many structures on a grid of its own, twice as coarse."""
    matrix = slicer.util.arrayFromVTKMatrix(_matrixOf(volume)) @ np.array(
        [[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]]
    )
    labelmap = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "total")
    labelmap.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    coarse = np.zeros((SIZE // 2,) * 3, np.uint8)
    coarse[1:3, 1:3, 1:3], coarse[3:5, 3:5, 3:5], coarse[0, 0, 0] = 1, 2, 3
    slicer.util.updateVolumeFromArray(labelmap, coarse)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "total")
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labelmap, node)
    for n, name in enumerate(("vein", "liver", "spleen")):
        node.GetSegmentation().GetNthSegment(n).SetName(name)
    slicer.mrmlScene.RemoveNode(labelmap)
    return node


def _matrixOf(volume):
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


FORMS = {
    "prompted": (promptedSegments, cube(2, 5), cube(5, 9) - cube(5, 6)),
    "own grid": (ownGrid, cube(2, 6), cube(6, 10)),
}


@pytest.fixture(params=[np.eye(3), OBLIQUE], ids=["straight", "oblique"])
def volume(request):
    return volumeNode(np.arange(SIZE**3, dtype=np.int16).reshape((SIZE,) * 3), directions=request.param)


@pytest.mark.parametrize("form", FORMS)
def test_files_that_slicer_saves_are_accepted(volume, tmp_path, form):
    make, vein, liver = FORMS[form]
    image, label = str(tmp_path / "i.nrrd"), str(tmp_path / "i.seg.nrrd")
    assert slicer.util.saveNode(volume, image) and slicer.util.saveNode(make(volume), label)
    classes = (SegmentClass("liver", 1, (1, 2, 3)), SegmentClass("vein", 2, (4, 5, 6)))
    classes += (SegmentClass("spleen", 3, (7, 8, 9)),) if form == "own grid" else ()
    case = Case("i", (image,), label, "labelled")
    dataset = Dataset("d", ("CT",), classes, (case,))
    severities = {problem.severity for problem in check_dataset(dataset).problems}
    assert not severities & {"excluded", "stop"}, check_dataset(dataset).problems
    labels = read_label(label, dataset, read_images(case)[0])
    assert np.array_equal(labels == 2, vein == 1) and np.array_equal(labels == 1, liver == 1)


@pytest.mark.parametrize("form", FORMS)
def test_segmentations_of_the_scene_are_accepted(user, volume, tmp_path, form):
    make, vein, liver = FORMS[form]
    segmentation = make(volume)
    user.ui.caseVolumeSelector.setCurrentNode(volume)
    user.ui.caseSegmentationSelector.setCurrentNode(segmentation)
    user.click("addNodesButton")
    values = user.cases.segmentValues()
    exporter = user.widget.logic.exporter
    exporter.exportVolume(volume, tmp_path / "i.nrrd")
    exporter.exportSegmentation(segmentation, volume, values, tmp_path / "l.nrrd")
    case = Case("i", (str(tmp_path / "i.nrrd"),), str(tmp_path / "l.nrrd"), "labelled")
    dataset = user.cases.dataset({user.cases.rows[0].id: ([case.images[0]], case.label)})
    labels = read_label(case.label, dataset, read_images(case)[0])
    assert np.array_equal(labels == values["vein"], vein == 1)
    assert np.array_equal(labels == values["liver"], liver == 1)
