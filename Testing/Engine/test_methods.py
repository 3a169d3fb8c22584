from dataclasses import replace

import pytest
import torch
from metassl.crops.augmentation import perturb_images
from metassl.data.dataset import IGNORE
from metassl.errors import InputError
from metassl.job import Job
from metassl.networks.dynunet import build_network, decode, encode
from metassl.ssl.heterogeneous import HeterogeneousLoss
from metassl.ssl.methods import METHODS, Streams, build_method
from metassl.ssl.methods.cct import dropout, hide_active, noise
from metassl.ssl.methods.fixmatch import FixMatch
from metassl.ssl.quadripartition import Branch


@pytest.fixture
def streams():
    torch.manual_seed(1)
    weak = torch.randn(4, 1, 8, 8, 8)
    labels = torch.randint(0, 3, (4, 8, 8, 8))
    labels[:, 0] = IGNORE
    return Streams(weak, weak + 0.1 * torch.randn_like(weak), labels, labelled=2)


def method_named(name, plan, **settings):
    torch.manual_seed(0)
    return build_method(name, plan.network, **settings)


def test_job_offers_exactly_the_registered_methods():
    field = Job.__dataclass_fields__["method"]
    assert tuple(METHODS) == field.metadata["choices"]


def test_unknown_method_is_named(tiny_plan):
    with pytest.raises(InputError, match="magic"):
        build_method("magic", tiny_plan.network)


def test_decoding_the_encoder_is_the_network(tiny_plan):
    network = build_network(tiny_plan.network)
    images = torch.randn(2, 1, 8, 8, 8)
    assert torch.equal(decode(network, encode(network, images)), network(images))


@pytest.mark.parametrize("name", list(METHODS))
def test_predictions_have_logits_of_every_crop(name, tiny_plan, streams):
    method = method_named(name, tiny_plan)
    predictions = method(streams)
    count = 2 if name == "supervised" else 4
    assert all(p.shape == (count, 3, 8, 8, 8) and p.requires_grad for p in predictions.trained)
    for supervised, reference in predictions.pairs:
        assert any(supervised is p for p in predictions.trained)
        assert reference.requires_grad == method.symmetric
    assert (len(predictions.pairs) == 0) == (name == "supervised")


@pytest.mark.parametrize("name", [n for n in METHODS if n != "supervised"])
@pytest.mark.parametrize("loss", ["own", "metassl"])
def test_unlabelled_loss_trains_the_networks(name, loss, tiny_plan, streams):
    method = method_named(name, tiny_plan)
    if name == "fixmatch" and loss == "own":
        with torch.no_grad():  # so sure of itself that pseudo-labels pass FixMatch's threshold
            for parameter in method.network.output_block.parameters():
                parameter.mul_(100)
    predictions = method(streams)
    valid = streams.labels[2:] != IGNORE
    if loss == "own":
        value = sum(method.own_loss(p[2:], q[2:], valid) for p, q in predictions.pairs)
    else:
        pairs = [(Branch.of(p), Branch.of(q)) for p, q in predictions.pairs]
        value = HeterogeneousLoss(3)(pairs, streams.labels, 2, method.symmetric).unlabelled
    value.backward()
    assert value.item() > 0
    trained = [n for n, p in method.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    heads = {
        "cps": ("network.output_block", "second.output_block"),
        "cct": ("network.output_block", "auxiliaries.0.output_block", "auxiliaries.2.output_block"),
    }.get(name, ("network.output_block",))
    for head in heads:
        assert any(n.startswith(head) for n in trained), f"{head} learns nothing"
    assert not any(n.startswith("teacher") for n in trained)


@pytest.mark.parametrize("name", list(METHODS))
def test_inference_is_repeatable_and_has_two_predictions(name, tiny_plan):
    method = method_named(name, tiny_plan).eval()
    images = torch.randn(1, 1, 8, 8, 8)
    if name == "mean-teacher":
        method.network.load_state_dict(build_network(tiny_plan.network).state_dict())
        method.after_step(10)
    with torch.no_grad():
        before = torch.get_rng_state()
        first, again = method.predict(images), method.predict(images)
        assert torch.equal(before, torch.get_rng_state())
    for a, b in zip(first, again):
        assert a.shape == (1, 3, 8, 8, 8)
        assert torch.equal(a, b)
    assert not torch.equal(*first)


def test_the_teacher_is_the_moving_average_of_the_students(tiny_plan):
    method = method_named("mean-teacher", tiny_plan, ema_decay=0.5)
    expected = {name: value.clone() for name, value in method.network.state_dict().items()}
    for step in range(20, 25):
        with torch.no_grad():
            for parameter in method.network.parameters():
                parameter.normal_()
        method.after_step(step)
        students = method.network.state_dict()
        expected = {name: 0.5 * value + 0.5 * students[name] for name, value in expected.items()}
    for name, value in method.teacher.module.state_dict().items():
        assert torch.allclose(value, expected[name], atol=1e-6), name
    assert not list(method.network.buffers()), "the average is of parameters alone"


@pytest.mark.parametrize(("step", "decay"), [(1, 1 / 11), (10, 0.5), (90, 0.9), (5000, 0.99)])
def test_teacher_remembers_a_tenth_of_a_short_run(step, decay, tiny_plan):
    method = method_named("mean-teacher", tiny_plan, ema_decay=0.99)
    teacher, student = next(method.teacher.parameters()), next(method.network.parameters())
    with torch.no_grad():
        teacher.fill_(1)
        student.fill_(0)
    method.after_step(step)
    assert teacher.unique().tolist() == pytest.approx([decay])
    assert not teacher.requires_grad


def test_mean_teacher_loss_by_hand(tiny_plan):
    method = method_named("mean-teacher", tiny_plan)
    sure, unsure = torch.tensor([1.0, 0.0]).view(1, 2, 1), torch.tensor([0.5, 0.5]).view(1, 2, 1)
    loss = method.own_loss((sure + 1e-30).log(), unsure.log(), torch.ones(1, 1, dtype=torch.bool))
    assert loss.item() == pytest.approx(0.25, rel=1e-5)


def test_fixmatch_uses_confident_voxels_only():
    reference = torch.tensor([[0.96, 0.94], [0.04, 0.06]]).log().unsqueeze(0)
    supervised = torch.tensor([[0.5, 0.2], [0.5, 0.8]]).log().unsqueeze(0)
    loss = FixMatch.own_loss(None, supervised, reference, torch.ones(1, 2, dtype=torch.bool))
    assert loss.item() == pytest.approx(-torch.tensor(0.5).log().item() / 2, rel=1e-5)


def test_r_drop_divergence_by_hand(tiny_plan):
    method = method_named("r-drop", tiny_plan)
    a, b = torch.tensor([0.8, 0.2]), torch.tensor([0.6, 0.4])
    expected = ((a * (a / b).log()).sum() + (b * (b / a).log()).sum()) / 2
    loss = method.own_loss(a.log().view(1, 2, 1), b.log().view(1, 2, 1), torch.ones(1, 1, dtype=torch.bool))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_cps_starts_from_two_different_networks(tiny_plan):
    method = method_named("cps", tiny_plan)
    assert not torch.equal(next(method.network.parameters()), next(method.second.parameters()))


def test_cps_learns_from_the_other_networks_labels_of_the_weak_view(tiny_plan, streams):
    method = method_named("cps", tiny_plan)
    (first, of_second), (second, of_first) = method(streams).pairs
    assert torch.equal(first, method.network(streams.strong))
    assert torch.equal(second, method.second(streams.strong))
    assert torch.allclose(of_second[2:], method.second(streams.weak[2:]), atol=1e-5)
    assert torch.allclose(of_first[2:], method.network(streams.weak[2:]), atol=1e-5)
    assert torch.equal(of_second[:2], second[:2]) and torch.equal(of_first[:2], first[:2])


def test_perturbations_change_features_and_keep_their_shape():
    torch.manual_seed(0)
    feature = torch.rand(2, 6, 4, 4, 4) + 0.5
    assert (noise(feature) / feature - 1).abs().max() <= 0.3 + 1e-6
    dropped = dropout(feature)
    assert {bool(c.any()) for c in dropped.flatten(0, 1)} == {True, False}
    hidden = hide_active(feature)
    gone = hidden.eq(0).all(1)
    assert gone.any() and not gone.all()
    assert feature.mean(1)[gone].min() > feature.mean(1)[~gone].max() - 0.3


def test_perturbed_view_is_mild_and_fixed():
    images = torch.randn(2, 1, 8, 8, 8)
    assert torch.equal(perturb_images(images), perturb_images(images))
    assert 0 < (perturb_images(images) - images).abs().mean() < 0.5


def test_multi_channel_input(tiny_plan, streams):
    network = replace(tiny_plan.network, in_channels=2)
    method = method_named("cct", replace(tiny_plan, network=network))
    two = Streams(streams.weak.repeat(1, 2, 1, 1, 1), streams.strong.repeat(1, 2, 1, 1, 1), streams.labels, 2)
    assert method(two).trained[0].shape == (4, 3, 8, 8, 8)
