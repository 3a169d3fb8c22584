import csv
import json

import numpy as np
import pytest
from metassl.data.dataset import IGNORE, Case, Dataset, SegmentClass
from metassl.errors import InputError
from metassl.evaluation.evaluate import Evaluation, evaluate_folder
from metassl.evaluation.metrics import evaluate_case
from volumes import segments, write

ONE = (SegmentClass("one", 1, (1, 1, 1)),)
TWO = (SegmentClass("one", 1, (1, 1, 1)), SegmentClass("two", 2, (2, 2, 2)))


def cube(start, stop, size=(14, 14, 14), value=1):
    array = np.zeros(size, np.uint8)
    array[tuple(slice(a, b) for a, b in zip(start, stop))] = value
    return array


def test_equal_masks():
    label = cube((4, 4, 4), (9, 9, 9))
    (found,) = evaluate_case("a", label, label, ONE, (2, 1, 1))
    assert (found.dice, found.hd95, found.assd, found.volume_difference_ml) == (1, 0, 0, 0)
    assert found.label_ml == pytest.approx(125 * 2 / 1000)


def test_a_plate_moved_by_two_thick_slices():
    # every voxel of a one-voxel plate is surface; moved by 2 slices of 3 mm, all distances are 6 mm
    label, moved = cube((4, 2, 2), (5, 12, 12)), cube((6, 2, 2), (7, 12, 12))
    (found,) = evaluate_case("a", moved, label, ONE, (3, 1, 1))
    assert found.dice == 0
    assert found.hd95 == pytest.approx(6) and found.assd == pytest.approx(6)


def test_a_longer_rod_by_hand():
    # rods of 4 and 6 voxels, 0.5 mm apart: the two extra voxels are 0.5 and 1 mm from the shorter rod
    label, longer = cube((5, 5, 3), (6, 6, 7)), cube((5, 5, 3), (6, 6, 9))
    (found,) = evaluate_case("a", longer, label, ONE, (1, 1, 0.5))
    assert found.dice == pytest.approx(2 * 4 / 10)
    assert found.assd == pytest.approx((0.5 + 1.0) / 10)
    assert found.hd95 == pytest.approx(np.percentile([0, 0, 0, 0, 0.5, 1.0], 95))
    assert found.volume_difference_ml == pytest.approx(2 * 0.5 / 1000)


def test_distances_do_not_depend_on_the_background_around():
    random = np.random.default_rng(0)
    label, prediction = (np.zeros((30, 40, 36), np.uint8) for _ in range(2))
    label[10:16, 12:20, 8:15] = random.random((6, 8, 7)) > 0.3
    prediction[11:17, 12:20, 9:16] = random.random((6, 8, 7)) > 0.3
    near = (slice(9, 18), slice(11, 21), slice(7, 17))
    whole = evaluate_case("a", prediction, label, ONE, (2, 1, 0.5))
    assert whole == evaluate_case("a", prediction[near], label[near], ONE, (2, 1, 0.5))
    assert whole[0].assd > 0


@pytest.mark.parametrize(
    ("prediction", "label", "expected"),
    [
        (cube((0, 0, 0), (0, 0, 0)), cube((0, 0, 0), (0, 0, 0)), (1, 0, 0)),
        (cube((2, 2, 2), (4, 4, 4)), cube((0, 0, 0), (0, 0, 0)), (0, None, None)),
        (cube((0, 0, 0), (0, 0, 0)), cube((2, 2, 2), (4, 4, 4)), (0, None, None)),
    ],
    ids=["both empty", "label empty", "prediction empty"],
)
def test_empty_structures(prediction, label, expected):
    (found,) = evaluate_case("a", prediction, label, ONE, (1, 1, 1))
    assert (found.dice, found.hd95, found.assd) == expected


def test_ignored_voxels_do_not_count():
    label = cube((4, 4, 4), (8, 8, 8))
    label[:, :, 10:] = IGNORE
    prediction = cube((4, 4, 4), (8, 8, 8))
    prediction[:, :, 11] = 1
    (found,) = evaluate_case("a", prediction, label, ONE, (1, 1, 1))
    assert found.dice == 1 and found.volume_difference_ml == 0


def test_means_leave_undefined_distances_out():
    label = cube((4, 4, 4), (8, 8, 8)) + cube((9, 9, 9), (12, 12, 12), value=2)
    only_one = cube((4, 4, 4), (8, 8, 8))
    rows = evaluate_case("a", label, label, TWO, (1, 1, 1)) + evaluate_case("b", only_one, label, TWO, (1, 1, 1))
    summary = Evaluation(tuple(rows)).summary()
    assert summary["one"]["dice"] == {"mean": 1, "sd": 0, "undefined": 0}
    assert summary["two"]["dice"]["mean"] == 0.5 and summary["two"]["dice"]["sd"] == pytest.approx(0.5**0.5)
    assert summary["two"]["hd95"] == {"mean": 0, "sd": 0, "undefined": 1}
    assert summary["mean"]["dice"]["mean"] == 0.75  # case a: 1, case b: (1 + 0) / 2
    assert "not in the means: 1" in Evaluation(tuple(rows)).table()


@pytest.fixture
def folders(tmp_path):
    for name, shift in (("a", 0), ("b", 1)):
        write(tmp_path / "labels" / f"{name}.nii.gz", cube((4, 4, 4), (8, 8, 8), value=3), (1, 1, 2))
        write(
            tmp_path / "predictions" / f"{name}_seg.nii.gz",
            cube((4, 4, 4 + shift), (8, 8, 8 + shift), value=3),
            (1, 1, 2),
        )
        write(tmp_path / "predictions" / f"{name}_regions.nii.gz", cube((0, 0, 0), (2, 2, 2)), (1, 1, 2))
    return tmp_path


def test_distances_are_in_mm_along_the_axes_of_the_file(tmp_path):
    """A cube that lies one voxel further along i, j or k; these are 1, 2 and 5 mm."""
    label = cube((4, 4, 4), (8, 8, 8))
    for axis, name in enumerate("kji"):
        write(tmp_path / "labels" / f"{name}.nii.gz", label, (1, 2, 5))
        write(tmp_path / "predictions" / f"{name}.nii.gz", np.roll(label, 1, axis), (1, 2, 5))
    rows = evaluate_folder(tmp_path / "predictions", tmp_path / "labels").rows
    assert {row.case: row.hd95 for row in rows} == {"i": 1, "j": 2, "k": 5}


def test_folders_are_matched_by_name(folders):
    progress = []
    evaluation = evaluate_folder(folders / "predictions", folders / "labels", progress=lambda *p: progress.append(p))
    assert [(r.case, r.name, r.dice) for r in evaluation.rows] == [("a", "class 3", 1), ("b", "class 3", 0.75)]
    assert progress == [(1, 2, "a"), (2, 2, "b")]
    evaluation.write(folders / "out")
    with open(folders / "out" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["a", "b"] and float(rows[1]["dice"]) == 0.75
    stored = json.loads((folders / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert stored["summary"]["mean"]["dice"]["mean"] == pytest.approx(0.875)
    assert stored["rows"][1]["volume_difference_ml"] == 0
    assert "0.875 +- 0.177" in evaluation.table()


def test_a_dataset_gives_names_and_only_predicted_cases_count(folders):
    cases = tuple(Case(n, (f"{n}.nrrd",), str(folders / "labels" / f"{n}.nii.gz"), "ignored") for n in "abc")
    Dataset("d", ("MR",), (SegmentClass("atrium", 3, (1, 1, 1)),), cases).save(folders / "dataset.json")
    write(folders / "predictions" / "x_seg.nii.gz", cube((4, 4, 4), (8, 8, 8)))
    evaluation = evaluate_folder(folders / "predictions", folders / "dataset.json")
    assert [(r.case, r.name) for r in evaluation.rows] == [("a", "atrium"), ("b", "atrium")]
    assert evaluation.notes == ("Predictions without a label: x.", "Labels without a prediction: c.")
    assert "Labels without a prediction: c." in evaluation.table()


def test_case_ids_may_end_like_predictions(tmp_path):
    for part, name in (
        ("labels", "x_seg"),
        ("labels", "y_regions"),
        ("predictions", "x_seg"),
        ("predictions", "y_regions_seg"),
    ):
        write(tmp_path / part / f"{name}.nii.gz", cube((4, 4, 4), (8, 8, 8)))
    evaluation = evaluate_folder(tmp_path / "predictions", tmp_path / "labels")
    assert [(r.case, r.dice) for r in evaluation.rows] == [("x_seg", 1), ("y_regions", 1)]
    assert evaluation.notes == ()


def test_a_labelmap_goes_before_an_image_of_the_same_case(folders):
    write(folders / "predictions" / "a.nii.gz", cube((0, 0, 0), (3, 3, 3), value=3), (1, 1, 2))
    evaluation = evaluate_folder(folders / "predictions", folders / "labels")
    assert [r.dice for r in evaluation.rows] == [1, 0.75] and evaluation.notes == ()


def test_a_label_without_prediction_is_a_note(folders):
    (folders / "predictions" / "b_seg.nii.gz").unlink()
    evaluation = evaluate_folder(folders / "predictions", folders / "labels")
    assert [(r.case, r.dice) for r in evaluation.rows] == [("a", 1)] and evaluation.failed == {}
    assert evaluation.notes == ("Labels without a prediction: b.",)


def test_no_match_names_what_is_there(folders):
    (folders / "labels" / "a.nii.gz").rename(folders / "labels" / "other.nii.gz")
    (folders / "labels" / "b.nii.gz").unlink()
    with pytest.raises(InputError, match="No prediction") as caught:
        evaluate_folder(folders / "predictions", folders / "labels")
    assert "Predictions: a, b. Labels: other." in caught.value.hint


def test_a_label_that_lies_elsewhere_does_not_stop_the_others(folders):
    write(folders / "predictions" / "b_seg.nii.gz", cube((4, 4, 4), (8, 8, 8), value=3), (1, 1, 2.5))
    evaluation = evaluate_folder(folders / "predictions", folders / "labels")
    assert [r.case for r in evaluation.rows] == ["a"] and list(evaluation.failed) == ["b"]
    assert "labels/b.nii.gz covers only a part of the image" in evaluation.failed["b"].replace("\\", "/")
    assert any(note.startswith("b is not measured: ") for note in evaluation.notes)
    evaluation.write(folders / "out")
    stored = json.loads((folders / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert list(stored["failed"]) == ["b"]


def test_nothing_that_can_be_measured_is_an_error(folders):
    for name in "ab":
        (folders / "predictions" / f"{name}_seg.nii.gz").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"No case can be measured\. .*a_seg\.nii\.gz cannot be read"):
        evaluate_folder(folders / "predictions", folders / "labels")


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        evaluate_folder(tmp_path / "no", tmp_path)


def test_files_instead_of_folders_are_refused(folders):
    prediction, label = folders / "predictions" / "a_seg.nii.gz", folders / "labels" / "a.nii.gz"
    with pytest.raises(InputError, match=r"a_seg\.nii\.gz is not a folder"):
        evaluate_folder(prediction, folders / "labels")
    with pytest.raises(InputError, match=r"a\.nii\.gz is neither a folder nor a dataset\.json"):
        evaluate_folder(folders / "predictions", label)


def test_empty_labels_need_a_dataset(folders):
    for name in "ab":
        write(folders / "labels" / f"{name}.nii.gz", cube((0, 0, 0), (0, 0, 0)), (1, 1, 2))
    assert [r.dice for r in evaluate_folder(folders / "predictions", folders / "labels").rows] == [0, 0]
    for name in "ab":
        write(folders / "predictions" / f"{name}_seg.nii.gz", cube((0, 0, 0), (0, 0, 0)), (1, 1, 2))
    with pytest.raises(InputError, match=r"All labels in .*labels are empty") as caught:
        evaluate_folder(folders / "predictions", folders / "labels")
    assert "dataset.json" in caught.value.hint


@pytest.mark.parametrize("named", [False, True])
def test_a_class_that_only_a_prediction_has_counts_as_an_error(folders, named):
    write(folders / "predictions" / "b_seg.nii.gz", cube((4, 4, 4), (8, 8, 8), value=7), (1, 1, 2))
    labels = folders / "labels"
    if named:
        cases = tuple(Case(n, (f"{n}.nrrd",), str(labels / f"{n}.nii.gz"), "ignored") for n in "ab")
        Dataset("d", ("MR",), (SegmentClass("atrium", 3, (1, 1, 1)),), cases).save(folders / "dataset.json")
        labels = folders / "dataset.json"
    evaluation = evaluate_folder(folders / "predictions", labels)
    known = "atrium" if named else "class 3"
    assert [(r.case, r.name, r.dice) for r in evaluation.rows] == [
        ("a", known, 1),
        ("a", "class 7", 1),  # neither has it
        ("b", known, 0),
        ("b", "class 7", 0),
    ]


# ---- labels are read as training reads them


@pytest.fixture
def one(tmp_path):
    """Makes a folder with one prediction, a cube of value 1 and one of value 2, 6 mm thick along each axis."""
    drawn = cube((2, 2, 2), (8, 8, 8)) + cube((8, 8, 8), (14, 14, 14), value=2)
    write(tmp_path / "predictions" / "a_seg.nii.gz", drawn, origin=(5, 6, 7))
    return tmp_path


def scores(folder, labels="labels"):
    evaluation = evaluate_folder(folder / "predictions", folder / labels)
    return {r.name: r.dice for r in evaluation.rows}, evaluation.notes


def test_a_cropped_segmentation_is_padded(one):
    metadata = segments(("one", 1), ("two", 2))
    write(one / "labels" / "a.seg.nrrd", np.ones((6, 6, 6), np.uint8), origin=(7, 8, 9), metadata=metadata)
    found, notes = scores(one)
    assert found == {"one": 1, "two": 0}
    assert notes == ("1 label(s) were brought onto the grid of the prediction: a.",)


def test_a_label_on_a_finer_grid(one):
    fine = np.kron(cube((2, 2, 2), (8, 8, 8)), np.ones((2, 2, 2), np.uint8))
    write(one / "labels" / "a.nii.gz", fine, (0.5, 0.5, 0.5), (4.75, 5.75, 6.75))
    assert scores(one)[0] == {"class 1": 1, "class 2": 0}


def test_a_header_that_was_rounded(one):
    write(one / "labels" / "a.nii.gz", cube((2, 2, 2), (8, 8, 8)), (1.0001, 1, 1), (5.004, 6, 7))
    assert scores(one)[0] == {"class 1": 1, "class 2": 0}


@pytest.mark.parametrize("known", [True, False])
def test_segments_and_predictions_are_compared_by_name(one, known):
    """The label numbers its segments otherwise; only the file beside the prediction says what 1 and 2 are there."""
    if known:
        (one / "predictions" / "a.json").write_text(json.dumps({"model": "m", "classes": {"two": 1, "one": 2}}))
    drawn = cube((2, 2, 2), (8, 8, 8)) + cube((8, 8, 8), (14, 14, 14), value=2)
    metadata = segments(("two", 1), ("one", 2)) if known else segments(("one", 1), ("two", 2))
    write(one / "labels" / "a.seg.nrrd", drawn, origin=(5, 6, 7), metadata=metadata)
    assert scores(one)[0] == {"one": 1, "two": 1}


def test_the_prediction_names_the_values_of_plain_labels(one):
    (one / "predictions" / "a.json").write_text(json.dumps({"model": "m", "classes": {"liver": 1, "spleen": 2}}))
    write(one / "labels" / "a.nii.gz", cube((2, 2, 2), (8, 8, 8)), origin=(5, 6, 7))
    assert scores(one)[0] == {"liver": 1, "spleen": 0}


def test_a_data_set_with_other_names_is_compared_by_value(one):
    (one / "predictions" / "a.json").write_text(json.dumps({"model": "m", "classes": {"class 1": 1, "class 2": 2}}))
    write(one / "labels" / "a.nii.gz", cube((2, 2, 2), (8, 8, 8)), origin=(5, 6, 7))
    case = Case("a", ("a.nrrd",), str(one / "labels" / "a.nii.gz"), "labelled")
    Dataset("d", ("MR",), TWO, (case,)).save(one / "dataset.json")
    assert scores(one, "dataset.json")[0] == {"one": 1, "two": 0}


def test_ignored_segments_and_mapped_values_do_not_count(one):
    drawn = np.where(cube((2, 2, 2), (8, 8, 8)), 300, 0).astype(np.int16)
    drawn[8:, 8:, 8:] = -1
    write(one / "labels" / "a.nii.gz", drawn, origin=(5, 6, 7))
    case = Case("a", ("a.nrrd",), str(one / "labels" / "a.nii.gz"), "labelled")
    Dataset("d", ("MR",), TWO, (case,), -1, {300: 1}).save(one / "dataset.json")
    assert scores(one, "dataset.json")[0] == {"one": 1, "two": 1}, "two lies in voxels that are ignored"


def test_a_folder_with_images_and_labels_in_any_layout(one):
    write(one / "data" / "a.nii.gz", cube((2, 2, 2), (8, 8, 8)), origin=(5, 6, 7))
    write(one / "data" / "a_label.nii.gz", cube((2, 2, 2), (8, 8, 8)), origin=(5, 6, 7))
    write(one / "raw" / "imagesTs" / "a_0000.nii.gz", cube((2, 2, 2), (8, 8, 8)), origin=(5, 6, 7))
    write(one / "raw" / "labelsTs" / "a.nii.gz", cube((2, 2, 2), (8, 8, 8)), origin=(5, 6, 7))
    (one / "raw" / "dataset.json").write_text('{"labels": {"background": 0, "11": 1}}')
    assert scores(one, "data")[0] == {"class 1": 1, "class 2": 0}
    assert scores(one, "raw")[0] == scores(one, "raw/dataset.json")[0] == {"11": 1, "class 2": 0}
    assert scores(one, "raw/labelsTs")[0] == {"class 1": 1, "class 2": 0}


def test_bad_files_cost_only_their_case(one):
    for name in "bcdef":
        write(one / "predictions" / f"{name}_seg.nii.gz", cube((2, 2, 2), (8, 8, 8)), origin=(5, 6, 7))
    for name in "abcdef":
        write(one / "labels" / f"{name}.nii.gz", cube((2, 2, 2), (8, 8, 8)), origin=(5, 6, 7))
    (one / "labels" / "b.nii.gz").write_bytes(b"junk")
    (one / "predictions" / "c_seg.nii.gz").write_bytes(b"junk")
    write(one / "labels" / "d.nii.gz", 0.5 * cube((2, 2, 2), (8, 8, 8)), origin=(5, 6, 7))
    write(one / "predictions" / "e_seg.nii.gz", np.arange(14**3, dtype=np.int16).reshape(14, 14, 14), origin=(5, 6, 7))
    evaluation = evaluate_folder(one / "predictions", one / "labels")
    assert {r.case for r in evaluation.rows} == {"a", "f"} and sorted(evaluation.failed) == ["b", "c", "d", "e"]
    assert "it is no labelmap" in evaluation.failed["e"] and "not whole numbers" in evaluation.failed["d"]
    assert len(evaluation.notes) <= 4


def test_ids_are_those_of_predict(tmp_path):
    write(tmp_path / "labels" / "summary.nii.gz", cube((2, 2, 2), (8, 8, 8)))
    write(tmp_path / "labels" / "x" / "b_label.nii.gz", cube((2, 2, 2), (8, 8, 8)))
    for name in ("summary-2", "x_b"):
        write(tmp_path / "predictions" / f"{name}_seg.nii.gz", cube((2, 2, 2), (8, 8, 8)))
    evaluation = evaluate_folder(tmp_path / "predictions", tmp_path / "labels")
    assert [r.dice for r in evaluation.rows] == [1, 1] and evaluation.notes == ()
