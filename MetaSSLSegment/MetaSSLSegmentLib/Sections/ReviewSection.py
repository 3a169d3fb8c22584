import slicer
from metassl import InputError
from slicer.i18n import tr as _

from ..Engine.ModelCard import cardOf
from ..Scene.CaseFiles import FILES, filesOf, rowOf
from ..Scene.CaseLabels import addFiles, annotate
from ..Scene.CasePreview import keep
from ..Scene.Correction import correct, correctionOf, drawOn
from ..Scene.LabelFiles import newLabelPath
from ..Scene.Masks import isDrawn
from ..Scene.Result import VOLUME, isInScene
from ..Scene.SegmentClasses import addClasses, exportValues
from .CorrectionBar import CorrectionBar, shortcutOn
from .PlaceList import PlaceList
from .Section import Section, allow, say
from .Task import Task
from .WorkLine import WorkLine


class ReviewSection(Section):
    """Look at a result's doubtful places, correct it, teach with it."""

    def __init__(self, ui, logic):
        super().__init__(ui, logic)
        self.status = ui.reviewStatus
        self.task = Task(logic, WorkLine(ui), self.status)
        self.chosen = lambda: None
        """Gives the Result or DoubtedCase that is reviewed, or None."""
        self.labelled = lambda volume: None
        """Called with its volume when a case has got a label."""
        self.improve = lambda: None
        """Called when a person wants to improve the chosen model."""
        self.whyNotImprove = lambda: ""
        """Says why it cannot be improved now; "" when it can."""
        self.drawing = None
        """A segmentation that is drawn from nothing, without a result to correct; until another result is chosen."""
        self._shown = None
        self.placeList = PlaceList(ui.placeTable, self._onLooked)
        self.bar = CorrectionBar(self.placeList.next)
        self._shortcut = shortcutOn(ui.reviewSection, self.placeList.next)
        ui.nextPlaceButton.connect("clicked(bool)", lambda checked: self.placeList.next())
        ui.correctButton.connect("clicked(bool)", self.onCorrect)
        ui.useAsLabelButton.connect("clicked(bool)", self.onUse)
        ui.improveButton.connect("clicked(bool)", lambda checked: self.improve())

    def setParameterNode(self, parameters, cases):
        super().setParameterNode(parameters, cases)
        cases.node.UndoEnabledOn()  # what is done here is one step back for Slicer's Undo
        self.showResult()

    def forgetScene(self):
        super().forgetScene()
        self.drawing = self._shown = None
        self.bar.close()

    def nodesChanged(self):
        if self.logic.isInFront:
            self.bar.close()
        self.updateButtons()

    def showResult(self):
        """Show what is known of the chosen result."""
        result = self.chosen()
        before, self._shown = self._shown, None if result is None else result.first
        if self._shown is not None and self._shown is not before:
            self.drawing = None
        self.placeList.show(*(([], ()) if result is None else (result.places(), result.looked())))
        text = "" if result is None else result.inWords()
        if isInScene(self.drawing):
            text = _("Use as label takes {name}.").format(name=self.drawing.GetName())
        say(self.ui.agreementText, text)
        self.updateButtons()

    def updateButtons(self):
        ui, busy, result = self.ui, self.logic.busy(), self.chosen()
        missing = "" if result is not None else _("Segment a volume in section 4 first.")
        places = missing or ("" if ui.placeTable.rowCount else _("This result names no places."))
        if result is not None and "segmentation" not in result.nodes:
            missing = _("This result does not include the segmentation.")
        elif result is not None and result.volumeNode is None:
            missing = _("The volume of this result is not in the scene any more.")
        allow(ui.nextPlaceButton, places)
        allow(ui.correctButton, missing)
        if isInScene(self.drawing):
            gone = self.drawing.GetNodeReference(VOLUME) is None
            missing = _("The volume of this segmentation is not in the scene any more.") if gone else ""
        allow(ui.useAsLabelButton, busy or missing)
        allow(ui.improveButton, busy or self.logic.notReady() or self.whyNotImprove())

    def _onLooked(self, number):
        self.chosen().tickOff(number)
        self.bar.say(self.placeList.inWords())

    # Correcting

    def onCorrect(self, _checked=False):
        """Open the Segment Editor on an editable copy of the result."""
        result, self.drawing = self.chosen(), None
        slicer.mrmlScene.SaveStateForUndo()
        node = correct(result, self._classesOf(result))
        slicer.util.setSliceViewerLayers(background=result.volumeNode, foreground=None, label=None)
        self.edit(node, result.volumeNode, self.placeList.inWords())

    def edit(self, segmentationNode, volumeNode, text):
        """Open the Segment Editor on a segmentation of a volume, with a way back."""
        self.logic.display.hideOthers()
        keep(volumeNode)  # what somebody draws on is no preview
        segmentationNode.CreateDefaultDisplayNodes()
        segmentationNode.GetDisplayNode().SetVisibility(True)
        try:
            self.bar.open(segmentationNode, volumeNode, text, bool(self.ui.placeTable.rowCount))
        except RuntimeError as error:
            say(self.status, _("The Segment Editor cannot be opened: {error}").format(error=error), wrong=True)

    def _classesOf(self, result):
        """Classes of the table that the model of a result knows."""
        known = result.findings().get("classes")
        return [c for c in self.cases.classes if not isinstance(known, dict) or c["name"] in known]

    def draw(self, volumeNode):
        """Open the Segment Editor on a volume, with an empty segment for every class of the table."""
        slicer.mrmlScene.SaveStateForUndo()
        self.drawing = drawOn(volumeNode, self.cases.classes, _("{name} drawn"))
        slicer.util.setSliceViewerLayers(background=volumeNode, foreground=None, label=None, fit=True)
        self.edit(self.drawing, volumeNode, volumeNode.GetName())
        self.showResult()

    # Using

    def onUse(self, _checked=False):
        """Make the segmentation of the chosen result the label of its case."""
        result = self.chosen()
        slicer.mrmlScene.SaveStateForUndo()
        if isInScene(self.drawing):
            self.use(self.drawing, self.drawing.GetNodeReference(VOLUME))
        else:
            self.use(correctionOf(result) or correct(result, ()), result.volumeNode)

    def use(self, segmentationNode, volumeNode):
        """Make a segmentation the label of the case that a volume belongs to."""
        if not isDrawn(segmentationNode):
            say(self.status, _("No segment has a voxel, so nothing can be learnt from it."), wrong=True)
            return
        try:
            row = self._rowOf(volumeNode)
            addClasses(self.cases, segmentationNode)
            values = exportValues(self.cases, segmentationNode)
        except InputError as error:
            say(self.status, f"{error}\n{error.hint}", wrong=True)
            return
        if row.nodes is not None:
            self._annotate(row, segmentationNode, volumeNode)
            say(self.status, self._told(row))
            return
        path = newLabelPath(self.logic.runs.folder, row.id)

        def written(_none):
            self._annotate(row, segmentationNode, volumeNode, str(path))
            self.task.finish(self._told(row))

        self.task.begin(_("A label is being written."))
        pieces = self.logic.exporter.segmentationPieces(segmentationNode, volumeNode, values, path, moved=False)
        self.task.work(pieces, written)

    def _rowOf(self, volume):
        """The row of a volume; a new one when it is in the table not yet."""
        row, files = rowOf(self.cases, volume), filesOf(volume)
        if row is None and files and volume.GetAttribute(FILES) is not None:
            channels = cardOf(self.ui.modelBox.currentData or "").channels
            return addFiles(self.cases, volume.GetName(), files, channels)
        return row or self.cases.addNodes(volume)

    def _annotate(self, row, segmentationNode, volumeNode, label=None):
        annotate(self.cases, row, segmentationNode, label)
        self.drawing = None
        self.labelled(volumeNode)

    @staticmethod
    def _told(row):
        text = _("{case} is a labelled case now.")
        if row.role == "hold-out":
            text = _("{case} has got another annotation. It stays a hold-out case.")
        text = text.format(case=row.id)
        return text if row.label is None else text + " " + _("Its label is {file}").format(file=row.label)

    def cleanup(self):
        self.bar.close()
        super().cleanup()
