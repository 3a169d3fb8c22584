"""What this computer and this budget allow: a patch that fits into memory and leaves enough steps to learn from."""

import math
import time
from dataclasses import dataclass, field

import torch

from ..devices import autocast, free_memory
from ..job import Job
from ..networks.dynunet import build_network
from ..networks.instance_norm import move_to_device
from ..planning.memory import most_voxels
from ..planning.plan import NetworkPlan
from ..ssl.methods import METHODS

STEPS, SHARE, GROWTH = 500, 0.5, 0.25
"""Where the budget holds so many supervised steps on two crops of the planned patch, it buys most with patches of this
share of its voxels: larger ones make too few steps, smaller ones see too little around a voxel. The best share grows
with this power of the budget. See docs/benchmarks.md, Patch and budget."""
SPARE = 0.2
"""Share of the free memory that is left to others."""
RESIDENT = 1.4
"""On a CPU a step takes about so many times the bytes of its tensors: freed memory is kept for the next ones."""
BESIDE_NETWORK = 0.75
"""Share of a step's time that its passes through the network take."""
PROBE_VOXELS = 64_000


@dataclass
class Fit:
    """Says how large a patch may be, and remembers why.

    Args:
        job: budget, method and crops of a step.
        device, precision: where the training will run, and its number format.

    Attributes:
        pace: million voxels per second that pass forwards and back through the network; None when not measured.
        limits: what made the patch smaller, "memory" or "time".
    """

    job: Job
    device: torch.device
    precision: torch.dtype
    pace: float | None = field(default=None, init=False)
    limits: list[str] = field(default_factory=list, init=False)

    def most_voxels(self, network: NetworkPlan, planned: int) -> int:
        """Voxels that a patch may have.

        Args:
            network: as planned without a limit.
            planned: voxels of its patch.
        """
        self.limits = []
        method = METHODS[self.job.method]
        most = planned
        free = free_memory(self.device)
        if free is not None:
            fits = most_voxels(
                network,
                int(free * (1 - SPARE) / (RESIDENT if self.device.type == "cpu" else 1)),
                self._crops(),
                networks=method.networks,
                decoders=method.decoders,
                weak_views=method.weak_views,
                number_bytes=self.precision.itemsize,
            )
            if fits < most:
                most, self.limits = fits, ["memory"]
        if self.job.minutes is not None:
            self.pace = measure_pace(network, self.device, self.precision)
        if self.megavoxels() is not None:
            supervised = METHODS["supervised"].passes(network, self.job.batch_labelled, 0)
            steps = self.megavoxels() * 1e6 / (planned * supervised)
            wanted = int(planned * SHARE * (steps / STEPS) ** GROWTH)
            if wanted < most:
                most, self.limits = wanted, [*self.limits, "time"]
        return most

    def megavoxels(self) -> float | None:
        """Million voxels that the budget holds; None when it is a number of steps."""
        if self.job.megavoxels is not None:
            return self.job.megavoxels
        return None if self.pace is None else self.pace * 60 * self.job.minutes * BESIDE_NETWORK

    def steps(self, network: NetworkPlan, voxels: int) -> int | None:
        """About how many steps the budget holds with a patch of so many voxels."""
        if self.job.iterations is not None:
            return self.job.iterations
        amount = self.megavoxels()
        return None if amount is None else int(amount * 1e6 / (voxels * self._passes(network)))

    def _crops(self) -> int:
        return self.job.batch_labelled + (0 if self.job.method == "supervised" else self.job.batch_unlabelled)

    def _passes(self, network: NetworkPlan) -> float:
        """Crops that an average step passes through a network."""
        passes, job = METHODS[self.job.method].passes, self.job
        if job.method == "supervised":
            return passes(network, job.batch_labelled, 0)
        warm, full = passes(network, job.batch_labelled, 0), passes(network, job.batch_labelled, job.batch_unlabelled)
        return job.warm_up * warm + (1 - job.warm_up) * full


def measure_pace(network: NetworkPlan, device: torch.device, precision: torch.dtype) -> float:
    """Million voxels per second that pass forwards and back through a network, from the best of three passes."""
    step = [math.prod(stride[axis] for stride in network.strides) for axis in range(3)]
    side = round(PROBE_VOXELS ** (1 / 3))
    size = [max(2, -(-side // s)) * s for s in step]
    model = move_to_device(build_network(network), device).train()
    images = torch.randn(1, network.in_channels, *size, device=device)
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        with autocast(device, precision):
            loss = model(images).float().mean()
        loss.backward()
        float(loss.detach())  # waits for the device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - begin)
    return math.prod(size) / 1e6 / min(seconds)
