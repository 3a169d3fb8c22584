"""Calibrated confidence: of the voxels with confidence c a share of c should be right.

One temperature T is fitted on hold-out cases, as Guo et al. do (ICML 2017); a confidence c becomes
sigmoid(logit(c) / T), which is theirs where two classes compete for a voxel.
"""

import numpy as np
import SimpleITK as sitk

NEAR = 3
"""Voxels so near to what is predicted or annotated count: the rest of a volume is easy, and would hide the border."""
EDGES = np.linspace(-7, 7, 281)
"""Of the bins of logit(c)."""
CENTRES = (EDGES[1:] + EDGES[:-1]) / 2
TEMPERATURES = np.geomspace(0.5, 5, 101)
LEAST = 50
"""So many right and so many wrong voxels are needed for a temperature."""
SHOWN = 10
"""Bins of the reliability diagram and of the calibration error."""


class Reliability:
    """How often the voxels of every confidence are right, over any number of cases.

    Attributes:
        wrong, right: (bins,) counts of voxels.
    """

    def __init__(self):
        self.wrong, self.right = np.zeros((2, len(CENTRES)), np.int64)

    def add(self, confidence: np.ndarray, predicted: np.ndarray, annotated: np.ndarray, ignored: int) -> None:
        """Count the voxels of a case.

        Args:
            confidence: (k, j, i), 0-1.
            predicted, annotated: (k, j, i) uint8 class indices.
            ignored: value of ``annotated`` where nobody knows.
        """
        inside = (predicted > 0) | ((annotated > 0) & (annotated != ignored))
        near = sitk.BinaryDilate(sitk.GetImageFromArray(inside.astype(np.uint8)), [NEAR] * 3)
        counted = (sitk.GetArrayViewFromImage(near) > 0) & (annotated != ignored) & np.isfinite(confidence)
        certain = np.clip(confidence[counted].astype(np.float64), 1e-6, 1 - 1e-6)
        places = np.clip(np.digitize(np.log(certain / (1 - certain)), EDGES) - 1, 0, len(CENTRES) - 1)
        right = predicted[counted] == annotated[counted]
        self.right += np.bincount(places[right], minlength=len(CENTRES))
        self.wrong += np.bincount(places[~right], minlength=len(CENTRES))

    def temperature(self) -> float | None:
        """The temperature with the highest likelihood of what is right; None where too few voxels say so."""
        if min(self.right.sum(), self.wrong.sum()) < LEAST:
            return None
        logits = CENTRES / TEMPERATURES[:, None]
        losses = np.logaddexp(0, -logits) @ self.right + np.logaddexp(0, logits) @ self.wrong
        return round(float(TEMPERATURES[losses.argmin()]), 3)

    def diagram(self, temperature: float = 1.0) -> list[tuple[float, float, float]]:
        """Of equal steps of confidence that have voxels: mean confidence, share that is right, share of all voxels."""
        confidence, count = 1 / (1 + np.exp(-CENTRES / temperature)), self.right + self.wrong
        places = np.minimum((confidence * SHOWN).astype(int), SHOWN - 1)
        found = []
        for place in range(SHOWN):
            here = places == place
            if total := count[here].sum():
                mean = float((confidence * count)[here].sum() / total)
                found.append((mean, float(self.right[here].sum() / total), float(total / count.sum())))
        return found

    def error(self, temperature: float = 1.0) -> float:
        """Expected calibration error: mean difference between confidence and share that is right, over all voxels."""
        return sum(share * abs(confidence - right) for confidence, right, share in self.diagram(temperature))
