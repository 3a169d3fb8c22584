import json
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from metassl.data.checking import check_dataset
from metassl.data.dataset import COLOURS, Dataset
from metassl.data.labels import read_label
from metassl.data.reading import read_images
from metassl.errors import InputError
from metassl.layouts.prepare import prepare
from metassl.layouts.recognise import ACCEPTED, LAYOUTS, recognise_layout
from volumes import SIZE, grey, label, segments, write, write_dicom


def describe(folder, **content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


def roles_of(dataset):
    return {case.id: case.role for case in dataset.cases}


def classes_of(dataset):
    return [(c.name, c.value) for c in dataset.classes]


def pairs(folder, labelled, unlabelled=()):
    """images/ and labels/ with equal names."""
    for seed, name in enumerate([*labelled, *unlabelled]):
        write(folder / "images" / f"{name}.nii.gz", grey(seed))
    for name in labelled:
        write(folder / "labels" / f"{name}.nii.gz", label(1, 2))
    return folder


# ---- nnU-Net


def nnunet(folder, **description):
    """Two labelled cases and one test case with two channels each."""
    for seed, (part, name) in enumerate((("Tr", "a"), ("Tr", "b"), ("Ts", "t"))):
        for channel in (0, 1):
            write(folder / f"images{part}" / f"{name}_000{channel}.nii.gz", grey(10 * seed + channel))
        if part == "Tr":
            write(folder / "labelsTr" / f"{name}.nii.gz", label(1, 2))
    if description:
        describe(folder, **description)
    return folder


def test_nnunet_with_description(tmp_path):
    source = nnunet(
        tmp_path / "Dataset001",
        channel_names={"0": "CT", "1": "PET"},
        labels={"background": 0, "liver": 1, "tumour": 2, "ignore": 3},
        file_ending=".nii.gz",
    )
    dataset, notes = prepare(source)
    assert dataset.name == "Dataset001" and dataset.channels == ("CT", "PET") and dataset.ignore_value == 3
    assert classes_of(dataset) == [("liver", 1), ("tumour", 2)]
    assert [c.colour for c in dataset.classes] == list(COLOURS[:2])
    assert roles_of(dataset) == {"a": "labelled", "b": "labelled", "t": "unlabelled"}
    assert dataset.cases[0].images == tuple(str(source / f"imagesTr/a_000{c}.nii.gz") for c in (0, 1))
    assert dataset.cases[0].label == str(source / "labelsTr/a.nii.gz")
    assert "1 test case(s) without a label are used as unlabelled cases." in notes
    assert prepare(source / "dataset.json")[0] == dataset
    assert check_dataset(dataset).problems == ()


def test_nnunet_without_description(tmp_path):
    dataset, _ = prepare(nnunet(tmp_path), name="mine")
    assert dataset.name == "mine" and dataset.channels == ("channel 1", "channel 2")
    assert classes_of(dataset) == [("class 1", 1), ("class 2", 2)]


def test_nnunet_version_1_lists_files_without_channel(tmp_path):
    listed = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in "ab"]
    source = nnunet(
        tmp_path, modality={"0": "MRI", "1": "MRI"}, labels={"0": "background", "2": "x", "1": "y"}, training=listed
    )
    dataset, notes = prepare(source)
    assert "nnU-Net" in notes[0] and classes_of(dataset) == [("x", 2), ("y", 1)] and len(dataset.cases) == 3


def test_nnunet_test_cases_with_labels_are_hold_out(tmp_path):
    source = nnunet(tmp_path)
    write(source / "labelsTs" / "t.nii.gz", label(1))
    dataset, notes = prepare(source)
    assert roles_of(dataset)["t"] == "hold-out"
    assert "1 test case(s) with a label are hold-out cases: they only measure." in notes


def test_nnunet_regions_are_refused(tmp_path):
    source = nnunet(tmp_path, labels={"background": 0, "whole": [1, 2], "core": [2]})
    with pytest.raises(InputError, match=r"the label 'whole' as a region of several values \[1, 2\]"):
        prepare(source)


def test_nnunet_with_a_format_that_is_no_volume(tmp_path):
    source = nnunet(tmp_path, labels={"background": 0, "x": 1}, file_ending=".png")
    with pytest.raises(InputError, match=r"imagesTr holds no volume that ends with \.png") as error:
        prepare(source)
    assert "convert" in error.value.hint


def test_unreadable_description(tmp_path):
    with pytest.raises(InputError, match=r"dataset\.json has channels or labels that MetaSSL cannot read"):
        prepare(nnunet(tmp_path, labels={"liver": "one"}))


def test_a_case_without_a_channel_is_left_out(tmp_path):
    source = nnunet(tmp_path, channel_names={"0": "T1", "1": "T2"})
    (source / "imagesTr" / "b_0001.nii.gz").unlink()
    dataset, notes = prepare(source)
    assert list(roles_of(dataset)) == ["a", "t"]
    assert "Case b lacks the channel(s) T2 and is left out." in notes


def test_no_case_with_all_channels(tmp_path):
    source = nnunet(tmp_path, channel_names={"0": "T1", "1": "T2", "2": "FLAIR"})
    with pytest.raises(InputError, match=r"no case is left\. .*Case a lacks the channel\(s\) FLAIR"):
        prepare(source)


# ---- Medical Segmentation Decathlon


def decathlon(folder, modality, stacked=None):
    for seed, name in enumerate(("p_1", "p_2", "p_3")):
        part = "imagesTs" if name == "p_3" else "imagesTr"
        write(folder / part / f"{name}.nii.gz", grey(seed, SIZE if stacked is None else (stacked, *SIZE)))
        write(folder / part / f"._{name}.nii.gz", grey(seed))
        if part == "imagesTr":
            write(folder / "labelsTr" / f"{name}.nii.gz", label(1, 2))
    describe(
        folder,
        name="Prostate",
        modality=modality,
        labels={"0": "background", "1": "PZ", "2": "TZ"},
        training=[{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in ("p_1", "p_2")],
        test=["./imagesTs/p_3.nii.gz"],
    )
    return folder


def test_decathlon(tmp_path):
    dataset, notes = prepare(decathlon(tmp_path, {"0": "CT"}))
    assert "Decathlon" in notes[0] and dataset.channels == ("CT",)
    assert classes_of(dataset) == [("PZ", 1), ("TZ", 2)]
    assert roles_of(dataset) == {"p_1": "labelled", "p_2": "labelled", "p_3": "unlabelled"}
    assert dataset.cases[2].images == (str(tmp_path / "imagesTs/p_3.nii.gz"),)


def test_decathlon_with_stacked_channels(tmp_path):
    dataset, _ = prepare(decathlon(tmp_path, {"0": "T2", "1": "ADC"}, stacked=2))
    assert dataset.channels == ("T2", "ADC") and dataset.cases[0].images == (str(tmp_path / "imagesTr/p_1.nii.gz"),) * 2
    assert check_dataset(dataset).problems == ()


def test_decathlon_with_missing_files(tmp_path):
    source = decathlon(tmp_path, {"0": "CT"})
    (source / "imagesTr" / "p_1.nii.gz").unlink()
    (source / "imagesTs" / "p_3.nii.gz").unlink()
    dataset, notes = prepare(source)
    assert roles_of(dataset) == {"p_2": "labelled"}
    assert sum("is listed in dataset.json but does not exist; the case is left out" in note for note in notes) == 2


# ---- images/ and labels/


def test_images_and_labels(tmp_path):
    dataset, notes = prepare(pairs(tmp_path / "Ä b", ["x_0001", "x_0002"], ["x_0003"]))
    assert roles_of(dataset) == {"x_0001": "labelled", "x_0002": "labelled", "x_0003": "unlabelled"}
    assert dataset.name == "Ä b" and dataset.channels == ("image",) and dataset.cases[2].label is None
    assert notes == [f"{tmp_path / 'Ä b'} is read as images/ and labels/."]


def test_images_and_labels_with_channels(tmp_path):
    for name in ("a", "b"):
        for channel in (0, 1):
            write(tmp_path / "Images" / f"{name}_000{channel}.mha", grey(channel))
    write(tmp_path / "Labels" / "a.nrrd", label(1))
    dataset, _ = prepare(tmp_path)
    assert roles_of(dataset) == {"a": "labelled", "b": "unlabelled"} and len(dataset.channels) == 2


def test_stacked_channels_without_description(tmp_path):
    source = pairs(tmp_path, ["a"])
    write(source / "images" / "a.nii.gz", grey(0, (3, *SIZE)))
    dataset, notes = prepare(source)
    assert dataset.channels == ("channel 1", "channel 2", "channel 3")
    assert "Every image file holds 3 volumes; they are read as 3 channels." in notes


def test_a_rare_extra_channel_does_not_cost_the_other_cases(tmp_path):
    for name in ("a_0000", "b_0000", "c_0000", "c_0001"):
        write(tmp_path / "images" / f"{name}.nrrd", grey())
    write(tmp_path / "labels" / "a.nrrd", label(1))
    dataset, notes = prepare(tmp_path)
    assert list(roles_of(dataset)) == ["a", "b", "c"] and dataset.channels == ("image",)
    assert "Channels that most cases do not have are not used: _0001." in notes


def test_labels_without_an_image_are_said(tmp_path):
    source = pairs(tmp_path, ["a"])
    write(source / "labels" / "z.nii.gz", label(1))
    assert "1 label(s) belong to no image and are not used: z.nii.gz." in prepare(source)[1]


def test_colliding_ids_are_made_unique(tmp_path):
    source = pairs(tmp_path, ["a"])
    write(source / "images" / "a.nrrd", grey(1))
    write(source / "images" / "A.mha", grey(2))
    ids = [case.id for case in prepare(source)[0].cases]
    assert len({case_id.casefold() for case_id in ids}) == 3 and {"a-2", "a-3"} & set(ids)


def test_a_dataset_json_of_metassl_in_the_folder_is_no_description(tmp_path):
    dataset, _ = prepare(pairs(tmp_path, ["a"]))
    dataset.save(tmp_path / "dataset.json")
    assert prepare(tmp_path)[0] == dataset == Dataset.load(tmp_path / "dataset.json")


def test_links_hidden_files_and_capitals(tmp_path):
    source = pairs(tmp_path / "data", ["a"])
    outside = write(tmp_path / "Fälle" / "B mit Leer.nii", grey(3))
    (source / "images" / "b.NII").symlink_to(outside)
    (source / "images" / "broken.nii").symlink_to(tmp_path / "gone.nii")
    write(source / "images" / "._a.nii.gz", grey())
    dataset, _ = prepare(source)
    assert list(roles_of(dataset)) == ["a", "b"] and dataset.cases[1].images == (str(source / "images/b.NII"),)


# ---- flat folder


@pytest.mark.parametrize(
    "name", ["a_seg.nii.gz", "a_label.nrrd", "a-label.nrrd", "a.seg.nrrd", "a_SEG.NRRD", "a-mask.mha", "a_seg.seg.nrrd"]
)
def test_flat_folder(tmp_path, name):
    write(tmp_path / "a.nii.gz", grey(0))
    write(tmp_path / "b.nii.gz", grey(1))
    path = write(tmp_path / name, label(1))
    dataset, _ = prepare(tmp_path)
    assert roles_of(dataset) == {"a": "labelled", "b": "unlabelled"} and dataset.cases[0].label == str(path)


def test_flat_folder_with_channels(tmp_path):
    for name in ("a_0000", "a_0001", "b_0000", "b_0001"):
        write(tmp_path / f"{name}.nrrd", grey())
    write(tmp_path / "a_seg.nrrd", label(1))
    dataset, _ = prepare(tmp_path)
    assert roles_of(dataset) == {"a": "labelled", "b": "unlabelled"} and len(dataset.channels) == 2


def test_two_labels_of_one_image_are_said(tmp_path):
    write(tmp_path / "a.nrrd", grey())
    write(tmp_path / "a_label.nrrd", label(1))
    write(tmp_path / "a_seg.nrrd", label(1))
    dataset, notes = prepare(tmp_path)
    assert dataset.cases[0].label.endswith("a_label.nrrd")
    assert any(note.startswith("a has several labels;") and "a_seg.nrrd is not" in note for note in notes)


# ---- DICOM


def test_dicom_folders(tmp_path):
    for seed, name in enumerate(("p1/s/one", "p2/s/two", "p2/s/three")):
        write_dicom(tmp_path / name, 100 * grey(seed), f"1.2.{seed}")
    geometry = {"spacing": (1, 1, 2)}
    write(tmp_path / "p1.seg.nrrd", label(1), metadata=segments(("Liver", 1)), **geometry)
    write(tmp_path / "p2" / "s" / "three_seg.nii.gz", label(1), **geometry)
    write(tmp_path / "p2.seg.nrrd", label(1), metadata=segments(("Liver", 1)), **geometry)
    dataset, notes = prepare(tmp_path)
    assert roles_of(dataset) == {"p1_s_one": "labelled", "p2_s_three": "labelled", "p2_s_two": "unlabelled"}
    assert dataset.cases[0].images == (str(tmp_path / "p1/s/one"),)
    assert dataset.cases[0].label == str(tmp_path / "p1.seg.nrrd")
    assert classes_of(dataset) == [("Liver", 1)]
    assert "1 label(s) belong to no image and are not used: p2.seg.nrrd." in notes  # there are two series in p2
    assert check_dataset(dataset).problems == ()


def test_dicom_folder_with_two_series(tmp_path):
    write_dicom(tmp_path / "a", 100 * grey(0), "1.2.1")
    write(tmp_path / "a_seg.nrrd", label(1), spacing=(1, 1, 2))
    write_dicom(tmp_path / "b", 100 * grey(1)[:4], "1.2.2")
    write_dicom(tmp_path / "b" / "..tmp", 100 * grey(1), "1.2.3")
    for file in (tmp_path / "b" / "..tmp").iterdir():
        file.rename(tmp_path / "b" / f"other{file.name}")
    dataset, notes = prepare(tmp_path)
    assert roles_of(dataset) == {"a": "labelled"}
    assert f"{tmp_path / 'b'} holds 2 DICOM series, expected one per folder; it is left out." in notes


# ---- classes


def two_segmentations(folder, first, second):
    for name, named in (("a", first), ("b", second)):
        write(folder / f"{name}.nrrd", grey())
        write(folder / f"{name}.seg.nrrd", label(1, 2), metadata=segments(*named))
    return folder


def test_classes_of_segmentations(tmp_path):
    source = two_segmentations(tmp_path, [("Läsion", 1), ("Liver", 2)], [("Liver", 2), ("läsion", 1), ("Cyst", 4)])
    dataset, _ = prepare(source)
    assert classes_of(dataset) == [("Läsion", 1), ("Liver", 2), ("Cyst", 4)]
    assert [c.colour for c in dataset.classes] == [(0, 102, 255), (51, 102, 255), (102, 102, 255)]


def test_terminology_of_a_segment(tmp_path):
    write(tmp_path / "a.nrrd", grey())
    metadata = segments(("Liver", 1)) | {"Segment0_Tags": "Segmentation.Status:done|TerminologyEntry:S~T^1^2|x:y"}
    write(tmp_path / "a.seg.nrrd", label(1), metadata=metadata)
    assert prepare(tmp_path)[0].classes[0].terminology == "S~T^1^2"


@pytest.mark.parametrize(
    ("second", "classes", "drawn"),
    [([("Liver", 2)], [("Liver", 1)], {2: 1}), ([("Tumour", 1)], [("Liver", 1), ("Tumour", 2)], {1: 2})],
)
def test_segments_are_read_by_name_whatever_their_values(tmp_path, second, classes, drawn):
    source = two_segmentations(tmp_path, [("Liver", 1)], second)
    (value,) = drawn
    write(source / "b.seg.nrrd", label(value), metadata=segments(*second))
    write(source / "a.seg.nrrd", label(1), metadata=segments(("Liver", 1)))
    dataset, notes = prepare(source)
    assert classes_of(dataset) == classes and len(notes) == 1
    read = read_label(dataset.cases[1].label, dataset, read_images(dataset.cases[1])[0])
    assert dataset.classes[read[0, 0, 0] - 1].value == drawn[value]
    assert check_dataset(dataset).excluded == []


def test_layers_with_equal_values_are_classes_of_their_own(tmp_path):
    write(tmp_path / "a.nrrd", grey())
    array = np.stack([label(1), label(0, 1)], -1)
    metadata = segments(("Liver", 1), ("Tumour", 1), layers=(0, 1))
    write(tmp_path / "a.seg.nrrd", array, vector=True, metadata=metadata)
    dataset, _ = prepare(tmp_path)
    assert classes_of(dataset) == [("Liver", 1), ("Tumour", 2)]
    assert check_dataset(dataset).problems == ()


def test_values_of_float_labels_and_values_that_cannot_be_classes(tmp_path):
    source = pairs(tmp_path, ["a", "b", "c"])
    write(source / "labels" / "b.nii.gz", label(7).astype(np.float32))
    write(source / "labels" / "c.nii.gz", label(1).astype(np.int16) * 300)
    calls = []
    dataset, notes = prepare(source, progress=lambda *call: calls.append(call))
    assert classes_of(dataset) == [("class 1", 1), ("class 2", 2), ("class 7", 7)]
    assert any("c.nii.gz has values that cannot be classes (1 to 255): 300." in note for note in notes)
    assert calls == [(1, 3, "a"), (2, 3, "b"), (3, 3, "c")]


def test_an_unreadable_label_does_not_stop_the_others(tmp_path):
    source = pairs(tmp_path, ["a", "b"])
    (source / "labels" / "b.nii.gz").write_text("nonsense")
    dataset, notes = prepare(source)
    assert classes_of(dataset) == [("class 1", 1), ("class 2", 2)]
    assert any("b.nii.gz cannot be read as an image" in note for note in notes)


def test_no_label_at_all(tmp_path):
    write(tmp_path / "a.nrrd", grey())
    with pytest.raises(InputError, match=r"no class was found in 0 label file\(s\)") as error:
        prepare(tmp_path)
    assert "At least one case needs a label" in error.value.hint


# ---- recognising a folder


def test_cases_are_found_without_any_label(tmp_path):
    for name in ("a_0000", "a_0001", "b_0000", "b_0001"):
        write(tmp_path / f"{name}.nrrd", grey())
    layout = recognise_layout(tmp_path)
    assert layout.name == "a folder of volumes" and layout.channels == ["channel 1", "channel 2"]
    assert [(case.name, case.label, case.test) for case in layout.cases] == [("a", None, False), ("b", None, False)]
    assert layout.cases[0].images == {0: tmp_path / "a_0000.nrrd", 1: tmp_path / "a_0001.nrrd"}
    assert layout.classes == [] and layout.notes == []


def test_found_cases_have_the_names_that_the_data_set_uses(tmp_path):
    source = pairs(tmp_path, ["a"])
    write(source / "images" / "a.nrrd", grey(1))
    assert [case.name for case in recognise_layout(source).cases] == [case.id for case in prepare(source)[0].cases]


def test_every_file_with_a_layout_is_tried():
    files = Path(import_module("metassl.layouts").__file__).parent.glob("*.py")
    modules = [import_module(f"metassl.layouts.{file.stem}") for file in files if file.stem != "__init__"]
    assert {module for module in modules if hasattr(module, "read_layout")} == set(LAYOUTS)
    assert all(layout.ACCEPTS in ACCEPTED for layout in LAYOUTS)


# ---- unknown folders


def test_unknown_layout(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"no layout that MetaSSL knows; it holds: notes\.txt, photos/\.") as error:
        prepare(tmp_path)
    assert "nnU-Net raw" in error.value.hint and "images/ and labels/" in error.value.hint


def test_source_that_is_missing_or_no_folder(tmp_path):
    with pytest.raises(InputError, match="gone does not exist"):
        prepare(tmp_path / "gone")
    with pytest.raises(InputError, match=r"a\.nrrd is a file"):
        prepare(write(tmp_path / "a.nrrd", grey()))


# ---- roles


@pytest.fixture
def eight(tmp_path):
    """Six labelled and two unlabelled cases."""
    return pairs(tmp_path / "data", [f"l{n}" for n in range(6)], ["u0", "u1"])


def test_roles_by_id_pattern_and_order(eight):
    roles = {"labelled": ["l0", "l1.nii.gz"], "ignored": ["*1"], "hold-out": ["l[45]"], "unlabelled": ["l0", "l5"]}
    dataset, notes = prepare(eight, roles=roles)
    assert roles_of(dataset) == {
        "l0": "labelled",
        "l1": "ignored",
        "l2": "unlabelled",
        "l3": "unlabelled",
        "l4": "hold-out",
        "l5": "hold-out",
        "u0": "unlabelled",
        "u1": "ignored",
    }
    assert "2 other case(s) with a label are unlabelled: their labels are not used." in notes


def test_without_chosen_labelled_cases_the_others_stay_labelled(eight):
    dataset, _ = prepare(eight, roles={"hold-out": ["l0"]})
    assert len(dataset.with_role("labelled")) == 5 and len(dataset.with_role("hold-out")) == 1


def test_numbers_choose_different_labelled_cases(eight):
    roles = {"labelled": ["2"], "hold-out": ["3"], "ignored": ["l0"]}
    dataset, notes = prepare(eight, roles=roles)
    counts = [len(dataset.with_role(role)) for role in ("labelled", "hold-out", "ignored", "unlabelled")]
    assert counts == [2, 3, 1, 2] and roles_of(dataset)["l0"] == "ignored"
    assert any(note.startswith("Labelled: the first 2 of a shuffle with seed 0: l") for note in notes)
    assert prepare(eight, roles=roles)[0] == dataset


def test_roles_from_files(eight, tmp_path):
    (tmp_path / "ids.txt").write_text("l0\n\n l1 \n", encoding="utf-8")
    (tmp_path / "list.json").write_text('["l2"]')
    (tmp_path / "split.json").write_text('{"test": ["l3", "l4"]}')
    roles = {
        "labelled": [f"@{tmp_path / 'ids.txt'}", f"@{tmp_path / 'list.json'}"],
        "hold-out": [f"@{tmp_path / 'split.json'}:test"],
    }
    dataset, _ = prepare(eight, roles=roles)
    assert [c.id for c in dataset.with_role("labelled")] == ["l0", "l1", "l2"]
    assert [c.id for c in dataset.with_role("hold-out")] == ["l3", "l4"]


@pytest.mark.parametrize(
    "roles, message",
    [
        ({"labelled": ["x*"]}, r"No case matches 'x\*' \(role labelled\)"),
        ({"labelled": ["9"]}, "9 cases are wanted as labelled, but only 6 cases have a label"),
        ({"teacher": ["l0"]}, "Unknown role teacher"),
        ({"labelled": ["@gone.txt"]}, "the file gone.txt does not exist"),
        ({"labelled": ["@SPLIT:train"]}, "has no list 'train'"),
        ({"labelled": ["@SPLIT"]}, "is not a list of case ids"),
        ({"labelled": ["@IMAGE"]}, "is not a text file"),
        ({"labelled": ["u0"]}, "u0 is labelled but has no label file"),
    ],
)
def test_roles_that_fit_no_case(eight, tmp_path, roles, message):
    split = tmp_path / "split.json"
    split.write_text('{"test": []}')
    (tmp_path / "image.bin").write_bytes(b"\xff\xfe\x80")
    paths = {"SPLIT": str(split), "IMAGE": str(tmp_path / "image.bin")}
    filled = {r: [re.sub("SPLIT|IMAGE", lambda m: paths[m[0]], s) for s in chosen] for r, chosen in roles.items()}
    with pytest.raises(InputError, match=message):
        prepare(eight, roles=filled)
