"""From a volume to labels, regions and confidence in the volume's own geometry."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, combinations

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from ..crops.augmentation import MIRROR_AXES
from ..data.images import image_like, resample_onto
from ..devices import autocast, inference_precision
from ..errors import OutOfMemoryError, Stopped, is_out_of_memory
from ..networks.instance_norm import move_to_device
from ..planning.plan import Plan
from ..planning.resampling import to_grid
from ..ssl.methods import Method
from .decisions import decide_voxels
from .model import Model
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


def predict_volume(
    model: Model,
    images: Sequence[sitk.Image],
    *,
    regions: bool = True,
    confidence: bool = True,
    overlap: float = 0.5,
    mirror: bool = False,
    keep_largest: bool = False,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    warn: Callable[[str], None] | None = None,
) -> VolumePrediction:
    """Segment one case.

    The label is that of the reference prediction or of the mean of both, as the method says; so is the confidence.
    Regions are seen from the reference. Without regions only the networks that the label needs are asked.

    When the network's grid has the input's voxels, they are decided as soon as all windows over them are done, and the
    probabilities of the whole volume are never held. Else they are brought back onto the input's grid class by class.

    Args:
        model: a loaded model.
        images: float32 channels of one geometry, any spacing, orientation and size.
        regions, confidence: which of these to make.
        overlap: of neighbouring windows, 0 to below 1.
        mirror: average over mirrored views of every window, along the axes that the model was trained with.
        keep_largest: keep only the largest connected component of every class.
        progress: called with finished and all windows.
        should_stop: asked after every window.
        warn: called with a sentence when memory runs short.

    Raises:
        Stopped: ``should_stop`` said so.
        OutOfMemoryError: not even the CPU has enough memory.
    """
    array, grid = to_grid(images, model.plan)
    grid = sitk.Cast(grid, sitk.sitkUInt8)  # only its geometry is used, so its voxels may be small
    axes = [MIRROR_AXES[name] for name in model.mirror_axes] if mirror else []
    aligned = _same_voxels(grid, images[0])
    decide = partial(
        decide_voxels,
        label_from=model.method.label_from,
        thresholds=model.thresholds if regions else None,
        confidence=confidence,
    )

    def compute(device: torch.device) -> dict[str, Tensor]:
        precision = inference_precision(device, model.precision)
        predict = _pass(model.method, regions, device, precision, axes, should_stop)
        slabs = blend_windows(predict, torch.from_numpy(array), model.plan.patch, overlap, device, progress)
        return _joined(map(decide if aligned else _half, slabs), array.shape[1])

    def bring(probability: Tensor) -> Tensor:
        image = image_like(probability.float().numpy(), grid)
        return torch.from_numpy(sitk.GetArrayFromImage(resample_onto(image, images[0], sitk.sitkLinear, extend=True)))

    found = _within_memory(compute, model, warn)
    if not aligned:
        found = decide(found["half"], bring=bring)
    label = found["label"].numpy()
    if keep_largest:
        label = largest_components(label)
    values = np.array([0, *(c.value for c in model.classes)], np.uint8)
    found["label"] = torch.from_numpy(values[label])
    if "other" in found:
        found["other"] = torch.from_numpy(values[found["other"].numpy()])

    def image_of(name: str) -> sitk.Image | None:
        if name not in found:
            return None
        array = found.pop(name).numpy()
        return _reordered(array, grid, images[0]) if aligned else image_like(array, images[0])

    return VolumePrediction(image_of("label"), image_of("region"), image_of("confidence"), image_of("other"))


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


def _half(probabilities: Tensor) -> dict[str, Tensor]:
    """Probabilities in half precision, exact to 0.00025."""
    return {"half": probabilities.half()}


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
    """Compute on the model's device; when its memory is too small, on the CPU.

    Raises:
        OutOfMemoryError: the CPU's memory is too small as well.
    """
    device = model.device
    for attempt in dict.fromkeys((device, torch.device("cpu"))):
        try:
            move_to_device(model.method, attempt)
            return compute(attempt)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if attempt.type == "cuda":
                torch.cuda.empty_cache()
            if attempt.type != "cpu" and warn:
                warn(f"Not enough memory on {attempt}; segmenting on the CPU, which takes longer.")
        finally:
            move_to_device(model.method, device)
    raise OutOfMemoryError(
        "Not enough memory to segment this volume.", "Close other programs, or crop or downsample the volume."
    )


def _same_voxels(grid: sitk.Image, target: sitk.Image) -> bool:
    """Whether two grids consist of the same voxels, whatever the order and direction of their axes."""
    if grid.GetNumberOfPixels() != target.GetNumberOfPixels():
        return False
    corner = (0, 0, 0)
    places = [
        target.TransformPhysicalPointToContinuousIndex(grid.TransformIndexToPhysicalPoint(index))
        for index in (corner, (1, 0, 0), (0, 1, 0), (0, 0, 1))
    ]
    return bool(np.allclose(places, np.round(places), atol=1e-4))


def _reordered(array: np.ndarray, grid: sitk.Image, target: sitk.Image) -> sitk.Image:
    """The array (k, j, i) of a grid as an image with the geometry of a target that has the same voxels."""
    if grid.GetSize() == target.GetSize() and grid.GetDirection() == target.GetDirection():
        return image_like(array, target)
    return resample_onto(image_like(array, grid), target, sitk.sitkNearestNeighbor)


def largest_components(label: np.ndarray) -> np.ndarray:
    """Every class reduced to its largest component of voxels that touch, corners included; the rest is background."""
    result = np.zeros_like(label)
    for k in np.unique(label[label > 0]):
        components = sitk.ConnectedComponent(sitk.GetImageFromArray((label == k).astype(np.uint8)), True)
        by_size = sitk.RelabelComponent(components, sortByObjectSize=True)
        result[sitk.GetArrayViewFromImage(by_size) == 1] = k
    return result
