from dataclasses import replace

import numpy as np
import pytest
import torch
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.errors import InputError, Stopped
from metassl.job import Job
from metassl.networks.dynunet import build_network
from metassl.planning.plan import Intensity
from metassl.planning.planner import (
    coarser_spacing,
    describe_plan,
    make_plan,
    patch_and_strides,
    plan_kernels,
    plan_strides,
    target_spacing,
)
from volumes import write


def dataset_of(folder, arrays, spacing=(1.0, 1.0, 1.0), channels=("MR",), labelled=1):
    cases = []
    for number, array in enumerate(arrays):
        image = str(write(folder / f"{number}.nrrd", array, spacing))
        label = np.zeros(array.shape, np.uint8)
        label[1:4, 1:4, 1:4] = 1
        path = str(write(folder / f"{number}-label.nrrd", label, spacing)) if number < labelled else None
        cases.append(Case(str(number), (image,), path, "labelled" if path else "unlabelled"))
    return Dataset("d", channels, (SegmentClass("a", 1, (1, 1, 1)),), tuple(cases))


def noise(size, seed=0):
    return np.random.default_rng(seed).normal(100, 10, size).astype(np.float32)


def test_hippocampus_is_planned_like_the_baselines():
    patch, strides = patch_and_strides((36, 50, 35), (1, 1, 1), 400_000, 4)
    assert patch == (40, 56, 40)
    assert strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))


@pytest.mark.parametrize(
    ("size", "spacing"),
    [
        ((16, 16, 16), (1, 1, 1)),
        ((4, 40, 40), (1, 1, 1)),
        ((12, 512, 512), (5, 0.7, 0.7)),
        ((120, 320, 320), (1.4, 1.25, 1.25)),
        ((600, 30, 30), (1, 1, 1)),
    ],
)
def test_patches_fit_budget_and_network(size, spacing):
    patch, strides = patch_and_strides(size, spacing, 100_000, 4)
    step = np.prod(strides, axis=0)
    assert np.prod(patch) <= 100_000
    assert (np.array(patch) % step == 0).all()
    assert (np.array(patch) <= -(-np.array(size) // step) * step).all()
    assert len(strides) >= 3 and strides[0] == (1, 1, 1)


def test_the_axis_that_is_longest_in_mm_is_cut():
    assert patch_and_strides((16, 16, 256), (1, 1, 1), 16 * 16 * 64, 4)[0] == (16, 16, 64)
    assert patch_and_strides((16, 64, 64), (1, 1, 1), 16 * 32 * 32, 4)[0] == (16, 32, 32)
    patch, _ = patch_and_strides((64, 64, 64), (4, 1, 1), 32 * 64 * 64, 4)  # 256 mm x 64 mm x 64 mm
    assert patch[0] <= 32 and patch[1:] == (64, 64)


def test_hold_out_cases_tell_the_plan_nothing(tmp_path):
    fine, coarse = (dataset_of(tmp_path / str(mm), [noise((12, 12, 12))] * 2, (mm,) * 3, labelled=2) for mm in (1, 3))
    hold_out = [replace(case, id=f"h{case.id}", role="hold-out") for case in coarse.cases]
    with_hold_out = replace(fine, cases=(*fine.cases, *hold_out, *(replace(c, id=f"g{c.id}") for c in hold_out)))
    assert make_plan(with_hold_out, Job()) == make_plan(fine, Job())


def test_thick_slices_are_pooled_and_convolved_in_plane_first():
    strides = plan_strides((16, 128, 128), (5.0, 1.0, 1.0), 4)
    assert strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert plan_kernels((5.0, 1.0, 1.0), strides) == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3))


def test_spacing_is_the_median_and_finer_where_slices_are_thick():
    assert target_spacing([(1, 1, 1), (2, 1.5, 1), (3, 1.5, 1)]) == (2, 1.5, 1)
    thick = target_spacing([(n, 1, 1) for n in np.linspace(2, 8, 13)])
    assert thick[1:] == (1, 1) and thick[0] == pytest.approx(2.6)


@pytest.mark.parametrize("size", [(16, 16, 16), (8, 40, 36), (20, 9, 33)])
def test_the_planned_network_takes_the_planned_patch(tmp_path, size):
    plan = make_plan(dataset_of(tmp_path, [noise(size)]), Job())
    output = build_network(plan.network)(torch.zeros(1, 1, *plan.patch))
    assert output.shape == (1, 2, *plan.patch)


def test_job_overrules_the_plan(tmp_path):
    dataset = dataset_of(tmp_path, [noise((20, 20, 20))])
    plan = make_plan(dataset, Job(patch=(18, 10, 16), spacing=(2.0, 1.0, 1.0), network="standard"))
    assert plan.spacing == (2.0, 1.0, 1.0) and plan.network.size == "standard"
    step = np.prod(plan.network.strides, axis=0)
    assert (np.array(plan.patch) >= (18, 10, 16)).all() and (np.array(plan.patch) % step == 0).all()


@pytest.mark.parametrize(("device", "size"), [("cpu", "small"), ("mps", "small"), ("cuda", "standard")])
def test_network_follows_the_device(tmp_path, device, size):
    assert make_plan(dataset_of(tmp_path, [noise((12, 12, 12))]), Job(), device).network.size == size


def hounsfield(seed=0):
    array = np.full((12, 12, 12), -1000.0)
    array[1:10, 1:10, 1:10] = np.random.default_rng(seed).integers(0, 100, (9, 9, 9))
    return array.astype(np.int16)


@pytest.mark.parametrize(
    ("channel", "array", "scheme"),
    [
        ("CT", hounsfield(), "ct"),
        ("image", hounsfield(), "ct"),
        ("MR", hounsfield(), "zscore"),
        ("image", noise((12, 12, 12)), "zscore"),
        ("T1 contrast", hounsfield(), "zscore"),
    ],
)
def test_ct_is_recognised(tmp_path, channel, array, scheme):
    plan = make_plan(dataset_of(tmp_path, [array] * 3, channels=(channel,)), Job())
    assert plan.intensities[0].scheme == scheme


def test_ct_rule_is_measured_on_the_foreground_of_labelled_cases(tmp_path):
    array = hounsfield()
    rule = make_plan(dataset_of(tmp_path, [array], channels=("CT",)), Job()).intensities[0]
    inside = array[1:4, 1:4, 1:4].ravel()
    lower, upper = np.percentile(inside, (0.5, 99.5))
    clipped = np.clip(inside.astype(float), lower, upper)
    assert (rule.lower, rule.upper, rule.mean, rule.std) == pytest.approx((lower, upper, clipped.mean(), clipped.std()))


def test_voxels_of_unlabelled_mr_cases_are_not_read(tmp_path, monkeypatch):
    dataset = dataset_of(tmp_path, [noise((12, 12, 12), n) for n in range(5)])
    monkeypatch.setattr("metassl.data.checking.read_images", lambda case, _: pytest.fail(f"read {case.id}"))
    assert make_plan(dataset, Job()).intensities == (Intensity("zscore"),)


def test_without_labelled_cases_there_is_no_plan(tmp_path):
    with pytest.raises(InputError, match="no labelled case"):
        make_plan(dataset_of(tmp_path, [noise((12, 12, 12))], labelled=0), Job())


def test_planning_can_be_stopped(tmp_path):
    with pytest.raises(Stopped):
        make_plan(dataset_of(tmp_path, [hounsfield()], channels=("CT",)), Job(), should_stop=lambda: True)


def test_description_says_patch_and_network(tmp_path):
    text = describe_plan(make_plan(dataset_of(tmp_path, [noise((16, 16, 16))]), Job()))
    assert "patch 16 x 16 x 16" in text and "small" in text and "z-score" in text


def test_description_gives_sizes_as_people_think(tiny_plan):
    text = describe_plan(replace(tiny_plan, patch=(8, 16, 24), spacing=(3.0, 1.0, 0.75)))
    assert "patch 24 x 16 x 8 voxels of 0.75 x 1 x 3 mm (right-left x anterior-posterior x inferior-superior)" in text


@pytest.mark.parametrize("size", [(20, 128, 128), (6, 64, 64)])
def test_flat_volumes_keep_in_plane_kernels_in_deep_stages(size):
    _, strides = patch_and_strides(size, (1, 1, 1), 1_000_000, 6)
    assert set(plan_kernels((1, 1, 1), strides)) == {(3, 3, 3)}


def test_ct_without_foreground_is_refused(tmp_path):
    dataset = dataset_of(tmp_path, [hounsfield()], channels=("CT",))
    write(tmp_path / "0-label.nrrd", np.zeros((12, 12, 12), np.uint8))
    with pytest.raises(InputError, match="No labelled case has a foreground voxel") as caught:
        make_plan(dataset, Job())
    assert "Annotate" in caught.value.hint


def test_ct_rule_fits_any_unit(tmp_path):
    rules = [
        make_plan(dataset_of(tmp_path, [hounsfield() * unit], channels=("CT",)), Job()).intensities[0]
        for unit in (1.0, 0.001)
    ]
    assert rules[1].std == pytest.approx(rules[0].std / 1000)


def test_one_foreground_value_leaves_nothing_to_clip(tmp_path):
    array = np.where(hounsfield() < 0, -1000, 40).astype(np.int16)
    assert make_plan(dataset_of(tmp_path, [array], channels=("CT",)), Job()).intensities == (Intensity("zscore"),)


def test_voxels_become_coarser_until_the_volume_is_small_enough():
    spacing = coarser_spacing((100, 200, 200), (5.0, 1.0, 1.0), 1_000_000)
    assert spacing[0] == 5.0 and spacing[1] == spacing[2] == pytest.approx(2.0, rel=0.04)  # thick slices stay
    assert coarser_spacing((100, 100, 100), (1.0, 1.0, 1.0), 1_000_000) == (1.0, 1.0, 1.0)
    finer = coarser_spacing((200, 200, 200), (1.0, 1.0, 1.0), 125_000)
    assert finer == pytest.approx((4.0,) * 3, rel=0.04)


def test_a_patch_covers_a_quarter_of_a_large_volume(tmp_path):
    """With fine voxels it would cover a fiftieth."""
    dataset = dataset_of(tmp_path, [noise((160, 200, 200))])
    plan = make_plan(dataset, Job(), "cpu", lambda network, voxels: 130_000)
    assert np.prod(plan.patch) <= 130_000
    volume = 160 * 200 * 200 / np.prod(plan.spacing)
    assert 0.15 < np.prod(plan.patch) / volume < 0.3
    assert make_plan(dataset, Job(spacing=(1.0, 1.0, 1.0)), "cpu").spacing == (1.0, 1.0, 1.0)


def test_a_patch_that_may_have_no_voxels_is_as_small_as_the_network_allows(tmp_path):
    plan = make_plan(dataset_of(tmp_path, [noise((40, 40, 40))]), Job(), "cpu", lambda network, voxels: 0)
    assert max(plan.patch) <= 16
