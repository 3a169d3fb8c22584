"""The cases that a model is trained on: from folders, from the scene, kept with the scene."""

import json
from dataclasses import replace

import numpy as np
import pytest
import qt
import SimpleITK as sitk
import slicer
from harness.interaction import waitUntil
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.data.reading import read_images
from metassl.errors import InputError
from MetaSSLSegmentLib.Scene.CaseExporter import CaseExporter
from MetaSSLSegmentLib.Scene.CaseList import CaseList
from MetaSSLSegmentLib.Scene.DatasetExport import datasetPieces
from MetaSSLSegmentLib.Scene.Pieces import Pieces
from test_exchange import segmentationNode, transformUnder, volumeNode


@pytest.fixture
def node(scene):
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "parameters")


@pytest.fixture
def cases(node):
    return CaseList(node)


def datasetFile(
    folder, name="d.json", classes=(("liver", 2),), cases=("a", "b"), channels=("MR",), ignore=None, values=()
):
    found = tuple(SegmentClass(n, v, (1, 2, 3)) for n, v in classes)
    rows = tuple(
        Case(c, tuple(f"/x/{c}{n}.nii" for n in range(len(channels))), f"/x/{c}_l.nii", "labelled") for c in cases
    )
    Dataset(name, channels, found, rows, ignore, label_values=dict(values)).save(folder / name)
    return folder / name


def masks(*values):
    k = np.indices((4, 5, 6))[0]
    return {f"class {value}": k == value for value in values}


def startedExport(cases, folder, ends, exporter=None, progress=lambda *progress: None):
    """An export as the panel does it; the path of the data set, or the text of the failure, is added to ``ends``."""
    pieces = datasetPieces(cases, exporter or CaseExporter(), folder, progress)
    export = Pieces(pieces, ends.append, lambda error: ends.append(str(error)))
    export.start()
    return export


def exported(cases, folder):
    """Export the cases as the panel does; returns the data set, or the text of the failure."""
    ends = []
    startedExport(cases, folder, ends)
    waitUntil(lambda: ends, 10)
    return ends[0] if isinstance(ends[0], str) else Dataset.load(ends[0])


def test_folders_join_when_their_classes_agree(cases, tmp_path):
    assert cases.addDataset(datasetFile(tmp_path)) == 2
    assert cases.addDataset(datasetFile(tmp_path)) == 0, "the same files again"
    other = datasetFile(tmp_path, "e.json", classes=(("liver", 2), ("spleen", 1)), cases=("c",))
    assert cases.addDataset(other) == 1
    assert [(c["name"], c["value"]) for c in cases.classes] == [("liver", 2), ("spleen", 1)]
    with pytest.raises(InputError, match="'kidney' with the value 2 contradicts"):
        cases.addDataset(datasetFile(tmp_path, "f.json", classes=(("kidney", 2),), cases=("k",)))
    with pytest.raises(InputError, match="have 2 image channel"):
        cases.addDataset(datasetFile(tmp_path, "g.json", channels=("T1", "T2"), cases=("k",)))
    assert len(cases) == 3


def test_segments_with_one_name_are_one_class_whatever_their_order(cases, tmp_path):
    first, second = volumeNode(name="one"), volumeNode(name="two")
    cases.addNodes(first, segmentationNode(first, **masks(0, 1)))
    cases.addNodes(second, segmentationNode(second, **masks(3, 1, 0)))
    third = volumeNode(name="three")
    assert cases.addNodes(third).role == "unlabelled"
    assert [(c["name"], c["value"]) for c in cases.classes] == [("class 0", 1), ("class 1", 2), ("class 3", 3)]
    cases.renameClass(2, "nucleus")
    dataset = exported(cases, tmp_path / "out")
    assert [c.name for c in dataset.classes] == ["class 0", "nucleus", "class 3"]
    assert [case.role for case in dataset.cases] == ["labelled", "labelled", "unlabelled"]
    label = sitk.GetArrayFromImage(sitk.ReadImage(dataset.cases[1].label))
    assert [part[0, 0] for part in label] == [1, 2, 0, 3]
    assert dataset.cases[2].label is None


def test_names_that_collide_after_cleaning_stay_apart(cases, tmp_path):
    for name in ("a/b", "a:b", "A_b", "...", "a/b"):
        cases.addNodes(volumeNode(name=name), None)
    ids = [row.id for row in cases.rows]
    assert ids == ["a_b", "a_b-2", "A_b-3", "case", "a_b-4"]
    assert len({i.casefold() for i in ids}) == 5


def test_a_volume_is_added_once_and_channels_must_agree(cases, tmp_path):
    volume = volumeNode()
    cases.addNodes(volume)
    with pytest.raises(InputError, match="in the table already"):
        cases.addNodes(volume)
    cases.clear()
    cases.addDataset(datasetFile(tmp_path, channels=("T1", "T2")))
    with pytest.raises(InputError, match="have 2 image channels"):
        cases.addNodes(volume)


def test_several_volumes_are_the_channels_of_a_case(cases, node, tmp_path):
    pairs = [(volumeNode(name=f"T1 {n}"), volumeNode(name=f"T2 {n}")) for n in range(2)]
    for n, (_first, second) in enumerate(pairs):
        slicer.util.arrayFromVolume(second)[0, 0, 0] = 1000 + n
    cases.addNodes(pairs[0][0], segmentationNode(pairs[0][0], **masks(0)), pairs[0][1:])
    cases.addNodes(pairs[1][0], None, pairs[1][1:])
    slicer.util.saveScene(str(tmp_path / "s.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "s.mrb"))
    loaded = CaseList(slicer.util.getNode("parameters"))
    assert [[volume.GetName() for volume in loaded.volumesOf(row)] for row in loaded.rows] == [
        ["T1 0", "T2 0"],
        ["T1 1", "T2 1"],
    ]
    dataset = exported(loaded, tmp_path / "out")
    assert dataset.channels == ("channel 1", "channel 2") and dataset.intensities == ()
    assert [(case.id, case.role, len(case.images)) for case in dataset.cases] == [
        ("T1 0", "labelled", 2),
        ("T1 1", "unlabelled", 2),
    ]
    for n, case in enumerate(dataset.cases):
        assert [sitk.ReadImage(path)[0, 0, 0] == 1000 + n for path in case.images] == [False, True]
        assert read_images(case)
    loaded.remove(["T1 0"])
    assert not any(loaded.node.GetNodeReference(role) for role in ("caseVolume1", "caseVolume1Channel2"))


def test_channels_must_lie_on_one_grid(cases, tmp_path):
    first, second, small = volumeNode(name="T1"), volumeNode(name="T2"), volumeNode(np.ones((4, 5, 7)), name="small")
    with pytest.raises(InputError, match="small has 7 x 5 x 4 voxels, T1 has 6 x 5 x 4; the channels") as caught:
        cases.addNodes(first, None, [small])
    assert "Resample small" in caught.value.hint and "T1 as the reference" in caught.value.hint
    with pytest.raises(InputError, match="T1 is chosen for two channels"):
        cases.addNodes(first, None, [first])
    second.SetOrigin(*(np.array(first.GetOrigin()) + 0.04 * min(first.GetSpacing())))
    transformUnder(second, np.eye(4) + np.eye(4, k=3) * 5)
    with pytest.raises(InputError, match="T2 has another position, spacing or direction than T1"):
        cases.addNodes(first, None, [second])
    assert len(cases) == 0 and cases.channels == []
    first.SetAndObserveTransformNodeID(second.GetTransformNodeID())
    cases.addNodes(first, segmentationNode(first, **masks(0)), [second])
    with pytest.raises(InputError, match="have 2 image channels, the new one has 1 image channel"):
        cases.addNodes(small)
    with pytest.raises(InputError, match="T2 is in the table already"):
        cases.addNodes(small, None, [second])
    second.SetAndObserveTransformNodeID(None)
    assert "T2 has another position" in exported(cases, tmp_path / "run") and not (tmp_path / "run").exists()
    slicer.mrmlScene.RemoveNode(second)
    assert "case T1 is not in the scene any more" in exported(cases, tmp_path / "run")


def test_roles_need_labels(cases, tmp_path):
    volume = volumeNode(name="plain")
    cases.addNodes(volume)
    cases.addDataset(datasetFile(tmp_path))
    with pytest.raises(InputError, match="No annotation: plain"):
        cases.setRole(["plain", "a"], "hold-out")
    assert cases.counts() == {"labelled": 1, "unlabelled": 1, "hold-out": 1, "ignored": 0}
    cases.remove(["plain"])
    assert cases.node.GetNodeReference("caseVolume1") is None


def test_the_list_comes_back_with_the_scene(cases, node, tmp_path):
    names = ["left, upper é", "100 % <b> & 'x' \"y\"; a:b\\n"]
    volume = volumeNode(name="one")
    drawn = segmentationNode(volume, **masks(0, 1))
    for n, name in enumerate(names):
        drawn.GetSegmentation().GetNthSegment(n).SetName(name)
    cases.addNodes(volume, drawn)
    cases.addDataset(datasetFile(tmp_path, classes=(("liver", 9),)))
    cases.setColour(9, (9, 8, 7))
    cases.applyReport({"problems": [{"case_id": "a", "severity": "fixed", "message": "one\ntwo", "remedy": None}]})
    slicer.util.saveScene(str(tmp_path / "s.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "s.mrb"))
    loaded = CaseList(slicer.util.getNode("parameters"))
    assert [row.id for row in loaded.rows] == ["one", "a", "b"]
    assert [found.GetName() for found in loaded.nodesOf(loaded.rows[0])] == ["one", "drawn"]
    assert [c["name"] for c in loaded.classes] == [*names, "liver"]
    assert list(loaded.classes[2]["colour"]) == [9, 8, 7] and loaded.rows[1].status == "one\ntwo"


def test_references_are_followed_when_a_scene_is_added_to_another(cases, tmp_path):
    """The nodes get other IDs when theirs are taken."""
    volume = volumeNode(name="saved")
    cases.addNodes(volume, segmentationNode(volume, **masks(0)))
    ID = volume.GetID()
    slicer.util.saveScene(str(tmp_path / "s.mrml"))
    slicer.mrmlScene.Clear(False)
    volumeNode(name="in the way")
    slicer.mrmlScene.SetURL(str(tmp_path / "s.mrml"))
    assert slicer.mrmlScene.Import()
    found = slicer.util.getNode("saved")
    assert found.GetID() != ID and slicer.mrmlScene.GetNodeByID(ID).GetName() == "in the way"
    loaded = CaseList(slicer.util.getNode("parameters"))
    assert loaded.nodesOf(loaded.rows[0])[0] is found
    assert loaded.nodesOf(loaded.rows[0])[1].GetName() == "drawn"


def test_an_own_parameter_node_keeps_its_cases_when_another_scene_is_added(tmp_path):
    """The module's node exists once: a scene that is added brings its list, with references to its own nodes."""

    def parameterNode():
        found = slicer.vtkMRMLScriptedModuleNode()
        found.SetSingletonTag("MetaSSL")
        found.SetName("parameters")
        return slicer.mrmlScene.AddNode(found)

    CaseList(parameterNode()).addNodes(volumeNode(name="saved"))
    slicer.util.saveScene(str(tmp_path / "s.mrml"))
    slicer.mrmlScene.Clear(False)
    volumeNode(name="in the way")
    CaseList(parameterNode()).addNodes(volumeNode(name="own"))
    slicer.mrmlScene.SetURL(str(tmp_path / "s.mrml"))
    assert slicer.mrmlScene.Import()
    loaded = CaseList(parameterNode())
    for row in loaded.rows:
        volume = loaded.nodesOf(row)[0]
        assert volume is None or volume.GetName() == row.id


def test_intensities_come_with_the_folder_stay_and_reach_the_engine(cases, node, tmp_path):
    file = datasetFile(tmp_path, channels=("A", "B"))
    dataset = Dataset.load(file)
    replace(dataset, intensities=("ct", "auto")).save(file)
    cases.addDataset(file)
    assert exported(CaseList(node), tmp_path / "out").intensities == ("ct", "auto")
    cases.setIntensities(1, "other")
    assert exported(CaseList(node), tmp_path / "out").intensities == ("ct", "other")
    replace(dataset, name="e", cases=(replace(dataset.cases[0], id="c", images=("/y/0", "/y/1")),)).save(file)
    assert cases.addDataset(file) == 1 and cases.intensities == ["ct", "other"], "a folder that says nothing may join"
    replace(dataset, intensities=("other", "auto")).save(file)
    with pytest.raises(InputError, match="channel A are not CT, in the table they are CT"):
        cases.addDataset(file)
    cases.clear()
    assert CaseList(node).intensities == []
    cases.addNodes(volumeNode())
    assert CaseList(node).intensities == ["auto"]


ROW = {"id": "x", "role": "unlabelled", "images": ["/a.nii"]}
SCENE_ROW = {"id": "x", "role": "unlabelled", "nodes": 1}
CLASS = {"name": "liver", "value": 1, "colour": [1, 2, 3], "terminology": None, "segments": ["liver"]}


def listed(*rows, classes=(), **others):
    return json.dumps({"channels": ["MR"], "rows": rows, "classes": classes, **others})


HOSTILE = [
    "{", "[]", "7", "null", '"x"', "[" * 100000, listed({**ROW, "id": "\ud800"}), listed(name="\ud800"),
    '{"rows": 3}', '{"rows": {"id": "x"}}', '{"rows": [[]]}',
    '{"classes": 5}', '{"classes": [{"name": "x"}]}', '{"channels": 5}', '{"channels": "MR"}', '{"channels": [5]}',
    listed({"id": "x"}), listed({**ROW, "images": []}), listed({**ROW, "images": ["/a", "/b"]}),
    listed({**ROW, "images": "/"}), listed({**ROW, "images": [7]}), listed({**ROW, "images": {"/a": 1}}),
    listed({**ROW, "id": 5}), listed({**ROW, "id": "../x"}), listed({**ROW, "id": ""}), listed({**ROW, "id": None}),
    listed({**ROW, "role": "king"}), listed({**ROW, "role": ["labelled"]}), listed({**ROW, "role": "labelled"}),
    listed({**ROW, "size": "abc"}), listed({**ROW, "size": ["a"]}), listed({**ROW, "spacing": [None]}),
    listed({**ROW, "labels": 7}), listed({**ROW, "labels": [7]}), listed({**ROW, "label": 7}),
    listed({**ROW, "status": 7}), listed({**ROW, "severity": "evil"}), listed({**ROW, "severity": None}),
    listed({**SCENE_ROW, "slicesOnly": "no"}),
    listed({**ROW, "unknown": 1}), listed(ROW, ROW), listed(ROW, {**ROW, "id": "X"}), listed(5),
    listed({**SCENE_ROW, "id": "../../x"}), listed({**SCENE_ROW, "id": 5}), listed({**SCENE_ROW, "nodes": "1"}),
    listed({**SCENE_ROW, "nodes": [1]}), listed({**SCENE_ROW, "nodes": 1.5}), listed({**SCENE_ROW, "size": 3}),
    listed(classes=[{**CLASS, "value": "1"}]), listed(classes=[{**CLASS, "value": 0}]), listed(classes=[5]),
    listed(classes=[{**CLASS, "colour": "red"}]), listed(classes=[{**CLASS, "colour": [1, 2]}]),
    listed(classes=[{**CLASS, "colour": [1, 2, 999]}]), listed(classes=[{**CLASS, "terminology": {}}]),
    listed(classes=[{**CLASS, "segments": 5}]), listed(classes=[{**CLASS, "segments": [5]}]),
    listed(classes=[{**CLASS, "name": ["liver"]}]), listed(classes=[CLASS, {**CLASS, "value": 2}]),
    listed(classes=[CLASS, {**CLASS, "name": "b"}]), listed(classes=[CLASS], ignoreValue=1),
    listed(ignoreValue={}), listed(ROW, ignoreValue=[255]),
    listed(labelValues=5), listed(labelValues={"x": 1}), listed(labelValues={"300": "1"}),
    listed(intensities=["ct", "ct"]), listed(intensities="ct"), listed(intensities=["x-ray"]), listed(intensities=[1]),
]  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_a_strangers_scene_does_no_harm(node, content):
    node.SetParameter(CaseList.PARAMETER, content)
    cases = CaseList(node)
    assert (cases.rows, cases.classes, cases.channels, cases.ignoreValue, cases.name) == ([], [], [], None, "")
    cases.addNodes(volumeNode())
    assert len(CaseList(node)) == 1, "the list can be used again"


def test_what_a_hostile_list_is_made_of_is_accepted(node):
    """Or the test above would pass for the wrong reason."""
    node.SetParameter(CaseList.PARAMETER, listed(ROW, {**SCENE_ROW, "id": "y"}, classes=[CLASS], ignoreValue=255))
    cases = CaseList(node)
    assert [row.id for row in cases.rows] == ["x", "y"] and cases.nodesOf(cases.rows[1]) == (None, None)
    assert cases.classes[0]["name"] == "liver" and cases.ignoreValue == 255


def test_a_case_whose_node_reference_leads_elsewhere_is_refused_not_exported(node, tmp_path):
    """A stranger's scene may point at any node."""
    node.SetParameter(CaseList.PARAMETER, listed(SCENE_ROW, classes=[CLASS]))
    node.SetNodeReferenceID("caseVolume1", node.GetID())
    assert "not in the scene" in exported(CaseList(node), tmp_path / "run")


def test_the_report_fills_the_table(cases, tmp_path):
    cases.addDataset(datasetFile(tmp_path))
    problems = [
        {"case_id": "a", "severity": "warning", "code": "x", "message": "Odd.", "remedy": "Look."},
        {"case_id": "a", "severity": "fixed", "code": "y", "message": "Mended.", "remedy": ""},
        {"case_id": None, "severity": "stop", "code": "z", "message": "Nothing.", "remedy": ""},
    ]
    cases.applyReport(
        {"problems": problems, "measured": {"b": {"size": [4, 5, 6], "spacing": [1, 1, 2], "labels": [2]}}}
    )
    a, b = cases.rows
    assert (a.severity, a.status) == ("warning", "Odd. Look.\nMended.")
    assert (b.size, b.labels, b.status) == ([4, 5, 6], ["liver"], "ready")


def test_a_scene_case_and_its_label_never_share_a_file(cases, tmp_path):
    """Slicer's users call a labelled copy of CT "CT-label"."""
    first, second = volumeNode(name="CT"), volumeNode(name="CT-label")
    cases.addNodes(first, segmentationNode(first, **masks(0)))
    cases.addNodes(second)
    dataset = exported(cases, tmp_path / "run")
    files = [*dataset.cases[0].images, *dataset.cases[1].images, dataset.cases[0].label]
    assert len({file.casefold() for file in files}) == 3
    assert sitk.GetArrayFromImage(sitk.ReadImage(dataset.cases[1].images[0])).max() == 119


def test_segments_that_are_new_or_renamed_are_never_left_out_silently(cases, tmp_path):
    volume = volumeNode(name="one")
    node = segmentationNode(volume, **masks(0, 1))
    cases.addNodes(volume, node)
    node.GetSegmentation().GetNthSegment(1).SetName("renamed")
    assert "new or were renamed since it was added: renamed" in exported(cases, tmp_path / "run")
    cases.remove(["one"])
    cases.addNodes(volume, node)
    assert [c.name for c in exported(cases, tmp_path / "run").classes] == ["class 0", "renamed"]


def test_classes_that_no_case_has_any_more_go(cases, tmp_path):
    first, second = volumeNode(name="one"), volumeNode(name="two")
    cases.addNodes(first, segmentationNode(first, **masks(0, 1)))
    cases.addNodes(second, segmentationNode(second, **masks(1)))
    cases.renameClass(2, "tract")
    cases.remove(["one"])
    assert [(c["name"], c["value"]) for c in cases.classes] == [("tract", 2)]
    assert [c.name for c in exported(cases, tmp_path / "run").classes] == ["tract"]


def test_renamed_classes_are_known_by_both_names(cases, tmp_path):
    file = datasetFile(tmp_path)
    cases.addDataset(file)
    cases.renameClass(2, "hepar")
    assert cases.addDataset(file) == 0 and len(cases.classes) == 1, "the same folder again contradicts nothing"
    volume = volumeNode(name="one")
    row = cases.addNodes(volume, segmentationNode(volume, liver=np.ones((4, 5, 6)), hepar=np.zeros((4, 5, 6))))
    assert len(cases.classes) == 1 and row.labels == ["hepar"]
    assert cases.segmentValues() == {"liver": 2, "hepar": 2}
    with pytest.raises(InputError, match="not a new class name"):
        cases.renameClass(2, "  ")


def test_voxels_to_ignore_are_no_class(cases, tmp_path):
    cases.addDataset(datasetFile(tmp_path, ignore=1))
    with pytest.raises(InputError, match="'x' with the value 1 contradicts"):
        cases.addDataset(datasetFile(tmp_path, "e.json", classes=(("x", 1),), cases=("c",)))
    with pytest.raises(InputError, match="ignore with another value"):
        cases.addDataset(datasetFile(tmp_path, "f.json", cases=("c",), ignore=7))
    volume = volumeNode(name="one")
    cases.addNodes(volume, segmentationNode(volume, **masks(0, 1)))
    assert [c["value"] for c in cases.classes] == [2, 3, 4]
    cases.clear()
    cases.addDataset(datasetFile(tmp_path, "g.json", classes=(("x", 1),)))
    with pytest.raises(InputError, match="with 1, which is a class"):
        cases.addDataset(datasetFile(tmp_path, "h.json", cases=("c",), ignore=1))
    assert len(cases) == 2


def labelsOf(dataset, n=0):
    return sitk.GetArrayFromImage(sitk.ReadImage(dataset.cases[n].label))


def test_a_segment_called_not_annotated_does_not_count_and_the_volume_teaches_without_it(cases, node, tmp_path):
    volume = volumeNode(name="one")
    k = np.indices((4, 5, 6))[0]
    row = cases.addNodes(volume, segmentationNode(volume, liver=k == 0, **{"Not annotated": k > 1}))
    assert [c["name"] for c in cases.classes] == ["liver"] and row.labels == ["liver"]
    dataset = exported(CaseList(node), tmp_path / "run")
    assert dataset.ignore_value == 255
    assert labelsOf(dataset)[:, 2, 3].tolist() == [1, 0, 255, 255]
    (_one, rest) = dataset.cases
    assert (rest.id, rest.images, rest.role) == ("one rest", dataset.cases[0].images, "unlabelled")
    cases.setRole(["one"], "hold-out")
    assert len(exported(cases, tmp_path / "held").cases) == 1, "what measures must not teach"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_without_a_segment_do_not_count_when_that_is_said(cases, node, tmp_path, axis):
    volume = volumeNode(name="one")
    n = np.indices((4, 5, 6))
    drawn = (n[axis] % 2 == 0) & (n[(axis + 1) % 3] == 1) & (n[(axis + 2) % 3] == 1)
    cases.addNodes(volume, segmentationNode(volume, liver=drawn))
    cases.setSlicesOnly(["one"], True)
    dataset = exported(CaseList(node), tmp_path / "run")
    expected = np.where(n[axis] % 2 == 0, drawn.astype(np.uint8), 255)
    assert np.array_equal(labelsOf(dataset), expected) and dataset.ignore_value == 255
    cases.setSlicesOnly(["one"], False)
    plain = exported(cases, tmp_path / "plain")
    assert np.array_equal(labelsOf(plain), drawn) and len(plain.cases) == 1 < len(dataset.cases)


def test_the_value_to_ignore_is_none_that_a_class_has_or_that_does_not_fit(cases, tmp_path):
    cases.addDataset(datasetFile(tmp_path, classes=(("liver", 255),)))
    volume = volumeNode(name="one")
    cases.addNodes(volume, segmentationNode(volume, ignore=np.ones((4, 5, 6))))
    assert cases.ignoreValue == 254
    cases.clear()
    cases.addDataset(datasetFile(tmp_path, "f.json", ignore=-1))
    with pytest.raises(InputError, match="mark voxels to ignore with -1"):
        cases.addNodes(volume, segmentationNode(volume, ignore=np.ones((4, 5, 6))))


def test_what_other_values_in_label_files_mean_reaches_the_engine(cases, node, tmp_path):
    cases.addDataset(datasetFile(tmp_path, values={300: 2, 5: 0}))
    with pytest.raises(InputError, match="another meaning"):
        cases.addDataset(datasetFile(tmp_path, "f.json", cases=("c",), values={300: 0}))
    with pytest.raises(InputError, match="another meaning"):
        cases.addDataset(datasetFile(tmp_path, "g.json", classes=(("spleen", 5),), cases=("c",)))
    with pytest.raises(InputError, match="another meaning"):
        cases.addDataset(datasetFile(tmp_path, "h.json", classes=(("spleen", 1),), cases=("c",), values={2: 1}))
    cases.addDataset(datasetFile(tmp_path, "i.json", cases=("c",), values={-1: 0}))
    volume = volumeNode(name="one")
    cases.addNodes(volume, segmentationNode(volume, **masks(0, 1, 2, 3)))
    assert [c["value"] for c in cases.classes] == [2, 1, 3, 4, 6], "5 means background in label files"
    assert (
        CaseList(node).labelValues == exported(CaseList(node), tmp_path / "out").label_values == {300: 2, 5: 0, -1: 0}
    )
    cases.clear()
    assert CaseList(node).labelValues == {}


def test_segments_without_a_name_are_a_class_all_the_same(cases, node, tmp_path):
    volume = volumeNode(name="one")
    drawn = segmentationNode(volume, **masks(0))
    drawn.GetSegmentation().GetNthSegment(0).SetName("")
    cases.addNodes(volume, drawn)
    assert [c["name"] for c in CaseList(node).classes] == ["class 0"], "its ID"


def test_too_many_segments_are_refused_before_anything_changes(cases):
    volume = volumeNode(name="one")
    drawn = segmentationNode(volume)
    for n in range(255):
        drawn.GetSegmentation().AddEmptySegment(f"s{n}", f"s{n}")
    with pytest.raises(InputError, match="too many segments"):
        cases.addNodes(volume, drawn)
    assert len(cases) == 0 and cases.classes == [] and cases.node.GetNodeReference("caseVolume1") is None
    drawn.GetSegmentation().RemoveSegment("s0")
    cases.addNodes(volume, drawn)
    assert sorted(c["value"] for c in cases.classes) == list(range(1, 255)), "255 is the mark of ignored voxels"


def test_terminology_and_colour_of_segments_become_the_classes(cases, tmp_path):
    volume = volumeNode(name="one")
    drawn = segmentationNode(volume, **masks(0))
    segment = drawn.GetSegmentation().GetNthSegment(0)
    segment.SetColor(1, 0.5, 0)
    segment.SetTag("TerminologyEntry", "a~b^c~d~e~~~f")
    cases.addNodes(volume, drawn)
    found = exported(cases, tmp_path / "run").classes[0]
    assert (found.colour, found.terminology) == ((255, 128, 0), "a~b^c~d~e~~~f")


def test_names_of_volumes_become_short_names_of_files(cases):
    cases.addNodes(volumeNode(name="x" * 300))
    cases.addNodes(volumeNode(name="x" * 300))
    assert all(len(row.id) < 110 for row in cases.rows) and len({row.id for row in cases.rows}) == 2


def test_a_node_that_is_deleted_is_no_case_of_a_later_node(cases):
    """References to it go with it."""
    volume = volumeNode(name="one")
    row = cases.addNodes(volume, segmentationNode(volume, **masks(0)))
    slicer.mrmlScene.RemoveNode(volume)
    volumeNode(name="later")
    assert cases.nodesOf(row)[0] is None and cases.nodesOf(row)[1] is not None


def test_every_case_keeps_its_own_nodes_when_others_come_and_go(cases):
    volumes = [volumeNode(name=name) for name in "abcd"]
    drawn = segmentationNode(volumes[2], **masks(0))
    cases.addNodes(volumes[0])
    cases.addNodes(volumes[1])
    cases.addNodes(volumes[2], drawn)
    cases.remove(["a"])
    cases.addNodes(volumes[3])
    assert [cases.nodesOf(row) for row in cases.rows] == [(volumes[1], None), (volumes[2], drawn), (volumes[3], None)]
    cases.remove(["c", "d"])
    assert cases.nodesOf(cases.addNodes(volumes[3])) == (volumes[3], None), "no segmentation of a case that has gone"


def test_an_export_that_breaks_in_an_unforeseen_way_is_told(cases, tmp_path):
    """Called by a timer, it would otherwise leave the panel waiting for ever."""

    class Broken(CaseExporter):
        def volumePieces(self, volumeNode, path):
            yield from super().volumePieces(volumeNode, path)
            raise MemoryError("none left")

    cases.addNodes(volumeNode(name="one"))
    ends = []
    startedExport(cases, tmp_path / "run", ends, exporter=Broken())
    waitUntil(lambda: ends, 5)
    assert "none left" in ends[0] and not (tmp_path / "run").exists()


def test_a_scene_that_closes_during_an_export_ends_it_with_a_message(cases, tmp_path):
    for name in ("one", "two", "three"):
        volume = volumeNode(name=name)
        cases.addNodes(volume, segmentationNode(volume, **masks(0)))
    ends = []

    def progress(done, total, name):
        if name == "two":
            qt.QTimer.singleShot(0, lambda: slicer.mrmlScene.Clear(False))

    startedExport(cases, tmp_path / "run", ends, progress=progress)
    waitUntil(lambda: ends, 5)
    assert "case three is not in the scene any more" in ends[0] and not (tmp_path / "run").exists()


def test_an_export_into_a_folder_that_existed_removes_only_its_own(cases, tmp_path):
    (tmp_path / "kept.txt").write_text("")
    cases.addNodes(volumeNode(name="one"))
    assert "No case has an annotation" in exported(cases, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_cases_that_are_ignored_are_not_written(cases, tmp_path):
    first, second = volumeNode(name="one"), volumeNode(name="two")
    cases.addNodes(first, segmentationNode(first, **masks(0)))
    cases.addNodes(second)
    cases.setRole(["two"], "ignored")
    slicer.mrmlScene.RemoveNode(second)
    assert [case.id for case in exported(cases, tmp_path / "run").cases] == ["one"]
    assert len(list((tmp_path / "run").rglob("*.nrrd"))) == 2


def test_segments_of_unlabelled_cases_are_not_written(cases, tmp_path):
    for name in ("one", "two"):
        volume = volumeNode(name=name)
        cases.addNodes(volume, segmentationNode(volume, **masks(0)))
    cases.setRole(["two"], "unlabelled")
    assert [case.label is None for case in exported(cases, tmp_path / "run").cases] == [False, True]
    assert sorted(path.stem for path in (tmp_path / "run").rglob("*.nrrd")) == ["one", "one", "two"]


def test_an_export_that_fails_leaves_nothing(cases, tmp_path):
    volume = volumeNode(name="one")
    cases.addNodes(volume, segmentationNode(volume, **masks(0)))
    gone = volumeNode(name="gone")
    cases.addNodes(gone)
    slicer.mrmlScene.RemoveNode(gone)
    text = exported(cases, tmp_path / "run")
    assert "case gone is not in the scene any more" in text and not (tmp_path / "run").exists()


def test_without_a_label_nothing_can_be_learnt(cases, tmp_path):
    cases.addNodes(volumeNode())
    assert "No case has an annotation" in exported(cases, tmp_path / "run")


def test_a_cancelled_export_leaves_nothing_and_calls_nobody(cases, tmp_path):
    volume = volumeNode(name="one")
    cases.addNodes(volume, segmentationNode(volume, **masks(0)))
    calls, steps = [], []

    def progress(*step):
        steps.append(step)
        qt.QTimer.singleShot(0, export.cancel)

    export = startedExport(cases, tmp_path / "run", calls, progress=progress)
    waitUntil(lambda: steps, 5)
    with pytest.raises(AssertionError):
        waitUntil(lambda: calls, 0.2)
    assert len(steps) == 1 and not (tmp_path / "run").exists()
    assert json.loads(cases.node.GetParameter(CaseList.PARAMETER))["rows"], "the list itself stays"
