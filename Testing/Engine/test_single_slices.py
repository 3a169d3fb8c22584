"""Single slices: read from every format, planned, trained, segmented and measured with one voxel along one axis."""

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from metassl.cli.main import main
from metassl.crops.augmentation import Augmentation
from metassl.crops.sampling import CropSampler
from metassl.data.checking import check_dataset
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.data.images import oriented_header, read_image
from metassl.data.labels import read_label
from metassl.data.reading import read_images
from metassl.data.rules import UnusableCase
from metassl.errors import InputError
from metassl.evaluation.metrics import evaluate_case
from metassl.inference.windows import blend_windows
from metassl.job import Job
from metassl.layouts.prepare import prepare
from metassl.networks.dynunet import build_network
from metassl.planning.plan import Plan
from metassl.planning.planner import make_plan
from metassl.planning.resampling import label_to_grid, to_grid

CLASSES = (SegmentClass("disc", 1, (255, 0, 0)),)
GREY = np.arange(9 * 12, dtype=np.uint8).reshape(9, 12)
DISC = (GREY // 12 > 3).astype(np.uint8)
LOSSLESS = ("png", "bmp", "tif", "nii.gz", "nrrd", "mha")
CORONAL = (1, 0, 0, 0, 0, 1, 0, -1, 0)


def write(path, array, spacing=(1, 1), direction=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    if direction is not None:
        image.SetDirection(direction)
    sitk.WriteImage(image, str(path))
    return path


def case(path, role="unlabelled", label=None):
    return Case(path.name.split(".")[0], (str(path),), label and str(label), role)


def dataset(*cases):
    return Dataset("slices", ("MR",), CLASSES, cases)


def slices(folder, sizes=((40, 48),) * 3, spacings=((1, 1, 5),) * 3, direction=None):
    """A data set of single slices (rows, columns) with a thickness, each a third labelled."""
    cases = []
    for n, (size, spacing) in enumerate(zip(sizes, spacings)):
        array = np.random.default_rng(n).normal(size=(1, *size)).astype(np.float32)
        image = write(folder / f"{n}.nrrd", array, spacing, direction)
        label = write(folder / f"{n}_seg.nrrd", (array > 1).astype(np.uint8), spacing, direction)
        cases.append(case(image, "labelled", label))
    return dataset(*cases)


# ---- reading


@pytest.mark.parametrize("ending", LOSSLESS)
def test_every_format_is_a_volume_of_one_slice(tmp_path, ending):
    (image,) = read_images(case(write(tmp_path / f"a.{ending}", GREY)))
    assert image.GetSize() == (12, 9, 1) and image.GetPixelID() == sitk.sitkFloat32
    assert np.array_equal(sitk.GetArrayFromImage(image)[0], GREY)


def test_a_jpeg_is_read(tmp_path):
    (image,) = read_images(case(write(tmp_path / "a.jpg", GREY)))
    assert np.abs(sitk.GetArrayFromImage(image)[0] - GREY).mean() < 5


def test_a_slice_of_a_volume_is_one_too(tmp_path):
    (image,) = read_images(case(write(tmp_path / "a.nii.gz", GREY[:, None], (1, 1, 4), CORONAL)))
    assert image.GetSize() == (12, 1, 9)


def test_colours_are_refused_and_grey_that_is_stored_as_colours_is_read(tmp_path):
    fixes = []
    same = np.repeat(GREY[..., None], 3, 2)
    path = tmp_path / "grey.png"
    sitk.WriteImage(sitk.GetImageFromArray(same, isVector=True), str(path))
    (image,) = read_images(case(path), fixes.append)
    assert np.array_equal(sitk.GetArrayFromImage(image)[0], GREY)
    assert [fix.code for fix in fixes] == ["grey-colours"]
    same[2, 3, 0] = 99
    sitk.WriteImage(sitk.GetImageFromArray(same, isVector=True), str(path))
    with pytest.raises(UnusableCase, match=r"grey\.png is a picture with colours") as error:
        read_images(case(path))
    assert "Save it as greyscale" in error.value.hint


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp"])
def test_a_picture_that_is_cut_off_is_refused(tmp_path, ending):
    path = write(tmp_path / f"a.{ending}", GREY)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UnusableCase, match=rf"a\.{ending}"):
        read_images(case(path))


def test_several_pages_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", np.stack([GREY] * 5), (1, 1, 1))
    with pytest.raises(UnusableCase, match=r"a\.tif holds 5 pages"):
        read_images(case(path))


def test_a_picture_is_the_label_of_a_slice_with_another_spacing(tmp_path):
    (image,) = read_images(case(write(tmp_path / "a.nrrd", GREY, (0.5, 0.7))))
    label = read_label(write(tmp_path / "a_seg.png", DISC), dataset(), image)
    assert np.array_equal(label, DISC[None])


# ---- folders


def test_pictures_in_images_and_labels_are_cases(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "images" / f"{name}.png", GREY)
    write(tmp_path / "labels" / "a.png", 3 * DISC)
    found, _ = prepare(tmp_path)
    assert [(c.id, c.role) for c in found.cases] == [("a", "labelled"), ("b", "unlabelled")]
    assert [c.value for c in found.classes] == [3] and len(found.channels) == 1


def test_a_picture_can_have_a_volume_as_label(tmp_path):
    write(tmp_path / "a.png", GREY)
    write(tmp_path / "a_seg.nrrd", DISC[None], (1, 1, 1))
    assert [(c.id, c.role) for c in prepare(tmp_path)[0].cases] == [("a", "labelled")]


# ---- mixture


def test_slices_among_volumes_are_refused_by_name(tmp_path):
    thin = slices(tmp_path)
    volume = case(write(tmp_path / "whole.nrrd", np.random.default_rng(9).normal(size=(9, 9, 9)), (1, 1, 1)))
    mixed = Dataset("mixed", ("MR",), CLASSES, (*thin.cases, volume))
    message = r"mixes single slices \(0, 1, 2\) and volumes \(whole\)"
    with pytest.raises(InputError, match=message) as error:
        check_dataset(mixed).usable_dataset()
    assert "Make a data set of each" in error.value.hint
    with pytest.raises(InputError, match=message):
        make_plan(mixed, Job())


def test_a_localiser_among_many_volumes_is_left_out(tmp_path):
    generator = np.random.default_rng(9)
    label = np.zeros((9, 9, 9))
    label[3:6, 3:6, 3:6] = 1
    cases = []
    for name in "abcd":
        image = write(tmp_path / f"{name}.nrrd", generator.normal(size=(9, 9, 9)), (1, 1, 1))
        cases.append(case(image, "labelled", write(tmp_path / f"{name}_label.nrrd", label, (1, 1, 1))))
    scout = case(write(tmp_path / "scout.nrrd", GREY[None], (1, 1, 1)))
    report = check_dataset(Dataset("volumes", ("MR",), CLASSES, (*cases, scout)))
    assert [(p.case_id, p.severity) for p in report.problems if p.code == "stray-slice"] == [("scout", "excluded")]
    assert [c.id for c in report.usable_dataset().with_role("labelled", "unlabelled")] == list("abcd")


def test_three_slices_are_still_too_few(tmp_path):
    with pytest.raises(UnusableCase, match="at least 4 along every axis"):
        read_images(case(write(tmp_path / "a.nrrd", np.stack([GREY] * 3), (1, 1, 1))))
    with pytest.raises(UnusableCase, match="at least 4 along every axis"):
        read_images(case(write(tmp_path / "b.nrrd", GREY[None, :3], (1, 1, 1))))


# ---- planning


@pytest.mark.parametrize("thickness", [0.01, 1, 30])
def test_the_plan_is_flat_whatever_the_thickness(tmp_path, thickness):
    plan = make_plan(slices(tmp_path, spacings=((1, 1, thickness),) * 3), Job())
    assert plan.single_slices and plan.patch == (1, 40, 48) and plan.spacing == (thickness, 1, 1)
    assert set(plan.network.kernels) == {(1, 3, 3)}
    assert plan.network.strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 2, 2))
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    logits = build_network(plan.network)(torch.zeros(1, 1, *plan.patch))
    assert logits.shape == (1, 2, 1, 40, 48)


def test_coronal_slices_are_flat_from_front_to_back(tmp_path):
    plan = make_plan(slices(tmp_path, direction=CORONAL), Job())
    assert plan.patch == (40, 1, 48) and set(plan.network.kernels) == {(3, 1, 3)}


def test_the_asked_for_patch_is_one_slice_thick(tmp_path):
    assert make_plan(slices(tmp_path), Job(patch=(64, 16, 24))).patch == (1, 16, 24)


def test_only_the_plane_is_resampled(tmp_path):
    data = slices(tmp_path, spacings=((1, 1, 5), (1, 1, 5), (2, 2, 40)))
    plan = make_plan(data, Job())
    images = read_images(data.cases[2])
    array, _ = to_grid(images, plan)
    assert array.shape == (1, 1, 80, 96)
    label = read_label(data.cases[2].label, data, images[0])
    assert label_to_grid(label, images[0], plan).shape == (1, 80, 96)
    assert [p.code for p in check_dataset(data).problems if p.code == "mixed-spacing"] == []


def test_a_plan_that_is_not_flat_is_no_plan_for_slices(tmp_path):
    content = make_plan(slices(tmp_path), Job()).to_dict()
    for change in ({"alignment": None}, {"patch": [8, 40, 48]}):
        with pytest.raises(InputError, match="not flat along one axis"):
            Plan.from_dict({**content, **change})


# ---- crops


def test_crops_stay_within_the_slice(array_case):
    sampler = CropSampler([array_case(size=(1, 20, 30))], [], (2, 2), (1, 8, 8), seed=0)
    crops = sampler.crops(0)
    assert crops.images.shape == (2, 1, 1, 10, 10)
    assert ((crops.labels != 255).flatten(1).float().mean(1) > 0.6).all()  # two slices would be half outside


def test_augmentation_neither_leaves_nor_dims_the_slice():
    ones, labels = torch.ones(64, 1, 1, 60, 60), torch.zeros(64, 1, 60, 60, dtype=torch.uint8)
    augment = Augmentation((1, 24, 24), (9.0, 1.0, 1.0), ("IS", "LR"))
    seeds = range(64)
    images, found = augment._deform(ones, labels, augment._grid(*_drawn(augment, ones, seeds)))
    assert torch.allclose(images, torch.ones_like(images), atol=1e-5) and (found == 0).all()
    weak, strong, _ = augment(ones, labels, seeds)
    assert weak.shape == strong.shape == (64, 1, 1, 24, 24)
    ramp = torch.arange(60.0).view(1, 1, 1, 60, 1).expand(64, 1, 1, 60, 60)
    turned, _ = augment._deform(ramp, labels, augment._grid(*_drawn(augment, ramp, seeds)))
    assert turned.std(dim=-1).mean() > 0.1  # rows are turned within the slice


def _drawn(augment, images, seeds):
    rows = [augment._draw(np.random.default_rng(seed), images.shape[2:]) for seed in seeds]
    theta, shifts, _ = zip(*rows)
    return (torch.from_numpy(np.stack(v)).float() for v in (theta, shifts))


# ---- inference, evaluation


def test_windows_of_one_slice_give_the_slice():
    image = torch.rand(1, 1, 21, 17)
    (slab,) = blend_windows(lambda window: window, image, (1, 8, 8), 0.5, torch.device("cpu"))
    assert torch.allclose(slab, image, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_distances_within_a_slice_by_hand(axis):
    """A square of 5 x 5 and the same moved by 2 voxels: the surface is its outline, not all of it."""
    label, prediction = np.zeros((2, 12, 12), np.uint8)
    label[2:7, 2:7] = prediction[2:7, 4:9] = 1
    spacing = np.insert([3.0, 0.5], axis, 40.0)
    (row,) = evaluate_case("a", *(np.expand_dims(a, axis) for a in (prediction, label)), CLASSES, spacing)
    assert row.dice == pytest.approx(15 / 25) and row.hd95 == pytest.approx(1.0)
    # of the 16 voxels of an outline 5 + 3 lie 1 mm and 2 lie 0.5 mm from the other
    assert row.assd == pytest.approx(9 / 16)


# ---- the whole way


def discs(folder, ending, label_ending, count=6):
    random = np.random.default_rng(0)
    for n in range(count):
        y, x = np.mgrid[:24, :28]
        inside = (y - random.uniform(9, 15)) ** 2 + (x - random.uniform(9, 19)) ** 2 < 36
        image = np.clip(random.normal(60, 8, inside.shape) + 90 * inside, 0, 255).astype(np.uint8)
        write(folder / "images" / f"c{n}.{ending}", image, (0.5, 0.5))
        write(folder / "labels" / f"c{n}.{label_ending}", inside.astype(np.uint8), (0.5, 0.5))
    for n in range(count // 2, count - 1):
        (folder / "labels" / f"c{n}.{label_ending}").rename(folder / f"c{n}.{label_ending}.hidden")


@pytest.mark.parametrize(("ending", "label_ending"), [("nii.gz", "nii.gz"), ("png", "png")])
def test_slices_are_trained_segmented_and_measured(tmp_path, capfd, ending, label_ending):
    folder = tmp_path / "data"
    discs(folder, ending, label_ending)
    described, run, out = tmp_path / "dataset.json", tmp_path / "run", tmp_path / "out"
    assert main(["prepare", str(folder), "--out", str(described)]) == 0
    train = ["--iterations", "25", "--device", "cpu", "--threads", "1", "--method", "supervised"]
    assert main(["train", str(described), "--out", str(run), *train]) == 0
    assert main(["predict", str(run / "model"), str(folder / "images"), "--out", str(out)]) == 0
    image = sitk.ReadImage(str(folder / "images" / f"c5.{ending}"))
    for kind in ("seg", "regions", "confidence"):
        result = sitk.ReadImage(str(out / f"c5_{kind}.nii.gz"))
        assert result.GetSize() == image.GetSize() == (28, 24)
        assert np.allclose(result.GetSpacing(), image.GetSpacing())
    assert main(["evaluate", str(out), str(folder / "labels"), "--out", str(tmp_path / "metrics")]) == 0
    summary = json.loads((tmp_path / "metrics" / "metrics.json").read_text())["summary"]["mean"]
    assert summary["dice"]["mean"] > 0.8 and summary["hd95"]["undefined"] == 0
    volume = write(tmp_path / "volume.nrrd", np.random.default_rng(1).normal(size=(8, 8, 8)), (1, 1, 1))
    assert main(["predict", str(run / "model"), str(volume), "--out", str(out)]) == 2
    drawn = write(tmp_path / "volume_seg.nrrd", np.eye(8, dtype=np.uint8)[None].repeat(8, 0), (1, 1, 1))
    of_volumes = replace(Dataset.load(described), cases=(case(volume, "labelled", drawn),))
    of_volumes.save(tmp_path / "volumes.json")
    more = ["train", str(tmp_path / "volumes.json"), "--from", str(run / "model"), "--out", str(tmp_path / "more")]
    assert main([*more, "--iterations", "1"]) == 2
    assert "learnt from single slices, and the data set has volumes" in " ".join(capfd.readouterr().err.split())


def test_header_of_a_lifted_slice(tmp_path):
    image = read_image(write(tmp_path / "a.nii.gz", GREY, (0.5, 0.7)))
    header = oriented_header(image.GetSize(), image.GetSpacing(), image.GetDirection())
    assert header.size == (1, 9, 12) and np.allclose(header.spacing, (1, 0.7, 0.5))
