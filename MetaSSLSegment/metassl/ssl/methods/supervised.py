"""Supervised only: the labelled crops, nothing else."""

import torch
from torch import Tensor

from ...crops.augmentation import perturb_images
from .base import Method, Predictions, Streams


class Supervised(Method):
    """One network trained on the labelled crops; its regions compare a perturbed with the unchanged view."""

    weak_views = False

    def forward(self, streams: Streams) -> Predictions:
        return Predictions([self.network(streams.strong[: streams.labelled])], [])

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        both = self.network(torch.cat((perturb_images(images), images)))
        return both.chunk(2)

    def label_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        return (self.network(images),)
