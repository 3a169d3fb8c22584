import shutil
import tempfile
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from ..Engine.EngineProcess import EngineListener
from ..Engine.Runs import classesOf, modelIn
from ..Scene.CaseExporter import ExportError
from ..Scene.ResultLoader import KINDS, LoadError
from .Section import Section, allow, fill, say, showProgress, timeLeft

CASE = "volume"
"""How the engine names the one volume that it is given."""


class SegmentSection(Section):
    """Segment the chosen volume, or a folder of volumes, with a trained model."""

    def __init__(self, ui, logic):
        super().__init__(ui, logic)
        self._folder = None
        self._volumeID = None
        self._model = None
        self.segmented = lambda result: None
        """Called with the Result when its nodes are in the scene."""
        showProgress(ui.segmentProgress)
        ui.modelBox.connect("currentIndexChanged(int)", self.onModel)
        ui.browseModelButton.connect("clicked(bool)", self.onBrowse)
        ui.applyButton.connect("clicked(bool)", self.onApply)
        ui.cancelSegmentButton.connect("clicked(bool)", self.onCancel)
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
        volume = (
            ""
            if self.parameters is not None and self.parameters.inputVolume is not None
            else _("Choose a volume first.")
        )
        outputs = "" if self._kinds() else _("Choose at least one output.")
        inFolder, outFolder = (str(path.currentPath or "") for path in (ui.inputFolderPath, ui.outputFolderPath))
        folders = "" if inFolder and outFolder else _("Choose both folders first.")
        if inFolder and inFolder == outFolder:
            folders = _("The output folder must be another one than the input folder.")
        allow(ui.applyButton, busy or model or volume or outputs, _("Segment the volume."))
        allow(ui.batchButton, busy or model or folders, _("Segment every volume of the input folder."))
        ui.cancelSegmentButton.enabled = self._folder is not None

    def _kinds(self):
        if self.parameters is None:
            return ()
        wanted = (self.parameters.makeSegmentation, self.parameters.makeRegions, self.parameters.makeConfidence)
        return tuple(kind for kind, make in zip(KINDS, wanted) if make)

    # One volume

    def onApply(self, _checked=False):
        volume = self.parameters.inputVolume
        folder = self._begin(_("A volume is being segmented."))
        try:
            self._model = self.ui.modelBox.currentData
            classesOf(self._model)
            image = folder / f"{CASE}.nrrd"
            self.logic.exporter.exportVolume(volume, image)
        except (ExportError, ValueError) as error:
            self._finish(str(error), wrong=True)
            return
        self._volumeID = volume.GetID()
        self._wanted = self._kinds()
        self._predict(image, folder / "results", self._load)

    def _load(self, event):
        """Make nodes of the results, if the volume is still there."""
        volume = slicer.mrmlScene.GetNodeByID(self._volumeID)
        if volume is None:
            kept = self.logic.runs.newFolder(_("results"))
            shutil.copytree(self._folder / "results", kept)
            self._finish(_("The volume is gone; the results are in {folder}").format(folder=kept), wrong=True)
            return
        try:
            result = self.logic.loader.load(
                volume, self._folder / "results", CASE, classesOf(self._model), self._wanted
            )
        except (LoadError, ValueError, RuntimeError) as error:
            self._finish(str(error), wrong=True)
            return
        if self.parameters.show3D and "segmentation" in result.nodes:
            self.logic.display.show3D(result.nodes["segmentation"], True)
        self._finish(_("Done: {name}.").format(name=", ".join(node.GetName() for node in result.nodes.values())))
        self.segmented(result)

    # A folder

    def onBatch(self, _checked=False):
        self._begin(_("A folder is being segmented."))
        out = str(self.ui.outputFolderPath.currentPath)
        self._predict(
            str(self.ui.inputFolderPath.currentPath),
            out,
            lambda event: self._finish(
                _("{count} volume(s) segmented, results in {folder}").format(
                    count=len(event.get("results", [])), folder=out
                )
            ),
        )

    # The engine

    def _begin(self, claim):
        self._folder = Path(tempfile.mkdtemp(prefix="MetaSSL-", dir=slicer.app.temporaryPath))
        showProgress(self.ui.segmentProgress, 0)
        say(self.ui.segmentStatus, _("Starting the engine..."))
        self.logic.claim(claim)
        return self._folder

    def _predict(self, inputs, out, done):
        options = ["--device", self.parameters.device]
        kinds = self._kinds()
        options += [] if "regions" in kinds else ["--no-regions"]
        options += [] if "confidence" in kinds else ["--no-confidence"]
        options += ["--keep-largest"] if self.parameters.keepLargest else []
        self.logic.engine.start(
            ["predict", self.ui.modelBox.currentData, inputs, "--out", out, *options],
            EngineListener(
                progress=self._progress,
                log=self.logic.log,
                done=done,
                failed=lambda failure: self._finish(failure.text(), wrong=True),
                cancelled=lambda event: self._finish(_("Cancelled.")),
            ),
        )

    def _progress(self, phase, fraction, seconds, text):
        showProgress(self.ui.segmentProgress, fraction)
        say(self.ui.segmentStatus, f"{phase}: " + timeLeft(fraction, seconds, "" if text == CASE else text))

    def _finish(self, text, wrong=False):
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = self._volumeID = self._model = None
        showProgress(self.ui.segmentProgress)
        say(self.ui.segmentStatus, text, wrong)
        self.logic.release()

    def onCancel(self, _checked=False):
        self.logic.engine.stop(graceSeconds=10)

    def cleanup(self):
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
