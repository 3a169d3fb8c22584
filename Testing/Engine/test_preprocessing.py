import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk
from metassl.data import pool
from metassl.data.dataset import IGNORE, Case, Dataset, SegmentClass
from metassl.data.images import volume_header
from metassl.errors import DiskError, InputError, Stopped
from metassl.planning.cache import build_cache
from metassl.planning.intensities import normalise_intensities
from metassl.planning.plan import Intensity, NetworkPlan, Plan
from metassl.planning.resampling import label_to_grid, to_grid
from volumes import write, write_dicom

NETWORK = NetworkPlan("small", 1, 3, (4, 8, 8), ((3, 3, 3),) * 3, ((1, 1, 1), (2, 2, 2), (2, 2, 2)))
ZSCORE = Intensity("zscore")


def plan_of(spacing=(1.0, 1.0, 1.0), intensity=ZSCORE):
    return Plan(spacing, (8, 8, 8), (intensity,), NETWORK)


def ramp(size=(8, 10, 12), direction=None, spacing=(1.0, 1.0, 1.0)):
    """An image whose intensity is the voxel's position along the patient's left, in mm."""
    image = sitk.Image(size[::-1], sitk.sitkFloat32)
    image.SetSpacing(spacing)
    if direction is not None:
        image.SetDirection(direction)
    left = [image.TransformIndexToPhysicalPoint((i, j, k))[0] for k, j, i in np.ndindex(size)]
    filled = sitk.GetImageFromArray(np.array(left, np.float32).reshape(size))
    filled.CopyInformation(image)
    return filled


def test_zscore_has_mean_zero_and_deviation_one():
    array = np.random.default_rng(0).normal(300, 50, (20, 20, 20))
    result = normalise_intensities(array, ZSCORE)
    assert result.dtype == np.float32
    assert abs(result.mean()) < 0.01 and abs(result.std() - 1) < 0.01


def test_a_volume_of_one_value_becomes_zero():
    result = normalise_intensities(np.full((4, 5, 6), 7.0), ZSCORE)
    assert result.dtype == np.float32 and not result.any()


def test_zscore_does_not_depend_on_the_scale_of_the_intensities():
    array = np.random.default_rng(0).normal(300, 50, (12, 12, 12))
    assert np.allclose(normalise_intensities(array, ZSCORE), normalise_intensities(array * 0.01 + 7, ZSCORE), atol=1e-4)


def test_one_very_bright_voxel_changes_nothing():
    array = np.random.default_rng(0).normal(300, 50, (20, 20, 20))
    bright = array.copy()
    bright[3, 3, 3] = 358214
    expected, found = normalise_intensities(array, ZSCORE), normalise_intensities(bright, ZSCORE)
    assert found[3, 3, 3] < 4
    expected[3, 3, 3] = found[3, 3, 3]
    assert np.allclose(expected, found, atol=0.01)


def test_air_around_the_patient_does_not_count():
    array = np.random.default_rng(0).normal(300, 50, (20, 20, 20))
    padded = np.zeros((40, 20, 20))
    padded[:20] = array
    assert np.allclose(normalise_intensities(padded, ZSCORE)[:20], normalise_intensities(array, ZSCORE), atol=1e-4)
    assert normalise_intensities(padded, ZSCORE)[30, 0, 0] < -3


@pytest.mark.parametrize("air", [0, 60])
@pytest.mark.parametrize("rule", [ZSCORE, Intensity("ct", -100.0, 300.0, 50.0, 25.0)], ids=["zscore", "ct"])
def test_normalising_holds_one_copy_at_a_time(rule, air):
    array = np.random.default_rng(0).normal(300, 50, (160, 160, 160)).astype(np.float32)
    array[:air] = 0
    before = array.copy()
    tracemalloc.start()
    normalise_intensities(array, rule)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(array, before)
    assert peak < 2 * array.nbytes


def test_ct_is_clipped_and_standardised_by_the_plan():
    rule = Intensity("ct", lower=-100.0, upper=300.0, mean=50.0, std=25.0)
    assert normalise_intensities(np.array([[[-1000.0, 100.0, 3000.0]]]), rule).ravel().tolist() == [-6, 2, 10]


@pytest.mark.parametrize("direction", [None, (-1, 0, 0, 0, -1, 0, 0, 0, 1), (0, 0, 1, 1, 0, 0, 0, 1, 0)])
def test_arrays_run_to_the_left_whatever_the_orientation(direction):
    array, grid = to_grid([ramp(direction=direction)], plan_of())
    steps = np.diff(array[0], axis=2)
    assert (steps >= 0).all() and steps.mean() > 0.1  # the ends are clipped
    assert np.allclose(np.diff(array[0], axis=0), 0, atol=1e-5)
    assert np.allclose(grid.GetDirection(), np.eye(3).ravel())
    assert sorted(array.shape[1:]) == [8, 10, 12]


def test_resampling_covers_the_same_box():
    image = ramp(spacing=(1.0, 2.0, 3.0))
    array, grid = to_grid([image], plan_of((1.5, 1.0, 2.0)))
    assert array.shape == (1, 16, 20, 6)
    assert grid.GetSpacing() == (2.0, 1.0, 1.5)
    corner = (-0.5, -0.5, -0.5)
    assert np.allclose(
        grid.TransformContinuousIndexToPhysicalPoint(corner), image.TransformContinuousIndexToPhysicalPoint(corner)
    )


def test_equal_spacing_is_not_resampled():
    image = sitk.GetImageFromArray(np.random.default_rng(0).random((6, 6, 6)).astype(np.float32))
    image.SetSpacing((1.004, 1.0, 0.997))
    array, _ = to_grid([image], plan_of(intensity=Intensity("ct", -9.0, 9.0, 0.0, 1.0)))
    assert np.array_equal(array[0], sitk.GetArrayFromImage(image))


@pytest.mark.parametrize(("apart", "mean"), [(2, 0.5), (4, 0.25)])
def test_downsampling_does_not_alias(apart, mean):
    stripes = np.zeros((8, 8, 64), np.float32)
    stripes[..., ::apart] = 1
    image = sitk.GetImageFromArray(stripes)
    array, _ = to_grid([image], plan_of((1.0, 1.0, 4.0), Intensity("ct", -9.0, 9.0, 0.0, 1.0)))
    assert array.shape == (1, 8, 8, 16)
    assert np.abs(array[..., 2:-2] - mean).max() < 0.05


def test_labels_keep_their_values_and_ignored_voxels():
    label = np.zeros((6, 6, 6), np.uint8)
    label[:3], label[5] = 2, IGNORE
    reference = sitk.Image(6, 6, 6, sitk.sitkFloat32)
    fine = label_to_grid(label, reference, plan_of((0.5, 0.5, 0.5)))
    assert fine.shape == (12, 12, 12) and set(np.unique(fine)) == {0, 2, IGNORE}
    assert (fine[:6] == 2).all() and (fine[10:] == IGNORE).all()


@pytest.mark.parametrize("direction", [(-1, 0, 0, 0, -1, 0, 0, 0, 1), (0, 0, 1, 1, 0, 0, 0, 1, 0)])
def test_labels_are_turned_as_their_image_is(direction):
    image = ramp(direction=direction)
    label = (sitk.GetArrayFromImage(image) > 3).astype(np.uint8)
    array, _ = to_grid([image], plan_of(intensity=Intensity("ct", -99.0, 99.0, 3.0, 1.0)))
    assert np.array_equal(label_to_grid(label, image, plan_of()), array[0] > 0)


@pytest.fixture
def dataset(tmp_path):
    random = np.random.default_rng(0)
    cases = []
    for name, role in (("a", "labelled"), ("b", "unlabelled"), ("c", "hold-out"), ("d", "ignored")):
        image = write(tmp_path / "images" / f"{name}.nii.gz", random.normal(size=(9, 8, 7)).astype(np.float32))
        label = np.zeros((9, 8, 7), np.uint8)
        label[2:5, 2:5, 2:5], label[6:8, 6, 6] = 1, 2
        path = write(tmp_path / "labels" / f"{name}.nii.gz", label)
        cases.append(Case(name, (str(image),), str(path), role))
    classes = (SegmentClass("one", 1, (1, 1, 1)), SegmentClass("two", 2, (2, 2, 2)))
    return Dataset("d", ("MR",), classes, tuple(cases))


def test_cache_holds_what_training_needs(dataset, tmp_path):
    cases = build_cache(dataset, plan_of(), tmp_path / "cache")
    assert [(c.id, c.role, c.shape) for c in cases] == [
        ("a", "labelled", (9, 8, 7)),
        ("b", "unlabelled", (9, 8, 7)),
        ("c", "hold-out", (9, 8, 7)),
    ]
    image = cases[0].image()
    assert isinstance(image, np.memmap) and image.shape == (1, 9, 8, 7) and image.dtype == np.float16
    assert isinstance(cases[0].label(), np.memmap)
    foreground = cases[0].foreground()
    assert {k: len(v) for k, v in foreground.items()} == {1: 27, 2: 2}
    assert all(cases[0].label()[tuple(voxel)] == 1 for voxel in foreground[1])
    assert not (tmp_path / "cache" / "b.label.npy").exists()  # an unlabelled case's label is never looked at


def test_cache_is_reused_until_something_changes(dataset, tmp_path, monkeypatch):
    seen = []
    build_cache(dataset, plan_of(), tmp_path / "cache")
    monkeypatch.setattr("metassl.planning.cache._preprocess", lambda case, *_: seen.append(case.id))
    build_cache(dataset, plan_of(), tmp_path / "cache")
    assert seen == []
    monkeypatch.undo()
    write(tmp_path / "images" / "b.nii.gz", np.random.default_rng(9).normal(size=(9, 8, 6)).astype(np.float32))
    progress = []
    cases = build_cache(dataset, plan_of(), tmp_path / "cache", progress=lambda *p: progress.append(p))
    assert progress == [(3, 3, "b")] and cases[1].shape == (9, 8, 6)
    cases = build_cache(dataset, plan_of((2.0, 1.0, 1.0)), tmp_path / "cache")
    assert cases[0].shape == (4, 8, 7)


def test_a_half_written_case_is_done_again(dataset, tmp_path):
    build_cache(dataset, plan_of(), tmp_path / "cache")
    (tmp_path / "cache" / "a.json").unlink()
    (tmp_path / "cache" / "a.image.npy").write_bytes(b"half")
    assert build_cache(dataset, plan_of(), tmp_path / "cache")[0].image().shape == (1, 9, 8, 7)


def test_a_case_that_cannot_be_read_is_named(dataset, tmp_path):
    write(tmp_path / "labels" / "a.nii.gz", np.full((9, 8, 7), 9, np.uint8))
    with pytest.raises(InputError, match=r"Case a: .*a\.nii\.gz.* 9"):
        build_cache(dataset, plan_of(), tmp_path / "cache")


def test_a_stop_keeps_finished_cases(dataset, tmp_path):
    with pytest.raises(Stopped):
        build_cache(dataset, plan_of(), tmp_path / "cache", should_stop=lambda: True)


def test_too_small_a_disk_is_said_before_anything_is_written(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(DiskError, match="are free") as caught:
        build_cache(dataset, plan_of(), tmp_path / "cache")
    assert "--spacing" in caught.value.hint
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("direction", "size", "spacing"),
    [
        (None, (5, 6, 7), (3.0, 2.0, 1.0)),
        ((0, 0, 1, 1, 0, 0, 0, 1, 0), (6, 7, 5), (2.0, 1.0, 3.0)),
        ((-0.6, 0.8, 0, 0.8, 0.6, 0, 0, 0, -1), (5, 7, 6), (3.0, 1.0, 2.0)),
    ],
)
def test_header_is_in_patient_axes(tmp_path, direction, size, spacing):
    path = write(tmp_path / "a.nrrd", np.zeros((5, 6, 7), np.uint8), (1.0, 2.0, 3.0), direction=direction)
    header = volume_header(path)
    oriented = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
    assert header.size == oriented.GetSize()[::-1] == size
    assert header.spacing == pytest.approx(oriented.GetSpacing()[::-1]) == spacing


@pytest.mark.parametrize("spacing", [1.4, 2.0])
def test_air_does_not_count_after_resampling_either(spacing):
    array = np.zeros((48, 48, 48), np.float32)
    array[12:36, 12:36, 12:36] = np.random.default_rng(0).normal(300, 50, (24, 24, 24))
    result, _ = to_grid([sitk.GetImageFromArray(array)], plan_of((spacing,) * 3))
    middle = slice(int(18 / spacing), int(30 / spacing))
    assert result.min() < -5 and abs(result[0, middle, middle, middle].mean()) < 0.1


def test_a_case_whose_array_is_gone_is_done_again(dataset, tmp_path):
    cases = build_cache(dataset, plan_of(), tmp_path / "cache")
    (tmp_path / "cache" / "a.foreground.npy").unlink()
    assert build_cache(dataset, plan_of(), tmp_path / "cache") == cases
    assert len(cases[0].foreground()[1]) == 27


def test_what_a_killed_process_left_is_removed(dataset, tmp_path):
    left = tmp_path / "cache" / ".partial-1-a.image.npy"
    left.parent.mkdir()
    left.write_bytes(b"half")
    build_cache(dataset, plan_of(), tmp_path / "cache")
    assert not left.exists()


def test_a_folder_that_cannot_be_made_is_named(dataset, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError, match=r"Cannot write to .*cache"):
        build_cache(dataset, plan_of(), tmp_path / "file" / "cache")


def test_large_cases_are_done_one_at_a_time(dataset, tmp_path, monkeypatch):
    seen = []
    executor = pool.ThreadPoolExecutor
    monkeypatch.setattr(pool, "ThreadPoolExecutor", lambda workers: seen.append(workers) or executor(workers))
    monkeypatch.setattr(pool, "VOXELS_IN_FLIGHT", 10)
    build_cache(dataset, plan_of(), tmp_path / "cache")
    assert seen == [1]


def test_header_of_a_dicom_series_needs_no_voxels(tmp_path, monkeypatch):
    folder = write_dicom(tmp_path / "series", np.zeros((5, 6, 7)))
    monkeypatch.setattr("SimpleITK.ReadImage", lambda *_: pytest.fail("voxels were read"))
    header = volume_header(folder)
    assert (header.size, header.spacing) == ((5, 6, 7), (2.0, 1.0, 1.0))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds 0 DICOM series, expected one"):
        volume_header(tmp_path / "empty")
