import math

import pytest
import torch
from metassl.data.dataset import IGNORE
from metassl.ssl.dice_ce import dice_ce_loss
from metassl.ssl.heterogeneous import REGION_WEIGHTS, HeterogeneousLoss, voxel_weights
from metassl.ssl.quadripartition import Branch
from metassl.ssl.voxels import masked_mean
from monai.losses import DiceLoss
from torch.nn import functional


def naive_loss(trained, target, regions_of, thresholds, weights, reduction, valid):
    """The formula region by region, as in the paper: five masked means of one cross-entropy per region.

    ``regions_of``: label, other label and confidence that define the regions.
    """
    label, compared, confidence = regions_of
    agree, confident = label == compared, confidence > thresholds[label.long()]
    masks = [
        agree & confident & (label != 0),
        agree & confident & (label == 0),
        agree & ~confident,
        ~agree & confident,
        ~agree & ~confident,
    ]
    total = 0.0
    for mask, weight in zip(masks, [weights[0], *weights]):
        mask = mask & valid
        per_voxel = functional.cross_entropy(trained, target.long(), reduction="none")
        size = mask.sum() if reduction == "region" else valid.sum()
        total = total + weight * (per_voxel * mask).sum() / (size + 1)
    return total


def random_case(size, classes, seed=0):
    torch.manual_seed(seed)
    p, q = (torch.randn(4, classes, *size) * 3 for _ in range(2))
    labels = torch.randint(0, classes, (4, *size))
    labels[torch.rand(labels.shape) < 0.1] = IGNORE
    return p, q, labels


@pytest.mark.parametrize("reduction", ["voxel", "region"])
@pytest.mark.parametrize("partition", ["annotation", "networks"])
@pytest.mark.parametrize("preset", sorted(REGION_WEIGHTS))
@pytest.mark.parametrize(("size", "classes"), [((6, 5, 4), 2), ((9, 8), 5)])
def test_loss_equals_the_formula_region_by_region(size, classes, preset, partition, reduction):
    p, q, labels = random_case(size, classes)
    loss = HeterogeneousLoss(classes, preset, reduction, partition)
    branches = Branch.of(p), Branch.of(q)
    terms = loss([branches], labels, labelled=2, symmetric=False)
    valid = labels != IGNORE
    compared = labels if partition == "annotation" else branches[1].label
    labelled_weights, unlabelled_weights = REGION_WEIGHTS[preset]
    expected_labelled = naive_loss(
        p[:2],
        labels[:2].where(valid[:2], 0),
        (branches[0].label[:2], compared[:2], branches[0].confidence[:2]),
        loss.thresholds.used(0, 0),
        labelled_weights,
        reduction,
        valid[:2],
    )
    expected_unlabelled = naive_loss(
        p[2:],
        branches[1].label[2:],
        (branches[1].label[2:], branches[0].label[2:], branches[1].confidence[2:]),
        loss.thresholds.used(1, 1),
        unlabelled_weights,
        reduction,
        valid[2:],
    )
    assert terms.labelled.item() == pytest.approx(expected_labelled.item(), rel=1e-6)
    assert terms.unlabelled.item() == pytest.approx(expected_unlabelled.item(), rel=1e-6)
    assert terms.shares.sum(1).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_symmetric_loss_is_the_mean_of_both_directions():
    p, q, labels = random_case((5, 4, 3), 3)
    both = HeterogeneousLoss(3)([(Branch.of(p), Branch.of(q))], labels, 2, symmetric=True)
    there = HeterogeneousLoss(3)([(Branch.of(p), Branch.of(q))], labels, 2, symmetric=False)
    back = HeterogeneousLoss(3)([(Branch.of(q), Branch.of(p))], labels, 2, symmetric=False)
    assert both.unlabelled.item() == pytest.approx((there.unlabelled + back.unlabelled).item() / 2, rel=1e-5)
    assert both.labelled.item() == pytest.approx((there.labelled + back.labelled).item() / 2, rel=1e-5)


def test_trust_weighs_the_voxels_of_a_doubted_annotation():
    p, q, labels = random_case((6, 5, 4), 3)
    trust = torch.ones(labels.shape)
    trust[:2] = 0.25
    plain, doubted = (
        HeterogeneousLoss(3)([(Branch.of(p), Branch.of(q))], labels, labelled=2, symmetric=False, trust=given)
        for given in (None, trust)
    )
    assert doubted.labelled.item() == pytest.approx(0.25 * plain.labelled.item(), rel=1e-5)
    assert doubted.unlabelled.item() == pytest.approx(plain.unlabelled.item(), rel=1e-5)


def test_weights_by_hand():
    count = torch.tensor([1, 2, 1, 1, 2, 1])  # ignored, UC foreground, US, DC, DS, UC background
    weights = torch.tensor([8.0, 6.0, 4.0, 3.0])
    assert voxel_weights(count, weights, "region").tolist() == pytest.approx([0, 8 / 3, 3, 2, 1, 4])
    assert voxel_weights(count, weights, "voxel").tolist() == pytest.approx([0, 1, 6 / 8, 4 / 8, 3 / 8, 1])


def test_presets_have_the_published_numbers_and_orders():
    labelled, unlabelled = REGION_WEIGHTS["released-code"]
    assert labelled == pytest.approx((1, 0.66666667, 0.2962963, 0.44444444))
    assert unlabelled == pytest.approx((1, 0.8, 0.004096, 0.128))
    assert REGION_WEIGHTS["mild"] == (REGION_WEIGHTS["paper"][0],) * 2
    for uc, us, dc, ds in (*REGION_WEIGHTS["paper"], *REGION_WEIGHTS["mild"]):
        assert uc > us > dc > ds
    for uc, us, dc, ds in REGION_WEIGHTS["released-code"]:
        assert uc > us > ds > dc


def test_annotation_partition_trusts_a_wrong_annotation_less():
    # both networks say class 1 with confidence, the annotation says 0
    logits = torch.tensor([0.0, 8.0]).view(1, 2, 1, 1, 1).expand(2, 2, 4, 4, 4)
    labels = torch.zeros(2, 4, 4, 4, dtype=torch.long)
    branch = Branch.of(logits)
    losses = {
        partition: HeterogeneousLoss(2, partition=partition)([(branch, branch)], labels, 1, False)
        for partition in ("annotation", "networks")
    }
    assert losses["annotation"].shares[0].tolist() == [0, 0, 1, 0]
    assert losses["networks"].shares[0].tolist() == [1, 0, 0, 0]
    ratio = losses["annotation"].labelled / losses["networks"].labelled
    assert ratio.item() == pytest.approx(1 / 1.5**2, rel=1e-5)


def test_gradient_flows_to_the_trained_prediction_only():
    p, q, labels = random_case((4, 4, 4), 3)
    p.requires_grad_()
    q.requires_grad_()
    terms = HeterogeneousLoss(3)([(Branch.of(p), Branch.of(q))], labels, 2, symmetric=False)
    (terms.labelled + terms.unlabelled).backward()
    assert p.grad.abs().sum() > 0
    assert q.grad is None
    ignored = (labels == IGNORE).unsqueeze(1).expand_as(p)
    assert ignored.any() and p.grad[ignored].abs().max() == 0
    terms = HeterogeneousLoss(3)([(Branch.of(p), Branch.of(q))], labels, 2, symmetric=True)
    terms.unlabelled.backward()
    assert q.grad[2:].abs().sum() > 0 and q.grad[:2].abs().sum() == 0


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_logits_give_a_float32_loss(kind):
    p, q, labels = random_case((4, 4, 4), 3)
    p[:, 0] += 60  # softmax in half precision would round the other classes to zero
    exact = HeterogeneousLoss(3)([(Branch.of(p.to(kind).float()), Branch.of(q.to(kind).float()))], labels, 2, False)
    with torch.autocast("cpu", torch.bfloat16):
        half = HeterogeneousLoss(3)([(Branch.of(p.to(kind)), Branch.of(q.to(kind)))], labels, 2, False)
    assert half.labelled.dtype == torch.float32
    assert half.labelled.item() == pytest.approx(exact.labelled.item(), rel=1e-5)


def test_empty_streams_and_all_ignored_give_zero():
    p, q, _ = random_case((3, 3, 3), 2)
    labels = torch.full((4, 3, 3, 3), IGNORE)
    terms = HeterogeneousLoss(2)([(Branch.of(p), Branch.of(q))], labels, 4, symmetric=True)
    assert terms.labelled.item() == 0 and terms.unlabelled.item() == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("region_weights", "other"), ("reduction", "none"), ("partition", "teacher")],
)
def test_unknown_settings_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name} is '{value}'"):
        HeterogeneousLoss(2, **{name: value})


def test_supervised_loss_by_hand():
    # two voxels, two classes, both predicted with probability 0.75 for the right class
    probability = torch.tensor([[[0.75, 0.25], [0.25, 0.75]]])
    labels = torch.tensor([[0, 1]])
    # Dice per class: 2 * 0.75 / (0.75^2 + 0.25^2 + 1) = 12 / 13
    expected = 0.5 * (-math.log(0.75) + 1 - 12 / 13)
    assert dice_ce_loss(probability.log(), labels).item() == pytest.approx(expected, rel=1e-4)


def test_supervised_dice_is_that_of_monai():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 5, 6, 7), torch.randint(3, (2, 5, 6, 7))
    dice = DiceLoss(include_background=True, squared_pred=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)
    target = functional.one_hot(labels, 3).movedim(-1, 1).float()
    expected = 0.5 * (functional.cross_entropy(logits, labels) + dice(logits.softmax(1), target))
    torch.testing.assert_close(dice_ce_loss(logits.log_softmax(1), labels), expected)


def test_supervised_loss_leaves_ignored_voxels_out():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, 4)
    labels = torch.randint(0, 3, (2, 4, 4, 4))
    labels[:, 2:] = IGNORE
    cut = dice_ce_loss(logits[:, :, :2].log_softmax(1), labels[:, :2])
    assert dice_ce_loss(logits.log_softmax(1), labels).item() == pytest.approx(cut.item(), rel=1e-5)


def test_masked_mean():
    valid = torch.tensor([[True, True, False]])
    assert masked_mean(torch.tensor([[1.0, 3.0, 100.0]]), valid).item() == 2
    assert masked_mean(torch.ones(1, 3), torch.zeros(1, 3, dtype=torch.bool)).item() == 0
