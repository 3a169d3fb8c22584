"""Nodes become files and files become nodes without moving or changing a voxel."""

import json
from collections import Counter

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from MetaSSLSegmentLib.Scene.CaseExporter import CaseExporter, ExportError
from MetaSSLSegmentLib.Scene.RegionDisplay import confidenceColours, regionColours
from MetaSSLSegmentLib.Scene.Result import resultsInScene
from MetaSSLSegmentLib.Scene.ResultLoader import LoadError, ResultLoader

STRAIGHT = np.eye(3)
OBLIQUE = np.array([[0.9, -0.3, 0.1], [0.3, 0.95, 0.0], [-0.1, 0.0, 1.0]])
OBLIQUE = np.linalg.qr(OBLIQUE)[0]
DIRECTIONS = {"straight": STRAIGHT, "oblique": OBLIQUE, "left-handed": OBLIQUE @ np.diag([1, 1, -1])}
TYPES = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64)
VTK_ONLY_TYPES = {  # that no array of numpy makes
    vtk.VTK_BIT: np.uint8,
    vtk.VTK_CHAR: np.int8,
    vtk.VTK_LONG: np.int64,
    vtk.VTK_UNSIGNED_LONG: np.uint64,
    vtk.VTK_LONG_LONG: np.int64,
    vtk.VTK_UNSIGNED_LONG_LONG: np.uint64,
    vtk.VTK_ID_TYPE: np.int64,
}
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


def nodesByClass():
    """How many nodes of each class the scene holds, hidden ones too."""
    scene = slicer.mrmlScene
    return Counter(scene.GetNthNode(n).GetClassName() for n in range(scene.GetNumberOfNodes()))


def stateOf(*nodes):
    """What must not change when a node is exported."""
    state = []
    for node in nodes:
        matrix = vtk.vtkMatrix4x4()
        if node.IsA("vtkMRMLSegmentationNode"):
            names = []
            segmentation = node.GetSegmentation()
            segmentation.GetContainedRepresentationNames(names)
            data = (names, segmentation.GetNumberOfSegments(), segmentation.GetNumberOfLayers())
        else:
            node.GetIJKToRASMatrix(matrix)
            data = (node.GetImageData().GetMTime(), slicer.util.arrayFromVTKMatrix(matrix).tolist())
        state.append((data, node.GetStorageNodeID(), node.GetTransformNodeID(), node.GetName()))
    return state


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


@pytest.mark.parametrize("kind", VTK_ONLY_TYPES, ids=lambda kind: vtk.vtkDataArray.CreateDataArray(kind).GetClassName())
def test_voxels_of_types_that_only_vtk_has_survive(tmp_path, kind):
    image = vtk.vtkImageData()
    image.SetDimensions(6, 5, 4)
    image.AllocateScalars(kind, 1)
    for n in range(120):
        image.GetPointData().GetScalars().SetTuple1(n, n % 2 if kind == vtk.VTK_BIT else n)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "v")
    node.SetAndObserveImageData(image)
    CaseExporter().exportVolume(node, tmp_path / "v.nrrd")
    back = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "v.nrrd")))
    assert back.dtype == VTK_ONLY_TYPES[kind]
    assert back.ravel().tolist() == [n % 2 if kind == vtk.VTK_BIT else n for n in range(120)]


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_transform_that_scales_and_mirrors_changes_spacing_and_directions(tmp_path, mirrored):
    node = volumeNode(directions=OBLIQUE)
    matrix = rotation() @ np.diag([2.0, 2.0, -2.0 if mirrored else 2.0, 1.0])
    transformUnder(node, matrix)
    CaseExporter().exportVolume(node, tmp_path / "v.nrrd")
    image = sitk.ReadImage(str(tmp_path / "v.nrrd"))
    assert np.allclose(image.GetSpacing(), (3.0, 1.4, 6.0))
    for ijk in ((0, 0, 0), (5, 0, 0), (0, 4, 0), (5, 4, 3)):
        lps = image.TransformIndexToPhysicalPoint(ijk)
        assert np.allclose((-lps[0], -lps[1], lps[2]), worldOf(node, ijk), atol=1e-4)


def test_several_transforms_above_each_other_count_all(tmp_path):
    node = volumeNode()
    inner = transformUnder(node, rotation(20))
    inner.SetAndObserveTransformNodeID(transformUnder(volumeNode(name="other"), rotation(-50)).GetID())
    CaseExporter().exportVolume(node, tmp_path / "v.nrrd")
    lps = sitk.ReadImage(str(tmp_path / "v.nrrd")).TransformIndexToPhysicalPoint((5, 4, 3))
    both = rotation(-50) @ rotation(20) @ np.array([*worldWithoutTransform(node, (5, 4, 3)), 1.0])
    assert np.allclose((-lps[0], -lps[1], lps[2]), both[:3], atol=1e-4)


def worldWithoutTransform(node, ijk):
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return (slicer.util.arrayFromVTKMatrix(matrix) @ np.array([*ijk, 1.0]))[:3]


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
    with pytest.raises(ExportError, match="sheared has axes that are not at right angles"):
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


def test_a_segmentation_under_another_transform_than_its_volume_lies_right(tmp_path):
    """The volume is rotated by 90 degrees, the segmentation is not: what it covers in the world counts."""
    volume = volumeNode(np.zeros((3, 8, 8), np.int16), spacing=(1, 1, 1), origin=(0, 0, 0))
    i = np.indices((3, 8, 8))[2]
    node = segmentationNode(volume, west=i < 2)
    matrix = np.eye(4)
    matrix[:2, :2] = [[0, -1], [1, 0]]
    matrix[0, 3] = 7  # so that both cover the same cube
    transformUnder(volume, matrix)
    CaseExporter().exportSegmentation(node, volume, {"west": 4}, tmp_path / "l.nrrd")
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "l.nrrd")))
    j = np.indices((3, 8, 8))[1]
    assert np.array_equal(array, np.where(j >= 6, 4, 0))  # world x = 7 - j


def test_segments_that_reach_beyond_the_volume_are_cropped(tmp_path):
    large = volumeNode(np.zeros((6, 6, 6), np.int16), spacing=(1, 1, 1), origin=(0, 0, 0))
    node = segmentationNode(large, all=np.ones((6, 6, 6)), away=np.zeros((6, 6, 6)))
    small = volumeNode(np.zeros((3, 3, 3), np.int16), spacing=(1, 1, 1), origin=(4, 4, 4))
    CaseExporter().exportSegmentation(node, small, {"all": 1, "away": 2}, tmp_path / "l.nrrd")
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "l.nrrd")))
    assert array[:2, :2, :2].all() and array.sum() == 8


def test_a_segmentation_that_has_surfaces_only_is_exported_and_stays_so(tmp_path):
    volume = volumeNode(np.zeros((20, 20, 20), np.int16), spacing=(1, 1, 1))
    node = segmentationNode(volume, ball=np.indices((20, 20, 20))[0] < 8)
    node.CreateClosedSurfaceRepresentation()
    node.SetSourceRepresentationToClosedSurface()
    node.GetSegmentation().RemoveRepresentation("Binary labelmap")
    before = stateOf(node, volume)
    CaseExporter().exportSegmentation(node, volume, {"ball": 9}, tmp_path / "l.nrrd")
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "l.nrrd")))
    assert set(np.unique(array)) == {0, 9} and array[1:7].mean() > 8 and not array[9:].any()
    assert stateOf(node, volume) == before


def test_an_export_that_a_full_disk_cuts_is_refused(tmp_path, monkeypatch):
    """ITK does not always say that the end of a file could not be written."""
    write = sitk.WriteImage

    def cut(image, path, **options):
        write(image, path, **options)
        with open(path, "rb+") as file:
            file.truncate(200)

    monkeypatch.setattr(sitk, "WriteImage", cut)
    with pytest.raises(ExportError, match="free disk space"):
        CaseExporter().exportVolume(volumeNode(), tmp_path / "a.nrrd")


@pytest.mark.parametrize("transformed", [False, True])
def test_export_changes_neither_the_nodes_nor_the_scene(tmp_path, transformed):
    volume = volumeNode(directions=DIRECTIONS["left-handed"])
    node = segmentationNode(volume, a=np.indices((4, 5, 6))[0] == 1)
    if transformed:
        transform = transformUnder(volume, rotation())
        node.SetAndObserveTransformNodeID(transform.GetID())
    before, count = stateOf(volume, node), nodesByClass()
    CaseExporter().exportVolume(volume, tmp_path / "v.nrrd")
    CaseExporter().exportSegmentation(node, volume, {"a": 1}, tmp_path / "l.nrrd")
    assert stateOf(volume, node) == before and nodesByClass() == count


def test_failing_exports_leave_the_scene_as_it_was(tmp_path):
    volume, warped = volumeNode(), volumeNode(name="warped")
    node = segmentationNode(volume, a=np.indices((4, 5, 6))[0] == 1)
    bent = segmentationNode(volume, a=np.indices((4, 5, 6))[0] == 1)
    for bad in (warped, bent):
        transformUnder(bad, nonLinear=True)
    (tmp_path / "file").write_text("")
    count = nodesByClass()
    for segmentation, reference, path in (
        (bent, volume, tmp_path / "l.nrrd"),
        (node, warped, tmp_path / "l.nrrd"),
        (node, volume, tmp_path / "file" / "l.nrrd"),
        (node, volume, tmp_path / "l.unknown"),
    ):
        with pytest.raises(ExportError):
            CaseExporter().exportSegmentation(segmentation, reference, {"a": 1}, path)
        assert nodesByClass() == count


def test_segments_with_odd_names_keep_their_values(tmp_path):
    volume = volumeNode()
    k = np.indices((4, 5, 6))[0]
    names = ["left, upper lobe", " Größe \u8840\u7ba1 ", '100 % "a" & <b>; c:d', "12"]
    node = segmentationNode(volume, **{name: k == n for n, name in enumerate(names)})
    values = {name.strip(): 200 + n for n, name in enumerate(names)}
    CaseExporter().exportSegmentation(node, volume, values, tmp_path / "l.nrrd")
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "l.nrrd")))
    assert [part.max() for part in array] == [part.min() for part in array] == [200, 201, 202, 203]


def test_segments_of_one_class_may_overlap(tmp_path):
    volume = volumeNode()
    k = np.indices((4, 5, 6))[0]
    node = segmentationNode(volume)
    for name, mask in (("x", k < 2), ("y", k == 1)):
        ID = node.GetSegmentation().AddEmptySegment(name, "lesion")
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, ID, volume)
    CaseExporter().exportSegmentation(node, volume, {"lesion": 6}, tmp_path / "l.nrrd")
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "l.nrrd")))
    assert [part[0, 0] for part in array] == [6, 6, 0, 0]


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


def cutShort(path):
    path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize(
    "file, damage, message",
    [
        ("volume_seg.nii.gz", lambda path: path.unlink(), "did not write volume_seg"),
        ("volume_confidence.nii.gz", lambda path: path.unlink(), "did not write volume_confidence"),
        ("volume_seg.nii.gz", cutShort, "volume_seg.nii.gz is damaged"),
        ("volume_regions.nii.gz", lambda path: path.write_bytes(b"no image"), "volume_regions.nii.gz is damaged"),
        ("volume.json", lambda path: path.write_text("{"), "cannot be read"),
        ("volume.json", lambda path: path.write_bytes(b"\xff"), "cannot be read"),
        ("volume.json", lambda path: path.write_text("[1]"), "volume.json is damaged"),
        ("volume.json", lambda path: path.unlink(), "cannot be read"),
    ],
)
def test_a_result_that_is_damaged_leaves_no_node(tmp_path, file, damage, message):
    volume = volumeNode()
    engineResult(tmp_path, volume, np.random.default_rng(0).integers(0, 9, (4, 5, 6)).astype(np.uint8))
    damage(tmp_path / file)
    regionColours(), confidenceColours()  # shared by all results; they stay
    count, before = nodesByClass(), stateOf(volume)
    with pytest.raises(LoadError, match=message):
        ResultLoader().load(volume, tmp_path, "volume", CLASSES)
    assert nodesByClass() == count and stateOf(volume) == before


def test_a_volume_that_changed_during_its_segmentation_gets_no_result(tmp_path):
    volume = volumeNode()
    engineResult(tmp_path, volume, np.ones((4, 5, 6), np.uint8) * 3)
    count = nodesByClass()
    slicer.util.updateVolumeFromArray(volume, np.zeros((2, 5, 6), np.int16))
    with pytest.raises(LoadError, match="has changed since"):
        ResultLoader().load(volume, tmp_path, "volume", CLASSES)
    volume.SetAndObserveImageData(None)
    with pytest.raises(LoadError, match="has changed since"):
        ResultLoader().load(volume, tmp_path, "volume", CLASSES)
    assert nodesByClass() == count


@pytest.mark.parametrize("stranger", [1, 4, 255])
def test_classes_keep_their_names_when_others_are_absent_or_strangers_present(tmp_path, stranger):
    """Segments are matched by value, not by their order."""
    volume = volumeNode()
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[0], labels[1], labels[2], labels[3] = stranger, 7, 3, 0
    engineResult(tmp_path, volume, labels)
    node = ResultLoader().load(volume, tmp_path, "volume", CLASSES, ["segmentation"]).nodes["segmentation"]
    segmentation = node.GetSegmentation()
    names = [segmentation.GetSegment(ID).GetName() for ID in segmentation.GetSegmentIDs()]
    assert names == ["nucleus", "tract"]
    CaseExporter().exportSegmentation(node, volume, {"nucleus": 3, "tract": 7}, tmp_path / "back.nrrd")
    back = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "back.nrrd")))
    assert np.array_equal(back, np.where(labels == stranger, 0, labels))


def test_many_classes_in_any_order_with_odd_names_land_on_their_voxels(tmp_path):
    rng = np.random.default_rng(1)
    values = rng.permutation(np.arange(1, 256))[:60].tolist()
    classes = [{"name": f"class, {v}; é %", "value": v, "colour": (v, 255 - v, 7), "terminology": None} for v in values]
    volume = volumeNode(np.zeros((6, 10, 10), np.int16))
    labels = rng.choice(values[:50], (6, 10, 10)).astype(np.uint8)
    engineResult(tmp_path, volume, labels)
    node = ResultLoader().load(volume, tmp_path, "volume", classes, ["segmentation"]).nodes["segmentation"]
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == len(np.unique(labels))
    for ID in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(ID)
        value = next(c["value"] for c in classes if c["name"] == segment.GetName())
        assert np.allclose(np.array(segment.GetColor()) * 255, (value, 255 - value, 7), atol=0.6)
        assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(node, ID, volume) != 0, labels == value)


def test_a_result_without_any_voxel_of_a_class_is_an_empty_segmentation(tmp_path):
    volume = volumeNode()
    engineResult(tmp_path, volume, np.zeros((4, 5, 6), np.uint8))
    result = ResultLoader().load(volume, tmp_path, "volume", CLASSES)
    assert result.nodes["segmentation"].GetSegmentation().GetNumberOfSegments() == 0


def test_results_follow_the_transform_of_their_volume(tmp_path):
    volume = volumeNode()
    transform = transformUnder(volume, rotation(10))
    engineResult(tmp_path, volume, np.ones((4, 5, 6), np.uint8) * 3)
    result = ResultLoader().load(volume, tmp_path, "volume", CLASSES)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rotation(70)))
    for kind in ("regions", "confidence"):
        assert np.allclose(worldOf(result.nodes[kind], (5, 4, 3)), worldOf(volume, (5, 4, 3)))
    CaseExporter().exportSegmentation(result.nodes["segmentation"], volume, {"nucleus": 3}, tmp_path / "back.nrrd")
    assert (sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "back.nrrd"))) == 3).all()


def test_ten_runs_add_their_nodes_and_nothing_else(tmp_path):
    volume = volumeNode()
    engineResult(tmp_path, volume, np.ones((4, 5, 6), np.uint8) * 3)
    regionColours(), confidenceColours()
    count = nodesByClass()
    for _run in range(10):
        ResultLoader().load(volume, tmp_path, "volume", CLASSES)
    added = nodesByClass() - count
    assert added == dict.fromkeys(
        (
            "vtkMRMLSegmentationNode",
            "vtkMRMLSegmentationDisplayNode",
            "vtkMRMLLabelMapVolumeNode",
            "vtkMRMLLabelMapVolumeDisplayNode",
            "vtkMRMLScalarVolumeNode",
            "vtkMRMLScalarVolumeDisplayNode",
        ),
        10,
    )
    names = [node.GetName() for result in resultsInScene() for node in result.nodes.values()]
    assert len(set(names)) == 30, "each can be told from the others"


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
