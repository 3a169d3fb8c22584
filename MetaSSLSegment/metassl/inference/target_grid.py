"""From slabs on the network's grid to slabs on the input's, with the axes still in the network's order.

Both grids cover the same box, so every axis is interpolated by itself: linearly, and beyond the centres of the
outermost voxels with their values, as ``resample_onto`` with ``extend`` does for whole volumes.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional


class Slab(Sequence[Tensor]):
    """Some planes of the input's grid; a channel is resampled when it is asked for.

    Args:
        parts: (channels, planes, j, i) float32 on the network's grid, one after the other along k.
        places: (planes,) float64, where among their planes those of the input's grid lie.
        scale: (j, i) voxels of the input's grid per voxel of the network's.
        size: (j, i) of the input's grid.
    """

    def __init__(self, parts: Sequence[Tensor], places: Tensor, scale: Sequence[float], size: Sequence[int]):
        self.parts, self.places, self.scale, self.size = parts, places, scale, size
        device = parts[0].device
        needed, index = torch.unique(torch.cat((places.floor(), places.ceil())).long(), return_inverse=True)
        self._needed, (self._below, self._above) = needed.to(device), index.to(device).chunk(2)
        weight = places.frac().float().view(-1, 1, 1)
        self._weight = weight.to(device) if weight.any() else None

    def __len__(self) -> int:
        """Number of channels."""
        return len(self.parts[0])

    def __getitem__(self, channel: int) -> Tensor:
        """One channel (planes, j, i) float32 on the input's grid."""
        planes = [part[channel] for part in self.parts]
        planes = torch.cat(planes) if len(planes) > 1 else planes[0]
        planes = _resized(planes.index_select(0, self._needed), self.scale, self.size)
        below = planes.index_select(0, self._below)
        return below if self._weight is None else torch.lerp(below, planes.index_select(0, self._above), self._weight)

    def halves(self) -> list["Slab"]:
        """The same planes in two slabs."""
        return [Slab(self.parts, places, self.scale, self.size) for places in self.places.chunk(2)]


def onto_target(slabs: Iterable[Tensor], planes: int, scale: Sequence[float], size: Sequence[int]) -> Iterator[Slab]:
    """Slabs of the input's grid, each as soon as the planes that it lies between are there.

    Args:
        slabs: (channels, planes, j, i) float32 of the network's grid, in order, as ``blend_windows`` yields them.
        planes: of all slabs together.
        scale: (k, j, i) voxels of the input's grid per voxel of the network's.
        size: (k, j, i) of the input's grid.

    Yields:
        Slabs of consecutive planes, each to be used before the next one is asked for.
    """
    places = ((torch.arange(size[0], dtype=torch.float64) + 0.5) / scale[0] - 0.5).clamp(0, planes - 1)
    last: list[Tensor] = []
    done = finished = 0
    for slab in slabs:
        first, finished = finished - len(last), finished + slab.shape[1]
        ready = int((places.ceil() < finished).sum())
        if ready > done:
            yield Slab([*last, slab], places[done:ready] - first, scale[1:], size[1:])
        # what comes next may lie between the last plane and those to come
        between = ready < len(places) and places[ready] < finished
        last, done = [slab[:, -1:].clone()] if between else [], ready


def _resized(planes: Tensor, scale: Sequence[float], size: Sequence[int]) -> Tensor:
    """Planes (planes, j, i) with j and i resampled."""
    if all(s == 1 for s in scale):
        return planes
    # a voxel more at the ends, so that there is enough to cut from: sizes were rounded
    padded = functional.pad(planes[None], (0, 1, 0, 1), mode="replicate")
    found = functional.interpolate(padded, scale_factor=tuple(scale), mode="bilinear", align_corners=False)
    return found[0, :, : size[0], : size[1]]
