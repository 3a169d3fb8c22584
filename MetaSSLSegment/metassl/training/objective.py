"""What the voxels of a step's crops teach: their views, what is pasted, whom to trust, and the total loss."""

import torch
from torch import Tensor, nn

from ..crops.augmentation import Augmentation
from ..crops.pasting import paste_labelled
from ..crops.sampling import Crops
from ..data.dataset import IGNORE
from ..job import Job
from ..planning.plan import Plan
from ..ssl.annotation_trust import AnnotationTrust
from ..ssl.dice_ce import dice_ce_loss
from ..ssl.heterogeneous import HeterogeneousLoss
from ..ssl.methods import Method, Predictions, Streams
from ..ssl.quadripartition import Branch, pseudo_labellers

CERTAIN_LOGIT = 8.0


class Objective(nn.Module):
    """L = 0.5 (CE + Dice)(labelled) + lambda (H_labelled + H_unlabelled), or lambda times the method's own loss.

    Thresholds and annotation trust are its state.

    Args:
        job, plan: of the run.
        labelled_cases: number of labelled cases.
    """

    def __init__(self, job: Job, plan: Plan, labelled_cases: int):
        super().__init__()
        self.job = job
        self.augment = Augmentation(plan.patch, plan.spacing, job.mirror_axes)
        self.heterogeneous = HeterogeneousLoss(
            plan.network.out_channels,
            region_weights=job.region_weights,
            reduction=job.reduction,
            partition=job.partition,
            alpha=job.threshold_memory,
            cap=job.threshold_cap,
        )
        self.trust = AnnotationTrust(labelled_cases)

    @property
    def uses_trust(self) -> bool:
        """Whether annotations that the model contradicts count less."""
        return self.job.loss == "metassl" and self.job.method != "supervised" and self.job.annotation_trust == "on"

    def streams(self, crops: Crops, labelled: int, ramp: float) -> Streams:
        """Crops as the method sees them.

        Args:
            crops: of one step, on the device.
            labelled: number of labelled crops, which come first.
            ramp: how much the network's own judgement counts by now, see ``Budget.doubt``.
        """
        weak, strong, labels = self.augment(crops.images, crops.labels, crops.seeds)
        cases = crops.cases[:labelled]
        trust = torch.ones(labels.shape, device=labels.device)
        if self.uses_trust:
            trust[:labelled] *= self.trust(cases, ramp).view(-1, 1, 1, 1)
        if self.job.pasting == "off" or labelled == len(labels):
            return Streams(weak, strong, labels, labelled, None, trust, cases)
        strong, labels, trust, pasted = paste_labelled(strong, labels, trust, labelled, crops.seeds)
        return Streams(weak, strong, labels, labelled, pasted, trust, cases)

    def forward(
        self, method: Method, predictions: Predictions, streams: Streams, consistency: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss, and its parts for the report.

        Args:
            method: gives the own loss, and says whether pairs teach both ways.
            predictions: of the method on these streams.
            streams: the crops.
            consistency: lambda.
        """
        read: dict[int, Branch] = {}  # several pairs may share a prediction
        for logits in (*predictions.trained, *(logits for pair in predictions.pairs for logits in pair)):
            if id(logits) not in read:
                read[id(logits)] = Branch.of(logits)
        count = streams.labelled
        supervised = torch.stack(
            [
                dice_ce_loss(read[id(p)].log_probability[:count], streams.labels[:count], streams.trust[:count])
                for p in predictions.trained
            ]
        ).mean()
        metrics = {"supervised": supervised.detach()}
        if not predictions.pairs:  # supervised only, or warming up: annotation trust begins to learn
            if self.uses_trust:
                self.trust.update([read[id(p)] for p in predictions.trained], streams.labels[:count], streams.cases)
            return supervised, metrics
        if self.job.loss == "own":
            agreement = self._own_loss(method, predictions, streams)
            metrics["unlabelled"] = agreement.detach()
            return supervised + consistency * agreement, metrics
        pairs = [tuple(read[id(logits)] for logits in pair) for pair in predictions.pairs]
        terms = self.heterogeneous(pairs, streams.labels, count, method.symmetric, streams.pasted, streams.trust)
        if self.uses_trust:
            self.trust.update(pseudo_labellers(pairs, method.symmetric), streams.labels[:count], streams.cases)
        metrics |= {
            "labelled": terms.labelled.detach(),
            "unlabelled": terms.unlabelled.detach(),
            "shares": terms.shares,
        }
        return supervised + consistency * (terms.labelled + terms.unlabelled), metrics

    def _own_loss(self, method: Method, predictions: Predictions, streams: Streams) -> Tensor:
        unlabelled = slice(streams.labelled, None)
        valid = streams.labels[unlabelled] != IGNORE
        losses = [
            method.own_loss(p[unlabelled], with_pasted_labels(q[unlabelled], streams, method), valid)
            for p, q in predictions.pairs
        ]
        return torch.stack(losses).mean()


def with_pasted_labels(reference: Tensor, streams: Streams, method: Method) -> Tensor:
    """Reference logits of the unlabelled crops that are certain of the annotation in the pasted voxels.

    Symmetric methods predict the pasted view with both branches and need no such help.
    """
    if method.symmetric or streams.pasted is None:
        return reference
    classes = reference.shape[1]
    labels = streams.labels[streams.labelled :]
    certain = CERTAIN_LOGIT * (labels.unsqueeze(1) == torch.arange(classes, device=labels.device).view(-1, 1, 1, 1))
    certain = certain.to(reference.dtype)
    return torch.where(streams.pasted.unsqueeze(1), certain, reference)
