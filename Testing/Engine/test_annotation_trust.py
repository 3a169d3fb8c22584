"""Cases whose annotation the model contradicts on the whole count less."""

import pytest
import torch
from metassl.data.dataset import IGNORE
from metassl.ssl.annotation_trust import LEAST, AnnotationTrust
from metassl.ssl.dice_ce import dice_ce_loss
from metassl.ssl.heterogeneous import HeterogeneousLoss
from metassl.ssl.quadripartition import Branch

SIZE = (12, 12, 12)


def cube(first, last):
    volume = torch.zeros(SIZE, dtype=torch.long)
    volume[first:last, 2:10, 2:10] = 1
    return volume


def certain(labels):
    """A branch that predicts these labels."""
    return Branch.of(10 * torch.nn.functional.one_hot(labels, 2).movedim(-1, 1).float())


def trust_after(annotations, predicted, rounds=20):
    """Trust in every case after some rounds of one crop per case."""
    trust = AnnotationTrust(len(annotations))
    branch = certain(torch.stack(predicted))
    for _ in range(rounds):
        trust.update([branch], torch.stack(annotations), range(len(annotations)))
    return trust(range(len(annotations)), ramp=1).tolist()


def test_everything_is_trusted_before_anything_is_known():
    trust = AnnotationTrust(3)
    assert trust([0, 1, 2], ramp=1).tolist() == [1, 1, 1]
    trust.update([certain(cube(2, 10)[None])], cube(2, 10)[None], [1])
    assert trust([0, 1, 2], ramp=1).tolist() == [1, 1, 1]


def test_two_of_four_annotations_that_are_off_count_little():
    model = [cube(2, 10)] * 4
    good, shifted, small = cube(2, 10), cube(5, 12), cube(4, 8)
    values = trust_after([good, good, shifted, small], model)
    assert values[:2] == pytest.approx([1, 1])
    assert max(values[2:]) == pytest.approx(LEAST)


def test_at_first_all_are_trusted():
    trust = AnnotationTrust(2)
    trust.update([certain(torch.stack([cube(2, 10)] * 2))], torch.stack([cube(2, 10), cube(5, 12)]), [0, 1])
    values = [trust([1], ramp=r).item() for r in (0, 0.1, 1)]
    assert values[0] == 1 and values[0] > values[1] > values[2]


def test_a_case_that_is_only_hard_stays_trusted():
    assert trust_after([cube(2, 10)] * 4, [cube(2, 10)] * 3 + [cube(3, 10)]) == pytest.approx(
        [1] * 4
    )  # its Dice is 0.93


@pytest.mark.parametrize(("learnt", "annotated"), [((2, 8), (2, 10)), ((2, 10), (2, 8))])
def test_a_volume_that_is_off_tells_more_than_its_overlap(learnt, annotated):
    model = [cube(2, 10)] * 3 + [cube(*learnt)]
    values = trust_after([cube(2, 10)] * 3 + [cube(*annotated)], model)
    assert values == pytest.approx([1, 1, 1, LEAST])  # its Dice is 0.86, its volume a quarter off


def test_like_cases_are_trusted_alike_however_good_they_are():
    assert trust_after([cube(3, 9)] * 4, [cube(2, 10)] * 4) == pytest.approx([1] * 4)


def test_a_case_without_any_foreground_in_either_stays_trusted():
    empty = torch.zeros(SIZE, dtype=torch.long)
    assert trust_after([empty, cube(2, 10)], [empty, cube(2, 10)]) == [1, 1]


def test_voxels_without_annotation_do_not_count():
    unknown = cube(2, 10)
    unknown[5:] = IGNORE
    assert trust_after([unknown, cube(2, 10)], [cube(2, 10)] * 2) == pytest.approx([1, 1])


def test_a_wrong_class_is_no_overlap():
    other = cube(2, 10) * 2
    labels = torch.stack([cube(2, 10), other])
    branch = Branch.of(10 * torch.nn.functional.one_hot(torch.stack([cube(2, 10)] * 2), 3).movedim(-1, 1).float())
    trust = AnnotationTrust(2)
    trust.update([branch], labels, [0, 1])
    assert trust([0, 1], ramp=1).tolist() == pytest.approx([1, LEAST])


def test_a_case_that_is_trusted_less_moves_the_losses_less():
    torch.manual_seed(0)
    logits = torch.randn(2, 2, *SIZE, requires_grad=True)
    labels = torch.stack([cube(2, 10), cube(5, 12)])
    half = torch.tensor([1, 0.5]).view(2, 1, 1, 1).expand(2, *SIZE)

    def gradient(trust):
        branch = Branch.of(logits)
        pair = (branch, Branch.of(logits.detach()))
        loss = dice_ce_loss(branch.log_probability, labels, trust)
        loss = loss + HeterogeneousLoss(2)([pair], labels, 2, False, None, trust).labelled
        return torch.autograd.grad(loss, logits)[0]

    full = gradient(None)
    torch.testing.assert_close(gradient(torch.ones_like(half)), full)
    less = gradient(half)
    assert less[1].norm() < 0.6 * full[1].norm()
    torch.testing.assert_close(less[0].norm(), full[0].norm(), rtol=0.1, atol=0)


def test_nothing_of_a_case_that_is_not_trusted_is_learnt():
    logits = torch.randn(2, 2, *SIZE, requires_grad=True)
    labels = torch.stack([cube(2, 10), cube(5, 12)])
    trust = torch.tensor([1.0, 0]).view(2, 1, 1, 1).expand(2, *SIZE)
    dice_ce_loss(logits.log_softmax(1), labels, trust).backward()
    assert logits.grad[0].any() and not logits.grad[1].any()
