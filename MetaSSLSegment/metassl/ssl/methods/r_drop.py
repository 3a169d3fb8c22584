"""R-Drop (Liang et al., NeurIPS 2021): two dropout passes of one network agree."""

import torch
from torch import Tensor
from torch.nn import functional

from ...networks.dynunet import decode, encode
from ..voxels import masked_mean
from .base import Method, Predictions, Streams

DROPOUT = 0.3


class RDrop(Method):
    """One encoder pass, two decoder passes on differently dropped-out features."""

    symmetric = True
    label_from = "average"
    decoders = 2
    weak_views = False

    def _two_passes(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = encode(self.network, images)
        first, second = (decode(self.network, [functional.dropout(f, DROPOUT) for f in features]) for _ in range(2))
        return first, second

    def forward(self, streams: Streams) -> Predictions:
        pair = self._two_passes(streams.strong)
        return Predictions(list(pair), [pair])

    def own_loss(self, supervised: Tensor, reference: Tensor, valid: Tensor) -> Tensor:
        first, second = supervised.float().log_softmax(1), reference.float().log_softmax(1)
        # KL(a|b) + KL(b|a) = sum (a - b)(log a - log b)
        divergence = ((first.exp() - second.exp()) * (first - second)).sum(1)
        return masked_mean(divergence, valid) / 2

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        devices = [images.device] if images.is_cuda else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(0)
            return self._two_passes(images)
