"""What a network and a step cost, computed from the plan, against what torch counts."""

import pytest
import torch
from metassl.networks.dynunet import build_network
from metassl.planning.cost import arithmetic, kept_values, parameters
from metassl.planning.memory import bytes_per_voxel, fixed_bytes, most_voxels
from metassl.planning.planner import SIZES, plan_network, plan_strides
from metassl.ssl.methods import METHODS, Streams
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode


def network_plan(size, patch, spacing=(1.0, 1.0, 1.0), channels=1, classes=3):
    return plan_network(size, channels, classes, spacing, plan_strides(patch, spacing, SIZES[size].stages))


PLANS = [
    network_plan("small", (32, 32, 32)),
    network_plan("small", (8, 64, 64), (5.0, 1.0, 1.0), channels=2, classes=5),
    network_plan("standard", (32, 32, 32)),
    network_plan("large", (64, 32, 32)),
]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.size}-{plan.kernels[0]}")
def test_arithmetic_is_what_torch_counts(plan):
    size = (64, 32, 32)
    network = build_network(plan).to("meta")
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, plan.in_channels, *size, device="meta"))
    found = arithmetic(plan)
    counted = counter.get_total_flops() / 2 / (64 * 32 * 32)
    assert found.encoder + found.decoder == pytest.approx(counted, rel=0.02)
    assert found.encoder > 0 and found.decoder > 0


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.size}-{plan.kernels[0]}")
def test_parameters_are_counted_but_for_biases_and_norms(plan):
    counted = sum(p.numel() for p in build_network(plan).to("meta").parameters())
    assert parameters(plan) == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.size}-{plan.kernels[0]}")
def test_kept_values_are_those_that_autograd_keeps(plan):
    size, kept = (64, 32, 32), {}

    def keep(tensor):
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    network = build_network(plan).to("meta")
    weights = {p.untyped_storage()._cdata for p in network.parameters()}
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.empty(1, plan.in_channels, *size, device="meta"))
    counted = sum(t.numel() for key, t in kept.items() if key not in weights) / (64 * 32 * 32)
    assert sum(kept_values(plan)) == pytest.approx(counted, rel=0.1)


@pytest.mark.parametrize("name", list(METHODS))
def test_passes_are_those_that_a_step_makes(name, tiny_plan):
    """Counted where crops enter the encoders and leave the decoders, with gradient and without."""
    method = METHODS[name](tiny_plan.network).train()
    counted = {(part, grad): 0 for part in ("encoder", "decoder") for grad in (True, False)}

    def count(part):
        def hook(module, inputs, output):
            counted[part, torch.is_grad_enabled()] += len(output)

        return hook

    for module_name, module in method.named_modules():
        if module_name.endswith("input_block"):
            module.register_forward_hook(count("encoder"))
        elif module_name.endswith("output_block"):
            module.register_forward_hook(count("decoder"))
    labelled, unlabelled = 2, 0 if name == "supervised" else 3
    images = torch.randn(labelled + unlabelled, 1, 8, 8, 8)
    labels = torch.zeros(labelled + unlabelled, 8, 8, 8, dtype=torch.long)
    method(Streams(images, images, labels, labelled))
    cost = arithmetic(tiny_plan.network)
    whole = cost.encoder + cost.decoder
    trained = (counted["encoder", True] * cost.encoder + counted["decoder", True] * cost.decoder) / whole
    forwards = (counted["encoder", False] * cost.encoder + counted["decoder", False] * cost.decoder) / whole
    assert method.passes(tiny_plan.network, labelled, unlabelled) == pytest.approx(trained + forwards / 3)
    for key in counted:
        counted[key] = 0
    warm = Streams(images[:2], images[:2], labels[:2], 2)
    assert method.warm_up(warm).pairs == []
    assert counted["encoder", False] == counted["decoder", False] == 0
    assert counted["encoder", True] == 2 * method.networks and counted["decoder", True] == 2 * method.networks * (
        method.decoders
    )


def test_memory_by_hand(tiny_plan):
    network = tiny_plan.network  # filters 4, 8, 8, halved twice along every axis
    kept = (4 * (4 + 8 / 8 + 8 / 64) + 6 * (4 + 8 / 8)) * 2
    assert bytes_per_voxel(network) == pytest.approx(kept + 110 + 12 * 3)
    assert bytes_per_voxel(network, networks=2, weak_views=True) == pytest.approx(2 * kept + 110 + 12 * 3 * 4)
    free = fixed_bytes(network) + 4 * 1000 * bytes_per_voxel(network)
    assert most_voxels(network, int(free) + 1, 4) == 1000
    assert most_voxels(network, 10, 4) == 0
