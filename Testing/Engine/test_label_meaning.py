"""What names and values in label files mean: digits as names, segments, ignored voxels, values that no class has."""

import json

import numpy as np
import pytest
from metassl.data.checking import check_dataset
from metassl.data.dataset import IGNORE, Case, Dataset, SegmentClass
from metassl.data.labels import read_label
from metassl.data.reading import UnusableCase, read_images
from metassl.errors import InputError
from metassl.layouts.prepare import prepare
from volumes import grey, label, segments, write


def folder_with(folder, *labels, **description):
    """Images 0, 1, ... with the given label arrays, or .seg.nrrd files where (array, metadata) is given."""
    for n, drawn in enumerate(labels):
        write(folder / "images" / f"{n}.nrrd", grey(n))
        array, metadata = drawn if isinstance(drawn, tuple) else (drawn, None)
        write(folder / "labels" / f"{n}{'.seg' if metadata else ''}.nrrd", array, metadata=metadata)
    if description:
        (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def classes_of(dataset):
    return {c.name: c.value for c in dataset.classes}


def first_voxels(dataset, case=0, count=4):
    """Class names of the first voxels of a label as training reads it; 0 is background."""
    case = dataset.cases[case]
    names = {0: 0, IGNORE: "ignored", **{k: c.name for k, c in enumerate(dataset.classes, 1)}}
    found = read_label(case.label, dataset, read_images(case)[0])
    return [names[int(value)] for value in found.ravel()[:count]]


# ---- descriptions


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ({"background": 0, "11": 1, "12": 2}, {"11": 1, "12": 2}),
        ({"0": 0, "2": 1, "1": 2}, {"2": 1, "1": 2}),
        ({"0": "background", "1": "11", "2": "12"}, {"11": 1, "12": 2}),
        ({"background": "0", "liver": "1", "7": "2"}, {"liver": 1, "7": 2}),
        ({"0": "background", "liver": 1, "2": "tumour"}, {"liver": 1, "tumour": 2}),
        ({"background": 0, "whole": [1], "core": [2]}, {"whole": 1, "core": 2}),
        (["background", "liver", "tumour"], {"liver": 1, "tumour": 2}),
        ({"background": 0, "liver": 1.0, "tumour": 2}, {"liver": 1, "tumour": 2}),
    ],
)
def test_forms_of_descriptions(tmp_path, labels, classes):
    dataset, _ = prepare(folder_with(tmp_path, label(1, 2), labels=labels))
    assert classes_of(dataset) == classes and check_dataset(dataset).problems == ()


def test_described_values_above_255_get_a_value_of_their_own(tmp_path):
    labels = {"0": "background", "205": "myocardium", "1": "atrium", "500": "left ventricle", "-1": "not annotated"}
    drawn = np.zeros((6, 7, 8), np.int16)
    drawn.flat[:4] = 500, 205, 1, -1
    dataset, notes = prepare(folder_with(tmp_path, drawn, labels=labels))
    assert classes_of(dataset) == {"myocardium": 205, "atrium": 1, "left ventricle": 2}
    assert dataset.label_values == {500: 2} and dataset.ignore_value == -1
    assert "In label files 500 is the class 'left ventricle', whose value is 2 (label_values in dataset.json)." in notes
    assert first_voxels(dataset) == ["left ventricle", "myocardium", "atrium", "ignored"]
    dataset.save(tmp_path / "dataset.json")
    assert Dataset.load(tmp_path / "dataset.json") == dataset == prepare(tmp_path)[0]


def test_one_name_of_several_values_is_one_class(tmp_path):
    labels = {"0": "background", "1": "kidney", "2": "kidney", "3": "ignore", "4": "void"}
    dataset, notes = prepare(folder_with(tmp_path, label(1, 2, 3, 4), labels=labels))
    assert classes_of(dataset) == {"kidney": 1} and first_voxels(dataset) == ["kidney", "kidney", "ignored", "ignored"]
    assert "In label files 2 is the class 'kidney' too (label_values in dataset.json)." in notes


def test_more_classes_than_a_model_can_have(tmp_path):
    labels = {"background": 0, **{f"c{n}": n for n in range(1, 256)}}
    with pytest.raises(InputError, match="more than 254 classes"):
        prepare(folder_with(tmp_path, label(1), labels=labels))
    del labels["c255"]
    assert len(prepare(folder_with(tmp_path / "x", label(1), labels=labels))[0].classes) == 254
    classes = tuple(SegmentClass(f"c{n}", n, (1, 1, 1)) for n in range(1, 256))
    with pytest.raises(InputError, match="has 255 classes; a model can have at most 254"):
        Dataset("d", ("MR",), classes, ())


# ---- segments


def test_segments_of_files_that_number_them_otherwise(tmp_path):
    source = folder_with(
        tmp_path,
        (label(1, 2), segments(("liver", 1), ("tumour", 2))),
        (label(2, 1), segments(("tumour", 1), ("liver", 2))),
        (label(0, 1), segments(("Tumour ", 1))),
    )
    dataset, notes = prepare(source)
    assert classes_of(dataset) == {"liver": 1, "tumour": 2} and len(notes) == 1
    assert [first_voxels(dataset, n, 2) for n in range(3)] == [["liver", "tumour"]] * 2 + [[0, "tumour"]]
    assert check_dataset(dataset).problems == ()


def test_values_without_names_beside_segments_that_differ_are_said(tmp_path):
    drawn = [(label(1), segments(("liver", 1))), (label(1, 2), segments(("spleen", 1), ("liver", 2))), label(2, 3)]
    dataset, notes = prepare(folder_with(tmp_path, *drawn))
    assert classes_of(dataset) == {"liver": 1, "spleen": 4, "class 2": 2, "class 3": 3}
    assert any("2.nrrd: without names, these values are read as 1 liver" in note for note in notes)
    assert first_voxels(dataset, 1, 2) == ["spleen", "liver"] and first_voxels(dataset, 2, 2) == ["class 2", "class 3"]


@pytest.mark.parametrize("name", ["ignore", "Not annotated", "not_annotated", "Unlabeled"])
def test_a_segment_called_ignore_is_no_class(tmp_path, name):
    drawn = [(label(1, 5), segments(("liver", 1), (name, 5))), (label(3, 1), segments((name, 1), ("liver", 3)))]
    dataset, _ = prepare(folder_with(tmp_path, *drawn))
    assert classes_of(dataset) == {"liver": 1}
    assert first_voxels(dataset, 0, 2) == first_voxels(dataset, 1, 2) == ["liver", "ignored"]
    assert check_dataset(dataset).problems == ()


def test_segments_of_one_name_in_one_file_are_one(tmp_path):
    source = folder_with(tmp_path, (label(1, 2), segments(("lesion", 1), ("Lesion", 2))))
    dataset, notes = prepare(source)
    assert classes_of(dataset) == {"lesion": 1} and first_voxels(dataset, 0, 3) == ["lesion", "lesion", 0]
    assert any("0.seg.nrrd has 2 segments called 'lesion'; they are one class." in note for note in notes)
    (problem,) = check_dataset(dataset).problems
    assert problem.severity == "fixed" and "2 segments of the label are called 'lesion'" in problem.message


def test_overlapping_segments_of_one_name_do_no_harm(tmp_path):
    write(tmp_path / "a.nrrd", grey())
    metadata = segments(("lesion", 1), ("lesion", 1), layers=(0, 1))
    write(tmp_path / "a.seg.nrrd", np.stack([label(1, 1), label(0, 1, 1)], -1), vector=True, metadata=metadata)
    dataset, _ = prepare(tmp_path)
    assert first_voxels(dataset) == ["lesion", "lesion", "lesion", 0]


def test_segment_values_that_no_class_can_have(tmp_path):
    array = label(1).astype(np.int16)
    array.flat[:3] = 300, 0, -7
    source = folder_with(tmp_path, (array, segments(("liver", 300), ("spleen", -7))))
    dataset, _ = prepare(source)
    assert set(classes_of(dataset)) == {"liver", "spleen"} and dataset.label_values == {}
    assert first_voxels(dataset) == ["liver", 0, "spleen", 0]


# ---- values


@pytest.mark.parametrize("noise", [9e-4, -9e-4])
def test_voxels_that_are_almost_whole(tmp_path, noise):
    dataset, _ = prepare(folder_with(tmp_path, label(1, 2).astype(np.float32) + noise))
    assert classes_of(dataset) == {"class 1": 1, "class 2": 2}
    assert first_voxels(dataset, 0, 3) == ["class 1", "class 2", 0]


def test_voxels_that_are_not_whole(tmp_path):
    dataset, _ = prepare(folder_with(tmp_path, label(1)))
    write(tmp_path / "labels" / "0.nrrd", label(1).astype(np.float32) + 2e-3)
    with pytest.raises(UnusableCase, match="values that are not whole numbers"):
        first_voxels(dataset)


def wide(*values):
    array = np.zeros((6, 7, 8), np.int16)
    array.flat[: len(values)] = values
    return array


def test_values_above_255_that_most_labels_have_are_classes(tmp_path):
    dataset, notes = prepare(folder_with(tmp_path, wide(420, 205, 1), wide(205, 420)))
    assert classes_of(dataset) == {"class 1": 1, "class 205": 205, "class 420": 2} and dataset.label_values == {420: 2}
    assert any("420 is the class 'class 420', whose value is 2" in note for note in notes)
    assert first_voxels(dataset, 1, 2) == ["class 205", "class 420"] and check_dataset(dataset).excluded == []


def test_the_remedy_for_strange_values_works(tmp_path):
    source = folder_with(tmp_path, label(1), label(1, 1), wide(1, -1, 421))
    dataset, notes = prepare(source)
    assert classes_of(dataset) == {"class 1": 1}
    assert any('"label_values": {"-1": 0}' in note for note in notes)
    (problem,) = [p for p in check_dataset(dataset).problems if p.severity == "excluded"]
    assert problem.message.endswith("2.nrrd has values outside the classes: -1, 421.")
    assert '"label_values": {"-1": VALUE OF A CLASS}, 0 for background' in problem.remedy
    dataset.save(source / "dataset.json")
    content = json.loads((source / "dataset.json").read_text())
    content["label_values"] = {"-1": 0, "421": 1}
    (source / "dataset.json").write_text(json.dumps(content))
    mended = Dataset.load(source / "dataset.json")
    assert check_dataset(mended).excluded == [] and first_voxels(mended, 2, 3) == ["class 1", 0, "class 1"]
    assert prepare(source)[0] == mended


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"300": 7}, "means 7, which is no class value"),
        ({"300": "liver"}, "is damaged"),
        ({"300": None}, "is damaged"),
        ({"1": 0}, "gives 1 another meaning, but it is a class"),
        ({"0": 1}, "gives 0 another meaning"),
        ({"x": 1}, "is damaged"),
        ({"300": [1]}, "is damaged"),
        ([1, 2], "is damaged"),
    ],
)
def test_label_values_that_mean_nothing_are_refused(tmp_path, values, message):
    path = tmp_path / "dataset.json"
    Dataset("d", ("MR",), (SegmentClass("liver", 1, (1, 1, 1)),), ()).save(path)
    content = json.loads(path.read_text())
    assert "label_values" not in content
    path.write_text(json.dumps({**content, "label_values": values}))
    with pytest.raises(InputError, match=message):
        Dataset.load(path)


def test_a_label_that_is_an_image_does_not_stop_the_others(tmp_path):
    odd = np.arange(6 * 7 * 8, dtype=np.int16).reshape(6, 7, 8)
    dataset, notes = prepare(folder_with(tmp_path, label(1), odd))
    assert classes_of(dataset) == {"class 1": 1}
    assert any("1.nrrd has 335 different values, so it is no labelmap" in note for note in notes)


@pytest.mark.parametrize("case_id", ["CON", "nul.1", "a/b", "x.", "n" * 201, "ü" * 101, "\udcff", ""])
def test_ids_that_are_no_file_name(case_id):
    with pytest.raises(InputError, match="cannot be a file name"):
        Case(case_id, ("x.nrrd",))
