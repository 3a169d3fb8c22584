"""Volumes with thick oblique slices end with the same axes, on both sides of 45 degrees."""

import numpy as np
import pytest
import SimpleITK as sitk
from metassl.data.alignment import Alignment, acquisition_alignment, align, through_plane_axis

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
    lps = [sitk.DICOMOrient(image, "LPS") for image in images]
    return acquisition_alignment([i.GetSpacing()[::-1] for i in lps], [axes_of(i) for i in lps])


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
