import tempfile

import qt
import slicer
from metassl import LEAST_FOR_HALVES
from slicer.i18n import tr as _

from ..Scene.DoubtedCase import DoubtedCase, doubtsIn
from ..Scene.ParameterNode import trainingSettings
from ..Scene.ResultLoader import LoadError
from .Section import Section, allow, say, setUpTable
from .Task import Task
from .WorkLine import WorkLine

ROLES = "labelled", "hold-out"
"""Of the cases that have an annotation to look at."""


class AuditTable(Section):
    """Which annotations to doubt: those that the chosen model contradicts most come first."""

    def __init__(self, ui, logic):
        super().__init__(ui, logic)
        self.status = ui.auditStatus
        self.task = Task(logic, WorkLine(ui), self.status)
        self.showing = lambda: None
        """Called when a doubted annotation is shown."""
        self._doubts, self._folder, self._case, self._ignoreValue = [], None, None, 255
        setUpTable(ui.auditTable, (_("Case"), _("Score"), _("Dice"), _("ml"), _("Places")))
        ui.auditTable.visible = ui.showDoubtButton.visible = False
        ui.auditButton.connect("clicked(bool)", self.onAudit)
        ui.auditHalvesBox.connect("toggled(bool)", lambda checked: self.updateButtons())
        ui.showDoubtButton.connect("clicked(bool)", lambda checked: self._show(ui.auditTable.currentRow()))
        ui.auditTable.connect("cellDoubleClicked(int,int)", lambda row, column: self._show(row))
        ui.auditTable.connect("itemSelectionChanged()", self.updateButtons)

    @property
    def shown(self):
        """The DoubtedCase that is shown, or None."""
        return self._case if self._case is not None and self._case.isShown else None

    def leave(self):
        """Something else is reviewed."""
        self._case = None

    def forgetScene(self):
        super().forgetScene()
        self._case = None
        self._fill([])

    def updateButtons(self):
        ui, busy = self.ui, self.logic.busy() or self.logic.notReady()
        allow(ui.auditButton, busy or self._missing())
        selected = ui.auditTable.selectionModel().selectedRows()
        allow(ui.showDoubtButton, self.logic.busy() or ("" if selected else _("Select a case in the table first.")))

    def _missing(self):
        counts = {} if self.cases is None else self.cases.counts()
        if self.ui.auditHalvesBox.checked:
            few = counts.get("labelled", 0) < LEAST_FOR_HALVES
            return _("By halves takes at least {n} labelled cases.").format(n=LEAST_FOR_HALVES) if few else ""
        if not self.ui.modelBox.currentData:
            return _("Train a model first.")
        return "" if any(counts.get(role) for role in ROLES) else _("There is no annotated case.")

    def onAudit(self, _checked=False):
        """Let the model look at all annotations."""
        self.task.begin(_("The annotations are being compared with what the model predicts."), temporary=True)
        self._fill([])
        self._discard()
        where = slicer.app.temporaryPath
        self._folder = tempfile.TemporaryDirectory(prefix="MetaSSL-", dir=where, ignore_cleanup_errors=True)
        out, model = self._folder.name, self.ui.modelBox.currentData
        words, settings = ["audit", model], ["--device", self.parameters.device]
        if self.ui.auditHalvesBox.checked:
            words, settings = ["audit"], trainingSettings(self.parameters)

        def audit(dataset):
            self.task.run([*words, dataset, "--out", out, *settings], self._audited)

        self.task.export(self.cases, self.task.folder / "audit", audit)

    def _audited(self, event):
        ignored = event.get("ignore_value")
        self._ignoreValue = ignored if type(ignored) is int else 255
        self._fill(doubtsIn(event, {row.id for row in self.cases.rows}))
        if not self._doubts:
            self.task.finish(_("No annotation can be read. Press Check cases."), wrong=True)
            return
        trainedOn = sum(doubt.isTrainedOn for doubt in self._doubts)
        text = _("{count} annotation(s), the most doubtful first. The model has learnt from {trainedOn} of them.")
        text = text.format(count=len(self._doubts), trainedOn=trainedOn)
        self.task.finish("\n".join([text, *self.task.warnings]))
        self.ui.auditTable.selectRow(0)

    def _fill(self, doubts):
        table, self._doubts = self.ui.auditTable, doubts
        table.setRowCount(len(doubts))
        for n, doubt in enumerate(doubts):
            texts = [doubt.case, f"{doubt.score:.2f}", f"{doubt.dice:.3f}", f"{doubt.volume:.3g}"]
            for column, text in enumerate([*texts, str(len(doubt.places))]):
                table.setItem(n, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()
        table.visible = self.ui.showDoubtButton.visible = bool(doubts)
        self.updateButtons()

    def _show(self, n):
        if self.logic.busy():
            return
        doubt = self._doubts[n]
        self.ui.auditTable.selectRow(n)
        row = next((row for row in self.cases.rows if row.id == doubt.case), None)
        if row is None:
            say(self.status, _("{case} is not in the table of cases any more.").format(case=doubt.case), wrong=True)
            return
        self.logic.display.hideOthers()
        try:
            self._case = DoubtedCase(self.cases, row, doubt, self._folder.name, self._ignoreValue)
        except LoadError as error:
            say(self.status, str(error), wrong=True)
            return
        say(self.status, self._case.keptInWords)
        self.showing()

    def _discard(self):
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def cleanup(self):
        super().cleanup()
        self._discard()
