from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from metassl.data.components import largest_components, largest_shares
from metassl.data.dataset import SegmentClass
from metassl.data.images import image_like, resample_onto
from metassl.errors import OutOfMemoryError, Stopped
from metassl.inference import volume as inference
from metassl.inference.model import Model
from metassl.inference.volume import _within_memory, predict_labels, predict_volume
from metassl.inference.windows import SLAB_PLANES, blend_windows, window_slices
from metassl.planning.fingerprint import Fingerprint
from metassl.planning.plan import Intensity, NetworkPlan, Plan
from metassl.planning.resampling import to_grid
from metassl.ssl.methods import METHODS, Method, Predictions, build_method

ROTATED = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
FLIPPED = (-1.0, 0, 0, 0, 1.0, 0, 0, 0, -1.0)
PERMUTED = (0.0, 0, 1.0, 1.0, 0, 0, 0, 1.0, 0)


class Brightness(Method):
    """Class 1 where the normalised intensity is above 0, class 2 never; the supervised prediction is shifted."""

    shift = 0.0

    def forward(self, streams) -> Predictions:
        raise NotImplementedError

    def predict(self, images):
        def logits(values):
            return torch.cat((-8 * values, 8 * values, torch.full_like(values, -50)), 1)

        return logits(images + self.shift), logits(images)


HALF_WAY = Intensity("ct", -1000.0, 1000.0, 50.0, 15.0)
"""Maps the volumes' 0 and 100 to -3.3 and 3.3."""
UNCHANGED = Intensity("ct", -5.0, 5.0, 0.0, 1.0)


def model_of(spacing=(1.0, 1.0, 1.0), shift=0.0, thresholds=(0.9, 0.9, 0.9), intensity=HALF_WAY, mirror_axes=()):
    network = NetworkPlan("small", 1, 3, (4, 8, 8), ((3, 3, 3),) * 3, ((1, 1, 1), (2, 2, 2), (2, 2, 2)))
    plan = Plan(spacing, (16, 16, 16), (intensity,), network)
    method = Brightness(network)
    method.shift = shift
    classes = (SegmentClass("bright", 7, (255, 0, 0)), SegmentClass("never", 9, (0, 255, 0)))
    return Model("test", method, plan, "fp32", mirror_axes, classes, ("MR",), torch.tensor(thresholds), {})


def volume(size=(20, 24, 28), spacing=(1.0, 1.0, 1.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1), seed=0):
    """An image (size k, j, i) of a bright box in a dark surrounding, and the box."""
    box = np.zeros(size, np.uint8)
    box[tuple(slice(n // 4, n - n // 3) for n in size)] = 1
    array = box * 100 + np.random.default_rng(seed).normal(0, 0.5, size)
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    image.SetOrigin((11.5, -40.25, 3.0))
    return image, box


def geometry(image):
    return image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"size": (6, 5, 9)},
        {"size": (4, 40, 33)},
        {"direction": FLIPPED},
        {"direction": PERMUTED},
        {"direction": ROTATED},
    ],
    ids=["plain", "smaller than a patch", "flat", "flipped", "permuted", "oblique"],
)
def test_labels_come_back_on_the_inputs_own_grid(options):
    image, box = volume(**options)
    result = predict_volume(model_of(), [image])
    assert sitk.GetArrayFromImage(result.labelmap).tolist() == (box * 7).tolist()
    for found, kind in (
        (result.labelmap, sitk.sitkUInt8),
        (result.regions, sitk.sitkUInt8),
        (result.confidence, sitk.sitkFloat32),
    ):
        assert geometry(found) == geometry(image)
        assert found.GetPixelID() == kind
    certainty = sitk.GetArrayFromImage(result.confidence)
    assert certainty.min() > 0.5 and certainty.max() <= 1


def test_another_spacing_gives_the_same_box_within_a_voxel():
    image, box = volume(size=(30, 36, 32), spacing=(0.8, 1.1, 2.5), direction=ROTATED)
    result = predict_volume(model_of(spacing=(1.6, 1.3, 1.2)), [image])
    label = sitk.GetArrayFromImage(result.labelmap) == 7
    assert geometry(result.labelmap) == geometry(image)
    assert 2 * (label & (box == 1)).sum() / (label.sum() + box.sum()) > 0.9


def test_regions_by_hand():
    # normalised intensities of the four quarters; the supervised prediction sees them 0.3 higher
    values = np.repeat(np.array([-1.0, -0.2, 0.1, 1.5], np.float32), 8)
    array = np.broadcast_to(values, (16, 16, 32)).copy()
    model = model_of(shift=0.3, intensity=UNCHANGED)
    with torch.no_grad():
        p, q = model.method.predict(torch.from_numpy(array)[None, None])
    confident = q.softmax(1).amax(1) > 0.9
    expected = 1 + 2 * (p.argmax(1) != q.argmax(1)).int() + (~confident).int()
    assert expected[0, 0, 0, ::8].tolist() == [1, 3, 2, 1]
    image = sitk.GetImageFromArray(array)
    result = predict_volume(model, [image])
    assert sitk.GetArrayFromImage(result.regions).tolist() == expected[0].tolist()
    certainty = sitk.GetArrayFromImage(result.confidence)
    assert certainty[0, 0, 0] == pytest.approx(1 / (1 + np.exp(-16)), abs=1e-5)
    # the threshold is that of the reference's class
    apart = model_of(shift=0.3, thresholds=(0.6, 1.0, 0.6), intensity=UNCHANGED)
    found = sitk.GetArrayFromImage(predict_volume(apart, [image]).regions)
    assert found[0, 0, ::8].tolist() == [1, 3, 2, 2]  # reference: background, background, bright, bright
    # with a lower threshold nothing is suspicious any more
    low = model_of(shift=0.3, thresholds=(0.6, 0.6, 0.6), intensity=UNCHANGED)
    assert set(np.unique(sitk.GetArrayFromImage(predict_volume(low, [image]).regions))) == {1, 3}


def test_symmetric_methods_take_the_mean_of_both(monkeypatch):
    monkeypatch.setattr(Brightness, "label_from", "average")
    # the supervised prediction says class 1 everywhere, the reference background with less certainty
    unsure = Intensity("ct", -1000.0, 1000.0, 50.0, 120.0)
    image, _ = volume()
    label = sitk.GetArrayFromImage(predict_volume(model_of(shift=2.0, intensity=unsure), [image]).labelmap)
    assert (label == 7).all()


@pytest.mark.parametrize("label_from", ["reference", "average"])
def test_leaving_outputs_out_does_not_change_the_others(monkeypatch, label_from):
    monkeypatch.setattr(Brightness, "label_from", label_from)
    image, _ = volume()
    model = model_of(shift=3.0)
    full = predict_volume(model, [image])
    label_only = predict_volume(model, [image], regions=False, confidence=False)
    assert label_only.regions is None and label_only.confidence is None
    without_regions = predict_volume(model, [image], regions=False)
    for found in (label_only, without_regions):
        assert (sitk.GetArrayFromImage(found.labelmap) == sitk.GetArrayFromImage(full.labelmap)).all()
    certainties = [sitk.GetArrayFromImage(found.confidence) for found in (full, without_regions)]
    assert certainties[0] == pytest.approx(certainties[1], abs=1e-6)


@pytest.mark.parametrize(("size", "overlap"), [((20, 24, 28), 0.5), ((6, 50, 16), 0.25), ((40, 40, 40), 0.75)])
def test_progress_counts_every_window_and_ends_at_all(size, overlap):
    image, _ = volume(size)
    seen = []
    predict_volume(model_of(), [image], overlap=overlap, progress=lambda done, total: seen.append((done, total)))
    total = len(window_slices(size, (16, 16, 16), overlap))
    assert seen == [(n, total) for n in range(1, total + 1)]


def test_mirrored_views_are_averaged_along_the_trained_axes():
    image, box = volume()
    seen = []
    result = predict_volume(
        model_of(mirror_axes=("LR", "IS")),
        [image],
        mirror=True,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1][0] == seen[-1][1] == len(window_slices((20, 24, 28), (16, 16, 16), 0.5))
    assert (sitk.GetArrayFromImage(result.labelmap) == box * 7).all()


def test_mirrored_views_of_one_window_by_hand(monkeypatch):
    ramp = torch.linspace(-1, 1, 16)  # what the network says depends on the place in its window

    def predict(self, images):
        logits = torch.cat((-images * ramp, images * ramp, torch.full_like(images, -50)), 1)
        return logits, logits

    monkeypatch.setattr(Brightness, "predict", predict)
    array = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    model = model_of(intensity=UNCHANGED, mirror_axes=("LR",))
    result = predict_volume(model, [sitk.GetImageFromArray(array)], mirror=True)
    one = torch.sigmoid(2 * torch.from_numpy(array) * ramp)
    bright = (one + torch.sigmoid(2 * torch.from_numpy(array) * ramp.flip(0))) / 2
    expected = torch.maximum(bright, 1 - bright).numpy()
    assert sitk.GetArrayFromImage(result.confidence) == pytest.approx(expected, abs=1e-5)


def decided_as_a_whole(model, image):
    """Label, region and confidence from whole probabilities, resampled with SimpleITK; and how sure the label is."""
    array, grid = to_grid([image], model.plan)

    def predict(images):
        return torch.cat([logits.softmax(1) for logits in model.method.predict(images)], 1)

    slabs = blend_windows(predict, torch.from_numpy(array), model.plan.patch, 0.5, torch.device("cpu"))
    channels = torch.cat([slab.clone() for slab in slabs], 1).numpy()
    images = [image_like(channel, grid) for channel in channels]
    p, q = np.split(
        np.stack([sitk.GetArrayFromImage(resample_onto(i, image, sitk.sitkLinear, extend=True)) for i in images]), 2
    )
    first, second = np.sort(q, 0)[:-3:-1]
    region = 1 + 2 * (p.argmax(0) != q.argmax(0)) + (first <= 0.9)
    sure = np.minimum(first - second, np.abs(first - 0.9)) > 1e-3
    return q.argmax(0), region, first, sure & (np.abs(np.diff(np.sort(p, 0)[-2:], axis=0))[0] > 1e-3)


@pytest.mark.parametrize(
    ("spacing", "direction"),
    [
        ((0.8, 1.1, 2.5), (1, 0, 0, 0, 1, 0, 0, 0, 1)),
        ((0.8, 1.1, 2.5), FLIPPED),
        ((0.8, 1.1, 2.5), PERMUTED),
        ((2.3, 1.0, 0.4), ROTATED),
        ((2.3, 1.0, 0.4), (0, 0.8, -0.6, 0, -0.6, -0.8, -1, 0, 0)),
    ],
    ids=["plain", "flipped", "permuted", "oblique", "oblique and permuted"],
)
def test_another_grid_gives_what_whole_probabilities_resampled_give(spacing, direction):
    image, _ = volume(size=(22, 26, 30), spacing=spacing, direction=direction)
    image = sitk.SmoothingRecursiveGaussian(image, 2.0)
    model = model_of((1.2, 1.3, 1.0), shift=0.4, intensity=Intensity("ct", -1000.0, 1000.0, 50.0, 60.0))
    result = predict_volume(model, [image])
    label, region, confidence, sure = decided_as_a_whole(model, image)
    assert sure.mean() > 0.95 and len(np.unique(label)) == 2 and len(np.unique(region)) == 4
    assert np.array_equal(sitk.GetArrayFromImage(result.labelmap)[sure], np.array([0, 7, 9])[label][sure])
    assert np.array_equal(sitk.GetArrayFromImage(result.regions)[sure], region[sure])
    assert sitk.GetArrayFromImage(result.confidence) == pytest.approx(confidence, abs=5e-5)


@pytest.mark.parametrize(
    ("spacing", "direction"),
    [((1.0, 1.0, 1.0), FLIPPED), ((1.0, 1.0, 1.0), PERMUTED), ((1.0, 1.0, 1.5), ROTATED)],
    ids=["flipped", "permuted", "other spacing"],
)
def test_voxels_are_decided_before_later_windows_are_predicted(monkeypatch, spacing, direction):
    done, decided = [], []
    decide = inference.decide_voxels

    def counted(slab, **options):
        found = decide(slab, **options)
        decided.append((len(done), len(found["label"])))
        return found

    monkeypatch.setattr(inference, "decide_voxels", counted)
    image, _ = volume(size=(40, 40, 40), spacing=spacing, direction=direction)
    predict_volume(model_of(), [image], progress=lambda *counts: done.append(counts))
    assert decided[0][0] <= len(done) // 4 + 1
    assert max(planes for _, planes in decided) <= 2 * SLAB_PLANES and sum(planes for _, planes in decided) == 40


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 1.5)])
def test_where_the_network_gives_no_number_the_label_is_background_without_confidence(monkeypatch, spacing):
    def predict(self, images):
        logits = torch.cat((-images, images, torch.full_like(images, -50)), 1)
        logits[images.expand_as(logits) > 2] = torch.nan
        return logits, logits

    monkeypatch.setattr(Brightness, "predict", predict)
    image, box = volume(spacing=spacing)
    found = predict_volume(model_of(), [image])
    assert np.isnan(sitk.GetArrayFromImage(found.confidence)[box == 1]).all()
    assert (sitk.GetArrayFromImage(found.labelmap) == 0).all()
    assert np.isfinite(sitk.GetArrayFromImage(found.confidence)[0, 0]).all()


@pytest.mark.parametrize("name", list(METHODS))
def test_without_regions_every_method_says_the_same_with_fewer_passes(name, tiny_plan):
    torch.manual_seed(0)
    method = build_method(name, tiny_plan.network).eval()
    if name == "mean-teacher":
        for parameter in method.teacher.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    passes = []
    for part in method.children():
        part.register_forward_hook(lambda _, inputs, __: passes.append(len(inputs[0])))
    images = torch.randn(1, 1, 8, 8, 8)
    with torch.no_grad():
        supervised, reference = (logits.softmax(1) for logits in method.predict(images))
        passes.clear()
        found = [logits.softmax(1) for logits in method.label_logits(images)]
    expected = reference if method.label_from == "reference" else (supervised + reference) / 2
    assert (sum(found) / len(found)).numpy() == pytest.approx(expected.numpy(), abs=1e-3)
    if method.label_from == "reference":
        assert passes == [1]


def test_a_stop_is_heard_between_windows():
    image, _ = volume()
    asked = iter([False, False, True])
    with pytest.raises(Stopped):
        predict_volume(model_of(), [image], should_stop=lambda: next(asked))


def test_largest_components_keeps_one_piece_per_class():
    label = np.zeros((3, 9, 9), np.uint8)
    label[0, 0, :5] = 1
    label[2, 8, :3] = 1
    label[:, 4, 4] = 2
    label[0, 8, 8] = 2
    kept = largest_components(label)
    assert (kept == 1).sum() == 5 and (kept == 2).sum() == 3
    assert kept[2, 8, 0] == 0 and kept[0, 8, 8] == 0
    assert (label == 1).sum() == 8  # the input is unchanged


def test_keep_largest_leaves_the_regions_alone():
    image, box = volume()
    array = sitk.GetArrayFromImage(image)
    array[0, 0, 0] = 100
    spotted = sitk.GetImageFromArray(array)
    all_of_it = predict_volume(model_of(), [spotted])
    largest = predict_volume(model_of(), [spotted], keep_largest=True)
    assert (sitk.GetArrayFromImage(all_of_it.labelmap) > 0).sum() == box.sum() + 1
    assert (sitk.GetArrayFromImage(largest.labelmap) > 0).sum() == box.sum()
    assert (sitk.GetArrayFromImage(largest.regions) == sitk.GetArrayFromImage(all_of_it.regions)).all()
    assert (sitk.GetArrayFromImage(largest.other) > 0).sum() == box.sum()  # what is removed contradicts nothing


@pytest.mark.parametrize("value", [7, 9])
def test_keep_largest_means_every_class(value, monkeypatch):
    """Of both classes, whichever the bright box and a bright voxel apart from it are."""
    order = [0, 1, 2] if value == 7 else [0, 2, 1]
    predict = Brightness.predict
    monkeypatch.setattr(Brightness, "predict", lambda *data: tuple(q[:, order] for q in predict(*data)))
    image, box = volume()
    array = sitk.GetArrayFromImage(image)
    array[0, 0, 0] = 100
    largest = predict_volume(model_of(), [sitk.GetImageFromArray(array)], keep_largest=True)
    assert (sitk.GetArrayFromImage(largest.labelmap) == value * box).all()


def test_shares_of_the_largest_part():
    label = np.zeros((3, 9, 9), np.uint8)
    label[0, 0, :6] = 1
    label[2, 8, :2] = 1
    label[:, 4, 4] = 2
    assert largest_shares(label) == {1: 0.75, 2: 1.0}


@pytest.mark.parametrize(("keep_largest", "stray"), [(None, 0), (True, 0), (False, 1)])
def test_classes_that_always_formed_one_part_are_reduced_to_it(keep_largest, stray):
    image, box = volume()
    array = sitk.GetArrayFromImage(image)
    array[0, 0, 0] = 100
    model = replace(model_of(), fingerprint=Fingerprint((), (), (), connected=(1,)))
    found = predict_volume(model, [sitk.GetImageFromArray(array)], keep_largest=keep_largest)
    assert (sitk.GetArrayFromImage(found.labelmap) > 0).sum() == box.sum() + stray


def test_too_little_memory_everywhere_is_said(monkeypatch):
    asked = []

    def refuse(self, images):
        asked.append(len(images))
        raise torch.OutOfMemoryError("out of memory (injected)")

    monkeypatch.setattr(Brightness, "predict", refuse)
    with pytest.raises(OutOfMemoryError, match="Not enough memory to segment") as caught:
        predict_volume(model_of(), [volume()[0]])
    assert caught.value.exit_code == 3
    assert asked == [1]  # the CPU is not tried twice


@pytest.mark.parametrize("step", ["to_grid", "oriented_grid", "onto_target", "largest_components", "_reordered"])
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("itk::ERROR: Failed to allocate memory for image.")])
def test_a_lack_of_memory_at_any_step_is_said(monkeypatch, step, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(inference, step, refuse)
    with pytest.raises(OutOfMemoryError, match="Not enough memory to segment") as caught:
        predict_volume(model_of(), [volume()[0]], keep_largest=True)
    assert "crop or downsample" in caught.value.hint


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 0.3)])
def test_slabs_for_which_memory_is_short_are_decided_in_parts(monkeypatch, spacing):
    image, _ = volume(spacing=spacing)
    expected = predict_volume(model_of(), [image])
    refused = []
    decide = inference.decide_voxels

    def narrow(slab, **options):
        if len(slab[0]) > 2:
            refused.append(len(slab[0]))
            raise MemoryError
        return decide(slab, **options)

    monkeypatch.setattr(inference, "decide_voxels", narrow)
    found = predict_volume(model_of(), [image])
    assert refused
    for one, other in zip((found.labelmap, found.regions, found.confidence), vars(expected).values()):
        assert np.array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other))


def test_too_little_memory_on_a_gpu_falls_back_to_the_cpu():
    gpu, cpu = torch.device("cuda", 0), torch.device("cpu")
    moves, said = [], []
    model = SimpleNamespace(device=gpu, method=SimpleNamespace(to=lambda device, **_: moves.append(device)))

    def compute(device):
        if device == gpu:
            raise torch.OutOfMemoryError("CUDA out of memory (injected)")
        return {"label": torch.ones(1)}

    assert _within_memory(compute, model, said.append)["label"].item() == 1
    assert cpu in moves and moves[-1] == gpu  # the model is left where it was
    assert said == ["Not enough memory on cuda:0; segmenting on the CPU, which takes longer."]


def test_other_errors_of_torch_are_not_taken_for_a_lack_of_memory(monkeypatch):
    def fail(self, images):
        raise RuntimeError("shapes do not fit (injected)")

    monkeypatch.setattr(Brightness, "predict", fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        predict_volume(model_of(), [volume()[0]])


def test_labels_on_the_networks_grid():
    image, box = volume()
    array = sitk.GetArrayFromImage(image)[None] / 100 - 0.5
    model = model_of()
    labels = predict_labels(model.method, array, model.plan, torch.device("cpu"), torch.float32)
    assert (labels == box).all()
    with pytest.raises(Stopped):
        predict_labels(model.method, array, model.plan, torch.device("cpu"), torch.float32, lambda: True)
