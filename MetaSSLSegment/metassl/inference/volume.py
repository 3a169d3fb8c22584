"""From a volume to labels, regions and confidence in the volume's own geometry."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, combinations

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from ..crops.augmentation import MIRROR_AXES
from ..data.components import largest_components
from ..data.images import image_like, resample_onto
from ..devices import autocast, inference_precision
from ..errors import Stopped, enough_memory, is_out_of_memory
from ..networks.instance_norm import move_to_device
from ..planning.plan import Plan
from ..planning.resampling import oriented_grid, to_grid
from ..ssl.methods import Method
from .decisions import decide_voxels
from .model import Model
from .target_grid import Slab, onto_target
from .windows import blend_windows


@dataclass(frozen=True)
class VolumePrediction:
    """What is predicted of a volume; every image has the geometry of the input.

    Attributes:
        labelmap: uint8, the classes' values.
        regions: uint8, 1 UC, 2 US, 3 DC, 4 DS (``regions.REGIONS``), or None.
        confidence: float32, probability of the predicted class, 0-1, or None.
        other: uint8, the classes' values as the other prediction has them; the labelmap's but for discrepant voxels.
            Made with the regions, else None.
    """

    labelmap: sitk.Image
    regions: sitk.Image | None
    confidence: sitk.Image | None
    other: sitk.Image | None = None

    def with_two_dimensions(self) -> "VolumePrediction":
        """The only slice, as a file with two dimensions has it."""
        images = (self.labelmap, self.regions, self.confidence, self.other)
        return VolumePrediction(*(None if image is None else image[:, :, 0] for image in images))


def predict_volume(
    model: Model,
    images: Sequence[sitk.Image],
    *,
    regions: bool = True,
    confidence: bool = True,
    overlap: float = 0.5,
    mirror: bool = False,
    keep_largest: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    warn: Callable[[str], None] | None = None,
) -> VolumePrediction:
    """Segment one case.

    The label is that of the reference prediction or of the mean of both, as the method says; so is the confidence,
    which hold-out cases have calibrated where the training had some.
    Regions are seen from the reference. Without regions only the networks that the label needs are asked.

    Voxels are decided on the input's grid as soon as all windows over them are done, slab by slab and class by class;
    the probabilities of the whole volume are never held.

    Args:
        model: a loaded model.
        images: float32 channels of one geometry, any spacing, orientation and size.
        regions, confidence: which of these to make.
        overlap: of neighbouring windows, 0 to below 1.
        mirror: average over mirrored views of every window, along the axes that the model was trained with.
        keep_largest: keep only the largest connected component of every class; None: of the classes that formed one
            part in all labelled cases.
        progress: called with finished and all windows.
        should_stop: asked after every window.
        warn: called with a sentence when memory runs short.

    Raises:
        Stopped: ``should_stop`` said so.
        OutOfMemoryError: not even the CPU has enough memory.
    """
    thresholds = model.thresholds if regions else None
    decide = partial(
        decide_voxels,
        label_from=model.method.label_from,
        thresholds=thresholds,
        confidence=confidence,
        temperature=model.temperature,
    )
    axes = [MIRROR_AXES[name] for name in model.mirror_axes] if mirror else []
    with enough_memory("Not enough memory to segment this volume."):
        array, grid = to_grid(images, model.plan)
        oriented = oriented_grid(images[0], model.plan)
        scale = [n / o for n, o in zip(grid.GetSpacing(), oriented.GetSpacing())][::-1]
        size = oriented.GetSize()[::-1]
        del grid  # as large as a channel

        def compute(device: torch.device) -> dict[str, Tensor]:
            precision = inference_precision(device, model.precision)
            predict = _pass(model.method, regions, device, precision, axes, should_stop)
            slabs = blend_windows(predict, torch.from_numpy(array), model.plan.patch, overlap, device, progress)
            slabs = onto_target(slabs, array.shape[1], scale, size)
            return _joined(chain.from_iterable(_decided(slab, decide) for slab in slabs), size[0])

        found = _within_memory(compute, model, warn)
        if reduced := _one_part(model, keep_largest):
            kept = torch.from_numpy(largest_components(found["label"].numpy(), reduced))
            if "other" in found:  # what is removed is no contradiction
                found["other"][kept != found["label"]] = 0
            found["label"] = kept
        values = np.array([0, *(c.value for c in model.classes)], np.uint8)
        for name in found.keys() & {"label", "other"}:
            found[name] = torch.from_numpy(values[found[name].numpy()])
        made = {name: _reordered(found.pop(name).numpy(), oriented, images[0]) for name in tuple(found)}
    return VolumePrediction(made["label"], made.get("region"), made.get("confidence"), made.get("other"))


def predict_labels(
    method: Method,
    array: np.ndarray,
    plan: Plan,
    device: torch.device,
    precision: torch.dtype,
    should_stop: Callable[[], bool] | None = None,
) -> np.ndarray:
    """Class indices (k, j, i) of network input (channels, k, j, i) on the network's own grid.

    Raises:
        Stopped: ``should_stop``, asked before every window, said so.
    """
    method.eval()
    predict = _pass(method, False, device, precision, should_stop=should_stop)
    slabs = blend_windows(predict, torch.from_numpy(array), plan.patch, 0.5, device)
    return _joined(map(decide_voxels, slabs), array.shape[1])["label"].numpy()


def _pass(
    method: Method,
    both: bool,
    device: torch.device,
    precision: torch.dtype,
    mirror_axes: Sequence[int] = (),
    should_stop: Callable[[], bool] | None = None,
) -> Callable[[Tensor], Tensor]:
    """From windows (n, C, k, j, i) to probabilities (n, channels, k, j, i) float32.

    The channels are the classes of the supervised prediction followed by those of the reference (``both``), or the
    classes of the prediction that gives the label. With mirror axes they are averaged over all mirrored views.
    """
    flips = list(chain.from_iterable(combinations(mirror_axes, n) for n in range(len(mirror_axes) + 1)))

    def probabilities(images: Tensor) -> Tensor:
        with autocast(device, precision):
            logits = method.predict(images) if both else method.label_logits(images)
        found = [values.float().softmax(1) for values in logits]
        return torch.cat(found, 1) if both else sum(found) / len(found)

    @torch.no_grad()
    def predict(images: Tensor) -> Tensor:
        total = None
        for flip in flips:
            if should_stop and should_stop():
                raise Stopped("Stopped while segmenting.")
            dims = [axis + 2 for axis in flip]
            result = probabilities(images.flip(dims)).flip(dims) if dims else probabilities(images)
            total = result if total is None else total.add_(result)
        return total.div_(len(flips))

    return predict


def _decided(slab: Slab, decide: Callable[[Slab], dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    """What is decided of a slab, in one go or, when memory runs short, in parts with fewer planes."""
    try:
        found = decide(slab)
    except (RuntimeError, MemoryError) as error:
        if len(slab.places) == 1 or not is_out_of_memory(error):
            raise
        found = None
    if found:
        yield found
    else:
        yield from chain.from_iterable(_decided(half, decide) for half in slab.halves())


def _joined(slabs: Iterable[dict[str, Tensor]], planes: int) -> dict[str, Tensor]:
    """Slabs (..., k, j, i) as whole volumes of so many planes on the CPU; no slab outlives the next one."""
    whole: dict[str, Tensor] = {}
    done = 0
    for slab in slabs:
        for name, part in slab.items():
            if name not in whole:
                whole[name] = torch.empty((*part.shape[:-3], planes, *part.shape[-2:]), dtype=part.dtype)
            whole[name].narrow(-3, done, part.shape[-3]).copy_(part)
        done += part.shape[-3]
    return whole


def _within_memory(
    compute: Callable[[torch.device], dict[str, Tensor]], model: Model, warn: Callable[[str], None] | None
) -> dict[str, Tensor]:
    """Compute on the model's device or, when its memory is too small, on the CPU."""
    device = model.device
    if device.type != "cpu":
        try:
            return compute(device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if device.type == "cuda":  # only now, after the error, are its tensors gone
            torch.cuda.empty_cache()
        if warn:
            warn(f"Not enough memory on {device}; segmenting on the CPU, which takes longer.")
    cpu = torch.device("cpu")
    try:
        move_to_device(model.method, cpu)
        return compute(cpu)
    finally:
        move_to_device(model.method, device)


def _one_part(model: Model, keep_largest: bool | None) -> Collection[int]:
    """The classes of which only the largest part is kept."""
    if keep_largest is None:
        return model.one_part
    return range(1, len(model.classes) + 1) if keep_largest else ()


def _reordered(array: np.ndarray, grid: sitk.Image, target: sitk.Image) -> sitk.Image:
    """The array (k, j, i) of a grid as an image with the geometry of a target that has the same voxels."""
    if grid.GetSize() == target.GetSize() and grid.GetDirection() == target.GetDirection():
        return image_like(array, target)
    return resample_onto(image_like(array, grid), target, sitk.sitkNearestNeighbor)
