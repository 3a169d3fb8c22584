from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from ..Engine.ModelCard import cardOf
from ..Engine.Runs import classesOf
from ..Scene.AcceptedLabels import acceptedPieces
from ..Scene.CaseFiles import areSame, filesOf
from ..Scene.FolderResults import coloured, loadResult, resultOf
from ..Scene.ResultFolder import DECISIONS, Decisions, casesIn
from ..Scene.Words import decisionName
from .Section import Section, allow, say, setUpTable
from .Task import Task
from .WorkLine import WorkLine

MILLISECONDS = 300
"""After the last character of a path that is typed, its folder is looked at."""
ACCEPTED, CORRECTED, REJECTED, LABELLED = DECISIONS


class FolderTable(Section):
    """The results in the output folder: looked at one after the other, accepted, corrected or rejected."""

    def __init__(self, ui, logic):
        super().__init__(ui, logic)
        self.status = ui.folderStatus
        self.task = Task(logic, WorkLine(ui), self.status)
        self.show = self.correct = lambda result: None
        """Called with a Result that a person wants to see, or to correct."""
        self.labelled = lambda: None
        """Called when cases have got labels."""
        self.listed = []
        """The FolderCases in the table, in order."""
        self._folder, self._decisions = "", None
        self._typing = qt.QTimer()
        self._typing.setSingleShot(True)
        self._typing.connect("timeout()", self.refresh)
        ui.outputFolderPath.connect("currentPathChanged(QString)", lambda path: self._typing.start(MILLISECONDS))
        ui.outputFolderPath.connect("validInputChanged(bool)", lambda isValid: self._typing.start(MILLISECONDS))
        ui.folderTable.connect("itemSelectionChanged()", self.updateButtons)
        ui.folderTable.connect("cellDoubleClicked(int,int)", lambda row, column: self._load(row, self.show))
        ui.previousResultButton.connect("clicked(bool)", lambda checked: self._step(-1))
        ui.nextResultButton.connect("clicked(bool)", lambda checked: self._step(1))
        ui.acceptButton.connect("clicked(bool)", lambda checked: self._decide(self.listed[self._row()], ACCEPTED))
        ui.rejectButton.connect("clicked(bool)", lambda checked: self._decide(self.listed[self._row()], REJECTED))
        ui.correctResultButton.connect("clicked(bool)", self.onCorrect)
        ui.useAcceptedButton.connect("clicked(bool)", self.onUseAccepted)

    def setParameterNode(self, parameters, cases):
        super().setParameterNode(parameters, cases)
        self.refresh()

    def refresh(self):
        """List what lies in the output folder now."""
        selected = None if self._row() is None else self.listed[self._row()].name
        self._folder = str(self.ui.outputFolderPath.currentPath or "")
        self.listed = casesIn(self._folder) if self._folder else []
        self._decisions = Decisions(self._folder, self.listed)
        ignored = self._decisions.ignored if self.listed else 0
        text = _("{count} line(s) of {file} could not be understood. With the next decision it gets another name.")
        text = text.format(count=ignored, file=self._decisions.path) if ignored else ""
        say(self.status, text, wrong=bool(ignored))
        self._fill()
        self.ui.folderTable.clearSelection()
        for row, case in enumerate(self.listed):
            if case.name == selected:
                self.ui.folderTable.selectRow(row)

    def _fill(self):
        table = self.ui.folderTable
        classes = list(dict.fromkeys(name for case in self.listed for name in case.volumes))
        names = (
            _("Case"),
            _("Decision"),
            _("Agreement"),
            _("Places"),
            *(_("{name} ml").format(name=c) for c in classes),
        )
        setUpTable(table, names)
        table.setRowCount(len(self.listed))
        for n, case in enumerate(self.listed):
            texts = [case.name, decisionName(self._decisions.of(case.name))]
            texts += ["" if case.agreement is None else f"{case.agreement:.3f}", str(case.places)]
            texts += [f"{case.volumes[name]:.3g}" if name in case.volumes else "" for name in classes]
            for column, text in enumerate(texts):
                table.setItem(n, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()
        table.visible = bool(self.listed)
        self.updateButtons()

    def updateButtons(self):
        ui, busy, row = self.ui, self.logic.busy(), self._row()
        empty = "" if self.listed else _("Choose an output folder with results first.")
        one = empty or ("" if row is not None else _("Select a case in the table first."))
        accepted = empty or ("" if self._with(ACCEPTED) else _("Accept some results first."))
        first = _("This is the first one.") if row == 0 else ""
        last = _("This is the last one.") if row == len(self.listed) - 1 else ""
        allow(ui.previousResultButton, busy or empty or first)
        allow(ui.nextResultButton, busy or empty or last)
        allow(ui.acceptButton, one)
        allow(ui.rejectButton, one)
        allow(ui.correctResultButton, busy or one)
        allow(ui.useAcceptedButton, busy or accepted)

    def _row(self):
        """The selected row, or None."""
        rows = sorted({index.row() for index in self.ui.folderTable.selectionModel().selectedRows()})
        return rows[0] if rows and rows[0] < len(self.listed) else None

    def _with(self, decision):
        return [case for case in self.listed if self._decisions.of(case.name) == decision]

    # Looking

    def _step(self, by):
        """Show the next or the one before; the first one when none is selected."""
        row = self._row()
        self._load(0 if row is None else row + by, self.show)

    def _load(self, row, done):
        """Load a case with its result, unless it is there, and hand it on."""
        if self.logic.busy():
            return
        case = self.listed[row]
        self.ui.folderTable.selectRow(row)
        result = resultOf(self._folder, case)
        if result is not None:
            done(result)
            return

        def loaded(result):
            self.task.finish(_("{case} is shown.").format(case=case.name))
            done(result)

        self.task.begin(_("A result is being loaded."))
        classes = coloured(case.classes, self.cases.classes, self._classesOfModel())
        self.task.work(loadResult(self.logic.loader, self.cases, self._folder, case, classes), loaded)

    def _classesOfModel(self):
        try:
            return classesOf(self.ui.modelBox.currentData or "")
        except ValueError:
            return []

    # Deciding

    def _decide(self, case, decision, decisions=None):
        """Keep a decision, in the file of the folder of which the case is: that one may be listed no more."""
        try:
            (decisions or self._decisions).decide(case.name, decision)
            say(self.status, "")
        except OSError as error:
            text = _("The decision cannot be kept: {error}. Check the folder and the free disk space.")
            say(self.status, text.format(error=error), wrong=True)
        for row, listed in enumerate(self.listed):
            self.ui.folderTable.item(row, 1).setText(decisionName(self._decisions.of(listed.name)))
        self.ui.folderTable.resizeColumnToContents(1)
        self.updateButtons()

    def onCorrect(self, _checked=False):
        """Open the selected result in the Segment Editor."""
        row, decisions = self._row(), self._decisions
        case = self.listed[row]

        def correct(result):
            self._decide(case, CORRECTED, decisions)
            self.correct(result)

        self._load(row, correct)

    def tellLabelled(self, volume):
        """The result of a volume has become a label: keep that when it is one of this folder."""
        files = filesOf(volume)
        for case in self.listed:
            if areSame(case.images, files):
                self._decide(case, LABELLED)

    def onUseAccepted(self, _checked=False):
        """Make the accepted results labels of their cases."""
        accepted, decisions = self._with(ACCEPTED), self._decisions
        channels = cardOf(self.ui.modelBox.currentData or "").channels

        def labelled(case):
            self._decide(case, LABELLED, decisions)
            self.labelled()

        def done(leftOut):
            self.refresh()
            text = _("{count} case(s) are labelled now.").format(count=len(accepted) - len(leftOut))
            self.task.finish("\n".join([text, *leftOut]), wrong=bool(leftOut))

        slicer.mrmlScene.SaveStateForUndo()
        self.task.begin(_("Labels are being written."))
        folder, classes = Path(self._folder), self._classesOfModel()
        pieces = acceptedPieces(self.cases, folder, accepted, classes, channels, self.logic.runs.folder, labelled)
        self.task.work(pieces, done)

    def cleanup(self):
        self._typing.stop()
        super().cleanup()
