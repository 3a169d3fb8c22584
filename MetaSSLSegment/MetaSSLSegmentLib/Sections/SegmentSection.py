import qt
from slicer.i18n import tr as _

from ..Engine.ModelCard import ModelCard, cardOf
from ..Engine.Runs import modelIn
from ..Scene.CaseNodes import hideFrom, volumeInView
from ..Scene.Result import PREVIEW, RESULT
from ..Scene.ResultLoader import KINDS
from ..Scene.Words import methodName, roleName
from .Section import Section, allow, fill, say
from .Segmentation import Segmentation, predictionOptions
from .Task import Task
from .WorkLine import WorkLine


class SegmentSection(Section):
    """Segment the chosen volume, or a folder of volumes, with a trained model."""

    def __init__(self, ui, logic):
        super().__init__(ui, logic)
        self.status = ui.segmentStatus
        self.task = Task(logic, WorkLine(ui), self.status, ended=self._onEnded)
        self._isFolder = False
        self._card = ModelCard()
        self.segmented = lambda result: None
        """Called with the Result when its nodes are in the scene."""
        self.folderSegmented = lambda: None
        """Called when a folder was segmented, or as many of its volumes as could be."""
        ui.modelBox.connect("currentIndexChanged(int)", self.onModel)
        ui.browseModelButton.connect("clicked(bool)", self.onBrowse)
        ui.applyButton.connect("clicked(bool)", self.onApply)
        ui.batchButton.connect("clicked(bool)", self.onBatch)
        for path in (ui.inputFolderPath, ui.outputFolderPath):
            path.connect("currentPathChanged(QString)", lambda text: self.updateButtons())
            path.connect("validInputChanged(bool)", lambda isValid: self.updateButtons())  # emptied

    def setParameterNode(self, parameters, cases):
        super().setParameterNode(parameters, cases)
        self.refreshModels()

    def refreshModels(self):
        """Offer the models of the runs folder, and the chosen one wherever it is."""
        choices = [(str(model.path), model.name) for model in self.logic.runs.models()]
        chosen = self.parameters.model if self.parameters is not None else ""
        if chosen and chosen not in [key for key, _name in choices]:
            model = modelIn(chosen)
            if model is not None:
                choices.insert(0, (str(model.path), str(model.path)))
                chosen = str(model.path)
        fill(self.ui.modelBox, choices, chosen, orFirst=not chosen)  # another model would be a silent surprise
        self._showCard()
        self.logic.tellSections()

    def _showCard(self):
        model = self.ui.modelBox.currentData
        self._card = cardOf(model) if model else ModelCard()
        say(self.ui.modelText, _inWords(self._card))

    def nodesChanged(self):
        """Offer the volumes that can be segmented; the one in view is proposed."""
        hideFrom(self.ui.inputSelector, (RESULT, PREVIEW))
        if self.parameters is not None and self.parameters.inputVolume is None:
            volume = volumeInView()
            if volume is not None:
                self.parameters.inputVolume = volume
        self.updateButtons()

    def chooseModel(self, path):
        """Choose a model folder."""
        self.parameters.model = str(path)
        self.refreshModels()

    def onModel(self, _index=0):
        """The person has chosen: the scene keeps it."""
        if self.parameters is not None:
            self.parameters.model = self.ui.modelBox.currentData or ""
        self._showCard()
        self.logic.tellSections()

    def onBrowse(self, _checked=False):
        folder = qt.QFileDialog.getExistingDirectory(
            self.ui.segmentSection, _("Model folder"), str(self.logic.runs.folder)
        )
        if not folder:
            return
        model = modelIn(str(folder))
        if model is None:
            say(self.ui.segmentStatus, _("{folder} holds no MetaSSL model.").format(folder=folder), wrong=True)
        else:
            self.chooseModel(model.path)

    def updateButtons(self):
        ui, busy = self.ui, self.logic.busy() or self.logic.notReady()
        model = "" if ui.modelBox.currentData else _("Train a model in section 3, or choose one with Browse.")
        if model and self.parameters is not None and self.parameters.model:
            model = _("The model {path} is not there any more. Choose another one.").format(path=self.parameters.model)
        chosen = self.parameters is not None and self.parameters.inputVolume is not None
        volume = "" if chosen else _("Choose a volume first.")
        outputs = "" if self._kinds() else _("Choose at least one output.")
        inFolder, outFolder = (str(path.currentPath or "") for path in (ui.inputFolderPath, ui.outputFolderPath))
        folders = "" if inFolder and outFolder else _("Choose both folders first.")
        if inFolder and inFolder == outFolder:
            folders = _("The output folder must not be the input folder.")
        several = _severalVolumes(self._card)
        allow(ui.applyButton, busy or model or several or volume or outputs)
        allow(ui.batchButton, busy or model or folders)

    def _kinds(self):
        if self.parameters is None:
            return ()
        wanted = (self.parameters.makeSegmentation, self.parameters.makeRegions, self.parameters.makeConfidence)
        return tuple(kind for kind, make in zip(KINDS, wanted) if make)

    # One volume

    def onApply(self, _checked=False):
        self.parameters.model = self.ui.modelBox.currentData
        kinds, self._isFolder = self._kinds(), False
        work = Segmentation(self.task, self.parameters.inputVolume, self.ui.modelBox.currentData, kinds, self._onDone)
        work.start(self._options())

    def _onDone(self, result):
        if self.parameters.show3D and "segmentation" in result.nodes:
            self.logic.display.show3D(result.nodes["segmentation"], True)
        self.segmented(result)

    # A folder

    def onBatch(self, _checked=False):
        inputs, out = (str(path.currentPath) for path in (self.ui.inputFolderPath, self.ui.outputFolderPath))
        for path in (self.ui.inputFolderPath, self.ui.outputFolderPath):
            path.addCurrentPathToHistory()
        self.parameters.model = self.ui.modelBox.currentData
        text, self._isFolder = _("{count} volume(s) segmented, results in {folder}"), True
        self.task.begin(_("A folder is being segmented."), survives=True)
        self.task.run(
            ["predict", self.ui.modelBox.currentData, inputs, "--out", out, *self._options()],
            lambda event: self.task.finish(
                "\n".join([text.format(count=len(event.get("results", [])), folder=out), *self.task.warnings])
            ),
        )

    def _onEnded(self):
        if self._isFolder:
            self.folderSegmented()

    def _options(self):
        chosen = self.parameters
        return predictionOptions(self._kinds(), chosen.device, chosen.keepLargest, chosen.careful)


def _severalVolumes(card):
    """That one volume is not enough for a model; "" when it is."""
    if len(card.channels) < 2:
        return ""
    channels = ", ".join(card.channels)
    return _("Needs several volumes of each case ({channels}): segment a folder.").format(channels=channels)


def _inWords(card):
    """A model's card for people."""
    texts = []
    if card.classes:
        texts.append(_("Segments {classes}.").format(classes=", ".join(card.classes)))
    texts += filter(None, [_severalVolumes(card)])
    counts = [f"{count} {roleName(role)}" for role, count in card.cases.items() if count and role != "ignored"]
    facts = [methodName(card.method), *counts]
    if card.steps is not None:
        facts.append(_("{steps} steps").format(steps=card.steps))
    if any(facts):
        texts.append(", ".join(filter(None, facts)) + ".")
    if card.holdOutDice is not None:
        text = _("Hold-out Dice {dice:.3f}").format(dice=card.holdOutDice)
        parts = [f"{name} {dice:.3f}" for name, dice in card.classDice.items()] if len(card.classDice) > 1 else ()
        texts.append(text + (f" ({', '.join(parts)})." if parts else "."))
    return " ".join(texts)
