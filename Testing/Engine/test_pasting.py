import pytest
import torch
from metassl.crops.pasting import paste_labelled
from metassl.data.dataset import IGNORE
from metassl.ssl.heterogeneous import HeterogeneousLoss
from metassl.ssl.quadripartition import Branch

SIZE = (8, 10, 12)


@pytest.fixture
def crops():
    """Two labelled and two unlabelled crops, each filled with its number; label k + 1 in labelled crop k."""
    strong = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 1, *SIZE).clone()
    labels = torch.zeros(4, *SIZE, dtype=torch.long)
    labels[0], labels[1] = 1, 2
    labels[1, 0] = IGNORE
    trust = torch.tensor([0.5, 0.25, 1, 1]).view(4, 1, 1, 1).expand_as(labels)
    return strong, labels, trust


def test_pasted_voxels_are_a_labelled_crops_and_the_rest_stays(crops):
    strong, labels, trust = crops
    for seed in range(20):
        mixed, known, trusted, pasted = paste_labelled(strong, labels, trust, 2, [0, 0, seed, seed + 100])
        assert torch.equal(mixed[:2], strong[:2]) and torch.equal(known[:2], labels[:2])
        for crop, here in zip((2, 3), pasted):
            assert here.any() and not here.all()
            (partner,) = mixed[crop, 0][here].unique().long().tolist()
            assert partner in (0, 1)
            assert torch.equal(known[crop][here], labels[partner][here])
            assert (trusted[crop][here] == trust[partner, 0, 0, 0]).all() and (trusted[crop][~here] == 1).all()
            assert (mixed[crop, 0][~here] == crop).all() and (known[crop][~here] == 0).all()
    assert torch.equal(strong[2], torch.full_like(strong[2], 2)), "the given views are untouched"


def test_a_crop_is_pasted_the_same_way_in_whatever_batch(crops):
    strong, labels, trust = crops
    both = paste_labelled(strong, labels, trust, 2, [5, 6, 7, 8])
    kept = [0, 1, 3]
    one = paste_labelled(strong[kept], labels[kept], trust[kept], 2, [5, 6, 8])
    assert torch.equal(both[3][1], one[3][0]) and torch.equal(both[1][3], one[1][2])


def test_both_boxes_and_surroundings_are_pasted(crops):
    strong, labels, trust = crops
    corners = ([0, 0, -1], [0, -1, -1], [0, -1, 0])
    pasted = (paste_labelled(strong, labels, trust, 2, [0, 0, seed, 0])[3][0] for seed in range(30))
    surrounded = sum(bool(here[corners].all()) for here in pasted)
    assert 5 < surrounded < 25


def test_pasted_voxels_teach_the_annotation_whatever_the_reference_says():
    torch.manual_seed(0)
    supervised, reference = torch.randn(2, 2, 3, 6, 6, 6).unbind(0)
    labels = torch.randint(3, (2, 6, 6, 6))
    pasted = torch.zeros(1, 6, 6, 6, dtype=torch.bool)
    pasted[:, :3] = True
    wrong = reference.clone()
    wrong[1, :, :3] = wrong[1, :, :3].flip(0)  # another prediction where the annotation is known

    def loss(q, pasted):
        pair = (Branch.of(supervised), Branch.of(q))
        heterogeneous = HeterogeneousLoss(3, cap=0.01)  # everything is confident
        return heterogeneous([pair], labels, 1, False, pasted)

    assert loss(reference, pasted).unlabelled == pytest.approx(float(loss(wrong, pasted).unlabelled), rel=1e-5)
    assert loss(reference, None).unlabelled != pytest.approx(float(loss(wrong, None).unlabelled), rel=1e-5)
    assert loss(reference, pasted).unlabelled != pytest.approx(float(loss(reference, None).unlabelled), rel=1e-5)


def test_region_shares_are_of_the_voxels_that_were_not_pasted():
    logits = torch.zeros(2, 2, 4, 4, 4)
    logits[:, 1] = 9  # certain of class 1 everywhere
    branch = Branch.of(logits)
    labels = torch.zeros(2, 4, 4, 4, dtype=torch.long)
    pasted = torch.zeros(1, 4, 4, 4, dtype=torch.bool)
    pasted[:, :2] = True  # annotated as background, predicted as class 1: discrepant
    terms = HeterogeneousLoss(2)([(branch, branch)], labels, 1, False, pasted)
    assert terms.shares[1].tolist() == [1, 0, 0, 0]
