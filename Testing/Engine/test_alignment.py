"""Volumes with thick oblique slices end with the same axes, on both sides of 45 degrees."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from metassl.data.alignment import Alignment, acquisition_alignment, align, aligned_header, through_plane_axis
from metassl.data.checking import check_dataset
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.data.images import oriented_header, resample_onto
from metassl.inference.volume import predict_volume
from metassl.job import Job
from metassl.planning.plan import Plan
from metassl.planning.planner import make_plan
from metassl.planning.resampling import label_to_grid, to_grid
from test_inference import model_of

THICK_SLICES = (1.25, 1.25, 8.0)
"""i, j, k mm."""


def rotation(degrees: float, axis: int) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    a, b = [n for n in range(3) if n != axis]
    matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = c, -s, s, c
    return matrix


def series(tilt: float, turn: float = 0.0, spacing=THICK_SLICES) -> sitk.Image:
    """An oblique series: slices tilted away from axial by an angle, and turned within their plane by another."""
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(4, 9, 7)).astype(np.float32))
    image.SetSpacing(spacing)
    image.SetOrigin((10.0, -20.0, 30.0))
    image.SetDirection((rotation(tilt, 0) @ rotation(turn, 2)).ravel().tolist())
    return image


def axes_of(image: sitk.Image) -> np.ndarray:
    """A row per array axis (k, j, i)."""
    return np.reshape(image.GetDirection(), (3, 3)).T[::-1]


def alignment_of(images) -> Alignment | None:
    return acquisition_alignment([header_of(image) for image in images])


def header_of(image: sitk.Image):
    return oriented_header(image.GetSize(), image.GetSpacing(), image.GetDirection())


def test_thick_axes_end_on_one_array_axis_on_both_sides_of_45_degrees():
    images = [series(tilt, turn) for tilt in (38, 43, 47, 52) for turn in (-20, 15)]
    by_patient = {sitk.DICOMOrient(image, "LPS").GetSpacing() for image in images}
    assert len(by_patient) == 2  # the fault that the alignment mends
    found = [align(image, alignment_of(images)) for image in images]
    assert len({image.GetSpacing() for image in found}) == 1
    first = axes_of(found[0])
    for image in found:
        assert np.all(np.sum(axes_of(image) * first, axis=1) > 0.7)  # none is flipped or swapped against another


def test_a_volume_beyond_45_degrees_follows_a_model_that_learnt_from_the_other_side():
    alignment = alignment_of([series(tilt) for tilt in (36, 40, 42)])
    one, other = align(series(42), alignment), align(series(52), alignment)
    assert one.GetSpacing() == other.GetSpacing()
    assert np.all(np.sum(axes_of(one) * axes_of(other), axis=1) > 0.9)


def test_no_voxel_moves_in_the_patient():
    image = series(50, 30)
    aligned = align(image, alignment_of([series(30), image, series(40)]))
    for index in ((0, 0, 0), (6, 8, 3), (2, 5, 1)):
        point = image.TransformIndexToPhysicalPoint(index)
        there = aligned.TransformPhysicalPointToIndex(point)
        assert aligned[there] == image[index]
        assert aligned.TransformIndexToPhysicalPoint(there) == pytest.approx(point, abs=1e-4)


def test_headers_are_aligned_as_volumes_are():
    images = [series(tilt, turn) for tilt in (38, 47, 52) for turn in (-30, 80)]
    alignment = alignment_of(images)
    for image in images:
        aligned, header = align(image, alignment), aligned_header(header_of(image), alignment)
        assert header.size == aligned.GetSize()[::-1] and header.spacing == aligned.GetSpacing()[::-1]
        assert np.abs(np.sum(axes_of(aligned) * header.axes, axis=1)) == pytest.approx(1)


def heart(folder, name: str, tilt: float, turn: float) -> Case:
    """A short-axis series of a bright ball in the patient's space, with its label."""
    image = sitk.Image(40, 44, 9, sitk.sitkFloat32)
    image.SetSpacing(THICK_SLICES)
    direction = rotation(tilt, 0) @ rotation(turn, 2)
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin((-(direction @ ((np.array(image.GetSize()) - 1) * THICK_SLICES / 2))).tolist())
    k, j, i = np.indices(image.GetSize()[::-1])
    place = (np.stack([i, j, k], -1) * THICK_SLICES) @ direction.T + np.array(image.GetOrigin())
    label = (np.linalg.norm(place - (6, -4, 3), axis=-1) < 15).astype(np.uint8)
    values = 100.0 * label + np.random.default_rng(len(name)).normal(size=label.shape)
    for array, ending in ((values.astype(np.float32), "image"), (label, "label")):
        stored = sitk.GetImageFromArray(array)
        stored.CopyInformation(image)
        sitk.WriteImage(stored, str(folder / f"{name}_{ending}.nii.gz"))
    return Case(name, (str(folder / f"{name}_image.nii.gz"),), str(folder / f"{name}_label.nii.gz"), "labelled")


@pytest.fixture
def hearts(tmp_path) -> Dataset:
    tilts = ((38, -20), (43, 15), (47, -10), (52, 20))
    cases = tuple(heart(tmp_path, f"case{n}", *angles) for n, angles in enumerate(tilts))
    return Dataset("hearts", ("image",), (SegmentClass("ball", 1, (255, 0, 0)),), cases)


def test_a_data_set_of_short_axis_series_is_planned_as_one_kind(hearts):
    plan = make_plan(hearts, Job(iterations=1))
    assert sorted(plan.spacing) == pytest.approx([1.25, 1.25, 8.0], rel=1e-4)
    assert Plan.from_dict(plan.to_dict()) == plan
    assert [p for p in check_dataset(hearts).problems if p.code == "mixed-spacing"] == []


def test_nothing_is_resampled_in_plane_and_all_comes_back_exactly(hearts):
    plan = make_plan(hearts, Job(iterations=1))
    sizes = set()
    for case in hearts.cases:
        image, label = sitk.ReadImage(case.images[0], sitk.sitkFloat32), sitk.ReadImage(case.label)
        array, grid = to_grid([image], plan)
        sizes.add(array.shape[1:])
        found = label_to_grid(sitk.GetArrayFromImage(label), image, plan)
        placed = sitk.GetImageFromArray(found)
        placed.CopyInformation(grid)
        back = resample_onto(placed, image, sitk.sitkNearestNeighbor)
        assert np.array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(label))
    assert len(sizes) == 1 and sorted(sizes.pop()) == [9, 40, 44]


def test_a_segmentation_comes_back_on_the_grid_of_the_input(hearts):
    plan = make_plan(hearts, Job(iterations=1))
    model = model_of(spacing=plan.spacing)
    model = replace(model, plan=replace(model.plan, alignment=plan.alignment))
    for case in hearts.cases:
        image, label = sitk.ReadImage(case.images[0], sitk.sitkFloat32), sitk.ReadImage(case.label)
        found = predict_volume(model, [image]).labelmap
        assert found.GetSize() == image.GetSize() and found.GetDirection() == image.GetDirection()
        assert found.GetOrigin() == image.GetOrigin()
        assert np.array_equal(sitk.GetArrayFromImage(found) > 0, sitk.GetArrayFromImage(label) > 0)


def test_volumes_without_thick_slices_go_by_the_patient():
    images = [series(tilt, spacing=(1.0, 1.0, 1.9)) for tilt in (0, 50)]
    assert alignment_of(images) is None
    assert align(images[1], None).GetDirection() == sitk.DICOMOrient(images[1], "LPS").GetDirection()


def test_thick_axial_slices_end_as_by_the_patient():
    images = [series(tilt) for tilt in (-5, 0, 8)] + [sitk.DICOMOrient(series(3), "RAI")]
    alignment = alignment_of(images)
    for image in images:
        expected, found = sitk.DICOMOrient(image, "LPS"), align(image, alignment)
        assert found.GetSize() == expected.GetSize() and found.GetDirection() == expected.GetDirection()


def test_a_sagittal_series_among_axial_ones_is_aligned_by_the_patient():
    sagittal = sitk.PermuteAxes(series(0), [2, 0, 1])
    sagittal.SetDirection(np.eye(3).ravel().tolist())
    aligned = align(sagittal, alignment_of([series(0), series(3), sagittal]))
    assert aligned.GetSpacing() == (8.0, 1.25, 1.25)


CASES = [((8, 1, 1), 0), ((1, 8, 1.1), 1), ((1, 1, 1.9), None), ((3, 3, 1), None)]


@pytest.mark.parametrize(("spacing", "axis"), CASES)
def test_the_through_plane_axis(spacing, axis):
    assert through_plane_axis(spacing) == axis


def test_axes_that_are_none_are_refused():
    with pytest.raises(ValueError, match="right angles"):
        Alignment(((1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), 0)
    with pytest.raises(ValueError, match="not an axis"):
        Alignment(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), 3)
