"""From probabilities to what is said of every voxel: label, confidence, region."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..ssl.quadripartition import region_map
from ..ssl.voxels import keep_higher


def decide_voxels(
    probabilities: Sequence[Tensor],
    label_from: str = "reference",
    thresholds: Tensor | None = None,
    confidence: bool = False,
    temperature: float = 1.0,
) -> dict[str, Tensor]:
    """What is said of every voxel, decided one class after the other.

    Args:
        probabilities: (k, j, i) float32 of every class, when there are thresholds of the supervised prediction and then
            of the reference; each is asked for once.
        label_from: see ``Method``.
        thresholds: (classes,); None: no regions.
        confidence: whether to give it.
        temperature: of the confidence; above 1 it becomes less certain. Label and regions do not change with it.

    Returns:
        On the CPU, (k, j, i): "label" uint8 class indices; "confidence" float32 in 0-1, when wanted; when there are
        thresholds "region" uint8, and "other" uint8 class indices: what the prediction says that contradicts the label.
    """
    found = {}
    if thresholds is None:
        ((label, certainty),) = _highest((p,) for p in probabilities)
    else:
        count = len(probabilities) // 2
        classes = ((probabilities[k], probabilities[count + k]) for k in range(count))
        if label_from == "average":
            classes = ((p, q, (p + q) / 2) for p, q in classes)
        (other, _), seen, *mean = _highest(classes)
        label, certainty = mean[0] if mean else seen
        found["region"] = region_map(seen[0], other, seen[1], thresholds).cpu()
        found["other"] = torch.where(label == other, seen[0], other).cpu()
    found["label"] = label.cpu()
    if confidence:
        found["confidence"] = tempered(certainty, temperature).cpu()
    return found


def tempered(confidence: Tensor, temperature: float) -> Tensor:
    """sigmoid(logit(c) / T) of every confidence c in 0-1; not a number stays that."""
    return confidence if temperature == 1 else torch.sigmoid(torch.logit(confidence) / temperature)


def _highest(classes: Iterable[Sequence[Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Class index (uint8) and value, at most 1, of the highest probability in each of some predictions.

    Args:
        classes: of every class its probability in each of the predictions. Among equals the first class wins; where a
            probability is not a number, the value is none and the class the first.
    """
    found = []
    for k, predictions in enumerate(classes):
        if k == 0:
            found = [(torch.zeros_like(p, dtype=torch.uint8), p.clone()) for p in predictions]
            continue
        for (label, highest), probability in zip(found, predictions):
            keep_higher(label, highest, probability, k)
    return [(label, highest.clamp_(0, 1)) for label, highest in found]
