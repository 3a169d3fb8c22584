"""What the trained encoder sees of a case, in one vector."""

import numpy as np
import SimpleITK as sitk
import torch

from ..devices import autocast, inference_precision
from ..inference.model import Model
from ..inference.windows import pad_to_patch, window_slices
from ..networks.dynunet import encode
from ..planning.resampling import to_grid


@torch.no_grad()
def pooled_features(model: Model, images: list[sitk.Image]) -> np.ndarray:
    """The mean of the coarsest features of the supervised prediction's network over a case.

    Args:
        model: a loaded model.
        images: float32 channels of one geometry.

    Returns:
        (filters of the coarsest stage,) float32.
    """
    array, _ = pad_to_patch(torch.from_numpy(to_grid(images, model.plan)[0]), model.plan.patch)
    windows = window_slices(array.shape[1:], model.plan.patch, overlap=0)
    total = 0.0
    for window in windows:
        crop = array[(slice(None), *window)].unsqueeze(0).to(model.device)
        with autocast(model.device, inference_precision(model.device, model.precision)):
            total = total + encode(model.method.network, crop)[-1].float().mean((0, 2, 3, 4)).cpu()
    return (total / len(windows)).numpy()
