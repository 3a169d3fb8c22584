"""Nodes become files and files become nodes without moving or changing a voxel."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from MetaSSLSegmentLib.CaseExporter import CaseExporter, ExportError
from MetaSSLSegmentLib.Result import resultsInScene
from MetaSSLSegmentLib.ResultLoader import LoadError, ResultLoader

STRAIGHT = np.eye(3)
OBLIQUE = np.array([[0.9, -0.3, 0.1], [0.3, 0.95, 0.0], [-0.1, 0.0, 1.0]])
OBLIQUE = np.linalg.qr(OBLIQUE)[0]
DIRECTIONS = {"straight": STRAIGHT, "oblique": OBLIQUE, "left-handed": OBLIQUE @ np.diag([1, 1, -1])}
TYPES = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64)
CLASSES = [
    {"name": "tract", "value": 7, "colour": (10, 20, 250), "terminology": None},
    {"name": "nucleus", "value": 3, "colour": (230, 120, 70), "terminology": "a~b^c~d~e~~~f"},
    {"name": "absent", "value": 5, "colour": (1, 2, 3), "terminology": None},
]


def volumeNode(array=None, directions=STRAIGHT, spacing=(1.5, 0.7, 3.0), origin=(-20.0, 11.0, 5.0), name="MR 1"):
    """A volume of the scene; directions and origin are RAS, the array is KJI."""
    array = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6) if array is None else array
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    matrix = np.eye(4)
    matrix[:3, :3] = directions * np.array(spacing)
    matrix[:3, 3] = origin
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    slicer.util.updateVolumeFromArray(node, array)
    node.CreateDefaultDisplayNodes()
    return node


def segmentationNode(volume, **masks):
    """A segmentation drawn on a volume; one segment per mask."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name, mask in masks.items():
        ID = node.GetSegmentation().AddEmptySegment(name, name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, ID, volume)
    return node


def transformUnder(node, matrix=None, nonLinear=False):
    """Put a node under a new transform."""
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "T")
    if nonLinear:
        warp = vtk.vtkThinPlateSplineTransform()
        points = vtk.vtkPoints()
        for n in range(4):
            points.InsertNextPoint(np.random.default_rng(n).uniform(-20, 20, 3))
        moved = vtk.vtkPoints()
        moved.DeepCopy(points)
        moved.SetPoint(0, 1, 2, 3)
        warp.SetSourceLandmarks(points)
        warp.SetTargetLandmarks(moved)
        warp.SetBasisToR()
        transform.SetAndObserveTransformToParent(warp)
    else:
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def rotation(degrees=30.0, shift=(4.0, -7.0, 2.0)):
    matrix = np.eye(4)
    a = np.radians(degrees)
    matrix[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    matrix[:3, 3] = shift
    return matrix


def worldOf(node, ijk):
    """RAS position of a voxel in the world."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    point = slicer.util.arrayFromVTKMatrix(matrix) @ np.array([*ijk, 1.0])
    if node.GetParentTransformNode():
        toWorld = vtk.vtkMatrix4x4()
        node.GetParentTransformNode().GetMatrixTransformToWorld(toWorld)
        point = slicer.util.arrayFromVTKMatrix(toWorld) @ point
    return point[:3]


@pytest.mark.parametrize("directions", DIRECTIONS)
@pytest.mark.parametrize("transformed", [False, True])
def test_a_volume_lies_in_the_file_where_it_lies_in_the_world(tmp_path, directions, transformed):
    node = volumeNode(directions=DIRECTIONS[directions])
    if transformed:
        transformUnder(node, rotation())
    before = slicer.mrmlScene.GetNumberOfNodes()
    CaseExporter().exportVolume(node, tmp_path / "sub" / "ü 'x'.nrrd")
    image = sitk.ReadImage(str(tmp_path / "sub" / "ü 'x'.nrrd"))
    assert np.array_equal(sitk.GetArrayFromImage(image), slicer.util.arrayFromVolume(node))
    for ijk in ((0, 0, 0), (5, 0, 0), (0, 4, 0), (0, 0, 3), (5, 4, 3)):
        lps = image.TransformIndexToPhysicalPoint(ijk)
        assert np.allclose((-lps[0], -lps[1], lps[2]), worldOf(node, ijk), atol=1e-4)
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert node.GetStorageNode() is None and (node.GetParentTransformNode() is not None) == transformed


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_voxels_of_every_scalar_type_survive(tmp_path, kind):
    values = np.array([0, 1, 100, 127], dtype=kind).repeat(30).reshape(4, 5, 6)
    CaseExporter().exportVolume(volumeNode(values), tmp_path / "v.nrrd")
    back = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "v.nrrd")))
    assert back.dtype == kind and np.array_equal(back, values)


def test_what_cannot_be_exported_is_refused_with_a_remedy(tmp_path):
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hollow")
    with pytest.raises(ExportError, match="hollow holds no voxels"):
        CaseExporter().exportVolume(empty, tmp_path / "a.nrrd")
    warped = volumeNode(name="warped")
    transformUnder(warped, nonLinear=True)
    with pytest.raises(ExportError, match="warped lies under a non-linear transform"):
        CaseExporter().exportVolume(warped, tmp_path / "a.nrrd")
    sheared = volumeNode(name="sheared")
    matrix = np.eye(4)
    matrix[0, 2] = 0.4
    transformUnder(sheared, matrix)
    with pytest.raises(ExportError, match="axes of sheared are not at right angles"):
        CaseExporter().exportVolume(sheared, tmp_path / "a.nrrd")
    assert not (tmp_path / "a.nrrd").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises((ExportError, OSError)):
        CaseExporter().exportVolume(volumeNode(), tmp_path / "file" / "a.nrrd")


@pytest.mark.parametrize("transformed", ["neither", "both", "segmentation only"])
def test_segments_become_the_values_of_their_classes(tmp_path, transformed):
    volume = volumeNode(directions=OBLIQUE)
    k = np.indices((4, 5, 6))[0]
    node = segmentationNode(volume, nucleus=k == 0, tract=k == 2, other=k == 3)
    if transformed == "both":
        transform = transformUnder(volume, rotation())
        node.SetAndObserveTransformNodeID(transform.GetID())
    elif transformed == "segmentation only":  # shifted by one slice along k
        matrix = np.eye(4)
        matrix[:3, 3] = OBLIQUE[:, 2] * 3.0
        transformUnder(node, matrix)
    before = slicer.mrmlScene.GetNumberOfNodes()
    CaseExporter().exportSegmentation(node, volume, {"nucleus": 3, "tract": 7}, tmp_path / "l.nrrd")
    CaseExporter().exportVolume(volume, tmp_path / "v.nrrd")
    label, image = (sitk.ReadImage(str(tmp_path / name)) for name in ("l.nrrd", "v.nrrd"))
    assert label.GetSize() == image.GetSize() and np.allclose(label.GetOrigin(), image.GetOrigin())
    assert np.allclose(label.GetDirection(), image.GetDirection())
    found = [sorted(set(part.ravel().tolist())) for part in sitk.GetArrayFromImage(label)]
    moved = transformed == "segmentation only"
    assert found == ([[0], [3], [0], [7]] if moved else [[3], [0], [7], [0]])
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_a_segmentation_of_another_grid_is_resampled(tmp_path):
    fine = volumeNode(np.zeros((8, 10, 12), np.int16), spacing=(1, 1, 1), origin=(0, 0, 0))
    node = segmentationNode(fine, a=np.indices((8, 10, 12))[0] < 4)
    coarse = volumeNode(np.zeros((4, 5, 6), np.int16), spacing=(2, 2, 2), origin=(0.5, 0.5, 0.5))
    CaseExporter().exportSegmentation(node, coarse, {"a": 9}, tmp_path / "l.nrrd")
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "l.nrrd")))
    assert array.shape == (4, 5, 6) and (array[:2] == 9).all() and not array[2:].any()


def test_overlapping_segments_are_refused_with_their_names(tmp_path):
    volume = volumeNode()
    k = np.indices((4, 5, 6))[0]
    node = segmentationNode(volume, first=k < 2)
    ID = node.GetSegmentation().AddEmptySegment("second", "second")
    slicer.util.updateSegmentBinaryLabelmapFromArray((k == 1).astype(np.uint8), node, ID, volume)
    if node.GetSegmentation().GetNumberOfLayers() == 1:  # Slicer keeps them apart by itself
        node.GetSegmentation().SeparateSegmentLabelmap(ID)
        slicer.util.updateSegmentBinaryLabelmapFromArray((k < 2).astype(np.uint8), node, "first", volume)
    before = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(ExportError, match="'first' and 'second' overlap in 30 voxels"):
        CaseExporter().exportSegmentation(node, volume, {"first": 1, "second": 2}, tmp_path / "l.nrrd")
    assert slicer.mrmlScene.GetNumberOfNodes() == before and not (tmp_path / "l.nrrd").exists()


def engineResult(folder, volume, labels):
    """Files as the engine writes them for a volume."""
    exported = folder / "in.nrrd"
    CaseExporter().exportVolume(volume, exported)
    reference = sitk.ReadImage(str(exported))
    parts = {"seg": labels, "regions": (labels > 0).astype(np.uint8) + 1, "confidence": labels.astype(np.float32) / 9}
    for kind, array in parts.items():
        image = sitk.GetImageFromArray(array)
        image.CopyInformation(reference)
        sitk.WriteImage(image, str(folder / f"volume_{kind}.nii.gz"))
    (folder / "volume.json").write_text(json.dumps({"volume_ml": {"nucleus": 1.0}, "regions": {}}))
    return parts


@pytest.mark.parametrize("directions", DIRECTIONS)
@pytest.mark.parametrize("transformed", [False, True])
def test_results_are_voxel_identical_and_lie_on_the_volume(tmp_path, directions, transformed):
    volume = volumeNode(directions=DIRECTIONS[directions])
    if transformed:
        transformUnder(volume, rotation())
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1, 1:3, 2:5], labels[2, 2:4, 1:3] = 3, 7
    parts = engineResult(tmp_path, volume, labels)
    result = ResultLoader().load(volume, tmp_path, "volume", CLASSES)
    for kind in ("regions", "confidence"):
        node = result.nodes[kind]
        assert np.array_equal(slicer.util.arrayFromVolume(node), parts[kind])
        for ijk in ((0, 0, 0), (5, 4, 3)):
            assert np.allclose(worldOf(node, ijk), worldOf(volume, ijk))
        assert node.GetStorageNode() is None, "the temporary file is not what the scene refers to"
    node = result.nodes["segmentation"]
    segmentation = node.GetSegmentation()
    assert [segmentation.GetNthSegment(n).GetName() for n in range(2)] == ["nucleus", "tract"]
    assert segmentation.GetNumberOfSegments() == 2, "classes without voxels have no segment"
    for c in CLASSES[:2]:
        segment = segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName(c["name"]))
        assert np.allclose(np.array(segment.GetColor()) * 255, c["colour"], atol=1)
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(
            node, segmentation.GetSegmentIdBySegmentName(c["name"]), volume
        )
        assert np.array_equal(voxels != 0, labels == c["value"])
    tag = vtk.reference("")
    segmentation.GetNthSegment(0).GetTag("TerminologyEntry", tag)
    assert str(tag) == "a~b^c~d~e~~~f"
    CaseExporter().exportSegmentation(node, volume, {"nucleus": 3, "tract": 7}, tmp_path / "back.nrrd")
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "back.nrrd"))), labels)


def test_a_result_that_is_incomplete_leaves_no_node(tmp_path):
    volume = volumeNode()
    engineResult(tmp_path, volume, np.ones((4, 5, 6), np.uint8) * 3)
    (tmp_path / "volume_confidence.nii.gz").unlink()
    tables = len(slicer.util.getNodesByClass("vtkMRMLColorTableNode"))
    volumes = len(slicer.util.getNodesByClass("vtkMRMLDisplayableNode"))
    with pytest.raises(LoadError, match="did not write volume_confidence"):
        ResultLoader().load(volume, tmp_path, "volume", CLASSES)
    assert len(slicer.util.getNodesByClass("vtkMRMLDisplayableNode")) == volumes
    assert len(slicer.util.getNodesByClass("vtkMRMLColorTableNode")) <= tables + 1  # the shared table of regions
    slicer.util.updateVolumeFromArray(volume, np.zeros((2, 5, 6), np.int16))
    with pytest.raises(LoadError, match="another size now"):
        ResultLoader().load(volume, tmp_path, "volume", CLASSES)


def test_results_are_found_again_in_a_saved_scene(tmp_path):
    volume = volumeNode()
    engineResult(tmp_path, volume, np.ones((4, 5, 6), np.uint8) * 3)
    for _run in range(3):
        ResultLoader().load(volume, tmp_path, "volume", CLASSES)
    names = {n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLColorTableNode") if "MetaSSL" in n.GetName()}
    count = sum("MetaSSL" in n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLColorTableNode"))
    assert count == len(names) == 2
    assert slicer.util.saveScene(str(tmp_path / "s.mrb"))
    slicer.mrmlScene.Clear(False)
    assert resultsInScene() == []
    slicer.util.loadScene(str(tmp_path / "s.mrb"))
    results = resultsInScene()
    assert len(results) == 3
    assert set(results[0].nodes) == {"segmentation", "regions", "confidence"}
    assert results[0].volumeNode.GetName() == "MR 1" and results[0].summary()["volume_ml"] == {"nucleus": 1.0}
    table = results[0].nodes["regions"].GetDisplayNode().GetColorNode()
    assert "UC" in table.GetColorName(1) and count == sum(
        "MetaSSL" in n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLColorTableNode")
    )
