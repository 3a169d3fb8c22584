from ..Engine.ModelCard import cardOf
from ..Scene.CaseFiles import rowOf, rowWith
from ..Scene.CaseLabels import setAgreements
from ..Scene.Findings import agreementIn
from .AuditTable import AuditTable
from .FolderTable import FolderTable
from .NextCase import NextCase
from .ReportButton import ReportButton
from .ReviewSection import ReviewSection


class Loop:
    """What leads from results back to labels and to a better model: makes these sections and ties them to the others.

    Args:
        ui, logic: as for every Section.
        data, training, runTable, segment, display: the sections of these names.
    """

    def __init__(self, ui, logic, data, training, runTable, segment, display):
        self.ui, self.logic = ui, logic
        self.data, self.training, self.segment, self.display = data, training, segment, display
        self.review, self.folder = ReviewSection(ui, logic), FolderTable(ui, logic)
        self.next, self.report = NextCase(ui, logic), ReportButton(ui, logic)
        self.audit = AuditTable(ui, logic)
        self.sections = [self.review, self.folder, self.next, self.report, self.audit]
        self.review.chosen = lambda: self.audit.shown or display.result
        self.review.labelled = self._onLabelled
        self.review.improve = lambda: training.improve(ui.modelBox.currentData)
        self.review.whyNotImprove = self._whyNotImprove
        display.chosen = self._onChosen
        self.audit.showing = self._onDoubt
        self.folder.show, self.folder.correct = self._show, self._correct
        self.folder.labelled = data.refresh
        segment.folderSegmented = self._onFolderSegmented
        self.next.ranked, self.next.predicted, self.next.draw = self._onRanked, self._onPredicted, self._draw
        self.report.selected = runTable.selectedRuns

    def _onChosen(self):
        if self.display.result is not None:
            self.audit.leave()
        self.review.showResult()

    def _onDoubt(self):
        self.display.showResult(None)

    def _whyNotImprove(self):
        model = self.ui.modelBox.currentData
        return self.training.missing(cardOf(model).method) if model else self.ui.applyButton.toolTip

    def _onLabelled(self, volume):
        self.folder.tellLabelled(volume)
        self.data.refresh()

    def _onFolderSegmented(self):
        self.folder.refresh()
        found = [(rowWith(self.data.cases, case.images), case.agreement) for case in self.folder.listed]
        setAgreements(self.data.cases, {row.id: agreement for row, agreement in found if row is not None})
        self.data.refresh()

    def _show(self, result):
        self.display.showResult(result)
        self.ui.reviewSection.collapsed = False

    def _correct(self, result):
        self._show(result)
        self.review.onCorrect()

    def _onRanked(self, ID):
        self.data.refresh()
        self.ui.caseTable.clearSelection()
        self.data.caseTable.select([ID])

    def _onPredicted(self, result):
        self.segment.segmented(result)
        if self.logic.isInFront:  # else the person is busy with something else
            self.review.onCorrect()

    def _draw(self, volume):
        self.ui.reviewSection.collapsed = False
        self.review.draw(volume)

    def onSegmented(self, result):
        """A volume was segmented: its case in the table gets the agreement."""
        self.ui.reviewSection.collapsed = False
        self.review.drawing = None
        row = rowOf(self.data.cases, result.volumeNode)
        if row is not None:
            setAgreements(self.data.cases, {row.id: agreementIn(result.findings())})
            self.data.refresh()
