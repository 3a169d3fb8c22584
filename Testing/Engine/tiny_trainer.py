"""A trainer whose cases live in memory, for tests of what it does step by step."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from metassl.crops.sampling import Crops
from metassl.data.dataset import Dataset, SegmentClass
from metassl.events import Reporter
from metassl.job import Job
from metassl.training.run_folder import RunFolder
from metassl.training.trainer import Trainer

CLASSES = (SegmentClass("one", 1, (1, 2, 3)), SegmentClass("two", 2, (4, 5, 6)))


def corners(size):
    """A label: one corner is class 1, the opposite one class 2."""
    annotation = np.zeros(size, np.uint8)
    annotation[:2, :2, :2], annotation[-2:, -2:, -2:] = 1, 2
    return annotation


@dataclass(frozen=True)
class MemoryCase:
    """A cached case that lives in memory; without an annotation its ``corners`` are classes."""

    id: str
    array: np.ndarray
    role: str = "labelled"
    annotation: np.ndarray | None = field(default=None, repr=False)

    @property
    def shape(self):
        return self.array.shape[1:]

    def image(self):
        return self.array

    def label(self):
        return corners(self.shape) if self.annotation is None else self.annotation

    def foreground(self):
        return {k: np.argwhere(self.label() == k) for k in (1, 2)}


def make_trainer(folder, plan, hold_out=(), **settings) -> Trainer:
    """A trainer of two labelled and two unlabelled cases; it resumes what was saved in the folder.

    Args:
        folder: the run folder.
        plan: of the network.
        hold_out: more cases.
        settings: of the job.
    """
    array = np.linspace(0, 1, 1080, dtype=np.float32).reshape(1, 10, 12, 9)
    cases = [MemoryCase(f"{role}{n}", array, role) for role in ("labelled", "unlabelled") for n in range(2)]
    common = {"method": "cps", "iterations": 10, "warm_up": 0.0, "device": "cpu", "precision": "fp32"}
    dataset, job = Dataset("d", ("MR",), CLASSES, ()), Job(**{**common, **settings})
    device = torch.device("cpu")
    return Trainer(RunFolder(folder), job, dataset, plan, [*cases, *hold_out], device, Reporter())


def steps(trainer, count) -> Iterator[Trainer]:
    """So many steps; gives the trainer after each."""
    for _ in range(count):
        trainer.step(trainer.sampler.crops(trainer.budget.iteration))
        yield trainer


def flat_crops(count, value=1.0, size=10) -> Crops:
    """Crops of one intensity, the first half labelled."""
    labels = torch.zeros(count, size, size, size, dtype=torch.uint8)
    return Crops(torch.full((count, 1, size, size, size), value), labels, tuple(range(count)), (0, 1) * (count // 2))
