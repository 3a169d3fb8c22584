from ..Engine.ModelCard import cardOf
from ..Scene.CaseFiles import rowOf
from ..Scene.CaseLabels import setAgreements
from ..Scene.Findings import agreementIn
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
        self.sections = [review]
        review.chosen = lambda: display.result
        review.labelled = data.refresh
        review.improve = lambda: training.improve(ui.modelBox.currentData)
        review.whyNotImprove = self._whyNotImprove
        display.chosen = review.showResult

    def _whyNotImprove(self):
        model = self.ui.modelBox.currentData
        return self.training.missing(cardOf(model).method) if model else self.ui.applyButton.toolTip

    def onSegmented(self, result):
        """A volume was segmented: its case in the table gets the agreement."""
        self.ui.reviewSection.collapsed = False
        row = rowOf(self.data.cases, result.volumeNode)
        if row is not None:
            setAgreements(self.data.cases, {row.id: agreementIn(result.findings())})
            self.data.refresh()
