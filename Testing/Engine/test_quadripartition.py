import pytest
import torch
import torch.multiprocessing as multiprocessing
from metassl.ssl.quadripartition import (
    LABELLED,
    REFERENCE,
    SUPERVISED,
    UNLABELLED,
    Branch,
    region_map,
)
from metassl.ssl.thresholds import AdaptiveThresholds


def branch(labels, confidences):
    """A branch of one crop with a row of voxels."""
    label, confidence = torch.tensor([labels]), torch.tensor([confidences])
    return Branch(torch.zeros(1, 3, len(labels)), label, confidence)


def test_branch_reads_label_and_confidence_of_logits():
    logits = torch.tensor([[[0.0, 3.0], [0.0, 0.0], [2.0, 0.0]]])  # one crop, three classes, two voxels
    read = Branch.of(logits.bfloat16())
    assert read.label.tolist() == [[2, 0]]
    e = torch.e
    assert read.confidence[0].tolist() == pytest.approx([e**2 / (2 + e**2), e**3 / (2 + e**3)], rel=1e-5)
    assert read.confidence.dtype == torch.float32


def test_among_equal_logits_the_first_class_wins():
    logits = torch.tensor([[[1.0, 0.0, 0.0], [1.0, 5.0, 5.0], [1.0, 5.0, 6.0]]])
    assert Branch.of(logits).label.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("label", "other", "confidence", "region"),
    [(1, 1, 0.95, 1), (1, 1, 0.8, 2), (1, 0, 0.95, 3), (1, 0, 0.8, 4), (0, 0, 0.65, 1), (0, 0, 0.6, 2)],
)
def test_each_region(label, other, confidence, region):
    thresholds = torch.tensor([0.6, 0.9])
    found = region_map(torch.tensor([label]), torch.tensor([other]), torch.tensor([confidence]), thresholds)
    assert found.tolist() == [region]  # a confidence equal to the threshold is suspicious


@pytest.mark.parametrize("size", [(7, 9), (5, 6, 7)])
def test_regions_are_disjoint_and_cover_everything(size):
    torch.manual_seed(0)
    label, other = torch.randint(0, 4, size), torch.randint(0, 4, size)
    confidence, thresholds = torch.rand(size), torch.rand(4)
    region = region_map(label, other, confidence, thresholds)
    agree, confident = label == other, confidence > thresholds[label]
    masks = [agree & confident, agree & ~confident, ~agree & confident, ~agree & ~confident]
    assert torch.stack(masks).sum(0).eq(1).all()
    for number, mask in enumerate(masks, 1):
        assert torch.equal(region == number, mask)


def test_thresholds_follow_the_batch():
    thresholds = AdaptiveThresholds(3, alpha=0.5, cap=1.0)
    supervised = branch([0, 0, 1], [0.8, 0.6, 0.9])
    reference = branch([1, 1, 1], [0.9, 0.6, 0.3])
    thresholds.update([(supervised, reference)], torch.ones(1, 3, dtype=torch.bool), labelled=1)
    # m_0 = 1.4 / 3, m_1 = 0.9 / 2; m_1 of the reference = 1.8 / 4; tau = (m + 0.9) / 2; absent classes stay at 0.9
    assert thresholds.used(LABELLED, SUPERVISED).tolist() == pytest.approx([(1.4 / 3 + 0.9) / 2, (0.45 + 0.9) / 2, 0.9])
    assert thresholds.used(LABELLED, REFERENCE).tolist() == pytest.approx([0.9, (0.45 + 0.9) / 2, 0.9])
    assert thresholds.used(UNLABELLED, REFERENCE).tolist() == pytest.approx([0.9, 0.9, 0.9])


def test_absent_class_keeps_its_threshold_over_many_batches():
    thresholds = AdaptiveThresholds(3)
    only_background = branch([0, 0], [0.99, 0.99])
    for _ in range(20):
        thresholds.update([(only_background, only_background)], torch.ones(1, 2, dtype=torch.bool), labelled=0)
    assert thresholds.tau[UNLABELLED, REFERENCE, 2] == pytest.approx(0.9)
    assert thresholds.tau[UNLABELLED, REFERENCE, 0] == pytest.approx(2 * 0.99 / 3, abs=1e-4)


def test_cap_limits_what_is_used_only():
    thresholds = AdaptiveThresholds(2, alpha=1.0, cap=0.9)
    certain = Branch(torch.zeros(1, 2, 999), torch.zeros(1, 999, dtype=torch.long), torch.full((1, 999), 0.99))
    thresholds.update([(certain, certain)], torch.ones(1, 999, dtype=torch.bool), labelled=0)
    assert thresholds.tau[UNLABELLED, REFERENCE, 0] == pytest.approx(0.99 * 999 / 1000)
    assert thresholds.used(UNLABELLED, REFERENCE)[0] == pytest.approx(0.9)


def test_ignored_voxels_do_not_move_thresholds():
    one, two = AdaptiveThresholds(2), AdaptiveThresholds(2)
    valid = torch.tensor([[True, True, False]])
    long = branch([0, 1, 1], [0.7, 0.8, 0.1])
    short = branch([0, 1], [0.7, 0.8])
    one.update([(long, long)], valid, labelled=1)
    two.update([(short, short)], valid[:, :2], labelled=1)
    assert torch.equal(one.tau, two.tau)


def test_thresholds_are_saved():
    thresholds = AdaptiveThresholds(2)
    thresholds.tau.mul_(0.5)
    other = AdaptiveThresholds(2)
    other.load_state_dict(thresholds.state_dict())
    assert torch.equal(other.tau, thresholds.tau)


def test_sums_do_not_drift_on_large_volumes():
    thresholds = AdaptiveThresholds(2, alpha=1.0, cap=1.0)
    count = 4_000_000
    same = Branch(torch.zeros(1, 2, 1), torch.zeros(1, count, dtype=torch.long), torch.full((1, count), 0.7))
    thresholds.update([(same, same)], torch.ones(1, count, dtype=torch.bool), labelled=0)
    assert thresholds.tau[UNLABELLED, REFERENCE, 0].item() == pytest.approx(0.7, abs=1e-6)


@pytest.mark.parametrize(("name", "values"), [("alpha", {"alpha": 0.0}), ("cap", {"cap": 1.5})])
def test_bad_settings_are_named(name, values):
    with pytest.raises(ValueError, match=name):
        AdaptiveThresholds(2, **values)


def update_on_rank(rank, address, results):
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    confidences = [[0.8, 0.6], [0.9, 0.4]][rank]
    mine = branch([0, 1], confidences)
    thresholds = AdaptiveThresholds(3)
    thresholds.update([(mine, mine)], torch.ones(1, 2, dtype=torch.bool), labelled=1)
    results[rank].copy_(thresholds.tau)
    torch.distributed.destroy_process_group()


def test_two_ranks_have_the_thresholds_of_one_process_with_both_batches(tmp_path):
    results = [torch.zeros(2, 2, 3).share_memory_() for _ in range(2)]
    address = (tmp_path / "rendezvous").as_uri()
    multiprocessing.spawn(update_on_rank, (address, results), nprocs=2)
    alone = AdaptiveThresholds(3)
    both = Branch(torch.zeros(2, 3, 2), torch.tensor([[0, 1], [0, 1]]), torch.tensor([[0.8, 0.6], [0.9, 0.4]]))
    alone.update([(both, both)], torch.ones(2, 2, dtype=torch.bool), labelled=2)
    for tau in results:
        assert torch.allclose(tau, alone.tau)
        assert tau[LABELLED, SUPERVISED, 2] == pytest.approx(0.9)
