"""Cross-Consistency Training (Ouali et al., CVPR 2020): auxiliary decoders on perturbed features follow the main."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...networks.dynunet import Decoder, decode, encode
from ...planning.plan import NetworkPlan
from ..voxels import masked_mean
from .base import Method, Predictions, Streams


def noise(feature: Tensor) -> Tensor:
    """Multiply every value by 1 + u, u uniform in [-0.3, 0.3], one draw per sample shared over the batch."""
    return feature * (1 + torch.empty_like(feature[:1]).uniform_(-0.3, 0.3))


def dropout(feature: Tensor) -> Tensor:
    """Zero whole channels with probability 0.3 and scale the rest."""
    return functional.dropout3d(feature, 0.3)


def hide_active(feature: Tensor) -> Tensor:
    """Zero the most active 10 to 30 % of the places."""
    activity = feature.mean(1, keepdim=True)
    highest = activity.flatten(1).max(1).values.view(-1, 1, 1, 1, 1)
    return feature * (activity < highest * torch.empty_like(highest).uniform_(0.7, 0.9))


PERTURBATIONS = (noise, dropout, hide_active)


class CCT(Method):
    """One encoder, a main decoder and one auxiliary decoder per perturbation of the features."""

    symmetric = True
    label_from = "average"
    decoders = 1 + len(PERTURBATIONS)
    weak_views = False

    def __init__(self, plan: NetworkPlan, ema_decay: float = 0.99):
        super().__init__(plan, ema_decay)
        self.auxiliaries = nn.ModuleList(Decoder(plan) for _ in PERTURBATIONS)

    def forward(self, streams: Streams) -> Predictions:
        features = encode(self.network, streams.strong)
        main = decode(self.network, features)
        others = [
            decoder([perturbation(f) for f in features])
            for decoder, perturbation in zip(self.auxiliaries, PERTURBATIONS)
        ]
        return Predictions([main, *others], [(main, other) for other in others])

    def own_loss(self, supervised: Tensor, reference: Tensor, valid: Tensor) -> Tensor:
        difference = supervised.float().softmax(1) - reference.float().softmax(1)
        return masked_mean(difference.square().mean(1), valid)

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = encode(self.network, images)
        others = torch.stack([decoder(features).float().softmax(1) for decoder in self.auxiliaries])
        return decode(self.network, features), others.mean(0).log()
