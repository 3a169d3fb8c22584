"""The cases that a model is trained on: from folders, from the scene, kept with the scene."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from harness.interaction import waitUntil
from metassl.dataset import Case, Dataset, SegmentClass
from metassl.errors import InputError
from MetaSSLSegmentLib.CaseExporter import CaseExporter
from MetaSSLSegmentLib.CaseList import CaseList
from MetaSSLSegmentLib.DatasetExport import DatasetExport
from test_exchange import segmentationNode, volumeNode


@pytest.fixture
def node(scene):
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "parameters")


@pytest.fixture
def cases(node):
    return CaseList(node)


def datasetFile(folder, name="d.json", classes=(("liver", 2),), cases=("a", "b"), channels=("MR",), ignore=None):
    found = tuple(SegmentClass(n, v, (1, 2, 3)) for n, v in classes)
    rows = tuple(
        Case(c, tuple(f"/x/{c}{n}.nii" for n in range(len(channels))), f"/x/{c}_l.nii", "labelled") for c in cases
    )
    Dataset(name, channels, found, rows, ignore).save(folder / name)
    return folder / name


def masks(*values):
    k = np.indices((4, 5, 6))[0]
    return {f"class {value}": k == value for value in values}


def exported(cases, folder):
    """Export the cases as the panel does; returns the data set, or the text of the failure."""
    ends = []
    export = DatasetExport(cases, CaseExporter(), folder, lambda *progress: None, ends.append, ends.append)
    export.start()
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


def test_roles_need_labels(cases, tmp_path):
    volume = volumeNode(name="plain")
    cases.addNodes(volume)
    cases.addDataset(datasetFile(tmp_path))
    with pytest.raises(InputError, match="No label: plain"):
        cases.setRole(["plain", "a"], "hold-out")
    assert cases.counts() == {"labelled": 1, "unlabelled": 1, "hold-out": 1, "ignored": 0}
    cases.remove(["plain"])
    assert cases.node.GetNodeReference("caseVolume1") is None


def test_the_list_comes_back_with_the_scene(cases, node, tmp_path):
    volume = volumeNode(name="one")
    cases.addNodes(volume, segmentationNode(volume, **masks(0)))
    cases.addDataset(datasetFile(tmp_path, classes=(("liver", 9),)))
    cases.setColour(9, (9, 8, 7))
    slicer.util.saveScene(str(tmp_path / "s.mrb"))
    slicer.mrmlScene.Clear(False)
    volumeNode(name="in the way")  # takes the ID that the volume had
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("in the way"))
    slicer.util.loadScene(str(tmp_path / "s.mrb"))
    loaded = CaseList(slicer.util.getNode("parameters"))
    assert [row.id for row in loaded.rows] == ["one", "a", "b"]
    assert [found.GetName() for found in loaded.nodesOf(loaded.rows[0])] == ["one", "drawn"]
    assert loaded.classes[1]["colour"] == (9, 8, 7) or loaded.classes[1]["colour"] == [9, 8, 7]


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "7", '{"rows": 3}', '{"rows": [{"id": "x"}]}', '{"rows": [{"id": 5, "role": "labelled"}]}',
     '{"classes": [{"name": "x"}]}', '{"rows": [{"id": "../x", "role": "unlabelled", "images": ["a"]}]}',
     '{"rows": [{"id": "x", "role": "king", "images": ["a"]}]}', '{"channels": 5}'],
)  # fmt: skip
def test_a_strangers_scene_does_no_harm(node, content):
    node.SetParameter(CaseList.PARAMETER, content)
    cases = CaseList(node)
    assert len(cases) == 0 and cases.classes == []


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
    assert "No case has a label" in exported(cases, tmp_path / "run")


def test_a_cancelled_export_leaves_nothing_and_calls_nobody(cases, tmp_path):
    volume = volumeNode(name="one")
    cases.addNodes(volume, segmentationNode(volume, **masks(0)))
    calls, steps = [], []
    export = DatasetExport(
        cases, CaseExporter(), tmp_path / "run", lambda *p: steps.append(p), calls.append, calls.append
    )
    export.start()
    waitUntil(lambda: steps, 5)
    export.cancel()
    with pytest.raises(AssertionError):
        waitUntil(lambda: calls, 0.2)
    assert len(steps) < 30 and not (tmp_path / "run").exists()
    assert json.loads(cases.node.GetParameter(CaseList.PARAMETER))["rows"], "the list itself stays"
