"""How much memory a training step takes, from the plan alone, and the largest patch that fits."""

from .cost import kept_values, parameters
from .plan import NetworkPlan

PER_PARAMETER = 16
"""Bytes of a weight, its gradient and AdamW's two moments."""
PER_VOXEL = 110
"""Bytes of a crop's voxel beside the network: both views, label, trust, sampling positions, weights of the loss."""
PER_CLASS = 12
"""Bytes of a voxel's class in every prediction: log-probability, its gradient and that of the logits."""


def bytes_per_voxel(
    network: NetworkPlan, *, networks: int = 1, decoders: int = 1, weak_views: bool = False, number_bytes: int = 2
) -> float:
    """Bytes that a step takes per voxel of every crop.

    Args:
        network: the network's plan.
        networks, decoders: that a crop passes with gradient, see ``ssl.methods.base.Method``.
        weak_views: whether the reference prediction is one more per network.
        number_bytes: of a number inside the network, 2 for bf16 and fp16, 4 for fp32.
    """
    kept = kept_values(network)
    predictions = networks * (decoders + weak_views)
    inside = networks * (kept.encoder + decoders * kept.decoder) * number_bytes
    return inside + PER_VOXEL + PER_CLASS * network.out_channels * predictions


def fixed_bytes(network: NetworkPlan, networks: int = 1) -> int:
    """Bytes that do not depend on the patch."""
    return PER_PARAMETER * networks * parameters(network)


def most_voxels(network: NetworkPlan, free: int, crops: int, **method) -> int:
    """Voxels of the largest patch with which a step of so many crops takes no more than ``free`` bytes.

    Args:
        network: the network's plan.
        free: bytes.
        crops: labelled and unlabelled crops of a step.
        method: see ``bytes_per_voxel``.
    """
    rest = free - fixed_bytes(network, method.get("networks", 1))
    return max(0, int(rest / (crops * bytes_per_voxel(network, **method))))
