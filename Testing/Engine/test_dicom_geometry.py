"""DICOM series whose slices are no volume, or not the one that they seem to be."""

import numpy as np
import pytest
import SimpleITK as sitk
from metassl.data.checking import check_dataset
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.data.images import read_image
from metassl.data.reading import UnusableCase, read_images
from volumes import write_dicom

PLANES = np.arange(8 * 7 * 6).reshape(8, 7, 6)


def slices(folder, positions, planes=PLANES, orientation=(1, 0, 0, 0, 1, 0), series="1.2.3", spacing=(1.0, 1.0)):
    """A CT series: a slice of the array (z, y, x) at every position (x, y, z)."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, (plane, position) in enumerate(zip(planes.astype(np.int16), positions)):
        image = sitk.GetImageFromArray(plane[None])
        image.SetSpacing((*spacing, 2.0))
        tags = {
            "0008|0018": f"{series}.{number + 1}",
            "0008|0060": "CT",
            "0020|000e": series,
            "0020|0013": str(number),
            "0020|0032": "\\".join(f"{x:.6f}" for x in position),
            "0020|0037": "\\".join(f"{x:.6f}" for x in orientation),
        }
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{series}-{number:03d}.dcm"))
        writer.Execute(image)
    return folder


def stack(*depths):
    return [(0, 0, z) for z in depths]


def refusal(folder):
    """Code and message of the refusal; reading and checking agree on it."""
    case = Case("a", (str(folder),))
    with pytest.raises(UnusableCase) as error:
        read_images(case)
    report = check_dataset(Dataset("d", ("CT",), (SegmentClass("x", 1, (1, 1, 1)),), (case,)))
    problem = report.problems[0]
    assert (problem.severity, problem.code, problem.message) == ("excluded", error.value.code, str(error.value))
    assert problem.remedy == error.value.hint != ""
    return error.value.code, str(error.value)


def test_slices_are_stacked_by_their_positions_whatever_their_names(tmp_path):
    order = [3, 0, 7, 1, 6, 2, 5, 4]
    folder = slices(tmp_path / "a", stack(*(2.5 * n for n in order)), PLANES[order])
    (image,) = read_images(Case("a", (str(folder),)))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), PLANES)
    assert image.GetSpacing() == (1, 1, 2.5) and image.GetMetaData("0008|0060") == "CT"


def test_an_oblique_series_lies_where_its_slices_say(tmp_path):
    angle = np.radians(40)
    rows, columns = np.array((1, 0, 0)), np.array((0, np.cos(angle), np.sin(angle)))
    normal = np.cross(rows, columns)
    folder = slices(tmp_path / "a", [10 * rows + 3 * n * normal for n in range(8)], orientation=[*rows, *columns])
    (image,) = read_images(Case("a", (str(folder),)))
    direction = np.reshape(image.GetDirection(), (3, 3))
    np.testing.assert_allclose(direction, np.column_stack([rows, columns, normal]), atol=1e-5)
    np.testing.assert_allclose(image.GetSpacing(), (1, 1, 3), atol=1e-5)
    np.testing.assert_allclose(image.GetOrigin(), (10, 0, 0), atol=1e-5)


@pytest.mark.parametrize(
    ("depths", "what"),
    [
        ((0, 2, 4, 6, 12, 14, 16, 18), "slices at unequal distances, 2 to 6 mm: 2 seem to be missing"),
        ((0, 2, 4, 6, 8, 10, 12, 16), "slices at unequal distances, 2 to 4 mm: 1 seem to be missing"),
        ((0, 2, 4, 6, 9, 12, 15, 18), "slices at unequal distances, 2 to 3 mm."),
    ],
)
def test_missing_slices_and_unequal_distances_are_refused(tmp_path, depths, what):
    code, message = refusal(slices(tmp_path / "a", stack(*depths)))
    assert code == "slices-apart" and what in message


def test_positions_off_by_rounding_are_read(tmp_path):
    folder = slices(tmp_path / "a", stack(0, 2, 4.1, 6, 8.1, 10, 11.9, 14))
    (image,) = read_images(Case("a", (str(folder),)))
    assert image.GetSpacing()[2] == pytest.approx(2)


def test_a_tilted_gantry_is_refused_and_sent_to_slicer(tmp_path):
    angle = np.radians(20)
    folder = slices(tmp_path / "a", stack(*range(0, 16, 2)), orientation=(1, 0, 0, 0, np.cos(angle), np.sin(angle)))
    code, message = refusal(folder)
    assert code == "shear" and "tilted gantry" in message
    with pytest.raises(UnusableCase) as error:
        read_images(Case("a", (str(folder),)))
    assert "DICOM module" in error.value.hint


@pytest.mark.parametrize(
    ("positions", "what"),
    [
        (stack(*2 * (0, 2, 4, 6)), "8 images at 4 position(s)"),  # two echoes
        (stack(*8 * (5,)), "8 images at 1 position(s)"),
        (stack(0, 2, 4, 6, 8, 10, 12, 12.01), "8 images at 7 position(s)"),
    ],
)
def test_several_images_at_one_position_are_refused(tmp_path, positions, what):
    code, message = refusal(slices(tmp_path / "a", positions))
    assert code == "slices-together" and what in message


def test_slices_that_drift_aside_halfway_are_refused(tmp_path):
    positions = [(0 if z < 8 else 5, 0, z) for z in range(0, 16, 2)]
    code, message = refusal(slices(tmp_path / "a", positions))
    assert code == "slices-apart" and "shifted against each other" in message


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"orientation": (0, 1, 0, 0, 0, 1)}, "orientations"),
        ({"planes": np.ones((1, 9, 9))}, "sizes"),
        ({"spacing": (1.3, 1.3)}, "voxel spacings"),
    ],
)
def test_slices_of_different_kinds_are_refused(tmp_path, other, what):
    folder = slices(tmp_path / "a", stack(*range(0, 16, 2)))
    name = "1.2.3-100.dcm"
    extra = slices(tmp_path / "b", stack(16), **{"planes": PLANES[:1], **other}) / "1.2.3-000.dcm"
    extra.rename(folder / name)
    code, message = refusal(folder)
    assert code == "slices-differ" and f"slices of different {what}" in message


def test_two_series_in_one_folder_are_refused(tmp_path):
    slices(tmp_path / "a", stack(*range(0, 16, 2)))
    slices(tmp_path / "a", stack(*range(0, 16, 2)), series="1.2.4")
    assert "holds 2 DICOM series, expected one" in refusal(tmp_path / "a")[1]


def test_a_copied_slice_counts_once_and_is_said(tmp_path):
    folder = slices(tmp_path / "a", stack(*range(0, 16, 2)))
    (folder / "copy.dcm").write_bytes((folder / "1.2.3-003.dcm").read_bytes())
    said = []
    (image,) = read_images(Case("a", (str(folder),)), said.append)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), PLANES)
    assert [fix.code for fix in said] == ["slice-twice"] and "1 slices of" in said[0].message


def test_a_slice_that_was_cut_off_is_named(tmp_path):
    folder = write_dicom(tmp_path / "a", PLANES)
    content = (folder / "003.dcm").read_bytes()
    (folder / "003.dcm").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnusableCase, match=r"003\.dcm cannot be read|a cannot be read"):
        read_image(folder)


def test_other_files_beside_the_slices_do_not_matter(tmp_path):
    folder = write_dicom(tmp_path / "a", PLANES)
    (folder / "readme.txt").write_text("ten slices")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(folder)), PLANES)
