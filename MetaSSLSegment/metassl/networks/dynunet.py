"""The network: MONAI's DynUNet as planned, whole or cut into encoder and decoder."""

from collections.abc import Sequence

from monai.networks.nets import DynUNet
from torch import Tensor, nn

from ..planning.plan import NetworkPlan
from .instance_norm import keep_layout


def network_arguments(plan: NetworkPlan) -> dict:
    """Keyword arguments of ``monai.networks.nets.DynUNet`` for a plan, JSON-ready."""
    return {
        "spatial_dims": 3,
        "in_channels": plan.in_channels,
        "out_channels": plan.out_channels,
        "kernel_size": [list(k) for k in plan.kernels],
        "strides": [list(s) for s in plan.strides],
        "upsample_kernel_size": [list(s) for s in plan.strides[1:]],
        "filters": list(plan.filters),
        "norm_name": ["INSTANCE", {"affine": True}],
    }


def build_network(plan: NetworkPlan) -> DynUNet:
    """A DynUNet with random weights (from torch's global generator).

    Returns:
        A module from (N, in_channels, k, j, i) to logits (N, out_channels, k, j, i).
    """
    return keep_layout(DynUNet(**network_arguments(plan)))


def encode(network: DynUNet, images: Tensor) -> list[Tensor]:
    """Features of every resolution, finest first: what the decoder sees."""
    features = [network.input_block(images)]
    for stage in (*network.downsamples, network.bottleneck):
        features.append(stage(features[-1]))
    return features


class Decoder(nn.Module):
    """A decoder of its own for the features of ``encode``, with random weights."""

    def __init__(self, plan: NetworkPlan):
        super().__init__()
        network = build_network(plan)
        self.upsamples, self.output_block = network.upsamples, network.output_block

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Logits of the features."""
        return decode(self, features)


def decode(decoder: DynUNet | Decoder, features: Sequence[Tensor]) -> Tensor:
    """Logits from the features of ``encode``; ``decode(n, encode(n, x))`` equals ``n(x)``."""
    *skips, value = features
    for stage, skip in zip(decoder.upsamples, reversed(skips)):
        value = stage(value, skip)
    return decoder.output_block(value)
