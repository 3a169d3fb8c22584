"""FixMatch (Sohn et al., NeurIPS 2020): confident labels of the weak view teach the strong view."""

import torch
from torch import Tensor
from torch.nn import functional

from ..voxels import masked_mean
from .base import Predictions, Streams
from .supervised import Supervised

CONFIDENT = 0.95


class FixMatch(Supervised):
    """One network; supervised prediction: strong view, reference: weak view without gradient.

    Labelled crops need no pseudo-labels, so there both are the strong view.
    """

    weak_views = True

    def forward(self, streams: Streams) -> Predictions:
        supervised = self.network(streams.strong)
        with torch.no_grad():
            reference = torch.cat((supervised[: streams.labelled], self.network(streams.weak[streams.labelled :])))
        return Predictions([supervised], [(supervised, reference)])

    def warm_up(self, streams: Streams) -> Predictions:
        return Predictions([self.network(streams.strong)], [])

    def own_loss(self, supervised: Tensor, reference: Tensor, valid: Tensor) -> Tensor:
        confidence, label = reference.float().softmax(1).max(1)
        cross_entropy = functional.cross_entropy(supervised.float(), label, reduction="none")
        return masked_mean(cross_entropy * (confidence > CONFIDENT), valid)
