"""What every SSL method gives the training loop and inference: pairs of predictions of the same voxels."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ...networks.dynunet import build_network
from ...planning.cost import arithmetic
from ...planning.plan import NetworkPlan


@dataclass(frozen=True)
class Streams:
    """The crops of one training step, labelled crops first.

    Attributes:
        weak: (N, C, k, j, i) crops with mild intensity augmentation.
        strong: (N, C, k, j, i) the same crops, same geometry, with strong intensity augmentation and, in unlabelled
            crops, parts of labelled ones pasted in.
        labels: (N, k, j, i) class index; ``dataset.IGNORE`` outside the volume and where the annotator said so; inside
            unlabelled crops 0 without meaning, but for the pasted voxels.
        labelled: number of labelled crops.
        pasted: (N - labelled, k, j, i) bool, voxels of the unlabelled crops whose strong view and label were pasted;
            None when nothing was.
        trust: (N, k, j, i) float32, how much the annotation of a voxel's case teaches, see ``annotation_trust``; 1
            where there is none. None: all fully.
        cases: number of every labelled crop's case.
    """

    weak: Tensor
    strong: Tensor
    labels: Tensor
    labelled: int
    pasted: Tensor | None = None
    trust: Tensor | None = None
    cases: tuple[int, ...] = ()


@dataclass(frozen=True)
class Predictions:
    """Logits (N, classes, k, j, i) of one step, labelled crops first.

    Attributes:
        trained: every prediction that the supervised loss trains.
        pairs: (supervised, reference) predictions that are compared with each other.
    """

    trained: list[Tensor]
    pairs: list[tuple[Tensor, Tensor]]


class Method(nn.Module, ABC):
    """Two predictions per voxel, the loss between them, and what happens after a step.

    Attributes:
        symmetric: whether the reference prediction is trained by the supervised one as well.
        label_from: which prediction gives the label at inference, "reference" or "average".
        networks, decoders: how many networks a crop passes, and how many decoders in each.
        weak_views: whether unlabelled crops also pass every network without gradient.

    Args:
        plan: of the network.
        ema_decay: of the weights' moving average, for methods that have one.
    """

    symmetric: ClassVar[bool] = False
    label_from: ClassVar[str] = "reference"
    networks: ClassVar[int] = 1
    decoders: ClassVar[int] = 1
    weak_views: ClassVar[bool] = True

    def __init__(self, plan: NetworkPlan, ema_decay: float = 0.99):
        super().__init__()
        self.ema_decay = ema_decay
        self.network = build_network(plan)

    @abstractmethod
    def forward(self, streams: Streams) -> Predictions:
        """Training: the predictions of one step."""

    def warm_up(self, streams: Streams) -> Predictions:
        """Training on labelled crops alone: the predictions that their annotations teach."""
        return Predictions(self(streams).trained, [])

    @classmethod
    def passes(cls, plan: NetworkPlan, labelled: int, unlabelled: int) -> float:
        """Crops that a step passes forwards and back through a whole network; forwards only counts a third."""
        encoder, decoder = arithmetic(plan)
        trained = (labelled + unlabelled) * (encoder + cls.decoders * decoder) / (encoder + decoder)
        return cls.networks * (trained + cls.weak_views * unlabelled / 3)

    def own_loss(self, supervised: Tensor, reference: Tensor, valid: Tensor) -> Tensor:
        """The method's own unlabelled loss of one pair.

        Args:
            supervised, reference: logits (N, classes, k, j, i) of the unlabelled crops.
            valid: (N, k, j, i) bool, voxels inside the volume.

        Returns:
            A scalar with gradient to the predictions that the method trains.
        """
        raise NotImplementedError

    def after_step(self, iteration: int) -> None:
        """Called after every optimiser step with the number of finished steps."""

    def trained_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that the optimiser updates."""
        return (p for p in self.parameters() if p.requires_grad)

    @abstractmethod
    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Inference: (supervised, reference) logits (N, classes, k, j, i) of images (N, C, k, j, i).

        The same images always give the same logits. A method whose label comes from one network only must not be
        made slower by this than two passes.
        """

    def label_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """Inference without regions: the logits whose mean probability gives the label."""
        supervised, reference = self.predict(images)
        return (reference,) if self.label_from == "reference" else (supervised, reference)
