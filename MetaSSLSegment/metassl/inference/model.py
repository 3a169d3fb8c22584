"""The model folder, a MONAI bundle: configs/metadata.json, configs/inference.json, models/model.pt.

model.pt holds a state dict only and is loaded without running code. "network" is the supervised prediction's DynUNet in
every method; the other parts (teacher, second network, decoders) lie beside it under their own prefixes.
"""

import os
import reprlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..crops.augmentation import MIRROR_AXES
from ..data.dataset import Dataset, SegmentClass, read_class
from ..errors import InputError, visible
from ..files import read_json, refuse_links, replacing, write_json
from ..job import PRECISIONS, Job
from ..networks.dynunet import network_arguments
from ..networks.instance_norm import move_to_device
from ..planning.cost import parameters
from ..planning.fingerprint import Fingerprint
from ..planning.plan import Plan
from ..ssl.methods import METHODS, Method, build_method
from ..validation import Fields, items, mapping, number, text
from .older import method_of_version_1, model_of_version_1
from .tensors import load_tensors, save_tensors

VERSION = 2
METADATA = Path("configs", "metadata.json")
INFERENCE = Path("configs", "inference.json")
WEIGHTS = Path("models", "model.pt")
LEAST_BYTES = 4
"""Of a parameter in the file: a network that describes itself as larger would only fill the memory."""


@dataclass(frozen=True)
class Model:
    """A trained model, ready to predict.

    Attributes:
        name: of the data set that it was trained on.
        method: networks, in evaluation mode, on their device.
        plan: as trained.
        precision: number format asked for in training, see ``devices.inference_precision``.
        mirror_axes: along which crops were mirrored in training, of ``crops.augmentation.MIRROR_AXES``.
        classes: class k of the network is ``classes[k - 1]``.
        channels: names of the image channels.
        thresholds: (classes with background,) confidence thresholds of the reference prediction.
        metadata: all of metadata.json.
        fingerprint: of the data that it learnt from; None in older models.
        hold_out_agreement: of each of its hold-out cases, how far (0-1) the two predictions agree with confidence; see
            ``review.agreement``.
        temperature: by which confidence is calibrated, see ``review.calibration``; 1 where no hold-out case told it.
    """

    name: str
    method: Method
    plan: Plan
    precision: str
    mirror_axes: tuple[str, ...]
    classes: tuple[SegmentClass, ...]
    channels: tuple[str, ...]
    thresholds: Tensor
    metadata: dict[str, Any]
    fingerprint: Fingerprint | None = None
    hold_out_agreement: tuple[float, ...] = ()
    temperature: float = 1.0

    @property
    def one_part(self) -> tuple[int, ...]:
        """Network classes that formed one part in all labelled cases, so that only the largest part is kept of them."""
        return self.fingerprint.connected if self.fingerprint else ()

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.method.parameters()).device


def save_model(
    folder: Path | str,
    method: Method,
    *,
    plan: Plan,
    job: Job,
    dataset: Dataset,
    thresholds: Tensor,
    provenance: dict[str, Any],
    fingerprint: Fingerprint | None = None,
) -> None:
    """Write or replace a model folder, file by file, each in one step.

    Args:
        folder: the model folder.
        method: trained networks.
        plan, job, dataset: what it was trained with.
        thresholds: (classes with background,) of the reference prediction.
        provenance: JSON-ready facts about the training.
        fingerprint: of the data.

    Raises:
        DiskError: a file cannot be written.
    """
    folder = Path(folder)
    with replacing(folder / WEIGHTS) as temporary:
        save_tensors({name: value.cpu() for name, value in method.state_dict().items()}, temporary)
    write_json(folder / INFERENCE, _inference(plan))
    facts = {
        "version": VERSION,
        "method": job.method,
        "precision": job.precision,
        "mirror_axes": list(job.mirror_axes),
        "plan": plan.to_dict(),
        "classes": [asdict(c) for c in dataset.classes],
        "channels": list(dataset.channels),
        "thresholds": [float(t) for t in thresholds],
        "settings": asdict(job),
        "provenance": provenance,
    }
    if fingerprint is not None:
        facts["fingerprint"] = fingerprint.to_dict()
    write_json(folder / METADATA, {**_bundle_metadata(dataset, plan), "metassl": facts})


def _bundle_metadata(dataset: Dataset, plan: Plan) -> dict[str, Any]:
    """The fields that MONAI's bundle specification asks for."""
    patch = [int(n) for n in plan.patch]
    outputs = {"0": "background", **{str(k): c.name for k, c in enumerate(dataset.classes, 1)}}
    common = {"type": "image", "spatial_shape": patch, "dtype": "float32", "is_patch_data": True}
    return {
        "name": dataset.name,
        "version": __version__,
        "changelog": {__version__: "trained with MetaSSL"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {},
        "task": f"segmentation of {', '.join(c.name for c in dataset.classes)}",
        "description": f"Semi-supervised segmentation model trained on {dataset.name} with MetaSSL.",
        "authors": "",
        "copyright": "",
        "network_data_format": {
            "inputs": {
                "image": {
                    **common,
                    "format": "magnitude",
                    "num_channels": len(dataset.channels),
                    "value_range": [-20, 20],
                    "channel_def": {str(n): name for n, name in enumerate(dataset.channels)},
                }
            },
            "outputs": {
                "pred": {
                    **common,
                    "format": "segmentation",
                    "num_channels": len(outputs),
                    "value_range": [0, 1],
                    "channel_def": outputs,
                }
            },
        },
    }


def _inference(plan: Plan) -> dict[str, Any]:
    """A bundle config from which MONAI builds the network and the sliding window."""
    return {
        "network_def": {"_target_": "monai.networks.nets.DynUNet", **network_arguments(plan.network)},
        "inferer": {
            "_target_": "monai.inferers.SlidingWindowInferer",
            "roi_size": list(plan.patch),
            "overlap": 0.5,
            "mode": "gaussian",
        },
    }


def load_model(folder: Path | str, device: torch.device | str = "cpu") -> Model:
    """Load a model folder (or the model of a run folder) without running any code from it.

    Raises:
        InputError: not a model folder, damaged, of another version, or holding anything but weights.
    """
    folder = Path(folder)
    if not (folder / METADATA).exists() and (folder / "model" / METADATA).exists():
        folder = folder / "model"
        refuse_links(folder)
    refuse_links(folder / METADATA.parent, folder / WEIGHTS.parent)
    for part in (METADATA, WEIGHTS):
        if not (folder / part).exists():
            raise InputError(
                f"{folder} is not a model folder: {part.as_posix()} is missing.",
                "Give the folder 'model' of a training run, or train one with: metassl train",
            )
    metadata = read_json(folder / METADATA)
    source = str(folder / METADATA)
    facts = metadata.get("metassl") if isinstance(metadata, dict) else None
    version = facts.get("version") if isinstance(facts, dict) else None
    if version not in (1, VERSION):
        raise InputError(
            f"{source} describes no MetaSSL model of version 1 to {VERSION} (found {reprlib.repr(version)}).",
            "Install the version of MetaSSL that made the model, or train it again.",
        )
    try:
        facts = model_of_version_1(facts) if version == 1 else facts
    except (LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{source} is damaged: {type(error).__name__} {error}.", "Copy the model again.") from error
    fields = Fields(facts, f"{source} is damaged: metassl")
    plan = Plan.from_dict(fields.take("plan", mapping), source)
    classes = fields.take("classes", items, read_class)
    thresholds = torch.tensor(fields.take("thresholds", items, number, 0, 1))
    channels = fields.take("channels", items, text)
    fingerprint = fields.optional("fingerprint", Fingerprint.from_dict)
    agreement = fields.optional("hold_out_confident_agreement", items, number, 0, 1) or ()
    temperature = fields.optional("confidence_temperature", number, 0.1, 10) or 1.0
    mirror_axes = fields.take("mirror_axes", items, text, tuple(MIRROR_AXES))
    precision = fields.take("precision", text, PRECISIONS)
    counts = (plan.network.in_channels, plan.network.out_channels, plan.network.out_channels)
    distinct = len({c.value for c in classes}) == len(classes)
    described = fingerprint is None or fingerprint.fits(len(channels), len(classes))
    if (len(channels), len(classes) + 1, len(thresholds)) != counts or not described or not distinct:
        raise InputError(
            f"{source} contradicts itself: classes, channels and network do not fit.", "Copy the model again."
        )
    method_name = fields.take("method", text, tuple(METHODS))
    weights = load_tensors(folder / WEIGHTS, "cpu")
    if os.path.getsize(folder / WEIGHTS) < LEAST_BYTES * parameters(plan.network):
        raise InputError(
            f"{folder / WEIGHTS} does not fit {METADATA.name}: it is too small for that network.",
            "Copy the model again.",
        )
    method = build_method(method_name, plan.network)
    try:
        method.load_state_dict(method_of_version_1(weights) if version == 1 else weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{folder / WEIGHTS} does not fit {METADATA.name}: {reason}", "Copy the model again."
        ) from error
    move_to_device(method, torch.device(device)).eval()
    name = visible(str(metadata.get("name", folder.name)))[:200]
    parts = (name, method, plan, precision, mirror_axes, classes, channels, thresholds, metadata, fingerprint)
    return Model(*parts, agreement, temperature)
