"""The panel's work for scripts: started like that of a person, and waited for."""

import time

import slicer

from ..Engine.Runs import modelIn
from .Segmentation import Segmentation, predictionOptions
from .Task import Task

SECONDS_BETWEEN_LOOKS = 0.01


def segmentAndWait(logic, volume, model, kinds, **options):
    """Segment a volume of the scene; the application stays alive meanwhile.

    Args:
        logic: the module's logic.
        volume: the volume node.
        model: the model folder, or the run folder that holds it.
        kinds: which nodes to make, of ``KINDS``.
        options: of ``predictionOptions``.

    Returns:
        The Result.

    Raises:
        RuntimeError: other work is being done, or the text that a person would have seen.
    """
    found = modelIn(str(model))
    if found is None:
        raise RuntimeError(f"{model} holds no MetaSSL model.")
    results, task = [], Task(logic)
    Segmentation(task, volume, found.path, kinds, results.append).start(predictionOptions(kinds, **options))
    _wait(task)
    if not results:
        raise RuntimeError(task.problem or "The segmentation was stopped.")
    return results[0]


def trainAndWait(logic, dataset, settings):
    """Train on the cases of a dataset.json; the application stays alive meanwhile.

    Args:
        logic: the module's logic.
        dataset: path of dataset.json.
        settings: name -> value of ``metassl.Job``.

    Returns:
        The model folder; also that of a training that was stopped.

    Raises:
        RuntimeError: other work is being done, or the text that a person would have seen.
    """
    run = logic.runs.newFolder(str(settings.get("method", "")))
    words = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    task = Task(logic)
    task.begin("A script trains a model.", survives=True)
    task.run(
        ["train", dataset, "--out", run, *words],
        lambda event: task.finish(),
        cancelled=lambda event: task.finish(),
    )
    _wait(task)
    found = modelIn(str(run))
    if task.problem or found is None:
        raise RuntimeError(task.problem or "The training was stopped before its first step.")
    return found.path


def _wait(task):
    while task.isRunning:
        slicer.app.processEvents()
        time.sleep(SECONDS_BETWEEN_LOOKS)
