"""Cross Pseudo Supervision (Chen et al., CVPR 2021): two networks teach each other."""

from torch import Tensor
from torch.nn import functional

from ..job import Job
from ..losses import masked_mean
from ..networks import build_network
from ..plan import Plan
from .base import Method, Predictions, Streams


class CPS(Method):
    """Two networks with different initial weights; each takes the other's labels."""

    symmetric = True
    label_from = "average"

    def __init__(self, plan: Plan, job: Job):
        super().__init__(plan, job)
        self.second = build_network(plan.network)

    def forward(self, streams: Streams) -> Predictions:
        pair = self.network(streams.strong), self.second(streams.strong)
        return Predictions(list(pair), [pair])

    def own_loss(self, supervised: Tensor, reference: Tensor, valid: Tensor) -> Tensor:
        first, second = supervised.float(), reference.float()
        both = functional.cross_entropy(first, second.argmax(1), reduction="none") + functional.cross_entropy(
            second, first.argmax(1), reduction="none"
        )
        return masked_mean(both, valid) / 2

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(images), self.second(images)
