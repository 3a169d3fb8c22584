"""Instance normalisation that stays in the channels-last layout, in which CPUs compute convolutions fastest.

torch's own instance normalisation first brings its input into the other layout, so every convolution would convert
twice; its channels-last group normalisation is fast forwards, but not backwards. See docs/benchmarks.md.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

ROW = 1024
"""Length that rows of voxels are joined to, so that arithmetic per channel runs over long rows."""


class InstanceNorm(nn.InstanceNorm3d):
    """``torch.nn.InstanceNorm3d`` with the same values and parameters, without a change of layout on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last_3d):
            return _ChannelsLast.apply(x, self.weight, self.bias, self.eps)
        return super().forward(x)


def keep_layout(network: nn.Module) -> nn.Module:
    """Exchange a network's instance normalisations for those above; state dict and values stay what they are."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.InstanceNorm3d and child.affine and not child.track_running_stats:
                mine = InstanceNorm(child.num_features, child.eps, affine=True)
                mine.load_state_dict(child.state_dict())
                setattr(module, name, mine)
    return network


def move_to_device(module: nn.Module, device: torch.device) -> nn.Module:
    """Move a module to a device, with the weights in the layout that makes it fast there.

    Channels-last weights make convolutions give channels-last results. Only CPUs get them: a GPU's instance
    normalisation would convert them back.
    """
    cpu = device.type == "cpu"
    return module.to(device, memory_format=torch.channels_last_3d if cpu else torch.contiguous_format)


class _ChannelsLast(torch.autograd.Function):
    """y = w (x - mean) / std + b over the voxels of each sample and channel of a channels-last (N, C, k, j, i)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        samples, channels = x.shape[:2]
        voxels = x[0, 0].numel()
        y, mean, inverse_std = torch.native_group_norm(x, weight, bias, samples, channels, voxels, channels, eps)
        ctx.save_for_backward(x, weight, mean, inverse_std)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, inverse_std = ctx.saved_tensors
        samples, channels = x.shape[:2]
        voxels = x[0, 0].numel()
        joined = 1  # voxels per row
        while voxels % (2 * joined) == 0 and joined * channels < ROW:
            joined *= 2

        def rows(values: Tensor) -> Tensor:
            return values.permute(0, 2, 3, 4, 1).contiguous().view(samples, voxels // joined, joined * channels)

        def row(values: Tensor) -> Tensor:
            return values.to(x.dtype).repeat(1, joined).unsqueeze(1)

        def total(values: Tensor) -> Tensor:
            return values.sum(1).float().view(samples, joined, channels).sum(1)

        dy, x_rows = rows(gradient), rows(x)
        mean, inverse_std = mean.float().view(samples, channels), inverse_std.float().view(samples, channels)
        # with n = (x - mean) / std: dx = w / std (dy - mean(dy) - n mean(dy n)) = a dy + b x + c
        sum_dy = total(dy)
        sum_dy_n = (total(dy * x_rows) - mean * sum_dy) * inverse_std
        a = weight.float() * inverse_std
        b = -a * inverse_std * sum_dy_n / voxels
        c = -a * sum_dy / voxels - b * mean
        dx = torch.addcmul(torch.addcmul(row(c), dy, row(a)), x_rows, row(b))
        dx = dx.view(samples, *x.shape[2:], channels).permute(0, 4, 1, 2, 3)
        return dx, sum_dy_n.sum(0).to(weight.dtype), sum_dy.sum(0).to(weight.dtype), None
