"""The channels-last instance normalisation against torch's own, values and gradients."""

import copy

import pytest
import torch
from metassl.networks.dynunet import build_network
from metassl.networks.instance_norm import InstanceNorm, keep_layout, move_to_device
from metassl.planning.plan import NetworkPlan
from monai.networks.nets import DynUNet
from torch import nn

SIZES = [(2, 16, 8, 8, 8), (3, 16, 5, 7, 3), (1, 3, 4, 6, 2), (2, 128, 1, 3, 5), (1, 40, 2, 2, 2)]


def layer(channels, dtype):
    torch.manual_seed(1)
    theirs = nn.InstanceNorm3d(channels, affine=True, dtype=dtype)
    nn.init.normal_(theirs.weight)
    nn.init.normal_(theirs.bias)
    return theirs


def both(size, dtype, offset=0.0):
    """Values and gradients (input, weight, bias) of torch's layer and of ours."""
    theirs = layer(size[1], dtype)
    mine = InstanceNorm(size[1], affine=True, dtype=dtype)
    mine.load_state_dict(theirs.state_dict())
    torch.manual_seed(2)
    x, gradient = torch.randn(size, dtype=dtype) + offset, torch.randn(size, dtype=dtype)
    results = []
    for module, memory_format in ((theirs, torch.contiguous_format), (mine, torch.channels_last_3d)):
        given = x.clone(memory_format=memory_format).requires_grad_()
        y = module(given)
        results.append((y, *torch.autograd.grad(y, [given, module.weight, module.bias], gradient)))
    return results


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_values_and_gradients_are_those_of_torch(size, offset):
    theirs, mine = both(size, torch.float64, offset)
    assert mine[0].is_contiguous(memory_format=torch.channels_last_3d)
    assert mine[1].is_contiguous(memory_format=torch.channels_last_3d)
    for expected, got in zip(theirs, mine):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)  # the sums are float32


def test_bf16_gradients_are_as_close_to_the_truth_as_those_of_torch():
    size = (2, 16, 16, 16, 16)
    theirs = layer(16, torch.float32)
    mine = InstanceNorm(16, affine=True)
    mine.load_state_dict(theirs.state_dict())
    exact = copy.deepcopy(theirs).double()
    torch.manual_seed(2)
    x, gradient = torch.randn(size).bfloat16() * 3 + 2, torch.randn(size).bfloat16()
    found = []
    for module, dtype in ((exact, torch.float64), (theirs, torch.bfloat16), (mine, torch.bfloat16)):
        given = x.to(dtype, memory_format=torch.channels_last_3d if module is mine else torch.contiguous_format)
        given = given.detach().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            y = module(given)
        y.backward(gradient.to(y.dtype))
        found.append([given.grad.double(), module.weight.grad.double(), module.bias.grad.double()])
    truth, reference, ours = found
    for expected, torchs, got in zip(truth, reference, ours):
        assert (got - expected).norm() <= max(2 * (torchs - expected).norm(), 0.01 * expected.norm())


def network_plan():
    return NetworkPlan("small", 1, 3, (4, 8, 16), ((3, 3, 3),) * 3, ((1, 1, 1), (2, 2, 2), (2, 2, 2)))


def test_the_network_is_the_one_of_monai_and_keeps_the_layout():
    torch.manual_seed(0)
    network = move_to_device(build_network(network_plan()), torch.device("cpu"))
    plain = DynUNet(3, 1, 3, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 8, 16], norm_name=("INSTANCE", {"affine": True}))
    plain.load_state_dict(network.state_dict())
    layouts = []
    for module in network.modules():
        if isinstance(module, InstanceNorm):
            module.register_forward_hook(
                lambda _, given, __: layouts.append(given[0].is_contiguous(memory_format=torch.channels_last_3d))
            )
    x = torch.randn(2, 1, 16, 24, 16)
    torch.testing.assert_close(network(x), plain(x), rtol=1e-4, atol=1e-4)
    assert len(layouts) == 10 and all(layouts)


def test_other_modules_are_left_alone():
    net = keep_layout(nn.Sequential(nn.Conv3d(1, 4, 3), nn.GroupNorm(2, 4), nn.InstanceNorm3d(4)))
    assert type(net[1]) is nn.GroupNorm and type(net[2]) is nn.InstanceNorm3d  # has no weights
    net = move_to_device(net, torch.device("cpu"))
    assert net(torch.randn(1, 1, 8, 8, 8)).shape == (1, 4, 6, 6, 6)


def test_only_a_cpu_gets_channels_last_weights():
    network = build_network(network_plan())
    kernel = network.downsamples[0].conv1.conv.weight
    assert kernel.is_contiguous()
    move_to_device(network, torch.device("cpu"))
    assert kernel.is_contiguous(memory_format=torch.channels_last_3d)
    move_to_device(network, torch.device("meta"))
    assert network.downsamples[0].conv1.conv.weight.is_contiguous()
