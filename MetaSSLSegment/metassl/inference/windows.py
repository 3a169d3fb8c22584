"""Sliding windows over a volume whose predictions are blended slab by slab.

Windows, weights and values are those of ``monai.inferers.sliding_window_inference`` in its mode "gaussian". That
function holds all channels of the whole volume; here only the planes along k that windows still touch are held, and
finished planes are handed on at once, a slab after the other.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from torch import Tensor
from torch.nn import functional

from ..errors import is_out_of_memory

SLAB_PLANES = 8
"""Planes that are handed on together; what is computed from them stays small."""
VOXELS_PER_PASS = 2_000_000
"""Windows are given to a GPU together until they have so many voxels; a CPU is fastest with single windows."""

Window = tuple[slice, slice, slice]


def pad_to_patch(image: Tensor, patch: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """The image (C, k, j, i) with zeros around it where it is smaller than the patch, and where it lies in that."""
    missing = [max(p - n, 0) for n, p in zip(image.shape[1:], patch)]
    inside = (slice(None), *(slice(m // 2, m // 2 + n) for n, m in zip(image.shape[1:], missing)))
    if any(missing):
        image = functional.pad(image, [side for m in reversed(missing) for side in (m // 2, m - m // 2)])
    return image, inside


def window_slices(size: Sequence[int], patch: Sequence[int], overlap: float) -> list[Window]:
    """The windows over a volume (k, j, i), ordered by their first plane; a smaller volume counts as padded."""
    size = [max(n, p) for n, p in zip(size, patch)]
    steps = [p if p == n else max(1, int(p * (1 - overlap))) for n, p in zip(size, patch)]
    return dense_patch_slices(size, patch, steps)


def blend_windows(
    predict: Callable[[Tensor], Tensor],
    image: Tensor,
    patch: Sequence[int],
    overlap: float,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Tensor]:
    """Predict all windows and average them where they overlap, with Gaussian weights.

    Args:
        predict: from windows (n, C, *patch) on the device to values (n, channels, *patch) float32; the same window must
            always give the same values.
        image: (C, k, j, i) float32 on the CPU; padded with zeros where it is smaller than the patch.
        patch: size of the windows.
        overlap: of neighbouring windows, 0 to below 1.
        device: where to predict.
        progress: called with finished and all windows.

    Yields:
        Slabs (channels, planes, j, i) float32 of up to ``SLAB_PLANES`` planes along k, in order; each is to be used
        before the next one is asked for.

    Raises:
        RuntimeError, MemoryError: of ``predict``; for a lack of memory only when single windows do not fit.
    """
    image, inside = pad_to_patch(image, patch)
    windows = window_slices(image.shape[1:], patch, overlap)
    passes = _Passes(predict, image, patch, device)
    total, first, done = None, 0, 0
    for start, group in groupby(windows, key=lambda window: window[0].start):
        if start > first:
            yield from _finished(total, start - first)[inside].split(SLAB_PLANES, 1)
            _advance(total, start - first)
            first = start
        for (_, *place), values in passes(group):
            if total is None:  # its last channel is the sum of the weights
                total = _zeros((len(values) + 1, patch[0], *image.shape[2:]), device)
                weight = compute_importance_map(tuple(patch), mode="gaussian", device=total.device)
            here = total[(slice(None), slice(None), *place)]
            here[:-1].addcmul_(values.to(total.device), weight)
            here[-1] += weight
            done += 1
            if progress:
                progress(done, len(windows))
    yield from _finished(total, patch[0])[inside].split(SLAB_PLANES, 1)


class _Passes:
    """Predictions of windows, as many at a time as fit into memory; of windows that hold one value only once."""

    def __init__(self, predict: Callable[[Tensor], Tensor], image: Tensor, patch: Sequence[int], device: torch.device):
        self.predict, self.image, self.device = predict, image, device
        self.most = 1 if device.type == "cpu" else max(1, VOXELS_PER_PASS // math.prod(patch))
        self.known: tuple[list[float], Tensor] | None = None

    def __call__(self, windows: Iterable[Window]) -> Iterator[tuple[Window, Tensor]]:
        """Every window with its values (channels, *patch)."""
        waiting = []
        for window in windows:
            low, high = self._cut(window).flatten(1).aminmax(dim=1)
            if torch.equal(low, high):  # air or padding: no second pass, whatever the network makes of it
                if self.known is None or self.known[0] != low.tolist():
                    self.known = low.tolist(), self._together([window])[0]
                yield window, self.known[1]
                continue
            waiting.append(window)
            if len(waiting) >= self.most:
                yield from zip(waiting, self._together(waiting))
                waiting = []
        yield from zip(waiting, self._together(waiting))

    def _cut(self, window: Window) -> Tensor:
        return self.image[(slice(None), *window)]

    def _together(self, windows: Sequence[Window]) -> list[Tensor]:
        """The values of windows, computed in one pass or, when memory runs short, from then on in smaller ones."""
        values: list[Tensor] = []
        while len(values) < len(windows):
            some = windows[len(values) : len(values) + self.most]
            try:
                values.extend(self.predict(torch.stack([self._cut(window) for window in some]).to(self.device)))
            except (RuntimeError, MemoryError) as error:
                if len(some) == 1 or not is_out_of_memory(error):
                    raise
                self.most = len(some) // 2
        return values


def _zeros(shape: Sequence[int], device: torch.device) -> Tensor:
    """Zeros on the device, or on the CPU when they would take more than a quarter of an NVIDIA GPU's free memory."""
    if device.type == "cuda" and 4 * 4 * math.prod(shape) > torch.cuda.mem_get_info(device)[0]:
        device = torch.device("cpu")
    return torch.zeros(shape, device=device)


def _finished(total: Tensor, planes: int) -> Tensor:
    """The weighted mean (channels, planes, j, i) of the first planes, computed in place."""
    return total[:-1, :planes].div_(total[-1, :planes])


def _advance(total: Tensor, planes: int) -> None:
    """Move the planes that are not finished to the front, in place, and clear the rest."""
    remaining = total.shape[1] - planes
    for plane in range(remaining):
        total[:, plane] = total[:, plane + planes]
    total[:, remaining:] = 0
