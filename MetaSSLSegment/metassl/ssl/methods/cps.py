"""Cross Pseudo Supervision (Chen et al., CVPR 2021): two networks teach each other."""

import torch
from torch import Tensor
from torch.nn import functional

from ...networks.dynunet import build_network
from ...planning.plan import NetworkPlan
from ..voxels import masked_mean
from .base import Method, Predictions, Streams


class CPS(Method):
    """Two networks of different initial weights; each learns, on the strong view, the other's labels of the weak view.

    As in the article's variant with CutMix, the labels come from crops into which nothing is pasted. Labelled crops
    need no labels, so their reference is what the other network says of the strong view.
    """

    label_from = "average"
    networks = 2

    def __init__(self, plan: NetworkPlan, ema_decay: float = 0.99):
        super().__init__(plan, ema_decay)
        self.second = build_network(plan)

    def forward(self, streams: Streams) -> Predictions:
        first, second = self.network(streams.strong), self.second(streams.strong)
        with torch.no_grad():
            weak = streams.weak[streams.labelled :]
            of_first, of_second = (
                torch.cat((strong[: streams.labelled], network(weak)))
                for strong, network in ((first, self.network), (second, self.second))
            )
        return Predictions([first, second], [(first, of_second), (second, of_first)])

    def warm_up(self, streams: Streams) -> Predictions:
        return Predictions([self.network(streams.strong), self.second(streams.strong)], [])

    def own_loss(self, supervised: Tensor, reference: Tensor, valid: Tensor) -> Tensor:
        cross_entropy = functional.cross_entropy(supervised.float(), reference.argmax(1), reduction="none")
        return masked_mean(cross_entropy, valid)

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(images), self.second(images)
