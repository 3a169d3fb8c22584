from ..Engine.ModelCard import cardOf
from ..Scene.CaseFiles import rowOf, rowWith
from ..Scene.CaseLabels import setAgreements
from ..Scene.Findings import agreementIn
from .FolderTable import FolderTable
from .ReviewSection import ReviewSection


class Loop:
    """What leads from results back to labels and to a better model: makes these sections and ties them to the others.

    Args:
        ui, logic: as for every Section.
        data, training, segment, display: the sections of these names.
    """

    def __init__(self, ui, logic, data, training, segment, display):
        self.ui, self.data, self.training = ui, data, training
        self.review = review = ReviewSection(ui, logic)
        self.folder = folder = FolderTable(ui, logic)
        self.sections = [review, folder]
        review.chosen = lambda: display.result
        review.labelled = self._onLabelled
        review.improve = lambda: training.improve(ui.modelBox.currentData)
        review.whyNotImprove = self._whyNotImprove
        display.chosen = review.showResult
        folder.show, folder.correct = self._show, self._correct
        folder.labelled = data.refresh
        segment.folderSegmented = self._onFolderSegmented
        self.display = display

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

    def onSegmented(self, result):
        """A volume was segmented: its case in the table gets the agreement."""
        self.ui.reviewSection.collapsed = False
        row = rowOf(self.data.cases, result.volumeNode)
        if row is not None:
            setAgreements(self.data.cases, {row.id: agreementIn(result.findings())})
            self.data.refresh()
