"""One reader of folders: prepare, predict and evaluate find the same cases, and every volume is accounted for."""

import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from metassl.cli.main import main
from metassl.data.dataset import Dataset, result_names, unique_names
from metassl.data.reading import read_images
from metassl.errors import InputError
from metassl.evaluation.matching import find_labels
from metassl.layouts.contents import look_through
from metassl.layouts.prepare import prepare
from metassl.layouts.recognise import recognise_layout
from metassl.prediction.cases import find_cases
from volumes import grey, label, segments, write, write_dicom


def roles_of(dataset):
    return {case.id: case.role for case in dataset.cases}


def found(path, channels=1):
    """Names of the cases that predict finds, and what it says."""
    said = []
    return [case.id for case in find_cases([path], channels, note=said.append)], said


def agreed(folder, channels=1):
    """The cases of a folder, which prepare, predict and evaluate must see alike; and the notes of prepare."""
    dataset, notes = prepare(folder)
    ids = [case.id for case in dataset.cases]
    assert found(folder, channels)[0] == ids
    assert find_labels(folder).labels == {case.id: Path(case.label) for case in dataset.cases if case.label}
    return dataset, notes


# ---- the same cases everywhere


def test_a_flat_folder_with_labels_beside(tmp_path):
    for n, name in enumerate(("a", "b", "c")):
        write(tmp_path / f"{name}.nii.gz", grey(n))
    write(tmp_path / "a_label.nii.gz", label(1))
    write(tmp_path / "b.seg.nrrd", label(1), metadata=segments(("class 1", 1)))
    dataset, notes = agreed(tmp_path)
    assert roles_of(dataset) == {"a": "labelled", "b": "labelled", "c": "unlabelled"} and len(notes) == 1


@pytest.mark.parametrize(
    "files", [("image.nii.gz", "label.nii.gz"), ("ct.nrrd", "ct_seg.nrrd"), ("ct.mha", "Mask.mha")]
)
def test_a_folder_per_patient(tmp_path, files):
    for n in range(2):
        write(tmp_path / f"p{n}" / files[0], grey(n))
        write(tmp_path / f"p{n}" / files[1], label(1))
    name = files[0].partition(".")[0]
    assert roles_of(agreed(tmp_path)[0]) == {f"p0_{name}": "labelled", f"p1_{name}": "labelled"}


@pytest.mark.parametrize(
    ("image", "drawn"),
    [
        ("volume-{}", "segmentation-{}"),
        ("img000{}", "label000{}"),
        ("ct_100{}_image", "ct_100{}_label"),
        ("patient_{}_frame01", "patient_{}_frame01_gt"),
    ],
)
def test_names_of_public_data_sets(tmp_path, image, drawn):
    names = [(f"{image}.nii".format(n), f"{drawn}.nii".format(n)) for n in range(2)]
    for n, (first, second) in enumerate(names):
        write(tmp_path / first, grey(n))
        write(tmp_path / second, label(n + 1))
    dataset, _ = agreed(tmp_path)
    assert [(Path(case.images[0]).name, Path(case.label).name) for case in dataset.cases] == names


def test_labels_in_a_folder_below_the_images(tmp_path):
    write(tmp_path / "a.nrrd", grey(0))
    write(tmp_path / "b.nrrd", grey(1))
    write(tmp_path / "masks" / "a.nrrd", label(1))
    assert roles_of(agreed(tmp_path)[0]) == {"a": "labelled", "b": "unlabelled"}


def test_images_and_labels_of_several_sites(tmp_path):
    for n, site in enumerate(("x", "y")):
        write(tmp_path / site / "images" / "a.nrrd", grey(n))
    write(tmp_path / "y" / "labels" / "a_seg.nrrd", label(1))
    assert roles_of(agreed(tmp_path)[0]) == {"x_a": "unlabelled", "y_a": "labelled"}


def test_nnunet_and_its_parts(tmp_path):
    for n, (part, name) in enumerate((("Tr", "a"), ("Tr", "b"), ("Ts", "a"), ("Va", "v"))):
        write(tmp_path / f"images{part}" / f"{name}_0000.nii.gz", grey(n))
        write(tmp_path / f"labels{part}" / f"{name}.nii.gz", label(1))
    dataset, _ = agreed(tmp_path)
    assert roles_of(dataset) == {"a": "labelled", "b": "labelled", "a-2": "hold-out", "v": "hold-out"}
    assert "labelsTs" in next(case.label for case in dataset.cases if case.id == "a-2")
    assert found(tmp_path / "imagesTs")[0] == ["a"]


def test_channels_of_a_model_group_the_files(tmp_path):
    for n, name in enumerate(("a_0000", "a_0001", "b_0000", "b_0001")):
        write(tmp_path / "images" / f"{name}.nrrd", grey(n))
    write(tmp_path / "labels" / "a.nrrd", label(1))
    agreed(tmp_path, channels=2)
    assert found(tmp_path, 2)[0] == ["a", "b"]
    assert found(tmp_path, 1)[0] == ["a_0000", "a_0001", "b_0000", "b_0001"]


def test_patients_as_dicom_and_as_files(tmp_path):
    for n, name in enumerate(("p1/study/ct", "p2/study/ct")):
        write_dicom(tmp_path / name, 100 * grey(n), f"1.2.{n}")
    write(tmp_path / "p3.nrrd", grey(3))
    write(tmp_path / "p1" / "study" / "ct_seg.nii.gz", label(1), spacing=(1, 1, 2))
    write(tmp_path / "p2" / "study" / "ct" / "tumour.seg.nrrd", label(1), metadata=segments(("class 1", 1)))
    dataset, notes = agreed(tmp_path)
    assert roles_of(dataset) == {"p3": "unlabelled", "p1_study_ct": "labelled", "p2_study_ct": "labelled"}
    assert "a folder of volumes and DICOM series" in notes[0] and len(notes) == 1


def test_labels_of_dicom_patients_in_a_folder_of_their_own(tmp_path):
    for n in range(2):
        write_dicom(tmp_path / "dicom" / f"p{n}" / "study" / "series", 100 * grey(n), f"1.2.{n}")
        write(tmp_path / "labels" / f"p{n}.nrrd", label(n + 1), spacing=(1, 1, 2))
    dataset, _ = agreed(tmp_path)
    assert {case.id: Path(case.label).name for case in dataset.cases} == {
        "dicom_p0_study_series": "p0.nrrd",
        "dicom_p1_study_series": "p1.nrrd",
    }


def test_a_folder_with_several_series_is_said_once(tmp_path):
    write_dicom(tmp_path / "p", 100 * grey(1), "1.2.1")
    for file in write_dicom(tmp_path / "other", 100 * grey(2), "1.2.2").iterdir():
        file.rename(tmp_path / "p" / f"second {file.name}")
    with pytest.raises(InputError, match="p holds 2 DICOM series, expected one per folder; it is left out") as caught:
        prepare(tmp_path)
    assert "not used" not in str(caught.value)


def set_modality(folder, modality):
    """Rewrite the files of a DICOM series as another modality."""
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes().replace(b"\x08\x00\x60\x00\x02\0\0\0MR", b"\x08\x00\x60\x00" + modality))


def test_a_dicom_segmentation_is_no_image(tmp_path):
    write_dicom(tmp_path / "ct", 100 * grey(0), "1.2.1")
    set_modality(write_dicom(tmp_path / "seg object", 100 * grey(1), "1.2.2"), b"\x04\0\0\0SEG ")
    names, said = found(tmp_path)
    assert names == ["ct"]
    assert said == [f"{tmp_path / 'seg object'} holds DICOM files, but no series of images; it is left out."]


def test_our_own_data_set_in_the_folder_is_used(tmp_path):
    for n, name in enumerate(("a", "b", "c")):
        write(tmp_path / "images" / f"{name}.nrrd", grey(n))
        write(tmp_path / "labels" / f"{name}.nrrd", label(1, 4))
    dataset, _ = prepare(tmp_path, name="mine", roles={"hold-out": ["b"], "ignored": ["c"]})
    dataset = replace(dataset, intensities=("ct",))
    dataset.save(tmp_path / "dataset.json")
    assert agreed(tmp_path)[0] == dataset == prepare(tmp_path / "dataset.json")[0]
    (tmp_path / "labels" / "a.nrrd").unlink()
    (tmp_path / "images" / "c.nrrd").unlink()
    write(tmp_path / "images" / "new.nrrd", grey(5))
    write(tmp_path / "labels" / "new.nrrd", label(1))
    changed, notes = agreed(tmp_path)
    assert roles_of(changed) == {"a": "unlabelled", "b": "hold-out", "new": "unlabelled"}
    assert changed.name == "mine" and changed.classes == dataset.classes
    text = "\n".join(notes)
    assert "Case c: " in text and "Case a: " in text and "label(s) belong to no image and are not used: c.nrrd" in text
    assert "1 volume(s) that dataset.json does not list are unlabelled cases: new." in text


@pytest.mark.parametrize("content", ['{"version": 1, "cases": [{"id"', '{"version": 7, "cases": []}', "GONE"])
def test_a_damaged_data_set_of_ours_can_be_made_again(tmp_path, content):
    write(tmp_path / "images" / "a.nrrd", grey())
    write(tmp_path / "labels" / "a.nrrd", label(1))
    dataset, _ = prepare(tmp_path)
    if content == "GONE":
        classes = [{"name": "c", "value": 1, "colour": [1, 2, 3]}]
        cases = [{"id": "z", "images": ["/gone/z.nrrd"], "label": None, "role": "unlabelled"}]
        content = json.dumps({"version": 1, "name": "x", "channels": ["i"], "classes": classes, "cases": cases})
    (tmp_path / "dataset.json").write_text(content)
    again, notes = prepare(tmp_path)
    assert again == dataset and "dataset.json" in notes[1]
    assert main(["prepare", str(tmp_path), "--out", str(tmp_path / "dataset.json")]) == 0
    assert Dataset.load(tmp_path / "dataset.json") == dataset


def test_a_description_of_another_program_is_not_overwritten(tmp_path, capsys):
    write(tmp_path / "images" / "a.nrrd", grey())
    write(tmp_path / "labels" / "a.nrrd", label(1))
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "x": 1}}')
    assert main(["prepare", str(tmp_path), "--out", str(tmp_path / "dataset.json")]) == 2
    assert "MetaSSL did not write it" in capsys.readouterr().err
    assert main(["prepare", str(tmp_path), "--out", str(tmp_path)]) == 2 and "is a folder" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["", "dataset.json"])
def test_the_remedy_for_what_is_no_data_set_of_ours_works(tmp_path, monkeypatch, capsys, given):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "imagesTr" / "a_0000.nii.gz", grey(1))
    write(tmp_path / "labelsTr" / "a.nii.gz", label(1))
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "liver": 1}, "channel_names": {"0": "MR"}}')
    assert main(["check", str(tmp_path / given)]) == 2
    command = capsys.readouterr().err.strip().rpartition("Make one with: metassl ")[2].replace("NAME", "mine")
    assert main(shlex.split(command)) == 0 and main(["check", "mine.json"]) == 0


def test_files_given_one_by_one_are_grouped_like_those_of_a_folder(tmp_path):
    for n, name in enumerate(("a_0000", "b_0000")):
        write(tmp_path / f"{name}.nii.gz", grey(n))
    write(tmp_path / "b_seg.nii.gz", label(1))
    write(tmp_path / "scan_mask.nii.gz", grey(5))
    said = []
    cases = find_cases(sorted(tmp_path.iterdir()), 1, note=said.append)
    assert [case.id for case in cases] == ["a", "b", "scan_mask"], "the last belongs to no image that was given"
    assert said == ["1 label(s) and results are not segmented: b_seg.nii.gz."]


def test_roles_choose_among_the_cases_of_a_folder(tmp_path):
    for n, (part, name) in enumerate((("Tr", "a"), ("Ts", "t"), ("Ts", "u"))):
        write(tmp_path / f"images{part}" / f"{name}.nrrd", grey(n))
    write(tmp_path / "labelsTs" / "t.nrrd", label(1))
    assert [case.id for case in find_cases([tmp_path], 1, ["hold-out"])] == ["t"]


def test_a_description_that_training_cannot_use_does_not_stop_predict(tmp_path):
    write(tmp_path / "imagesTs" / "a_0000.nii.gz", grey())
    (tmp_path / "dataset.json").write_text('{"labels": {"whole": [1, 2]}, "channel_names": {"0": "CT"}}')
    assert found(tmp_path)[0] == ["a"]
    with pytest.raises(InputError, match="region of several values"):
        prepare(tmp_path)


# ---- nothing disappears


def accounted(folder, *used, notes):
    """Every volume below the folder is used, or its name occurs in a note."""
    text = "\n".join(notes)
    for path in folder.rglob("*"):
        if path.is_file() and path.name.endswith((".nii.gz", ".nrrd", ".mha", ".mgz")) and str(path) not in used:
            assert path.name in text, path


def used_by(dataset):
    return [file for case in dataset.cases for file in (*case.images, case.label)]


def test_every_volume_beside_a_data_set_is_named(tmp_path):
    for n, name in enumerate(("imagesTr/a_0000", "imagesTs/t_0000", "derived/map", "imagesTr/c_0001", "nested/x")):
        write(tmp_path / f"{name}.nii.gz", grey(n))
    for name in ("labelsTr/a", "labelsTr/zz", "labelsTr/a_0000", "imagesTr/a_0000_seg"):
        write(tmp_path / f"{name}.nii.gz", label(1))
    write(tmp_path / "imagesTr" / "odd.nrrd", grey(9))
    (tmp_path / "nested" / "dataset.json").write_text("{}")
    (tmp_path / "b.mgz").write_bytes(b"")
    description = {"labels": {"background": 0, "x": 1}, "file_ending": ".nii.gz", "channel_names": {"0": "MR"}}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    dataset, notes = prepare(tmp_path)
    assert roles_of(dataset) == {"a": "labelled", "t": "unlabelled"}
    (tmp_path / "nested" / "x.nii.gz").unlink()  # of a folder that is named as a whole
    accounted(tmp_path, *used_by(dataset), notes=notes)
    text = "\n".join(notes)
    assert "3 label(s) belong to no image and are not used: a_0000_seg.nii.gz, a_0000.nii.gz, zz.nii.gz." in text
    assert "1 volume(s) are not used, since they lie in no folder of images: derived/map.nii.gz." in text
    assert (
        "does not end with .nii.gz" in text
        and "data sets of their own; their volumes are not used: nested/ (1)." in text
    )
    assert "Not read, since MetaSSL does not read this format (convert it to NIfTI or NRRD): b.mgz." in text
    assert "Case c lacks the channel(s) MR and is left out." in text
    assert found(tmp_path)[0] == ["a", "t"]


def test_one_misnamed_label_costs_that_label_only(tmp_path):
    for n in range(4):
        write(tmp_path / "imagesTr" / f"c{n}_0000.nii.gz", grey(n))
        write(tmp_path / "labelsTr" / (f"c{n}.nii.gz" if n else "c0_0000.nii.gz"), label(1))
    dataset, notes = agreed(tmp_path)
    assert roles_of(dataset) == {"c0": "unlabelled", "c1": "labelled", "c2": "labelled", "c3": "labelled"}
    assert "1 label(s) belong to no image and are not used: c0_0000.nii.gz." in notes


def test_numbers_that_look_like_channels_are_names(tmp_path):
    for n in range(3):
        write(tmp_path / "images" / f"x_000{n}.nrrd", grey(n))
    for n in range(2):
        write(tmp_path / "labels" / f"x_000{n}.nrrd", label(1))
    assert roles_of(agreed(tmp_path)[0]) == {"x_0000": "labelled", "x_0001": "labelled", "x_0002": "unlabelled"}


def test_volumes_below_a_flat_folder_are_cases_and_said(tmp_path):
    write(tmp_path / "a.nrrd", grey(0))
    write(tmp_path / "a_seg.nrrd", label(1))
    write(tmp_path / "more" / "b.nrrd", grey(1))
    dataset, notes = agreed(tmp_path)
    assert roles_of(dataset) == {"a": "labelled", "more_b": "unlabelled"}
    assert "The volumes in more/ are cases too." in notes


def test_results_are_no_images_and_no_labels(tmp_path):
    write(tmp_path / "a.nrrd", grey(0))
    write(tmp_path / "a_label.nrrd", label(1))
    for folder in (tmp_path, tmp_path / "results"):
        for kind in ("seg", "regions", "confidence"):
            write(folder / f"a_{kind}.nii.gz", label(1))
        (folder / "a.json").write_text(json.dumps({"model": "m", "case": "a", "seconds": 1}))
    dataset, notes = agreed(tmp_path)
    assert roles_of(dataset) == {"a": "labelled"} and dataset.cases[0].label.endswith("a_label.nrrd")
    assert any(note.startswith("6 result(s) of metassl predict are not used: a_confidence.nii.gz") for note in notes)


def test_a_segmentation_beside_a_file_of_facts_is_a_label(tmp_path):
    write(tmp_path / "a.nii.gz", grey(0))
    write(tmp_path / "a_seg.nii.gz", label(1))
    (tmp_path / "a.json").write_text('{"Manufacturer": "x"}')  # as BIDS has it
    assert roles_of(agreed(tmp_path)[0]) == {"a": "labelled"}


def test_folders_of_data_sets_are_named(tmp_path):
    for n in (1, 2):
        write(tmp_path / f"Dataset00{n}" / "imagesTr" / "a_0000.nii.gz", grey(n))
        (tmp_path / f"Dataset00{n}" / "dataset.json").write_text("{}")
    with pytest.raises(InputError, match=r"data sets of their own.*: Dataset001/ \(1\), Dataset002/ \(1\)\."):
        prepare(tmp_path)


def test_only_labels_are_said(tmp_path):
    write(tmp_path / "a_seg.nrrd", label(1))
    with pytest.raises(InputError, match=r"holds no volume .* 1 label\(s\) belong to no image"):
        found(tmp_path)


def test_many_findings_take_few_lines(tmp_path):
    listed = [{"image": f"{n}.nrrd"} for n in range(30)]
    write(tmp_path / "0.nrrd", grey())
    write(tmp_path / "0_seg.nrrd", label(1))
    (tmp_path / "dataset.json").write_text(json.dumps({"training": listed, "labels": {"a": 1}}))
    notes = recognise_layout(tmp_path).notes
    assert len(notes) <= 4 and any(note.startswith("The same holds for 28 more: ") for note in notes)


# ---- what file systems allow


needs_posix = pytest.mark.skipif(os.name != "posix" or sys.platform == "darwin", reason="names are bytes on Linux only")


@needs_posix
def test_pictures_are_cases_where_no_volumes_are(tmp_path):
    write(tmp_path / "a.png", grey(1)[2].astype(np.uint8))
    write(tmp_path / "a_seg.png", label(1).max(axis=0))
    assert roles_of(agreed(tmp_path)[0]) == {"a": "labelled"}
    write(tmp_path / "b.nrrd", grey(2))
    write(tmp_path / "b_seg.nrrd", label(1))
    data, notes = agreed(tmp_path)
    assert roles_of(data) == {"b": "labelled"}
    assert any("pictures among volumes are no cases" in n and n.endswith("a.png, a_seg.png.") for n in notes)


def test_names_that_are_not_utf8_are_said(tmp_path):
    write(tmp_path / "a.nrrd", grey())
    write(tmp_path / "a_seg.nrrd", label(1))
    source = write(tmp_path / "b.nrrd", grey(1))
    bad = os.fsencode(tmp_path) + b"/caf\xe9.nrrd"
    os.rename(source, bad)
    os.mkdir(os.fsencode(tmp_path) + b"/f\xfc")
    dataset, notes = agreed(tmp_path)
    assert roles_of(dataset) == {"a": "labelled"}
    assert "Not read, since the name is not UTF-8 (rename it): caf\\udce9.nrrd, f\\udcfc." in notes
    dataset.save(tmp_path / "dataset.json")
    with pytest.raises(InputError, match="is not UTF-8"):
        prepare(os.fsdecode(os.fsencode(tmp_path) + b"/f\xfc"))


@needs_posix
def test_a_file_whose_name_is_not_utf8_does_not_end_the_process(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.nrrd")
    os.rename(write(tmp_path / "b.nrrd", grey(1)), path)
    (case,) = find_cases([path], 1)
    assert case.id == "caf_"
    with pytest.raises(InputError, match=r"caf\\udce9\.nrrd") as error:
        read_images(case)
    assert "Rename" in error.value.hint


@needs_posix
def test_pipes_links_and_loops_are_said_and_never_opened(tmp_path):
    write(tmp_path / "a.nrrd", grey())
    write(tmp_path / "a_seg.nrrd", label(1))
    os.mkfifo(tmp_path / "pipe.nrrd")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone.nrrd").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self.nrrd").symlink_to(tmp_path / "self.nrrd")
    (tmp_path / "loop").symlink_to(tmp_path)
    dataset, notes = agreed(tmp_path)
    assert roles_of(dataset) == {"a": "labelled"}
    assert "Not read, since it is no ordinary file: pipe.nrrd." in notes
    assert "Not read, since it is a link to nothing: gone.nrrd, self.nrrd." in notes


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_said(tmp_path):
    write(tmp_path / "a.nrrd", grey())
    write(tmp_path / "a_seg.nrrd", label(1))
    (tmp_path / "closed").mkdir(mode=0o000)
    assert "Not read, since it cannot be opened (Permission denied): closed." in agreed(tmp_path)[1]


def test_a_folder_that_cannot_be_listed_is_said(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    listing = os.scandir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert look_through(tmp_path).unusable == {"it cannot be opened (Permission denied)": [tmp_path / "closed"]}


# ---- names


def test_names_of_devices_and_of_all_results(tmp_path):
    names = ["CON", "nul.v2", "aux", "summary", "Metrics", "a.", "com1", "commune"]
    found = result_names(names)
    assert found == ["_CON", "_nul.v2", "_aux", "summary-2", "Metrics-2", "a", "_com1", "commune"]
    assert unique_names(["con", "CON"]) == ["_con", "_CON-2"]
    for n, name in enumerate(("CON", "summary")):
        write(tmp_path / f"{name}.nrrd", grey(n))
    write(tmp_path / "CON_seg.nrrd", label(1))
    assert list(roles_of(agreed(tmp_path)[0])) == ["_CON", "summary-2"]


def test_long_names_leave_room_for_the_results(tmp_path):
    names = ["n" * 240, "ü" * 120, "ü" * 120]
    ids = result_names(names)
    assert [len(name.encode()) for name in ids] == [200, 200, 200] and len(set(ids)) == 3
    write(tmp_path / f"{'ü' * 110}.nrrd", grey())
    write(tmp_path / f"{'ü' * 110}_seg.nrrd", label(1))
    (case,) = agreed(tmp_path)[0].cases
    assert case.id == "ü" * 100 and case.label
    (tmp_path / f".partial-1234567-{case.id}_confidence.nii.gz").write_bytes(b"")  # as results are written


def test_composed_and_decomposed_letters_are_one_name(tmp_path):
    write(tmp_path / "images" / "u\u0308.nrrd", grey())  # as macOS stores ü
    write(tmp_path / "labels" / "\u00fc.nrrd", label(1))
    assert roles_of(agreed(tmp_path)[0]) == {"\u00fc": "labelled"}


def test_looking_into_a_folder_of_images_reads_no_voxels(tmp_path, monkeypatch):
    for n in range(3):
        write(tmp_path / f"c{n}.nrrd", grey(n))

    def never(*_):
        raise AssertionError("predict need not open files to find its cases")

    monkeypatch.setattr(sitk.ImageFileReader, "ReadImageInformation", never)
    monkeypatch.setattr(sitk, "ReadImage", never)
    assert found(tmp_path)[0] == ["c0", "c1", "c2"]
    assert np.array_equal(found(tmp_path, 2)[0], ["c0", "c1", "c2"])
