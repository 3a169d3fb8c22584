import shutil

import qt
import slicer
from slicer.i18n import tr as _

from ..Engine.Runs import classesOf, modelIn
from ..Scene.CaseExporter import ExportError
from ..Scene.ResultLoader import KINDS, LoadError
from .Section import Section, allow, fill, say
from .Task import Task

CASE = "volume"
"""How the engine names the one volume that it is given."""


class SegmentSection(Section):
    """Segment the chosen volume, or a folder of volumes, with a trained model."""

    def __init__(self, ui, logic):
        super().__init__(ui, logic)
        self.task = Task(logic, ui.segmentStatus, ui.segmentProgress)
        self.segmented = lambda result: None
        """Called with the Result when its nodes are in the scene."""
        ui.modelBox.connect("currentIndexChanged(int)", self.onModel)
        ui.browseModelButton.connect("clicked(bool)", self.onBrowse)
        ui.applyButton.connect("clicked(bool)", self.onApply)
        ui.cancelSegmentButton.connect("clicked(bool)", lambda checked: self.task.cancel())
        ui.batchButton.connect("clicked(bool)", self.onBatch)
        for path in (ui.inputFolderPath, ui.outputFolderPath):
            path.connect("currentPathChanged(QString)", lambda text: self.updateButtons())

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
        fill(self.ui.modelBox, choices, chosen)
        self.onModel()

    def chooseModel(self, path):
        """Choose a model folder."""
        self.parameters.model = str(path)
        self.refreshModels()

    def onModel(self, _index=0):
        if self.parameters is not None:
            self.parameters.model = self.ui.modelBox.currentData or ""
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
        model = "" if ui.modelBox.count else _("Train a model in section 3, or choose one with Browse.")
        chosen = self.parameters is not None and self.parameters.inputVolume is not None
        volume = "" if chosen else _("Choose a volume first.")
        outputs = "" if self._kinds() else _("Choose at least one output.")
        inFolder, outFolder = (str(path.currentPath or "") for path in (ui.inputFolderPath, ui.outputFolderPath))
        folders = "" if inFolder and outFolder else _("Choose both folders first.")
        if inFolder and inFolder == outFolder:
            folders = _("The output folder must not be the input folder.")
        allow(ui.applyButton, busy or model or volume or outputs)
        allow(ui.batchButton, busy or model or folders)
        ui.cancelSegmentButton.enabled = self.task.isRunning

    def _kinds(self):
        if self.parameters is None:
            return ()
        wanted = (self.parameters.makeSegmentation, self.parameters.makeRegions, self.parameters.makeConfidence)
        return tuple(kind for kind, make in zip(KINDS, wanted) if make)

    # One volume

    def onApply(self, _checked=False):
        volume, model, kinds = self.parameters.inputVolume, self.ui.modelBox.currentData, self._kinds()
        self.task.begin(_("A volume is being segmented."), temporary=True)
        image = self.task.folder / f"{CASE}.nrrd"
        try:
            classes = classesOf(model)
            self.logic.exporter.exportVolume(volume, image)
        except (ExportError, ValueError) as error:
            self.task.finish(str(error), wrong=True)
            return
        volumeID, results = volume.GetID(), self.task.folder / "results"
        self._predict(
            image,
            results,
            lambda event: self._load(volumeID, results, classes, kinds),
            progress=lambda phase, fraction, seconds, text: self.task.progress(phase, fraction, seconds),
        )

    def _load(self, volumeID, results, classes, kinds):
        """Make nodes of the results, if the volume is still there."""
        volume = slicer.mrmlScene.GetNodeByID(volumeID)
        if volume is None:
            kept = self.logic.runs.newFolder(_("results"))
            shutil.copytree(results, kept)
            self.task.finish(_("The volume is gone; the results are in {folder}").format(folder=kept), wrong=True)
            return
        try:
            result = self.logic.loader.load(volume, results, CASE, classes, kinds)
        except (LoadError, ValueError, RuntimeError) as error:
            self.task.finish(str(error), wrong=True)
            return
        if self.parameters.show3D and "segmentation" in result.nodes:
            self.logic.display.show3D(result.nodes["segmentation"], True)
        self.task.finish(_("Done: {name}.").format(name=", ".join(node.GetName() for node in result.nodes.values())))
        self.segmented(result)

    # A folder

    def onBatch(self, _checked=False):
        self.task.begin(_("A folder is being segmented."))
        out = str(self.ui.outputFolderPath.currentPath)
        text = _("{count} volume(s) segmented, results in {folder}")
        self._predict(
            str(self.ui.inputFolderPath.currentPath),
            out,
            lambda event: self.task.finish(text.format(count=len(event.get("results", [])), folder=out)),
        )

    # The engine

    def _predict(self, inputs, out, done, **listening):
        options = ["--device", self.parameters.device]
        kinds = self._kinds()
        options += [] if "regions" in kinds else ["--no-regions"]
        options += [] if "confidence" in kinds else ["--no-confidence"]
        options += ["--keep-largest"] if self.parameters.keepLargest else []
        self.task.run(["predict", self.ui.modelBox.currentData, inputs, "--out", out, *options], done, **listening)
