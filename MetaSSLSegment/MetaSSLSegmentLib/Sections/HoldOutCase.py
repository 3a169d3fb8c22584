from dataclasses import replace

from metassl import Dataset, InputError
from slicer.i18n import tr as _

from ..Engine.Runs import classesOf, modelIn
from ..Scene.CasePreview import loadPrediction
from ..Scene.HoldOutImage import isImageOf
from ..Scene.Result import isInScene
from ..Scene.ResultLoader import LoadError
from ..Scene.SideBySide import showSideBySide
from .Task import Task


class HoldOutCase:
    """Shows what the model of a run makes of a hold-out case, beside its annotation.

    The model is asked anew, as it was when the case was measured: nothing needs to be kept for it.

    Args:
        logic: the module's logic.
        line: the WorkLine.
    """

    def __init__(self, logic, line):
        self.logic = logic
        self.task = Task(logic, line)

    def show(self, run, row, shown, device):
        """Segment the case and show the prediction; without the model or its files nothing happens.

        Args:
            run: the run folder.
            row: CaseRow of the case.
            shown: the ShownCase.
            device: where to compute.
        """
        ID = row.id
        model, dataset = modelIn(run), _datasetWith(run, ID)
        if self.logic.busy() or self.logic.notReady() or model is None or dataset is None or shown.annotation is None:
            return
        self.task.begin(_("{case} is being segmented, to be shown beside its annotation.").format(case=ID), True)
        if not isImageOf(row, shown.volume, dataset.cases[0].images):
            text = _("The training was measured on another case that is called {case}, or it has changed since.")
            self.task.finish(text.format(case=ID), wrong=True)
            return
        file, results = self.task.folder / "dataset.json", self.task.folder / "results"
        try:
            dataset.save(file)
        except InputError as error:
            self.task.finish(str(error), wrong=True)
            return
        options = ["--no-regions", "--no-confidence", "--keep-all", "--device", device]
        self.task.run(
            ["predict", model.path, file, "--out", results, *options],
            lambda event: self._load(model.path, ID, results, shown),
        )

    def _load(self, model, ID, results, shown):
        if not isInScene(shown.volume) or not isInScene(shown.annotation):
            self.task.finish(_("Another case is shown meanwhile."))
            return
        try:
            (file,) = results.glob("*_seg.nii.gz")
            name = _("{case} prediction").format(case=ID)
            prediction = loadPrediction(shown.volume, file, classesOf(model), name)
        except (LoadError, ValueError) as error:
            self.task.finish(_("The prediction cannot be shown: {error}").format(error=error), wrong=True)
            return
        showSideBySide(shown.volume, shown.annotation, prediction)
        self.task.finish(_("{case}, from left to right: image, annotation, prediction.").format(case=ID))


def _datasetWith(run, ID):
    """The data set of a run with this case alone; None when it cannot be read or lacks the case."""
    try:
        dataset = Dataset.load(run / "dataset.json")
    except InputError:
        return None
    cases = tuple(case for case in dataset.cases if case.id == ID)
    return replace(dataset, cases=cases) if cases else None
