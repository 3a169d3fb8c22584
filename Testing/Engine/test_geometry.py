import struct

import numpy as np
import pytest
import SimpleITK as sitk
from metassl.data.dataset import Case
from metassl.data.geometry import GEOMETRY_REMEDIES, geometry_problem
from metassl.data.images import covers, geometry_distance, overlaps, patient_axes, resample_onto, write_image
from metassl.data.reading import UnusableCase, read_images
from volumes import grey, write, write_dicom

ONE = (1.0, 1.0, 1.0)


def rotation(random):
    """A random orthogonal matrix, mirrored ones among them."""
    return np.linalg.qr(random.normal(size=(3, 3)))[0]


def sheared(angle):
    """Directions whose first and third axis are so far (degrees) from a right angle."""
    direction = np.eye(3)
    direction[:, 2] = np.sin(np.radians(angle)), 0, np.cos(np.radians(angle))
    return direction


def write_nrrd(path, direction, decimals=6):
    """An NRRD whose header has rounded directions."""
    vectors = " ".join(f"({','.join(f'{value:.{decimals}f}' for value in column)})" for column in direction.T)
    header = "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 5 5 5\nencoding: raw\n"
    path.write_bytes(f"{header}space directions: {vectors}\nspace origin: (0,0,0)\n\n".encode() + bytes(range(125)))
    return path


def images_of(path):
    return read_images(Case("a", (str(path),)))


# ---- the rule


def test_rotated_and_mirrored_grids_can_be_used():
    random = np.random.default_rng(0)
    assert all(geometry_problem((0.5, 2, 9), rotation(random), (-500, 0, 3)) is None for _ in range(200))


def test_directions_rounded_to_4_decimals_can_be_used():
    random = np.random.default_rng(1)
    assert all(geometry_problem(ONE, rotation(random).round(4), ONE) is None for _ in range(2000))


def test_half_a_degree_of_tilt_is_refused():
    assert geometry_problem(ONE, sheared(0.5), ONE)[0] == "shear"
    assert geometry_problem(ONE, sheared(0.05), ONE) is None  # half a voxel in 573


@pytest.mark.parametrize(
    ("spacing", "direction", "origin", "code", "text"),
    [
        ((1, 0, 2), np.eye(3), ONE, "spacing", "the impossible voxel spacing 1 x 0 x 2 mm"),
        ((1, np.nan, 2), np.eye(3), ONE, "spacing", "the impossible voxel spacing 1 x nan x 2 mm"),
        ((0, 1, 1), np.full((3, 3), np.nan), ONE, "spacing", "the impossible voxel spacing 0 x 1 x 1 mm"),
        (ONE, np.diag((1, 1, 0)), ONE, "direction", "axis directions that span no volume (determinant 0)"),
        (ONE, np.full((3, 3), np.nan), ONE, "direction", "axis directions that span no volume (determinant nan)"),
        (ONE, np.diag((1, 1, 2)), ONE, "direction", "axis directions that are not of length 1"),
        (
            ONE,
            sheared(20),
            ONE,
            "shear",
            "axes that are not at right angles (a tilted gantry, or a transform that shears)",
        ),
        (ONE, np.eye(3), (0, np.inf, 0), "origin", "the impossible origin (0.0, inf, 0.0)"),
    ],
)
def test_what_is_wrong_is_said(spacing, direction, origin, code, text):
    assert geometry_problem(spacing, direction, origin) == (code, text)
    assert GEOMETRY_REMEDIES[code]


# ---- files


def test_a_sheared_nrrd_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(UnusableCase, match=r"a\.nrrd has axes that are not at right angles") as error:
        images_of(write_nrrd(tmp_path / "a.nrrd", sheared(15)))
    assert error.value.code == "shear" and "Resample Scalar/Vector/DWI Volume" in error.value.hint


def test_a_sheared_nifti_is_refused_with_a_remedy(tmp_path):
    path = write(tmp_path / "a.nii", grey())
    content = bytearray(path.read_bytes())
    struct.pack_into("<2h", content, 252, 0, 1)  # no quaternion, but a matrix
    for row, values in enumerate(np.diag((-1, -1, 1)) @ sheared(15)):
        struct.pack_into("<3f", content, 280 + 16 * row, *values)
    path.write_bytes(content)
    with pytest.raises(UnusableCase, match=r"a\.nii has axes that are not at right angles") as error:
        images_of(path)
    assert error.value.code == "shear" and "Resample Scalar/Vector/DWI Volume" in error.value.hint


def test_a_header_with_4_decimals_is_read_and_its_result_lies_where_it_was(tmp_path):
    (image,) = images_of(write_nrrd(tmp_path / "a.nrrd", rotation(np.random.default_rng(2)), decimals=4))
    write_image(image, tmp_path / "b.nii.gz")
    assert geometry_distance(image, sitk.ReadImage(str(tmp_path / "b.nii.gz"))) < 0.001


def test_a_dicom_series_is_held_to_the_rule(tmp_path, monkeypatch):
    folder = write_dicom(tmp_path / "series", np.arange(125).reshape(5, 5, 5))
    monkeypatch.setattr("metassl.data.reading.geometry_problem", lambda *_: ("shear", "no right angles"))
    with pytest.raises(UnusableCase, match="series has no right angles"):
        images_of(folder)


def test_a_dicom_series_of_a_tilted_gantry_is_refused(tmp_path):
    folder = write_dicom(tmp_path / "series", np.arange(125).reshape(5, 5, 5), shift=0.5)
    with pytest.raises(UnusableCase, match=r"series has axes that are not at right angles \(a tilted gantry") as error:
        images_of(folder)
    assert error.value.code == "shear"


# ---- axes and grids


def greedy_axes(direction):
    """The largest component first: how the axes were found before ITK was asked."""
    direction, axes = np.abs(direction), [0, 1, 2]
    for _ in range(3):
        patient, axis = np.unravel_index(direction.argmax(), (3, 3))
        axes[patient] = int(axis)
        direction[patient, :] = direction[:, axis] = -1
    return axes


def oriented_axes(image):
    """The axes as SimpleITK's DICOMOrient arranges them; the sizes of the image are 4, 5 and 6."""
    return [size - 4 for size in sitk.DICOMOrient(image, "LPS").GetSize()]


def with_direction(direction):
    image = sitk.Image(4, 5, 6, sitk.sitkUInt8)
    image.SetDirection(np.ravel(direction).tolist())
    return image


def test_patient_axes_are_those_of_the_oriented_volume():
    random = np.random.default_rng(3)
    for _ in range(500):
        image = with_direction(direction := rotation(random))
        assert patient_axes(image.GetDirection()) == oriented_axes(image) == greedy_axes(direction)


@pytest.mark.parametrize("angle", [45, 135, -45, 45 + 1e-7, 45 - 1e-7])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_ties_are_broken_as_the_oriented_volume_breaks_them(axis, angle):
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.insert(np.insert([[cosine, -sine], [sine, cosine]], axis, 0, 0), axis, np.eye(3)[axis], 1)
    for order in ((0, 1, 2), (1, 2, 0), (2, 1, 0)):
        image = with_direction(turn[:, order])
        assert patient_axes(image.GetDirection()) == oriented_axes(image)


def test_volumes_cover_and_overlap_each_other():
    grid = sitk.Image(4, 5, 6, sitk.sitkUInt8)
    inside, beside, away = (sitk.Image(2, 2, 2, sitk.sitkUInt8) for _ in range(3))
    inside.SetOrigin((2.5, 3.5, 4.5)), beside.SetOrigin((3.5, 0, 0)), away.SetOrigin((4, 0, 0))
    assert [covers(grid, image) for image in (inside, beside, away)] == [True, False, False]
    assert [overlaps(image, grid) for image in (inside, beside, away)] == [True, True, False]


@pytest.mark.parametrize(("extend", "beyond"), [(False, 0), (True, 7)])
def test_beyond_a_resampled_image_lies_0_or_its_rim(extend, beyond):
    image = sitk.GetImageFromArray(np.full((3, 3, 3), 7, np.uint8))
    target = sitk.Image(5, 3, 3, sitk.sitkFloat32)
    found = resample_onto(image, target, sitk.sitkNearestNeighbor, extend=extend)
    assert found.GetPixelID() == sitk.sitkUInt8 and found.GetSize() == (5, 3, 3)
    assert sitk.GetArrayFromImage(found)[0, 0].tolist() == [7, 7, 7, beyond, beyond]
