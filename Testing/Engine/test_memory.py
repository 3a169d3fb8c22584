"""The memory of a training step that the plan expects, against what the tensors of a real step hold at once."""

import weakref

import pytest
import torch
from metassl.crops.augmentation import MARGIN
from metassl.crops.sampling import Crops
from metassl.devices import autocast
from metassl.job import Job
from metassl.networks.instance_norm import move_to_device
from metassl.planning.memory import bytes_per_voxel, fixed_bytes
from metassl.planning.plan import Intensity, Plan
from metassl.ssl.methods import build_method
from metassl.training.objective import Objective
from test_cost import network_plan
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that are made while it lasts, as the allocator of a GPU would."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._known = weakref.WeakSet()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage not in self._known:
                    self._known.add(storage)
                    self.now += storage.nbytes()
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self._free, storage.nbytes())
        return result

    def _free(self, size):
        self.now -= size


def peak_of_a_step(size, name, precision, side):
    """Expected and counted bytes of the second of two steps."""
    patch, cpu = (side,) * 3, torch.device("cpu")
    network = network_plan(size, patch)
    method = move_to_device(build_method(name, network), cpu)
    objective = Objective(Job(method=name), Plan((1.0, 1.0, 1.0), patch, (Intensity("zscore"),), network), 2)
    optimizer = torch.optim.AdamW(method.trained_parameters())
    labelled, unlabelled = 2, 0 if name == "supervised" else 2
    count, crop = labelled + unlabelled, (int(side * MARGIN),) * 3
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    with LiveBytes() as live:
        for _ in range(2):
            images, labels = torch.rand(count, 1, *crop).half(), torch.ones(count, *crop, dtype=torch.uint8)
            crops = Crops(images, labels, tuple(range(count)), (0, 1) + (0,) * unlabelled)
            streams = objective.streams(crops, labelled, 0.5)
            optimizer.zero_grad(set_to_none=True)
            with autocast(cpu, dtype):
                predictions = method(streams)
            objective(method, predictions, streams, 0.5)[0].backward()
            optimizer.step()
    kind = {"networks": method.networks, "decoders": method.decoders, "weak_views": method.weak_views}
    expected = fixed_bytes(network, method.networks) * 3 / 4  # the weights are there before
    return expected + count * side**3 * bytes_per_voxel(network, number_bytes=dtype.itemsize, **kind), live.peak


@pytest.mark.slow
@pytest.mark.parametrize("side", [32, 48, 64])
@pytest.mark.parametrize(
    ("size", "method", "precision"),
    [
        ("small", "supervised", "bf16"),
        ("small", "mean-teacher", "bf16"),
        ("small", "mean-teacher", "fp32"),
        ("small", "fixmatch", "bf16"),
        ("small", "cps", "bf16"),
        ("small", "cct", "bf16"),
        ("small", "r-drop", "bf16"),
        ("standard", "mean-teacher", "bf16"),
        ("standard", "cps", "fp32"),
        ("large", "supervised", "bf16"),
        ("large", "mean-teacher", "bf16"),
    ],
)
def test_the_estimate_is_within_a_fifth_of_the_peak(size, method, precision, side):
    expected, counted = peak_of_a_step(size, method, precision, side)
    assert expected == pytest.approx(counted, rel=0.2)
