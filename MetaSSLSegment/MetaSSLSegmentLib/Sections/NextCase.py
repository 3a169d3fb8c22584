from slicer.i18n import tr as _

from ..Scene.CaseFiles import loadCase
from ..Scene.ResultLoader import KINDS, LoadError
from .Section import Section, allow, say
from .Segmentation import Segmentation, predictionOptions
from .Task import Task
from .WorkLine import WorkLine


class NextCase(Section):
    """Annotate next: an unlabelled case by chance, with the model's prediction to begin with."""

    def __init__(self, ui, logic):
        super().__init__(ui, logic)
        self.status = ui.dataStatus
        self.task = Task(logic, WorkLine(ui), self.status)
        self.ranked = lambda ID: None
        """Called with the id of the case that comes next."""
        self.predicted = lambda result: None
        """Called with the Result of that case, for a person to correct."""
        self.draw = lambda volumeNode: None
        """Called with its volume when there is no prediction, for a person to draw."""
        ui.annotateNextButton.connect("clicked(bool)", self.onNext)

    def updateButtons(self):
        busy = self.logic.busy() or self.logic.notReady()
        unlabelled = self.cases is not None and self.cases.counts()["unlabelled"]
        allow(self.ui.annotateNextButton, busy or ("" if unlabelled else _("There is no unlabelled case.")))

    def onNext(self, _checked=False):
        self.task.begin(_("The cases are being ranked."), temporary=True)
        model = self.ui.modelBox.currentData

        def rank(dataset):
            self.task.run(["rank", dataset], lambda event: self._ranked(event, model))

        self.task.export(self.cases, self.task.folder / "rank", rank)

    def _ranked(self, event, model):
        rows = {row.id: row for row in self.cases.rows if row.role == "unlabelled"}
        ranked = [case for case in event.get("cases") or () if case.get("case") in rows]
        if not ranked:
            self.task.finish(_("No unlabelled case can be read. Press Check cases."), wrong=True)
            return
        row = rows[ranked[0]["case"]]
        text = _("{case} is the one to annotate next.").format(case=row.id)
        self.task.finish(text)
        self.ranked(row.id)
        try:
            volume = self.cases.nodesOf(row)[0] if row.nodes is not None else loadCase(row.images, row.id)
        except LoadError as error:
            say(self.status, str(error), wrong=True)
            return
        if model and len(self.cases.channels) == 1:

            def predicted(result):
                say(self.status, text)
                self.predicted(result)

            options = predictionOptions(KINDS, self.parameters.device, self.parameters.keepLargest)
            Segmentation(self.task, volume, model, KINDS, predicted).start(options)
        else:
            self.draw(volume)
