from typing import Annotated

from metassl import Job
from slicer import vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

DEFAULTS = Job()
"""The engine's own defaults: nothing is repeated here."""


@parameterNodeWrapper
class MetaSSLSegmentParameterNode:
    """The choices of the module that are saved with the scene.

    Those with a text value belong to a list of choices (QComboBox) and are wired in the sections; the others are
    connected by the SlicerParameterName of their widget.
    """

    # 3. Training
    method: str = DEFAULTS.method
    metasslLoss: bool = DEFAULTS.loss == "metassl"
    budgetKind: str = "minutes"
    minutes: Annotated[float, WithinRange(0.1, 10000)] = DEFAULTS.minutes
    iterations: Annotated[int, WithinRange(1, 1000000)] = 2000
    network: str = DEFAULTS.network
    device: str = DEFAULTS.device
    regionWeights: str = DEFAULTS.region_weights
    thresholdMemory: Annotated[float, WithinRange(0, 1)] = DEFAULTS.threshold_memory
    thresholdCap: Annotated[float, WithinRange(0, 1)] = DEFAULTS.threshold_cap
    consistency: Annotated[float, WithinRange(0, 10)] = DEFAULTS.consistency
    warmUp: Annotated[float, WithinRange(0, 1)] = DEFAULTS.warm_up
    ramp: Annotated[float, WithinRange(0, 1)] = DEFAULTS.ramp
    seed: Annotated[int, WithinRange(0, 999999)] = DEFAULTS.seed

    # 4. Segment
    inputVolume: vtkMRMLScalarVolumeNode
    model: str = ""
    makeSegmentation: bool = True
    makeRegions: bool = True
    makeConfidence: bool = True
    show3D: bool = False
    keepLargest: bool = False
    careful: bool = False

    # 5. Review
    improvePercent: Annotated[int, WithinRange(1, 100)] = 33

    # 6. Display
    opacity: Annotated[float, WithinRange(0, 1)] = 0.5
    legend: bool = False
    certain: bool = False


def trainingSettings(parameters):
    """The engine's options for a training, as "--name value" words."""
    budget = (
        ("minutes", parameters.minutes) if parameters.budgetKind == "minutes" else ("iterations", parameters.iterations)
    )
    settings = {
        "method": parameters.method,
        budget[0]: budget[1],
        "network": parameters.network,
        "device": parameters.device,
        "seed": parameters.seed,
        "consistency": parameters.consistency,
        "ramp": parameters.ramp,
    }
    if parameters.method != "supervised":
        settings["loss"] = "metassl" if parameters.metasslLoss else "own"
        settings["warm-up"] = parameters.warmUp
        settings["region-weights"] = parameters.regionWeights
        settings["threshold-memory"] = parameters.thresholdMemory
        settings["threshold-cap"] = parameters.thresholdCap
    return [word for name, value in settings.items() for word in (f"--{name}", str(value))]


def improvementSettings(parameters):
    """The engine's options for a training that goes on from a model, whose method and network it keeps.

    All classes being known, there is no warm-up; the budget is the chosen part of the whole one.
    """
    words = trainingSettings(parameters)
    pairs = dict(zip(words[::2], words[1::2]))
    for name in ("--method", "--network", "--warm-up"):
        pairs.pop(name, None)
    share = parameters.improvePercent / 100
    if "--minutes" in pairs:
        pairs["--minutes"] = f"{parameters.minutes * share:g}"
    else:
        pairs["--iterations"] = str(max(1, round(parameters.iterations * share)))
    return [word for pair in pairs.items() for word in pair]
