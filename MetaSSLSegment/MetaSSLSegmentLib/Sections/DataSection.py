from pathlib import Path

from metassl import ROLES, InputError
from slicer.i18n import tr as _

from ..Scene.CaseList import isDataset
from ..Scene.CaseNodes import caseVolumes, hideFrom, segmentationOn
from ..Scene.CasePreview import showCase
from ..Scene.Result import PREVIEW, RESULT
from ..Scene.ResultLoader import LoadError
from ..Scene.SampleSource import MAKING, discardUnfinished, sampleDataset, sampleIsMade
from ..Scene.Words import problemText, roleName
from .CaseTable import CaseTable
from .ChannelChoice import ChannelChoice
from .ClassTable import ClassTable
from .FurtherChannels import FurtherChannels
from .Section import Section, allow, fill, say
from .Task import Task
from .WorkLine import WorkLine


class DataSection(Section):
    """Choose the cases and classes that a model is trained on."""

    def __init__(self, ui, logic):
        super().__init__(ui, logic)
        self.status = ui.dataStatus
        self.task = Task(logic, WorkLine(ui), self.status, ended=self._onEnded)
        self._stops, self._remarks = [], []
        self._before = []
        self.caseTable = CaseTable(ui.caseTable, self.onSelected, self.showCaseOf)
        self.classTable = ClassTable(ui.classTable, self.onClassRenamed)
        self.further = FurtherChannels(
            ui.nextChannelButton, ui.caseVolumeSelector, lambda text, wrong: say(self.status, text, wrong)
        )
        self.channelChoice = ChannelChoice(ui.channelBox, ui.intensitiesBox)
        fill(ui.roleBox, [(role, roleName(role)) for role in ROLES])
        ui.addFolderButton.connect("clicked(bool)", self.onAddFolder)
        ui.casesFolderPath.connect("currentPathChanged(QString)", lambda path: self.updateButtons())
        ui.casesFolderPath.connect("validInputChanged(bool)", lambda isValid: self.updateButtons())
        ui.sampleButton.connect("clicked(bool)", self.onSample)
        ui.addNodesButton.connect("clicked(bool)", self.onAddNodes)
        ui.addAllNodesButton.connect("clicked(bool)", self.onAddAllNodes)
        ui.caseVolumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onVolumeChosen)
        ui.setRoleButton.connect("clicked(bool)", self.onSetRole)
        ui.slicesBox.connect("clicked(bool)", self.onSlicesOnly)
        ui.removeCasesButton.connect("clicked(bool)", self.onRemove)
        ui.clearCasesButton.connect("clicked(bool)", self.onClear)
        ui.checkButton.connect("clicked(bool)", self.onCheck)
        ui.dataSection.connect("contentsCollapsed(bool)", lambda isCollapsed: self.showTitle())
        self._title = ui.dataSection.text
        ui.showCaseButton.connect("clicked(bool)", lambda checked: self.showSelected())

    def setParameterNode(self, parameters, cases):
        super().setParameterNode(parameters, cases)
        self.refresh()

    # What is shown

    def refresh(self):
        """Fill both tables from the case list."""
        self.caseTable.show(self.cases.rows)
        self.classTable.show(self.cases)
        self.channelChoice.show(self.cases)
        self.onSelected()
        self.showTitle()
        self.logic.tellSections()

    def showTitle(self):
        """The section's title; when it is closed, with the number of cases."""
        summary = self.summary() if self.cases is not None and self.ui.dataSection.collapsed else ""
        self.ui.dataSection.text = f"{self._title}: {summary}" if summary else self._title

    def nodesChanged(self):
        hideFrom(self.ui.caseVolumeSelector, (RESULT, PREVIEW))
        hideFrom(self.ui.caseSegmentationSelector, (PREVIEW,))  # a corrected result is a good annotation
        self.updateButtons()

    def forgetScene(self):
        super().forgetScene()
        self.further.clear()

    def remember(self):
        """A scene is added: it may replace the cases."""
        self._before = [row.id for row in self.cases.rows]

    def tellReplaced(self):
        """Say when the scene that was added has replaced the cases."""
        before, self._before = self._before, []
        if before and before != [row.id for row in self.cases.rows]:
            text = _("The added scene brought its own list of cases. It replaces the {count} case(s) that were here.")
            say(self.status, text.format(count=len(before)), wrong=True)

    def onSelected(self):
        """Say everything about the selected case: the columns are narrow."""
        selected = self.caseTable.selected()
        row = next((row for row in self.cases.rows if row.id in selected), None) if len(selected) == 1 else None
        ofScene = self._ofScene()
        self.ui.slicesBox.checked = bool(ofScene) and all(row.slicesOnly for row in ofScene)
        say(self.ui.caseText, "" if row is None else self.caseTable.inWords(row))
        self.updateButtons()

    def _ofScene(self):
        """The selected cases whose annotation is a segmentation of the scene."""
        selected = self.caseTable.selected()
        rows = [row for row in self.cases.rows if row.id in selected and row.nodes is not None] if selected else []
        return [row for row in rows if self.cases.nodesOf(row)[1] is not None]

    def summary(self):
        """How many cases have which role."""
        counts = self.cases.counts()
        return ", ".join(f"{count} {roleName(role)}" for role, count in counts.items() if count)

    def updateButtons(self):
        ui, busy = self.ui, self.logic.busy()
        selected = "" if self.caseTable.selected() else _("Select cases in the table first.")
        empty = "" if self.cases is not None and len(self.cases) else _("Add cases first.")
        ui.firstLabelsText.visible = self.cases is None or not self.cases.counts()["labelled"]
        ready = self.logic.notReady()
        folder = "" if str(ui.casesFolderPath.currentPath or "") else _("Choose a folder first.")
        volume = "" if ui.caseVolumeSelector.currentNode() is not None else _("Choose a volume of the scene first.")
        volumes = "" if caseVolumes() else _("There is no volume in the scene.")
        allow(ui.addFolderButton, busy or ready or folder)
        allow(ui.sampleButton, busy or ready)
        allow(ui.addNodesButton, busy or volume)
        self.further.allow(busy or volume)
        allow(ui.addAllNodesButton, busy or volumes)
        self.channelChoice.allow(busy)
        drawn = "" if self._ofScene() else _("Select cases with a segmentation of the scene in the table first.")
        allow(ui.slicesBox, busy or drawn)
        allow(ui.setRoleButton, busy or selected)
        allow(ui.showCaseButton, selected)
        allow(ui.removeCasesButton, busy or selected)
        allow(ui.clearCasesButton, busy or empty)
        allow(ui.checkButton, busy or ready or empty)

    # Adding

    def onAddFolder(self, _checked=False):
        folder = Path(str(self.ui.casesFolderPath.currentPath))
        self.ui.casesFolderPath.addCurrentPathToHistory()
        if isDataset(folder / "dataset.json"):  # of this extension: it says roles and class names already
            self._add(folder / "dataset.json")
            return
        self.task.begin(_("Cases are being read."), temporary=True)
        prepared = self.task.folder / "dataset.json"
        self.task.run(["prepare", folder, "--out", prepared], lambda event: self._add(event["dataset"]))

    def onSample(self, _checked=False):
        if MAKING:
            say(self.status, _("The sample is being made already. Press Sample again when it is there."), wrong=True)
            return
        if sampleIsMade():
            self._add(sampleDataset())
            return
        discardUnfinished()
        MAKING.append(self)
        self.task.begin(_("The sample is being made."))
        self.task.run(["sample", "--out", sampleDataset().parent], lambda event: self._add(event["dataset"]))

    def _onEnded(self):
        if self in MAKING:
            MAKING.remove(self)

    def _add(self, dataset):
        try:
            added = self.cases.addDataset(dataset)
        except InputError as error:
            self.task.finish(f"{error}\n{error.hint}", wrong=True)
            return
        self.refresh()
        self.task.finish(_("{count} new case(s): {summary}.").format(count=added, summary=self.summary()))
        if added:
            self.onCheck()

    def onVolumeChosen(self, volume):
        """Propose the segmentation that was drawn on this volume."""
        if volume is not None:
            drawn = map(segmentationOn, self.further.upTo(volume))
            self.ui.caseSegmentationSelector.setCurrentNode(next(filter(None, drawn), None))
        self.updateButtons()

    def onAddNodes(self, _checked=False):
        volumes = self.further.upTo(self.ui.caseVolumeSelector.currentNode())
        if self._addNodes([(volumes, self.ui.caseSegmentationSelector.currentNode())]):
            self.further.clear()

    def onAddAllNodes(self, _checked=False):
        known = [node for row in self.cases.rows if row.nodes is not None for node in self.cases.volumesOf(row)]
        self._addNodes([([node], segmentationOn(node)) for node in caseVolumes() if node not in known])

    def _addNodes(self, pairs):
        """Add cases, given as (volumes, segmentation or None); returns whether that was possible."""
        problem = ""
        for (volume, *further), segmentation in pairs:
            try:
                self.cases.addNodes(volume, segmentation, further)
            except InputError as error:
                problem = f"{error}\n{error.hint}"
        self.refresh()
        say(self.ui.dataStatus, problem or self.summary() + ".", wrong=bool(problem))
        return not problem

    # Changing

    def onSetRole(self, _checked=False):
        selected = self.caseTable.selected()
        try:
            self.cases.setRole(selected, self.ui.roleBox.currentData)
            say(self.ui.dataStatus, self.summary() + ".")
        except InputError as error:
            say(self.ui.dataStatus, f"{error} {error.hint}", wrong=True)
        self.refresh()
        self.caseTable.select(selected)

    def onSlicesOnly(self, isSo):
        self.cases.setSlicesOnly([row.id for row in self._ofScene()], isSo)

    def onRemove(self, _checked=False):
        self.cases.remove(self.caseTable.selected())
        self.refresh()
        say(self.ui.dataStatus, self.summary())

    def onClear(self, _checked=False):
        self.cases.clear()
        self.further.clear()
        self.refresh()
        say(self.ui.dataStatus, "")

    def onClassRenamed(self, problem):
        if problem:
            say(self.ui.dataStatus, problem, wrong=True)
        self.refresh()

    def showSelected(self):
        """Show the first selected case in the slice views."""
        selected = self.caseTable.selected()
        self.showCase(next(n for n, row in enumerate(self.cases.rows) if row.id in selected))

    def showCase(self, n):
        """Show a case in the slice views; returns the ShownCase, None when that failed."""
        try:
            shown = showCase(self.cases, self.cases.rows[n])
        except LoadError as error:
            say(self.ui.dataStatus, str(error), wrong=True)
            return None
        if shown.kept:
            say(self.ui.dataStatus, shown.keptInWords())
        return shown

    def showCaseOf(self, ID):
        """Show the case with this id, if it is still in the table; returns what ``showCase`` does."""
        found = [n for n, row in enumerate(self.cases.rows) if row.id == ID]
        if found:
            return self.showCase(found[0])
        say(self.ui.dataStatus, _("The case {case} is not in the table any more.").format(case=ID), wrong=True)
        return None

    # Checking

    def onCheck(self, _checked=False):
        self._stops, self._remarks = [], []
        self.task.begin(_("Cases are being read."), temporary=True)
        self.task.export(self.cases, self.task.folder / "check", self._checkFile)

    def _checkFile(self, dataset):
        def checked(event):
            self.task.finish(self._verdict(), wrong=bool(self._stops))

        self.task.run(["check", dataset], checked, event=self._onReport)

    def _onReport(self, event):
        if event["event"] == "report":
            about = [problem for problem in event.get("problems", []) if problem.get("case_id") is None]
            texts = [(p["severity"], problemText(p)) for p in about]
            self._stops = [text for severity, text in texts if severity == "stop"]
            self._remarks = [text for severity, text in texts if severity != "stop"]
            self.cases.applyReport(event)
            self.refresh()

    def _verdict(self):
        """What the check found; what makes training impossible comes first."""
        if self._stops:
            return "\n".join(self._stops)
        severities = [row.severity for row in self.cases.rows]
        bad, odd = severities.count("excluded"), severities.count("warning")
        verdict = _("{summary}. {bad} cannot be used and {odd} need a look: see the Status column.")
        if not bad and not odd:
            verdict = _("{summary}: all can be used.")
        return "\n".join([verdict.format(summary=self.summary(), bad=bad, odd=odd), *self._remarks])

    def cleanup(self):
        self._onEnded()
        self.caseTable.abandon()
        super().cleanup()
