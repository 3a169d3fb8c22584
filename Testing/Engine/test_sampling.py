import threading

import numpy as np
import pytest
import torch
from metassl.crops.prefetching import Prefetcher
from metassl.crops.sampling import CropSampler, cut_box
from metassl.data.dataset import IGNORE
from tiny_trainer import MemoryCase


@pytest.fixture
def sampler(array_case):
    labelled = [array_case(f"l{n}") for n in range(3)]
    unlabelled = [array_case(f"u{n}", (14, 11, 10)) for n in range(5)]
    return CropSampler(labelled, unlabelled, (2, 2), patch=(8, 8, 8), seed=3)


def test_cut_inside_is_a_copy():
    array = np.arange(60).reshape(3, 4, 5)
    box = cut_box(array, (1, 1, 1), (2, 2, 2), -1)
    assert box.tolist() == array[1:3, 1:3, 1:3].tolist()
    box[:] = 0
    assert array[1, 1, 1] == 26


def test_cut_over_the_border_is_filled():
    array = np.ones((2, 2, 2, 2))
    box = cut_box(array, (-1, 0, 1), (3, 2, 2), 7)
    assert box.shape == (2, 3, 2, 2)
    assert (box[:, 0] == 7).all() and (box[:, :, :, 1] == 7).all() and (box[:, 1:, :, 0] == 1).all()
    assert (cut_box(array, (5, 0, 0), (2, 2, 2), 7) == 7).all()


def test_a_step_is_always_the_same(sampler):
    one, again, other = sampler.crops(4), sampler.crops(4), sampler.crops(5)
    assert torch.equal(one.images, again.images) and one.seeds == again.seeds
    assert not torch.equal(one.images, other.images)


def test_shapes_and_outside(sampler):
    crops = sampler.crops(0)
    assert crops.images.shape == (4, 1, 10, 10, 10) and crops.labels.shape == (4, 10, 10, 10)
    outside = crops.labels == IGNORE
    assert outside.any() and (crops.images[:, 0][outside] == 0).all()
    assert set(crops.labels[2:].unique().tolist()) <= {0, IGNORE}  # unlabelled crops never show a label


def test_every_case_is_seen_once_an_epoch(sampler, monkeypatch):
    seen = []
    monkeypatch.setattr(
        sampler, "_centre", lambda case, stream, *rest: seen.append((stream, case.id)) or np.zeros(3, int)
    )
    for step in range(15):  # 30 unlabelled crops: six epochs of five cases
        sampler.crops(step)
    unlabelled = [name for stream, name in seen if stream == 1]
    for epoch in range(6):
        assert sorted(unlabelled[5 * epoch : 5 * epoch + 5]) == [f"u{n}" for n in range(5)]
    labelled = [name for stream, name in seen if stream == 0]
    assert sorted(labelled[:3]) == ["l0", "l1", "l2"]


def test_about_half_of_the_crops_are_centred_on_foreground(array_case):
    big = array_case("big", (60, 60, 60))  # foreground in two corners only
    sampler = CropSampler([big], [big], (1, 1), patch=(8, 8, 8), seed=0)
    hits = [(crops.labels[0] % IGNORE > 0).any().item() for crops in map(sampler.crops, range(200))]
    assert 70 < sum(hits) < 130


def test_without_unlabelled_cases_there_are_labelled_crops_only(array_case):
    crops = CropSampler([array_case()], [], (2, 2), patch=(8, 8, 8), seed=0).crops(0)
    assert len(crops.images) == 2


def test_prefetcher_gives_the_steps_in_order(sampler):
    prefetcher = Prefetcher(sampler, first=2)
    got = [crops for crops, _ in zip(prefetcher, range(3))]
    prefetcher.close()
    for step, crops in zip((2, 3, 4), got):
        assert crops.seeds == sampler.crops(step).seeds
    assert not any(thread.name.startswith("crops") and thread.is_alive() for thread in threading.enumerate())


def test_prefetcher_hands_errors_on(sampler):
    def broken(step):
        raise OSError("cache is gone")

    sampler.crops = broken
    prefetcher = Prefetcher(sampler, first=0)
    with pytest.raises(OSError, match="cache is gone"):
        next(iter(prefetcher))
    prefetcher.close()


def cases_of_one_value(count, size=(12, 12, 12)):
    """Case n has the intensity n everywhere."""
    return [MemoryCase(f"c{n}", np.full((1, *size), n, np.float32)) for n in range(count)]


def test_a_crop_tells_the_number_of_its_own_case():
    sampler = CropSampler(cases_of_one_value(5), cases_of_one_value(4), (2, 3), patch=(8, 8, 8), seed=0)
    for crops in map(sampler.crops, range(10)):
        assert crops.cases == tuple(int(image.max()) for image in crops.images)


def test_foreground_of_every_class_is_a_centre():
    """A corner each: within 10 voxels of 40 there is one of them at most."""
    big = MemoryCase("big", np.zeros((1, 40, 40, 40), np.float32))
    sampler = CropSampler([big], [], (1, 0), patch=(8, 8, 8), seed=0)
    found = [set(sampler.crops(step).labels.unique().tolist()) - {IGNORE} for step in range(120)]
    assert 10 < sum(1 in values for values in found) < 60 and 10 < sum(2 in values for values in found) < 60


def test_the_middle_of_a_crop_is_its_centre(monkeypatch):
    place = np.arange(20**3, dtype=np.float32).reshape(1, 20, 20, 20)
    sampler = CropSampler([MemoryCase("c", place)], [], (1, 0), patch=(8, 8, 8), seed=0)
    monkeypatch.setattr(sampler, "_centre", lambda *_: np.array([9, 10, 11]))
    assert sampler.crops(0).images[0, 0, 5, 5, 5] == place[0, 9, 10, 11]


def test_ranks_together_draw_what_one_with_their_joint_batch_would():
    cases = cases_of_one_value(5), cases_of_one_value(4)
    alone = CropSampler(*cases, (2, 4), patch=(8, 8, 8), seed=0)
    ranks = [CropSampler(*cases, (1, 2), patch=(8, 8, 8), seed=0, rank=rank, ranks=2) for rank in range(2)]
    for step in range(3):
        joint, (first, second) = alone.crops(step).seeds, [sampler.crops(step).seeds for sampler in ranks]
        assert joint == (first[0], second[0], *first[1:], *second[1:])
