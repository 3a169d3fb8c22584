"""dataset.json files that list their images: Decathlon, MONAI and Auto3DSeg, nnU-Net 2."""

import json
import os
from pathlib import Path

import pytest
from metassl.data.checking import check_dataset
from metassl.errors import InputError
from metassl.layouts.prepare import prepare
from metassl.prediction.cases import find_cases
from volumes import SIZE, grey, label, write

LABELS = {"0": "background", "1": "a", "2": "b"}


def volumes(folder, images, labels=()):
    for seed, name in enumerate(images):
        write(folder / name, grey(seed))
    for name in labels:
        write(folder / name, label(1, 2))


def listed(folder, **content):
    (folder / "dataset.json").write_text(json.dumps({"labels": LABELS, "modality": {"0": "MR"}, **content}))
    dataset, notes = prepare(folder)
    assert [case.id for case in find_cases([folder], len(dataset.channels))] == [case.id for case in dataset.cases]
    return {case.id: case.role for case in dataset.cases}, dataset, notes


def test_validation_is_hold_out_and_testing_unlabelled(tmp_path):
    images = ["imagesTr/a.nii", "imagesVa/v.nii", "imagesTs/t.nii", "imagesTs/u.nii"]
    volumes(tmp_path, images, ["labelsTr/a.nii", "labelsVa/v.nii", "labelsTs/u.nii"])
    roles, dataset, notes = listed(
        tmp_path,
        training=[{"fold": 0, "image": "./imagesTr/a.nii", "label": "./labelsTr/a.nii"}],
        validation=[{"image": "imagesVa/v.nii", "label": "imagesVa\\..\\labelsVa\\v.nii"}],
        testing=["./imagesTs/t.nii", {"image": "./imagesTs/u.nii"}],
    )
    assert roles == {"a": "labelled", "v": "hold-out", "t": "unlabelled", "u": "hold-out"}
    assert dataset.cases[1].label == str(tmp_path / "labelsVa" / "v.nii")
    assert "2 test case(s) with a label are hold-out cases: they only measure." in notes
    assert check_dataset(dataset).problems == ()


def test_a_list_of_images_per_case(tmp_path):
    images = ["x/c0_t1.nii", "x/c0_t2.nii", "x/c1_t1.nii", "x/c1_t2.nii"]
    volumes(tmp_path, images, ["y/c0.nii"])
    entries = [{"image": images[:2], "label": ["y/c0.nii"]}, {"image": images[2:]}]
    roles, dataset, notes = listed(tmp_path, modality={"0": "T1", "1": "T2"}, training=entries)
    assert roles == {"c0": "labelled", "c1": "unlabelled"} and dataset.channels == ("T1", "T2")
    assert [Path(image).name for image in dataset.cases[1].images] == ["c1_t1.nii", "c1_t2.nii"]
    assert len(notes) == 1 and check_dataset(dataset).problems == ()
    _, dataset, notes = listed(tmp_path, modality="MRI", training=entries)
    assert dataset.channels == ("channel 1", "channel 2")
    assert any("names 1 channel(s), but lists 2 images per case" in note for note in notes)


def test_channels_in_one_file(tmp_path):
    write(tmp_path / "a.nii", grey(0, (2, *SIZE)))
    write(tmp_path / "l.nii", label(1, 2))
    entries = [{"image": "a.nii", "label": "l.nii"}]
    _, dataset, _ = listed(tmp_path, modality={"0": "T1", "1": "T2"}, training=entries)
    assert dataset.cases[0].images == (str(tmp_path / "a.nii"),) * 2 and check_dataset(dataset).problems == ()


def test_nnunet_2_names_its_cases(tmp_path):
    volumes(tmp_path / "far", ["x_0000.nii", "y_0000.nii"], ["x.nii", "y.nii"])
    volumes(tmp_path, ["imagesTs/t_0000.nii"])
    entries = {
        f"case {n}": {"images": [f"far/{n}_0000.nii"], "label": str(tmp_path / "far" / f"{n}.nii")} for n in "xy"
    }
    labels = {"background": 0, "a": 1, "b": 2}
    roles, dataset, _ = listed(tmp_path, labels=labels, channel_names={"0": "CT"}, dataset=entries, file_ending=".nii")
    assert roles == {"case x": "labelled", "case y": "labelled", "t": "unlabelled"} and dataset.channels == ("CT",)


def test_what_is_not_listed_is_an_unlabelled_case_or_said(tmp_path):
    images = ["imagesTr/a.nii", "imagesTr/left out.nii", "imagesTs/t.nii", "elsewhere/map.nii"]
    volumes(tmp_path, images, ["labelsTr/a.nii", "labelsTr/left out.nii", "labelsTr/lost.nii"])
    entries = [{"image": "./imagesTr/a.nii", "label": "./labelsTr/a.nii"}]
    roles, dataset, notes = listed(tmp_path, training=entries, test=[])
    assert roles == {"a": "labelled", "left out": "unlabelled", "t": "unlabelled"}
    assert dataset.cases[1].label == str(tmp_path / "labelsTr" / "left out.nii"), "it may be made labelled"
    assert "2 volume(s) that dataset.json does not list are unlabelled cases: left out, t." in notes
    assert "1 label(s) belong to no image and are not used: lost.nii." in notes
    assert "1 volume(s) are not used, since dataset.json does not list them: elsewhere/map.nii." in notes
    chosen, _ = prepare(tmp_path, roles={"labelled": ["a", "left out"]})
    assert [case.role for case in chosen.cases] == ["labelled", "labelled", "unlabelled"]


def test_entries_that_cannot_be_used_are_said_and_cost_only_themselves(tmp_path):
    volumes(tmp_path, ["a.nii", "b.nii"], ["l.nii"])
    entries = [
        {"image": "a.nii", "label": "l.nii"},
        {"image": "b.nii", "label": "misnamed.nii"},
        {"image": "gone.nii", "label": "l.nii"},
        {"picture": "a.nii"},
        5,
        {"image": ["a.nii", 7]},
        {"image": "n" * 5000},
    ]
    roles, _, notes = listed(tmp_path, training=entries, validation=["a.nii"])
    assert roles == {"a": "labelled", "b": "unlabelled"}
    text = "\n".join(notes)
    assert "misnamed.nii is listed in dataset.json but does not exist; the case is unlabelled." in text
    assert "gone.nii is listed in dataset.json but does not exist; the case is left out." in text
    assert "a.nii is listed in dataset.json twice; the first place counts." in text
    assert "{'picture': 'a.nii'}, listed in dataset.json, names no image and is left out." in text


def test_what_may_not_be_read_is_not_said_to_be_missing(tmp_path, monkeypatch):
    volumes(tmp_path, ["a.nii", "b.nii"], ["a_seg.nii"])
    ask = os.stat

    def refuse(path, **kwargs):
        if "closed" in str(path):
            raise PermissionError(13, "Permission denied")
        return ask(path, **kwargs)

    monkeypatch.setattr(os, "stat", refuse)
    entries = [{"image": "a.nii", "label": "a_seg.nii"}, {"image": "b.nii", "label": "closed/b.nii"}, "closed/c.nii"]
    roles, _, notes = listed(tmp_path, training=entries)
    assert roles == {"a": "labelled", "b": "unlabelled"}
    text, refused = "\n".join(notes), "nii is listed in dataset.json but cannot be opened (Permission denied)"
    assert f"b.{refused}; the case is unlabelled." in text and f"c.{refused}; the case is left out." in text


def test_files_of_equal_names_are_named_after_their_folders(tmp_path):
    volumes(tmp_path, ["d/p1/img.nii", "d/p2/img.nii"], ["d/p1/gt_1.nii"])
    entries = [{"image": "d/p1/img.nii", "label": "d/p1/gt_1.nii"}, {"image": "d/p2/img.nii"}]
    assert listed(tmp_path, training=entries)[0] == {"d_p1_img": "labelled", "d_p2_img": "unlabelled"}


def test_a_list_of_another_name_is_read_when_it_is_given(tmp_path):
    volumes(tmp_path, ["imagesTr/a.nii"], ["labelsTr/a.nii"])
    content = {"labels": LABELS, "training": [{"image": "imagesTr/a.nii", "label": "labelsTr/a.nii"}]}
    (tmp_path / "fold {0}.json").write_text(json.dumps({**content, "testing": ["gone.nii"]}))
    dataset, notes = prepare(tmp_path / "fold {0}.json")
    assert [case.id for case in dataset.cases] == ["a"] and [c.name for c in dataset.classes] == ["a", "b"]
    assert any("gone.nii is listed in fold {0}.json but does not exist" in note for note in notes)
    assert [case.id for case in find_cases([tmp_path / "fold {0}.json"], 1)] == ["a"]


def test_a_list_without_a_name(tmp_path):
    volumes(tmp_path, ["scans/a.nii", "scans/b.nii"], ["drawn/a.nii"])
    entries = [{"image": "scans/a.nii", "label": "drawn/a.nii"}, {"image": "scans/b.nii"}]
    (tmp_path / "dataset.json").write_text(json.dumps(entries))
    dataset, _ = prepare(tmp_path)
    assert {case.id: case.role for case in dataset.cases} == {"a": "labelled", "b": "unlabelled"}


def test_a_list_whose_files_are_all_gone_gives_way_to_what_is_there(tmp_path):
    volumes(tmp_path, ["images/a.nii"], ["labels/a.nii"])
    roles, dataset, notes = listed(tmp_path, training=[{"image": "gone.nii"}])
    assert roles == {"a": "labelled"} and [c.name for c in dataset.classes] == ["a", "b"]
    assert "No file can be found that dataset.json lists; paths in it count from the folder that it is in." in notes


@pytest.mark.parametrize(
    "content", [{"training": {}}, {"dataset": "AMOS"}, {"training": [], "test": []}, {"labels": {}}]
)
def test_descriptions_without_a_list(tmp_path, content):
    volumes(tmp_path, ["images/a.nii"], ["labels/a.nii"])
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert [c.name for c in prepare(tmp_path)[0].classes] == ["class 1", "class 2"]


@pytest.mark.parametrize("content", [{"labels": 5}, {"labels": "x"}, {"channel_names": 5}, {"modality": {"a": "CT"}}])
def test_descriptions_that_cannot_be_read(tmp_path, content):
    volumes(tmp_path, ["images/a.nii"], ["labels/a.nii"])
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"dataset\.json has channels or labels that MetaSSL cannot read"):
        prepare(tmp_path)
