"""Mean Teacher (Tarvainen and Valpola, NeurIPS 2017): the teacher is the moving average of the student."""

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ...planning.plan import NetworkPlan
from ..voxels import masked_mean
from .base import Method, Predictions, Streams


class MeanTeacher(Method):
    """Supervised prediction: the student on the strong view; reference: the teacher on the weak view.

    Labelled crops need no pseudo-labels, so the teacher does not see them: there both predictions are the student's.
    """

    def __init__(self, plan: NetworkPlan, ema_decay: float = 0.99):
        super().__init__(plan, ema_decay)
        self.teacher = AveragedModel(self.network).requires_grad_(False)

    def forward(self, streams: Streams) -> Predictions:
        supervised = self.network(streams.strong)
        with torch.no_grad():
            reference = torch.cat((supervised[: streams.labelled], self.teacher(streams.weak[streams.labelled :])))
        return Predictions([supervised], [(supervised, reference)])

    def warm_up(self, streams: Streams) -> Predictions:
        return Predictions([self.network(streams.strong)], [])

    def own_loss(self, supervised: Tensor, reference: Tensor, valid: Tensor) -> Tensor:
        difference = supervised.float().softmax(1) - reference.float().softmax(1)
        return masked_mean(difference.square().mean(1), valid)

    def after_step(self, iteration: int) -> None:
        # remember a tenth of the steps so far until that is longer than the memory of the decay: in a short run a fixed
        # decay leaves the teacher behind the student
        average = get_ema_multi_avg_fn(min(self.ema_decay, 1 - 10 / (iteration + 10)))
        # not update_parameters: it reads its counter and sends it to the device, and a GPU would be waited for
        average([*self.teacher.module.parameters()], [*self.network.parameters()], self.teacher.n_averaged)

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(images), self.teacher(images)

    def label_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        return (self.teacher(images),)
