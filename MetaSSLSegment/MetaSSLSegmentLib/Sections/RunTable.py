from pathlib import Path

import qt
import slicer
from metassl import run_holder
from slicer.i18n import tr as _

from ..Engine.RunFiles import deleteCache, deleteRun, exportModel, factsOf, importModel
from ..Engine.Runs import modelIn
from ..Scene.Pieces import inThread
from .Section import Section, allow, setUpTable
from .Task import Task
from .WorkLine import WorkLine


class RunTable(Section):
    """The trainings of the runs folder: what they take on the disk, and their models as files."""

    def __init__(self, ui, logic):
        super().__init__(ui, logic)
        self.task = Task(logic, WorkLine(ui), ended=lambda: self.changed())
        self.changed = self.refresh
        """Called when runs or models came or went; to refresh this table belongs to it."""
        self._facts = []
        setUpTable(ui.runTable, (_("Training"), _("State"), _("MB"), _("Hold-out Dice"), _("Date"), _("Cases")))
        ui.runTable.connect("itemSelectionChanged()", self.updateButtons)
        ui.runsSection.connect("contentsCollapsed(bool)", lambda isCollapsed: self.refresh())
        ui.deleteCacheButton.connect("clicked(bool)", self.onDeleteCache)
        ui.deleteRunButton.connect("clicked(bool)", self.onDeleteRun)
        ui.exportModelButton.connect("clicked(bool)", self.onExport)
        ui.importModelButton.connect("clicked(bool)", self.onImport)

    def refresh(self):
        """Look at the runs again; only when somebody can see them, since there may be many files."""
        if self.ui.runsSection.collapsed:
            return
        self._facts = [factsOf(run) for run in self.logic.runs.all()]
        table = self.ui.runTable
        table.setRowCount(len(self._facts))
        for n, facts in enumerate(self._facts):
            texts = (
                facts.path.name,
                _stateOf(facts),
                f"{facts.size / 1e6:.1f}",
                "" if facts.holdOutDice is None else f"{facts.holdOutDice:.3f}",
                facts.date,
                "" if facts.cases is None else str(facts.cases),
            )
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip("\n".join(filter(None, (str(facts.path), _inUse(facts)))))
                table.setItem(n, column, item)
        table.resizeColumnsToContents()
        self.updateButtons()

    def updateButtons(self):
        ui, busy, selected = self.ui, self.logic.busy(), self._selected()
        none = "" if selected else _("Select trainings in the table first.")
        cached = "" if any(facts.cacheSize for facts in selected) else _("They have no preprocessed volumes.")
        one = "" if len(selected) == 1 else _("Select one training in the table first.")
        model = "" if one or modelIn(selected[0].path) is not None else _("This training has no model.")
        inUse = next(filter(None, map(_inUse, selected)), "")
        allow(ui.deleteCacheButton, busy or none or inUse or cached)
        allow(ui.deleteRunButton, busy or none or inUse)
        allow(ui.exportModelButton, busy or one or model)
        allow(ui.importModelButton, busy)

    def selectedRuns(self):
        """Folders of the selected trainings."""
        return [facts.path for facts in self._selected()]

    def _selected(self):
        rows = {index.row() for index in self.ui.runTable.selectionModel().selectedRows()}
        return [self._facts[n] for n in sorted(rows) if n < len(self._facts)]

    def onDeleteCache(self, _checked=False):
        found = [facts for facts in self._selected() if facts.cacheSize]
        self._work(
            _("Preprocessed volumes are being deleted."),
            lambda: [deleteCache(facts.path) for facts in found],
            _("{size} MB are free again.").format(size=round(sum(facts.cacheSize for facts in found) / 1e6)),
            found,
        )

    def onDeleteRun(self, _checked=False):
        found = self._selected()
        question = _("Delete {names} with all models, results and checkpoints in these folders? This is for good.")
        if slicer.util.confirmOkCancelDisplay(question.format(names=", ".join(facts.path.name for facts in found))):
            self._work(
                _("Trainings are being deleted."),
                lambda: [deleteRun(facts.path) for facts in found],
                _("{size} MB are free again.").format(size=round(sum(facts.size for facts in found) / 1e6)),
                found,
            )

    def onExport(self, _checked=False):
        run = self._selected()[0].path
        usual = str(self.logic.runs.folder / f"{run.name}.zip")
        path = qt.QFileDialog.getSaveFileName(
            self.ui.runsSection, _("Export the model as one file"), usual, _("Model (*.zip)")
        )
        if path:
            path = path if path.lower().endswith(".zip") else f"{path}.zip"
            self._work(
                _("A model is being exported."),
                lambda: exportModel(modelIn(run).path, path),
                _("The model is in {path}").format(path=path),
            )

    def onImport(self, _checked=False):
        path = qt.QFileDialog.getOpenFileName(
            self.ui.runsSection, _("Import a model"), str(self.logic.runs.folder), _("Model (*.zip)")
        )
        if path:
            folder = self.logic.runs.newFolder(Path(path).stem)
            self._work(
                _("A model is being imported."),
                lambda: importModel(path, folder),
                _("The model {name} can be chosen in section 4.").format(name=folder.name),
            )

    def _work(self, reason, function, text, changed=()):
        """Do what waits for the disk in another thread; not when a training that it changes has come into use."""
        self.task.begin(reason, survives=True)
        inUse = next(filter(None, (_inUse(facts._replace(holder=run_holder(facts.path))) for facts in changed)), "")
        if inUse:
            self.task.finish(inUse, wrong=True)
            return
        self.task.work(inThread(function), lambda _none: self.task.finish(text))


def _stateOf(facts):
    """How far a training is, in a word or two."""
    if facts.holder:
        return _("in use")
    return _("finished") if facts.isFinished else _("unfinished")


def _inUse(facts):
    """Who works on a training; "" when nobody does."""
    if not facts.holder:
        return ""
    return _("{name} is in use by {holder}.").format(name=facts.path.name, holder=facts.holder)
