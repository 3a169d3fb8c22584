import pytest
import torch
from metassl.inference.windows import SLAB_PLANES, _Passes, blend_windows, window_slices
from monai.inferers import sliding_window_inference
from torch.nn import functional

CPU = torch.device("cpu")
PATCH = (8, 12, 10)


def uneven(images):
    """Values (n, 2, ...) that depend on the place inside the window, so that windows disagree where they overlap."""
    ramp = torch.linspace(0, 1, images[0, 0].numel()).view(images.shape[2:])
    return torch.cat((images * ramp, functional.avg_pool3d(images, 3, 1, 1)), 1)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("size", [(30, 29, 33), (8, 12, 10), (5, 40, 10), (3, 4, 5), (9, 12, 3)])
def test_slabs_together_are_monais_sliding_window(size, overlap):
    image = torch.randn(1, *size, generator=torch.Generator().manual_seed(0))
    expected = sliding_window_inference(image[None], PATCH, 1, uneven, overlap=overlap, mode="gaussian")[0]
    slabs = [slab.clone() for slab in blend_windows(uneven, image, PATCH, overlap, CPU)]
    assert max(slab.shape[1] for slab in slabs) <= SLAB_PLANES
    found = torch.cat(slabs, 1)
    assert found.shape == expected.shape
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-5)


def test_planes_are_handed_on_before_later_windows_are_predicted():
    image = torch.randn(1, 40, 12, 10, generator=torch.Generator().manual_seed(0))
    passes, seen = [], []

    def predict(images):
        passes.append(len(images))
        return images

    planes = 0
    for slab in blend_windows(predict, image, PATCH, 0.5, CPU):
        planes += slab.shape[1]
        seen.append((planes, len(passes)))
    # windows begin every 4 planes; 4 planes are finished as soon as the window that begins on them is done
    assert seen == [(4, 1), (8, 2), (12, 3), (16, 4), (20, 5), (24, 6), (28, 7), (32, 8), (40, 9)]


def test_windows_of_air_are_predicted_once():
    image = torch.full((2, 32, 12, 10), -1.0)
    image[:, 24:] = torch.randn(2, 8, 12, 10, generator=torch.Generator().manual_seed(0))
    predicted, progress = [], []

    def predict(images):
        predicted.append(images.amin() == images.amax())
        return uneven(images[:, :1])

    found = torch.cat(
        [s.clone() for s in blend_windows(predict, image, PATCH, 0.5, CPU, lambda *counts: progress.append(counts))], 1
    )
    assert [bool(p) for p in predicted] == [True, False, False]  # five windows of air, two that touch the body
    assert progress == [(n, 7) for n in range(1, 8)]
    expected = sliding_window_inference(image[None], PATCH, 1, lambda x: uneven(x[:, :1]), overlap=0.5, mode="gaussian")
    assert found.numpy() == pytest.approx(expected[0].numpy(), abs=1e-5)


def test_every_kind_of_air_has_values_of_its_own():
    image = torch.full((1, 32, 12, 10), -1.0)
    image[:, 16:] = 2.0
    found = torch.cat([s.clone() for s in blend_windows(uneven, image, PATCH, 0.5, CPU)], 1)
    expected = sliding_window_inference(image[None], PATCH, 1, uneven, overlap=0.5, mode="gaussian")[0]
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-5)


def passes_of(predict, together):
    image = torch.randn(1, 32, 12, 10, generator=torch.Generator().manual_seed(0))
    passes = _Passes(predict, image, PATCH, CPU)
    passes.most = together
    return passes, image, window_slices(image.shape[1:], PATCH, 0.5)


def test_a_lack_of_memory_makes_the_passes_smaller_and_loses_no_window():
    asked = []

    def predict(images):
        asked.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("out of memory (injected)")
        return images + 1

    passes, image, windows = passes_of(predict, together=5)
    found = list(passes(windows))
    assert asked == [5, 2, 2, 1, 2]
    assert [window for window, _ in found] == windows
    assert all(torch.equal(values, image[(slice(None), *window)] + 1) for window, values in found)


def test_what_single_windows_lack_and_other_errors_are_passed_on():
    def too_little(images):
        raise torch.OutOfMemoryError("out of memory (injected)")

    def broken(images):
        raise RuntimeError("shapes do not fit (injected)")

    for predict, message in ((too_little, "out of memory"), (broken, "shapes do not fit")):
        passes, _, windows = passes_of(predict, together=4)
        with pytest.raises(RuntimeError, match=message):
            list(passes(windows))


def test_a_cpu_gets_single_windows_and_a_gpu_several():
    image = torch.zeros(1, 32, 64, 64)
    assert _Passes(uneven, image, PATCH, CPU).most == 1
    assert _Passes(uneven, image, (64, 64, 64), torch.device("cuda")).most == 7
    assert _Passes(uneven, image, (256, 256, 256), torch.device("cuda")).most == 1
