import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from metassl.data import checking
from metassl.data.checking import check_dataset
from metassl.data.dataset import IGNORE, Case, Dataset, SegmentClass
from metassl.data.labels import read_label
from metassl.data.reading import UnusableCase, read_images
from metassl.errors import InputError, Stopped
from volumes import SIZE, grey, label, segments, write, write_dicom

LIVER, TUMOUR = SegmentClass("Liver", 1, (255, 0, 0)), SegmentClass("Tumour", 2, (0, 255, 0))


def dataset(*cases, classes=(LIVER, TUMOUR), channels=("MR",), ignore_value=None):
    return Dataset("test", channels, classes, cases, ignore_value)


@pytest.fixture
def good(tmp_path):
    """A labelled case without any problem."""
    image, annotation = write(tmp_path / "good.nrrd", grey(99)), write(tmp_path / "good_seg.nrrd", label(1, 2))
    return Case("good", (str(image),), str(annotation), "labelled")


def unlabelled(*paths, name="bad"):
    return Case(name, tuple(map(str, paths)))


def refusal(case, good, **kwargs):
    """The one problem of a case that must be excluded; the other case must stay."""
    report = check_dataset(dataset(good, case, **kwargs))
    (problem,) = report.problems
    assert problem.case_id == case.id and problem.severity == "excluded" and problem.remedy
    assert [c.role for c in report.usable_dataset().cases] == [good.role, "ignored"]
    return problem.code, problem.message


def label_refusal(good, tmp_path, array, name="bad_seg.nrrd", reference=None, **kwargs):
    """Code and message of a label that must be refused for a good image."""
    image = reference or write(tmp_path / "bad.nrrd", grey(1))
    bad = write(tmp_path / name, array, **kwargs)
    return refusal(Case("bad", (str(image),), str(bad), "labelled"), good)


def test_a_good_data_set_has_no_findings(good):
    report = check_dataset(dataset(good))
    assert report.problems == () and report.usable_dataset() == report.dataset
    assert report.text() == "Checked: 1. Usable: 1. Found: no problems."


def test_missing_file(good, tmp_path):
    code, message = refusal(unlabelled(tmp_path / "gone.nrrd"), good)
    assert code == "missing-file" and message == f"{tmp_path / 'gone.nrrd'} does not exist."


def test_missing_label_file(good, tmp_path):
    image = write(tmp_path / "a.nrrd", grey(1))
    code, message = refusal(Case("a", (str(image),), str(tmp_path / "gone.nrrd"), "hold-out"), good)
    assert code == "missing-file" and "gone.nrrd does not exist" in message


@pytest.mark.parametrize("content", [b"", b"not an image", gzip.compress(b"\0" * 400, mtime=0)])
def test_unreadable_file(good, tmp_path, content):
    (tmp_path / "bad.nii.gz").write_bytes(content)
    code, message = refusal(unlabelled(tmp_path / "bad.nii.gz"), good)
    assert code == "unreadable" and "bad.nii.gz cannot be read as an image" in message


def test_truncated_file(good, tmp_path):
    path = write(tmp_path / "bad.nrrd", grey(1))
    path.write_bytes(path.read_bytes()[:-300])
    code, message = refusal(unlabelled(path), good)
    assert code == "unreadable" and message == f"{path} ends before its last voxel."


@pytest.mark.parametrize("size", [(9, 9), (1, 9, 9)])
def test_a_single_slice_among_volumes(good, tmp_path, size):
    report = check_dataset(dataset(good, unlabelled(write(tmp_path / "flat.nii.gz", grey(1, size)))))
    (problem,) = report.problems
    assert (problem.severity, problem.code) == ("stop", "mixture")
    assert problem.message == "The data set mixes single slices (bad) and volumes (good)."


def test_a_label_may_be_a_single_slice(tmp_path):
    image = write(tmp_path / "a.nrrd", grey(1))
    drawn = np.zeros(SIZE, np.uint8)
    drawn[4, 2:5, 2:5] = 1
    cropped = write(tmp_path / "a.seg.nrrd", drawn[4:5], origin=(0, 0, 4), metadata=segments(("Liver", 1)))
    assert np.array_equal(read_label(cropped, dataset(), sitk.ReadImage(str(image))), drawn)


def test_4d_image(good, tmp_path):
    code, message = refusal(unlabelled(write(tmp_path / "time.nii.gz", grey(1, (3, *SIZE)))), good)
    assert code == "4d" and "time.nii.gz is 4D with 3 volumes, expected 1" in message


def test_vector_image(good, tmp_path):
    path = write(tmp_path / "rgb.nrrd", grey(1, (*SIZE, 3)), vector=True)
    code, message = refusal(unlabelled(path), good)
    assert code == "vector" and "rgb.nrrd has 3 values per voxel" in message


def test_complex_image(good, tmp_path):
    path = write(tmp_path / "k.mha", grey(1).astype(np.complex64))
    code, message = refusal(unlabelled(path), good)
    assert code == "vector" and "k.mha has 2 values per voxel (a colour, complex or vector image)" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite_image(good, tmp_path, value):
    array = grey(1)
    array[0, 0, 0] = value
    code, message = refusal(unlabelled(write(tmp_path / "nan.nrrd", array)), good)
    assert code == "not-finite" and "nan.nrrd has voxels that are not numbers (NaN) or infinite" in message


def test_constant_image(good, tmp_path):
    code, message = refusal(unlabelled(write(tmp_path / "c.nrrd", np.full(SIZE, 7, np.int16))), good)
    assert code == "constant" and "c.nrrd is constant: every voxel is 7" in message


def test_tiny_volume(good, tmp_path):
    code, message = refusal(unlabelled(write(tmp_path / "thin.nrrd", grey(1, (3, 9, 9)))), good)
    assert code == "tiny" and "thin.nrrd has 9 x 9 x 3 voxels; at least 4 along every axis" in message


def test_huge_volume_is_refused_by_its_header(good, tmp_path):
    (tmp_path / "huge.nhdr").write_text(
        "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 2000 1000 1000\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nencoding: raw\nspace origin: (0,0,0)\ndata file: huge.raw\n"
    )
    with open(tmp_path / "huge.raw", "wb") as file:
        file.truncate(2_000_000_000)  # sparse: takes no disk
    code, message = refusal(unlabelled(tmp_path / "huge.nhdr"), good)
    assert code == "huge" and "huge.nhdr has 2000 x 1000 x 1000 voxels, more than 1.5 billion" in message


def test_large_volume_is_warned_of(good, monkeypatch):
    monkeypatch.setattr(checking, "MANY_VOXELS", 300)
    (problem,) = check_dataset(dataset(good)).problems
    assert (problem.severity, problem.code) == (
        "warning",
        "large",
    ) and "very large (8 x 7 x 6 voxels)" in problem.message


@pytest.mark.parametrize("spacing, shown", [("0 1 1", "0 x 1 x 1"), ("nan 1 1", "0 x 0 x 0"), ("-2 1 1", "-2 x 1 x 1")])
def test_impossible_spacing(good, tmp_path, spacing, shown):
    code, message = refusal(unlabelled(write_mha(tmp_path / "s.mha", spacing=spacing)), good)
    assert code == "spacing" and f"s.mha has the impossible voxel spacing {shown} mm" in message


@pytest.mark.parametrize("matrix", ["1 0 0 1 0 0 0 0 1", "nan 0 0 0 1 0 0 0 1"])
def test_singular_direction(good, tmp_path, matrix):
    code, message = refusal(unlabelled(write_mha(tmp_path / "d.mha", matrix=matrix)), good)
    assert code == "direction" and "d.mha has axis directions that span no volume" in message


def test_impossible_origin(good, tmp_path):
    path = write(tmp_path / "o.nii", grey(1))
    content = bytearray(path.read_bytes())
    for field in (268, 292):  # qoffset_x and the last entry of srow_x
        struct.pack_into("<f", content, field, float("nan"))
    path.write_bytes(content)
    code, message = refusal(unlabelled(path), good)
    assert code == "origin" and "o.nii has the impossible origin (nan, 0.0, 0.0)" in message


def test_a_fourth_axis_without_length_is_no_problem(tmp_path):
    path = write(tmp_path / "stack.nii", grey(1, (2, *SIZE)))
    content = bytearray(path.read_bytes())
    struct.pack_into("<f", content, 92, 0.0)  # pixdim[4]
    path.write_bytes(content)
    assert [image.GetSize() for image in read_images(unlabelled(path, path))] == [(8, 7, 6)] * 2


def write_mha(path, spacing="1 1 1", matrix="1 0 0 0 1 0 0 0 1"):
    """A MetaImage with a header that SimpleITK would not write."""
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
        f"TransformMatrix = {matrix}\nOffset = 0 0 0\nElementSpacing = {spacing}\nDimSize = 4 4 4\n"
        "ElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    path.write_bytes(header.encode() + bytes(range(64)))
    return path


@pytest.fixture
def good_pair(tmp_path):
    """A labelled case with two channels."""
    images = [write(tmp_path / f"good_000{c}.nrrd", grey(90 + c)) for c in (0, 1)]
    annotation = write(tmp_path / "pair_seg.nrrd", label(1, 2))
    return Case("good", tuple(map(str, images)), str(annotation), "labelled")


def test_missing_channel(good_pair, tmp_path):
    bad = unlabelled(write(tmp_path / "a_0000.nrrd", grey(1)), tmp_path / "a_0001.nrrd")
    code, message = refusal(bad, good_pair, channels=("T1", "T2"))
    assert code == "missing-channel" and message.startswith("Channel 2 of 2 is missing:") and "a_0001.nrrd" in message


def test_one_channel_where_two_are_expected(good_pair, tmp_path):
    path = write(tmp_path / "a.nrrd", grey(1))
    code, message = refusal(unlabelled(path, path), good_pair, channels=("T1", "T2"))
    assert code == "missing-channel" and "a.nrrd holds one channel, but the data set has 2" in message


@pytest.mark.parametrize("other", [{"size": (6, 7, 9)}, {"origin": (0, 0, 5)}, {"spacing": (1, 1, 2)}])
def test_channels_with_different_geometry(good_pair, tmp_path, other):
    first = write(tmp_path / "a_0000.nrrd", grey(1))
    second = write(tmp_path / "a_0001.nrrd", grey(2, other.pop("size", SIZE)), **other)
    code, message = refusal(unlabelled(first, second), good_pair, channels=("T1", "T2"))
    assert code == "channel-geometry" and "a_0001.nrrd do not lie on the same grid" in message


def test_channels_with_rounded_headers_get_the_same_geometry(tmp_path):
    first = write(tmp_path / "a_0000.nrrd", grey(1), spacing=(0.7, 0.7, 3))
    second = write(tmp_path / "a_0001.nrrd", grey(2), spacing=(0.7001, 0.7, 3), origin=(0.01, 0, 0))
    images = read_images(unlabelled(first, second))
    assert [i.GetSpacing() for i in images] == [(0.7, 0.7, 3)] * 2 and images[1].GetOrigin() == (0, 0, 0)
    assert np.array_equal(sitk.GetArrayFromImage(images[1]), grey(2))


@pytest.mark.parametrize("vector", [False, True])
def test_channels_stacked_in_one_file(tmp_path, vector):
    array = grey(1, (2, *SIZE))
    stored = np.moveaxis(array, 0, -1) if vector else array
    path = write(tmp_path / "stack.nrrd", stored, spacing=(1, 2, 3), origin=(4, 5, 6), vector=vector)
    images = read_images(unlabelled(path, path))
    assert [i.GetSpacing() for i in images] == [(1, 2, 3)] * 2 and images[1].GetOrigin() == (4, 5, 6)
    assert np.array_equal([sitk.GetArrayFromImage(i) for i in images], array)


def test_images_are_float32_volumes(tmp_path):
    path = write(tmp_path / "int.nii.gz", np.arange(125, dtype=np.int16).reshape(5, 5, 5))
    (image,) = read_images(unlabelled(path))
    assert image.GetPixelID() == sitk.sitkFloat32 and image[4, 4, 4] == 124


def test_dicom_series(tmp_path):
    folder = write_dicom(tmp_path / "series", np.arange(125).reshape(5, 5, 5))
    (image,) = read_images(unlabelled(folder))
    assert image.GetSize() == (5, 5, 5) and image.GetSpacing() == (1, 1, 2) and image[4, 4, 4] == 124


def test_folder_without_a_series(good, tmp_path):
    (tmp_path / "empty").mkdir()
    code, message = refusal(unlabelled(tmp_path / "empty"), good)
    assert code == "unreadable" and "empty holds 0 DICOM series, expected one" in message


# ---- labels


def read(path, reference_size=SIZE, **kwargs):
    reference = sitk.GetImageFromArray(np.zeros(reference_size, np.float32))
    return read_label(path, dataset(**kwargs), reference)


def test_label_values_become_class_indices(tmp_path):
    classes = (SegmentClass("a", 7, (1, 1, 1)), SegmentClass("b", 3, (2, 2, 2)))
    found = read(write(tmp_path / "l.nii.gz", label(3, 7, 0, 9)), classes=classes, ignore_value=9)
    assert found.dtype == np.uint8 and found.shape == SIZE
    assert found.ravel()[:5].tolist() == [2, 1, 0, IGNORE, 0]


def test_label_values_outside_the_classes(good, tmp_path):
    code, message = label_refusal(good, tmp_path, label(1, 5, 9))
    assert code == "label-values" and message.endswith("bad_seg.nrrd has values outside the classes: 5, 9.")


def test_negative_label_values(good, tmp_path):
    code, message = label_refusal(good, tmp_path, label(1).astype(np.int16) - 1)
    assert code == "label-values" and message.endswith("values outside the classes: -1.")


def test_float_label_of_whole_numbers_is_fixed(good, tmp_path):
    path = write(tmp_path / "f.nrrd", label(1, 2).astype(np.float64))
    case = Case("float", (str(write(tmp_path / "i.nrrd", grey(3))),), str(path), "labelled")
    report = check_dataset(dataset(good, case))
    assert [(p.case_id, p.severity, p.code) for p in report.problems] == [("float", "fixed", "label-float")]
    assert report.usable_dataset().with_role("labelled") == (good, case)
    assert read(path).ravel()[:3].tolist() == [1, 2, 0]


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_float_label_of_fractions(good, tmp_path, value):
    array = label(1).astype(np.float32)
    array[-1, -1, -1] = value
    code, message = label_refusal(good, tmp_path, array)
    assert code == "label-not-whole" and "bad_seg.nrrd has values that are not whole numbers" in message


def test_4d_label(good, tmp_path):
    code, message = label_refusal(good, tmp_path, np.stack([label(1), label(2)]), "bad_seg.nii.gz")
    assert code == "4d" and "bad_seg.nii.gz is 4D with 2 volumes" in message


def test_vector_label(good, tmp_path):
    code, message = label_refusal(good, tmp_path, np.stack([label(1), label(2)], -1), vector=True)
    assert code == "vector" and "bad_seg.nrrd has 2 values per voxel" in message


def test_unreadable_label(good, tmp_path):
    image = write(tmp_path / "a.nrrd", grey(1))
    (tmp_path / "a_seg.nrrd").write_text("nonsense")
    code, message = refusal(Case("a", (str(image),), str(tmp_path / "a_seg.nrrd"), "labelled"), good)
    assert code == "unreadable" and "a_seg.nrrd cannot be read as an image" in message


def test_the_label_of_an_unlabelled_case_is_not_read(good, tmp_path):
    image = write(tmp_path / "a.nrrd", grey(1))
    case = Case("a", (str(image),), str(tmp_path / "gone.nrrd"), "unlabelled")
    assert check_dataset(dataset(good, case)).problems == ()


def test_empty_label_is_warned_of(good, tmp_path):
    image, empty = write(tmp_path / "e.nrrd", grey(1)), write(tmp_path / "e_seg.nrrd", label())
    report = check_dataset(dataset(good, Case("e", (str(image),), str(empty), "labelled")))
    (problem,) = report.problems
    assert (problem.case_id, problem.severity, problem.code) == ("e", "warning", "label-empty")
    assert "e_seg.nrrd is empty" in problem.message and len(report.usable_dataset().with_role("labelled")) == 2


# ---- label geometry


def test_small_header_difference_is_fixed(good, tmp_path):
    image = write(tmp_path / "a.nrrd", grey(1), spacing=(2, 2, 2))
    shifted = write(tmp_path / "a_seg.nrrd", label(1, 2), spacing=(2, 2, 2), origin=(0.4, 0, 0))
    case = Case("a", (str(image),), str(shifted), "labelled")
    (problem,) = check_dataset(dataset(good, case)).problems[:1]
    assert (problem.severity, problem.code) == ("fixed", "label-resampled")
    assert "header differs from the image's by 0.2 voxels" in problem.message
    found = read_label(shifted, dataset(), read_images(case)[0])
    assert np.array_equal(found, label(1, 2))


def test_label_on_a_coarser_grid_is_resampled(good, tmp_path):
    image = write(tmp_path / "a.nrrd", grey(1, (8, 8, 8)))
    coarse = np.zeros((4, 4, 4), np.uint8)
    coarse[1, 2, 3] = 2
    path = write(tmp_path / "a_seg.nrrd", coarse, spacing=(2, 2, 2), origin=(0.5, 0.5, 0.5))
    case = Case("a", (str(image),), str(path), "labelled")
    (problem,) = check_dataset(dataset(good, case)).problems
    assert problem.severity == "fixed" and "grid of its own (4 x 4 x 4 voxels, the image 8 x 8 x 8)" in problem.message
    expected = np.zeros((8, 8, 8), np.uint8)
    expected[2:4, 4:6, 6:8] = 2
    assert np.array_equal(read_label(path, dataset(), read_images(case)[0]), expected)


def test_label_with_flipped_axes_in_the_same_place_is_resampled(tmp_path):
    array = grey(1)
    image = write(tmp_path / "a.nrrd", array)
    annotation = label(1, 2)
    path = write(tmp_path / "a_seg.nrrd", annotation[:, :, ::-1], origin=(7, 0, 0), direction=np.diag([-1, 1, 1]))
    found = read_label(path, dataset(), sitk.ReadImage(str(image)))
    assert np.array_equal(found, annotation)


def test_label_elsewhere(good, tmp_path):
    code, message = label_refusal(good, tmp_path, label(1), origin=(100, 0, 0))
    assert code == "label-geometry" and "bad_seg.nrrd does not overlap the image" in message
    assert "from (100, 0, 0) mm" in message


@pytest.mark.parametrize(
    "header",
    [
        {"origin": (3, 0, 0)},
        {"direction": [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]},
        {"spacing": (0.5, 0.5, 0.5)},
        {"direction": np.diag([-1, 1, 1])},
    ],
)
def test_label_with_another_header_of_the_same_size(good, tmp_path, header):
    code, message = label_refusal(good, tmp_path, label(1), **header)
    assert code == "label-geometry" and "bad_seg.nrrd covers only a part of the image" in message


# ---- .seg.nrrd


def test_segments_are_read_by_name(tmp_path):
    path = write(tmp_path / "s.seg.nrrd", label(1, 2), metadata=segments(("tumour ", 1), ("Liver", 2)))
    assert read(path).ravel()[:3].tolist() == [2, 1, 0]


def test_a_segment_without_a_class_is_read_by_value(good, tmp_path):
    image = write(tmp_path / "a.nrrd", grey(1))
    path = write(tmp_path / "a.seg.nrrd", label(1, 2), metadata=segments(("Liver", 1), ("Lesion", 2)))
    (problem,) = check_dataset(dataset(good, Case("a", (str(image),), str(path), "labelled"))).problems
    assert problem.code == "label-name" and "'Lesion' is not one of the classes" in problem.message
    assert "by its value it is read as 'Tumour'" in problem.message
    assert read(path).ravel()[:3].tolist() == [1, 2, 0]


def test_a_value_is_not_taken_for_a_class_that_the_file_names(good, tmp_path):
    metadata = segments(("Tumour", 1), ("Cyst", 2))
    code, message = label_refusal(good, tmp_path, label(1, 2), "bad.seg.nrrd", metadata=metadata)
    assert code == "label-values" and message.endswith("bad.seg.nrrd has values outside the classes: 2 (Cyst).")


def test_a_cropped_segmentation_is_padded_with_background(tmp_path):
    path = write(tmp_path / "s.seg.nrrd", label(1, size=(2, 2, 2)), origin=(3, 2, 1), metadata=segments(("Liver", 1)))
    expected = np.zeros(SIZE, np.uint8)
    expected[1, 2, 3] = 1
    assert np.array_equal(read(path), expected)


def layered(path, second):
    array = np.stack([label(1, 1), second], -1)
    return write(path, array, vector=True, metadata=segments(("Liver", 1), ("Tumour", 1), layers=(0, 1)))


def test_layers_that_do_not_overlap_are_joined(tmp_path):
    path = layered(tmp_path / "s.seg.nrrd", label(0, 0, 1))
    assert read(path).ravel()[:4].tolist() == [1, 1, 2, 0]


def test_overlapping_segments(good, tmp_path):
    image = write(tmp_path / "a.nrrd", grey(1))
    path = layered(tmp_path / "a.seg.nrrd", label(0, 1))
    code, message = refusal(Case("a", (str(image),), str(path), "labelled"), good)
    assert code == "overlap" and "a.seg.nrrd has overlapping segments" in message


def test_damaged_segment_metadata(good, tmp_path):
    metadata = segments(("Liver", "one"))
    code, message = label_refusal(good, tmp_path, label(1), "bad.seg.nrrd", metadata=metadata)
    assert code == "unreadable" and "bad.seg.nrrd describes segment 0 in a damaged way" in message


# ---- the data set as a whole


def copies(tmp_path, first_role, second_role):
    """The duplicate finding of two cases with equal voxels."""
    cases = [
        Case(
            name,
            (str(write(tmp_path / f"{name}.nrrd", grey(5))),),
            str(write(tmp_path / f"{name}_seg.nrrd", label(1, 2))),
            role,
        )
        for name, role in (("a", first_role), ("b", second_role))
    ]
    (problem,) = [p for p in check_dataset(dataset(*cases)).problems if p.severity != "stop"]
    assert (problem.case_id, problem.severity) == ("b", "warning")
    assert f"same voxels as that of case a ({first_role}; this one is {second_role})" in problem.message
    return problem.code, problem.message


def test_the_same_image_labelled_and_hold_out_is_a_leak(tmp_path):
    code, message = copies(tmp_path, "labelled", "hold-out")
    assert code == "leak" and "its result means nothing" in message


def test_the_same_image_twice_in_hold_out_is_a_leak(tmp_path):
    assert copies(tmp_path, "hold-out", "hold-out")[0] == "leak"


def test_the_same_image_labelled_and_unlabelled(tmp_path):
    code, message = copies(tmp_path, "labelled", "unlabelled")
    assert code == "duplicate" and "labelled and unlabelled at once" in message


def test_the_same_image_twice(tmp_path):
    code, message = copies(tmp_path, "labelled", "labelled")
    assert code == "duplicate" and "it counts twice" in message


def test_mixed_spacing(good, tmp_path):
    same = [unlabelled(write(tmp_path / f"{n}.nrrd", grey(n)), name=str(n)) for n in range(2)]
    thick = unlabelled(write(tmp_path / "thick.nrrd", grey(8), spacing=(1, 1, 2.5)), name="thick")
    (problem,) = check_dataset(dataset(good, *same, thick)).problems
    assert (problem.case_id, problem.severity, problem.code) == ("thick", "warning", "mixed-spacing")
    assert "1 x 1 x 2.5 mm differs by more than 2x from the data set's median 1 x 1 x 1 mm" in problem.message


def test_another_slice_direction_is_not_mixed_spacing(tmp_path):
    axial = write(tmp_path / "axial.nrrd", grey(1), spacing=(1, 1, 5))
    sagittal = write(
        tmp_path / "sagittal.nrrd", grey(2), spacing=(1, 5, 1), direction=[[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    )
    annotation = write(tmp_path / "l.nrrd", label(1, 2), spacing=(1, 1, 5))
    cases = (Case("axial", (str(axial),), str(annotation), "labelled"), unlabelled(sagittal))
    assert check_dataset(dataset(*cases)).problems == ()


def test_no_usable_labelled_case_stops(good, tmp_path):
    (tmp_path / "good_seg.nrrd").unlink()
    report = check_dataset(dataset(good))
    assert [p.severity for p in report.problems] == ["excluded", "stop"]
    with pytest.raises(InputError, match="No labelled case can be used") as error:
        report.usable_dataset()
    assert "Correct the problems above" in error.value.hint


def test_a_class_without_voxels_is_warned_of(good):
    third = SegmentClass("Cyst", 3, (1, 1, 1))
    report = check_dataset(dataset(good, classes=(LIVER, TUMOUR, third)))
    (problem,) = report.problems
    assert (problem.case_id, problem.severity, problem.code) == (None, "warning", "missing-class")
    assert "The class 'Cyst' (value 3) occurs in no usable labelled case" in problem.message
    assert report.usable_dataset() == report.dataset


def test_labels_that_are_all_empty_stop(good, tmp_path):
    write(tmp_path / "good_seg.nrrd", label())
    with pytest.raises(InputError, match="The labels of all labelled cases are empty") as error:
        check_dataset(dataset(good)).usable_dataset()
    assert "Annotate a structure" in error.value.hint


def test_progress_and_ignored_cases(good, tmp_path):
    ignored = Case("ignored", (str(tmp_path / "gone.nrrd"),), None, "ignored")
    other = unlabelled(write(tmp_path / "o.nrrd", grey(1)), name="other")
    calls = []
    report = check_dataset(dataset(good, ignored, other), progress=lambda *call: calls.append(call))
    assert calls == [(1, 2, "good"), (2, 2, "other")] and report.problems == ()


def test_a_check_can_be_stopped(good):
    with pytest.raises(Stopped, match="check was stopped"):
        check_dataset(dataset(good), should_stop=lambda: True)


def test_report_as_text_and_dictionary(good, tmp_path):
    image, empty = write(tmp_path / "e.nrrd", grey(1)), write(tmp_path / "e_seg.nrrd", label())
    cases = (good, Case("e", (str(image),), str(empty), "labelled"), unlabelled(tmp_path / "gone.nrrd"))
    report = check_dataset(dataset(*cases))
    lines = report.text().splitlines()
    assert lines[0] == "Case bad" and lines[1].startswith("  excluded: ") and lines[1].endswith("does not exist.")
    assert lines[3] == "Case e" and lines[4].startswith("  warning: The label ")
    assert lines[-1] == "Checked: 3. Usable: 2. Found: 1 excluded, 1 warning."
    content = report.to_dict()
    assert content["cases"] == 3 and content["excluded"] == ["bad"]
    assert content["problems"][0]["code"] == "label-empty" and content["problems"][1]["case_id"] == "bad"
    assert set(content["measured"]) == {good.id, "e"}
    facts = content["measured"][good.id]
    assert tuple(facts["size"]) == SIZE[::-1] and len(facts["spacing"]) == 3
    assert facts["labels"] == [c.value for c in dataset(*cases).classes] and content["measured"]["e"]["labels"] == []


def test_reading_and_checking_refuse_with_the_same_error(tmp_path):
    path = write(tmp_path / "c.nrrd", np.zeros(SIZE))
    with pytest.raises(UnusableCase, match="is constant: every voxel is 0") as error:
        read_images(unlabelled(path))
    assert error.value.exit_code == 2 and error.value.code == "constant" and error.value.hint


@pytest.mark.parametrize("name", ["cut.nii", "cut.nii.gz"])
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_nifti_file_that_was_cut_off_is_refused(tmp_path, good, name, share):
    path = write(tmp_path / name, grey(3))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    code, message = refusal(unlabelled(path), good)
    assert code == "unreadable" and message == f"{path} ends before its last voxel."


def test_a_nifti_file_compressed_in_parts_is_read(tmp_path):
    plain, parts = write(tmp_path / "a.nii", grey(3)), tmp_path / "b.nii.gz"
    content = plain.read_bytes()
    parts.write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]))
    first, second = (sitk.GetArrayFromImage(read_images(unlabelled(p))[0]) for p in (plain, parts))
    assert np.array_equal(first, second)
