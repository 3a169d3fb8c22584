"""Results in the scene: found again, shown, summed up, whatever became of their nodes."""

import json

import numpy as np
import pytest
import slicer
from MetaSSLSegmentLib.Scene.RegionDisplay import RegionDisplay, confidenceColours, regionColours
from MetaSSLSegmentLib.Scene.Result import PART, RESULT, SUMMARY, removeNode, resultsInScene
from MetaSSLSegmentLib.Scene.ResultLoader import ResultLoader
from test_exchange import CLASSES, engineResult, nodesByClass, rotation, transformUnder, volumeNode

KINDS = ["segmentation", "regions", "confidence"]
NUMBERS = {
    "volume_ml": {'nucleus, "left"; é': 1.5, "tract": 0},
    "regions": {"all": {"UC": {"share": 0.75, "volume_ml": 2.0}, "DS": {"share": 0.25, "volume_ml": 0.5}}},
}


@pytest.fixture
def volume():
    return volumeNode()


@pytest.fixture
def result(volume, tmp_path):
    return segmented(volume, tmp_path)


def segmented(volume, folder, kinds=tuple(KINDS)):
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1], labels[2] = 3, 7
    engineResult(folder, volume, labels)
    (folder / "volume.json").write_text(json.dumps(NUMBERS))
    return ResultLoader().load(volume, folder, "volume", CLASSES, kinds)


def layers():
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    return composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID(), composite.GetLabelVolumeID()


def test_numbers_and_references_survive_saving(result, tmp_path):
    slicer.util.saveScene(str(tmp_path / "s.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "s.mrb"))
    (found,) = resultsInScene()
    assert found.summary() == NUMBERS and found.volumeNode.GetName() == "MR 1"
    assert {kind: node.GetAttribute(RESULT) for kind, node in found.nodes.items()} == {kind: kind for kind in KINDS}


def test_colours_survive_saving(result, tmp_path):
    def colours(table):
        rgba = [0.0] * 4
        found = []
        for n in range(table.GetNumberOfColors()):
            table.GetColor(n, rgba)
            found.append((table.GetColorName(n), *np.round(rgba, 3).tolist()))
        return found

    before = [colours(regionColours()), colours(confidenceColours())]
    assert before[0][0][-1] == 0, "outside is transparent"
    slicer.util.saveScene(str(tmp_path / "s.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "s.mrb"))
    after = [colours(regionColours()), colours(confidenceColours())]
    for old, new in zip(before, after):
        assert len(old) == len(new)
        for left, right in zip(old[1:], new[1:]):  # 0 has no name in the file
            assert left[0] == right[0] and np.allclose(left[1:], right[1:], atol=0.005)
        assert np.allclose(old[0][1:], new[0][1:], atol=0.005)
    display = resultsInScene()[0].nodes["regions"].GetDisplayNode()
    assert display.GetColorNode() is regionColours()


@pytest.mark.parametrize("gone", KINDS)
def test_the_rest_of_a_result_stays_one_when_a_node_is_deleted(result, gone):
    removeNode(result.nodes[gone])
    (found,) = resultsInScene()
    assert list(found.nodes) == [kind for kind in KINDS if kind != gone] and found.summary() == NUMBERS
    for mode in RegionDisplay.MODES:
        RegionDisplay().show(found, mode, 0.5)


def test_a_result_without_its_volume_can_be_shown(result, volume):
    slicer.mrmlScene.RemoveNode(volume)
    (found,) = resultsInScene()
    assert found.volumeNode is None
    for mode in RegionDisplay.MODES:
        RegionDisplay().show(found, mode, 0.5)
    assert layers() == (None, None, None)


def test_a_copy_of_a_result_node_is_no_result(result):
    """The user cloned the segmentation to correct it."""
    node = slicer.vtkMRMLSegmentationNode()
    node.Copy(result.nodes["segmentation"])
    slicer.mrmlScene.AddNode(node)
    (found,) = resultsInScene()
    assert found.nodes["segmentation"] is result.nodes["segmentation"]


def test_the_newest_result_comes_last_and_parts_may_be_missing(volume, tmp_path):
    first = segmented(volume, tmp_path, ["regions"])
    second = segmented(volume, tmp_path, ["confidence"])
    assert [found.first.GetID() for found in resultsInScene()] == [first.first.GetID(), second.first.GetID()]
    assert [list(found.nodes) for found in resultsInScene()] == [["regions"], ["confidence"]]


@pytest.mark.parametrize(
    "summary",
    ["", "{", "[]", "5", "{}", '{"volume_ml": [1]}', '{"volume_ml": {"a": "b"}, "regions": {}}',
     '{"volume_ml": {"a": 1}, "regions": [5]}', '{"volume_ml": {}, "regions": {"all": {"UC": 5}}}',
     '{"volume_ml": {}, "regions": {"all": 5}}', '{"volume_ml": {}, "regions": {"all": {"UC": {"share": 1}}}}',
     "[" * 100000],
    ids=range(12),
)  # fmt: skip
def test_numbers_of_a_strangers_scene_do_no_harm(result, summary):
    for node in result.nodes.values():
        node.SetAttribute(SUMMARY, summary)
    for found in resultsInScene():
        assert found.summary() == {"volume_ml": {}, "regions": {}}


def test_results_without_regions_have_volumes_only(result):
    for node in result.nodes.values():
        node.SetAttribute(SUMMARY, '{"volume_ml": {"tract": 1}, "regions": null}')
    assert resultsInScene()[0].summary() == {"volume_ml": {"tract": 1.0}, "regions": {}}


def test_nodes_of_a_strangers_scene_that_are_not_what_they_say_are_no_result(volume, result):
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "no segmentation")
    for kind in ("segmentation", "evil", None):
        if kind:
            model.SetAttribute(RESULT, kind)
        model.SetAttribute(SUMMARY, "{}")
        model.AddNodeReferenceID(PART, model.GetID())
        assert len(resultsInScene()) == 1
    result.nodes["segmentation"].SetAttribute(RESULT, "regions")
    assert [set(found.nodes) for found in resultsInScene()] == [{"regions", "confidence"}]


def test_each_mode_shows_its_layer_and_nothing_else(result, volume):
    display = RegionDisplay()
    nodes = {kind: node.GetID() for kind, node in result.nodes.items()}
    expected = {
        "segmentation": (volume.GetID(), None, None),
        "regions": (volume.GetID(), None, nodes["regions"]),
        "confidence": (volume.GetID(), nodes["confidence"], None),
        "image": (volume.GetID(), None, None),
    }
    for mode in (*RegionDisplay.MODES, *reversed(RegionDisplay.MODES)):
        display.show(result, mode, 0.25)
        assert layers() == expected[mode]
        assert result.nodes["segmentation"].GetDisplayNode().GetVisibility() == (mode == "segmentation")
        colors = slicer.modules.colors.logic()
        for kind in ("regions", "confidence"):
            legend = colors.GetColorLegendDisplayNode(result.nodes[kind])
            assert bool(legend and legend.GetVisibility()) == (mode == kind)
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    display.show(result, "regions", 0.5, legend=False)
    assert not slicer.modules.colors.logic().GetColorLegendDisplayNode(result.nodes["regions"]).GetVisibility()
    display.setOpacity(result, "regions", 0.75)
    assert composite.GetLabelOpacity() == 0.75
    display.show(result, "confidence", 0.5)
    display.setOpacity(result, "confidence", 0.125)
    assert composite.GetForegroundOpacity() == 0.125
    display.setOpacity(result, "segmentation", 0.5)
    assert result.nodes["segmentation"].GetDisplayNode().GetOpacity2DFill() == 0.5


def test_showing_again_and_again_adds_no_node(result):
    for mode in RegionDisplay.MODES:
        RegionDisplay().show(result, mode, 0.5)
    count = nodesByClass()
    for _time in range(5):
        for mode in RegionDisplay.MODES:
            RegionDisplay().show(result, mode, 0.5)
    assert nodesByClass() == count


def test_what_the_user_shows_beside_results_stays(result):
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    other.CreateDefaultDisplayNodes()
    RegionDisplay().show(result, "image", 0.5)
    assert other.GetDisplayNode().GetVisibility()


def test_results_without_display_nodes_can_be_shown(result):
    """A script removed them."""
    for node in result.nodes.values():
        slicer.mrmlScene.RemoveNode(node.GetDisplayNode())
    for mode in RegionDisplay.MODES:
        RegionDisplay().show(result, mode, 0.5)
        RegionDisplay().setOpacity(result, mode, 0.25)


def test_a_result_is_removed_with_everything_that_belongs_to_it(volume, tmp_path):
    transformUnder(volume, rotation())
    regionColours(), confidenceColours()
    count = nodesByClass()
    result = segmented(volume, tmp_path)
    RegionDisplay().show(result, "regions", 0.5)
    for node in result.nodes.values():
        removeNode(node)
        removeNode(node)
    removeNode(None)
    assert nodesByClass() == count
