"""What a network costs, from its plan alone: arithmetic and memory of a pass, its encoder and its decoder apart."""

import math
from typing import NamedTuple

from .plan import NetworkPlan


class Cost(NamedTuple):
    """Of the encoder and of one decoder, per voxel of the patch.

    Attributes:
        encoder, decoder: in multiply-accumulates, or in values.
    """

    encoder: float
    decoder: float


def arithmetic(plan: NetworkPlan) -> Cost:
    """Multiply-accumulates of a forward pass; a backward pass takes twice as many."""
    encoder = decoder = 0.0
    before, shrunk = plan.in_channels, 1
    for stage, (filters, kernel, stride) in enumerate(zip(plan.filters, plan.kernels, plan.strides)):
        finer, shrunk = shrunk, shrunk * math.prod(stride)
        taps = math.prod(kernel)
        encoder += taps * (before * filters + filters**2) / shrunk
        if stage:  # the decoder stage that brings this one back reads its own width twice
            decoder += (before * filters + taps * 3 * before**2) / finer
        before = filters
    return Cost(encoder, decoder + plan.filters[0] * plan.out_channels)


def parameters(plan: NetworkPlan) -> int:
    """Network weights, without the few of biases and norms."""
    count, before = 0, plan.in_channels
    for stage, (filters, kernel, stride) in enumerate(zip(plan.filters, plan.kernels, plan.strides)):
        taps = math.prod(kernel)
        count += taps * (before * filters + filters**2)
        if stage:
            count += math.prod(stride) * before * filters + taps * 3 * before**2
        before = filters
    return count


def kept_values(plan: NetworkPlan) -> Cost:
    """Values that a forward pass keeps for the backward pass.

    Of every convolution its result and the activation made of it: four of a stage's width in the encoder, and in the
    decoder six, since the first convolution there reads two joined features.
    """
    shrunk, widths = 1, []
    for filters, stride in zip(plan.filters, plan.strides):
        shrunk *= math.prod(stride)
        widths.append(filters / shrunk)
    return Cost(4 * sum(widths), 6 * sum(widths[:-1]))
