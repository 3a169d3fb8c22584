"""From a volume to labels, regions and confidence in the volume's own geometry."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np
import SimpleITK as sitk
import torch
from monai.inferers import sliding_window_inference
from skimage.measure import label as connected_components
from torch import Tensor

from .augmentation import MIRROR_AXES
from .devices import autocast, choose_precision, is_out_of_memory
from .errors import OutOfMemoryError, Stopped
from .images import like
from .methods import Method
from .model import Model
from .normalisation import place
from .plan import Plan
from .preprocessing import to_grid
from .quadripartition import region_map


@dataclass(frozen=True)
class VolumePrediction:
    """What is predicted of a volume; every image has the geometry of the input.

    Attributes:
        labelmap: uint8, the classes' values.
        regions: uint8, 1 UC, 2 US, 3 DC, 4 DS (``regions.REGIONS``), or None.
        confidence: float32, probability of the predicted class, 0-1, or None.
    """

    labelmap: sitk.Image
    regions: sitk.Image | None
    confidence: sitk.Image | None


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

    The probabilities of both predictions are brought back onto the input's grid one class at a time, so that never all
    classes are held at the input's resolution. The label is that of the reference prediction, or of the mean of both
    for symmetric methods; so is the confidence. Regions are seen from the reference.

    Args:
        model: a loaded model.
        images: float32 channels of one geometry, any spacing, orientation and size.
        regions, confidence: which of these to make.
        overlap: of neighbouring windows, 0 to below 1.
        mirror: average over mirrored views along the axes that the model was trained with.
        keep_largest: keep only the largest connected component of every class.
        progress: called with finished and all windows.
        should_stop: asked after every window.
        warn: called with a sentence when memory runs short.

    Raises:
        Stopped: ``should_stop`` said so.
        OutOfMemoryError: not even the CPU has enough memory.
    """
    array, grid = to_grid(images, model.plan)
    axes = [MIRROR_AXES[name] for name in model.job.mirror] if mirror else []
    windows = _passes(array.shape[1:], model.plan.patch, overlap, axes)
    labelling = LABELLING[model.method.label_from]

    def compute(device: torch.device) -> Tensor:
        predict = _watched(model.method, windows, progress, should_stop)
        precision = choose_precision(device, model.job.precision)
        wanted = _both if regions else labelling
        return _probabilities(predict, wanted, array, model.plan, device, precision, overlap, axes)

    probabilities = _within_memory(compute, model, warn)
    region = None
    if regions:
        supervised, reference = probabilities.chunk(2)
        label, certainty = _argmax_on(images[0], grid, map(labelling, supervised, reference))
        seen = (label, certainty) if labelling is _reference else _argmax_on(images[0], grid, reference)
        other, _ = _argmax_on(images[0], grid, supervised)
        region = region_map(*(torch.from_numpy(a) for a in (seen[0], other, seen[1])), model.thresholds).numpy()
    else:
        label, certainty = _argmax_on(images[0], grid, probabilities)
    if keep_largest:
        label = largest_components(label)
    values = np.array([0, *(c.value for c in model.classes)], np.uint8)
    return VolumePrediction(
        like(values[label], images[0]),
        like(region, images[0]) if region is not None else None,
        like(certainty, images[0]) if confidence else None,
    )


def predict_labels(
    method: Method, array: np.ndarray, plan: Plan, device: torch.device, precision: torch.dtype
) -> np.ndarray:
    """Class indices (k, j, i) of network input (channels, k, j, i) on the network's own grid."""
    method.eval()
    wanted = LABELLING[method.label_from]
    return _probabilities(method.predict, wanted, array, plan, device, precision, 0.5, []).argmax(0).numpy()


def _both(supervised: Tensor, reference: Tensor) -> Tensor:
    return torch.cat((supervised, reference), 1)


def _reference(supervised: Tensor, reference: Tensor) -> Tensor:
    return reference


def _average(supervised: Tensor, reference: Tensor) -> Tensor:
    return (supervised + reference) / 2


LABELLING = {"reference": _reference, "average": _average}
"""``Method.label_from`` -> the probabilities that give the label, from those of the two predictions."""


@torch.no_grad()
def _probabilities(
    predict: Callable[[Tensor], tuple[Tensor, Tensor]],
    wanted: Callable[[Tensor, Tensor], Tensor],
    array: np.ndarray,
    plan: Plan,
    device: torch.device,
    precision: torch.dtype,
    overlap: float,
    mirror_axes: Sequence[int],
) -> Tensor:
    """Stitch what is wanted of the two predictions' probabilities (N, classes, k, j, i) in every window.

    Returns:
        (channels, k, j, i) float32 on the CPU, with the channels that ``wanted`` makes.
    """

    def window(images: Tensor) -> Tensor:
        with autocast(device, precision):
            pair = predict(images)
        return wanted(*(logits.float().softmax(1) for logits in pair))

    total = None
    flips = list(chain.from_iterable(combinations(mirror_axes, n) for n in range(len(mirror_axes) + 1)))
    image = torch.from_numpy(array)[None]
    for flip in flips:
        dims = [axis + 2 for axis in flip]
        result = sliding_window_inference(
            image.flip(dims) if dims else image,
            plan.patch,
            sw_batch_size=1,
            predictor=window,
            overlap=overlap,
            mode="gaussian",
            sw_device=device,
            device=torch.device("cpu"),
        )
        result = result.flip(dims) if dims else result
        total = result if total is None else total.add_(result)
    return total[0].div_(len(flips))


def _passes(size: Sequence[int], patch: Sequence[int], overlap: float, mirror_axes: Sequence[int]) -> int:
    """Number of windows that MONAI's sliding window will ask for."""
    count = 2 ** len(mirror_axes)
    for n, p in zip(size, patch):
        step = p if p >= n else max(1, int(p * (1 - overlap)))
        count *= -(-(max(n, p) - p) // step) + 1
    return count


def _watched(method: Method, total: int, progress, should_stop) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The method's ``predict``, counting windows and listening for a stop."""
    done = 0

    def predict(images: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal done
        if should_stop and should_stop():
            raise Stopped("Stopped while segmenting.")
        result = method.predict(images)
        done += len(images)
        if progress:
            progress(min(done, total), total)
        return result

    return predict


def _within_memory(compute: Callable[[torch.device], Tensor], model: Model, warn) -> Tensor:
    """Compute on the model's device; when its memory is too small, on the CPU.

    Raises:
        OutOfMemoryError: the CPU's memory is too small as well.
    """
    device = model.device
    for attempt in dict.fromkeys((device, torch.device("cpu"))):
        try:
            place(model.method, attempt)
            return compute(attempt)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if attempt.type == "cuda":
                torch.cuda.empty_cache()
            if attempt.type != "cpu" and warn:
                warn(f"Not enough memory on {attempt}; segmenting on the CPU, which takes longer.")
        finally:
            place(model.method, device)
    raise OutOfMemoryError(
        "Not enough memory to segment this volume.", "Close other programs, or crop or downsample the volume."
    )


def _argmax_on(target: sitk.Image, grid: sitk.Image, probabilities: Iterable[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Class index (uint8) and its probability (float32) on the target's grid, resampled class by class.

    Args:
        target: the grid to come back to.
        grid: geometry of the probabilities.
        probabilities: (k, j, i) of each class.
    """
    label, highest = None, None
    for k, probability in enumerate(probabilities):
        resampled = _onto(target, like(probability.numpy(), grid))
        if label is None:
            label, highest = np.zeros(resampled.shape, np.uint8), resampled.copy()
            continue
        better = resampled > highest
        label[better] = k
        np.maximum(highest, resampled, out=highest)
    return label, highest.clip(0, 1)


def _onto(target: sitk.Image, image: sitk.Image) -> np.ndarray:
    """Linear resampling of the image onto the target's grid; voxels at the rim take the nearest value."""
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(target)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetUseNearestNeighborExtrapolator(True)
    return sitk.GetArrayFromImage(resampler.Execute(image))


def largest_components(label: np.ndarray) -> np.ndarray:
    """Every class reduced to its largest connected component; the rest becomes background."""
    result = np.zeros_like(label)
    for k in np.unique(label[label > 0]):
        components = connected_components(label == k)
        result[components == np.bincount(components.flat)[1:].argmax() + 1] = k
    return result
