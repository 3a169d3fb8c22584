"""Mean Teacher (Tarvainen and Valpola, NeurIPS 2017): the teacher is the moving average of the student."""

import copy

import torch
from torch import Tensor, nn

from ...job import Job
from ...planning.plan import Plan
from ..losses import masked_mean
from .base import Method, Predictions, Streams


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * network, for parameters and floating-point buffers.

    Other buffers (counters) are copied.
    """
    pairs = [
        (mine, theirs)
        for mine, theirs in zip(
            [*average.parameters(), *average.buffers()], [*network.parameters(), *network.buffers()], strict=True
        )
    ]
    for mine, theirs in pairs:
        if mine.is_floating_point():
            mine.lerp_(theirs.to(mine.dtype), 1 - decay)
        else:
            mine.copy_(theirs)


class MeanTeacher(Method):
    """Supervised prediction: the student on the strong view; reference: the teacher on the weak view."""

    def __init__(self, plan: Plan, job: Job):
        super().__init__(plan, job)
        self.decay = job.ema_decay
        self.teacher = copy.deepcopy(self.network).requires_grad_(False)

    def forward(self, streams: Streams) -> Predictions:
        supervised = self.network(streams.strong)
        with torch.no_grad():
            reference = self.teacher(streams.weak)
        return Predictions([supervised], [(supervised, reference)])

    def own_loss(self, supervised: Tensor, reference: Tensor, valid: Tensor) -> Tensor:
        difference = supervised.float().softmax(1) - reference.float().softmax(1)
        return masked_mean(difference.square().mean(1), valid)

    def after_step(self, iteration: int) -> None:
        # remember a tenth of the steps so far until that is longer than the memory of the decay: in a short run a fixed
        # decay leaves the teacher behind the student
        update_average(self.teacher, self.network, min(self.decay, 1 - 10 / (iteration + 10)))

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(images), self.teacher(images)

    def label_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        return (self.teacher(images),)
