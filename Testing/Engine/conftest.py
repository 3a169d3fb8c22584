"""Small plans and cases that many tests share."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from metassl.planning.plan import Intensity, NetworkPlan, Plan

torch.set_num_threads(1)  # the volumes are too small to share


@pytest.fixture
def tiny_plan():
    """A plan with two pooling steps, patch 8^3, one channel, background and two classes."""
    network = NetworkPlan("small", 1, 3, (4, 8, 8), ((3, 3, 3),) * 3, ((1, 1, 1), (2, 2, 2), (2, 2, 2)))
    return Plan((1.0, 1.0, 1.0), (8, 8, 8), (Intensity("zscore"),), network)


@dataclass(frozen=True)
class ArrayCase:
    """A cached case that lives in memory."""

    id: str
    array: np.ndarray
    annotation: np.ndarray

    @property
    def shape(self):
        return self.annotation.shape

    def image(self):
        return self.array

    def label(self):
        return self.annotation

    def foreground(self):
        return {k: np.argwhere(self.annotation == k) for k in (1, 2)}


@pytest.fixture
def array_case():
    """Makes a cached case whose intensities number its voxels; one corner is class 1, the opposite one class 2."""

    def make(name="case", size=(10, 12, 9)):
        array = np.arange(np.prod(size), dtype=np.float32).reshape(1, *size)
        annotation = np.zeros(size, np.uint8)
        annotation[:2, :2, :2], annotation[-2:, -2:, -2:] = 1, 2
        return ArrayCase(name, array, annotation)

    return make
