import logging
import sys
from pathlib import Path

import qt
import slicer
import vtk
from MetaSSLSegmentLib.Engine.EngineProcess import EngineProcess
from MetaSSLSegmentLib.Engine.Requirements import Requirements
from MetaSSLSegmentLib.Engine.Runs import Runs
from MetaSSLSegmentLib.MetaSSLSegmentTest import MetaSSLSegmentTest  # noqa: F401 (Slicer looks for it here)
from MetaSSLSegmentLib.Scene.CaseExporter import CaseExporter
from MetaSSLSegmentLib.Scene.CaseList import CaseList
from MetaSSLSegmentLib.Scene.ParameterNode import MetaSSLSegmentParameterNode
from MetaSSLSegmentLib.Scene.RegionDisplay import RegionDisplay
from MetaSSLSegmentLib.Scene.ResultLoader import KINDS, ResultLoader
from MetaSSLSegmentLib.Scene.SampleSource import registerSampleData
from MetaSSLSegmentLib.Scene.TrainingCurves import TrainingCurves
from MetaSSLSegmentLib.Sections.DataSection import DataSection
from MetaSSLSegmentLib.Sections.DisplaySection import DisplaySection
from MetaSSLSegmentLib.Sections.Loop import Loop
from MetaSSLSegmentLib.Sections.RunTable import RunTable
from MetaSSLSegmentLib.Sections.Scripting import segmentAndWait, trainAndWait
from MetaSSLSegmentLib.Sections.SegmentSection import SegmentSection
from MetaSSLSegmentLib.Sections.SetupSection import SetupSection
from MetaSSLSegmentLib.Sections.TrainingSection import RUNS_SETTING, TrainingSection
from MetaSSLSegmentLib.Sections.WorkLine import WorkLine
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

FOLDER = Path(__file__).parent
DATA_HELP = "https://github.com/MetaSSL/SlicerMetaSSL/blob/main/docs/data.md"
"""The page on layouts, formats and labels."""


class MetaSSLSegment(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("MetaSSL Segment")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = []
        self.parent.contributors = ["MetaSSL developers"]
        self.parent.helpText = _(
            "Train a segmentation model on a few labelled and many unlabelled volumes, segment new ones, and see where "
            "the model can be trusted. Nothing leaves your computer. Research use only."
        )
        self.parent.helpText += "<p>" + _("Which folders and files can be read: {link}.").format(
            link=f'<a href="{DATA_HELP}">docs/data.md</a>'
        )
        self.parent.acknowledgementText = _(
            "Method: Zhao et al., MetaSSL: A General Heterogeneous Loss for Semi-Supervised Medical Image "
            "Segmentation, IEEE Transactions on Medical Imaging, 2025. This is an independent implementation."
        )
        slicer.app.connect(
            "startupCompleted()", lambda: registerSampleData(FOLDER / "Resources/Icons/MetaSSLSegment.png")
        )


class MetaSSLSegmentWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: six sections, each with a class of its own."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.sections = []
        self.logic = self._parameters = self._cases = self._guiTag = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/MetaSSLSegment.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = MetaSSLSegmentLogic()
        self.setupSection = SetupSection(self.ui, self.logic)
        self.dataSection = DataSection(self.ui, self.logic)
        self.trainingSection = TrainingSection(self.ui, self.logic)
        self.runTable = RunTable(self.ui, self.logic)
        self.segmentSection = SegmentSection(self.ui, self.logic)
        self.displaySection = DisplaySection(self.ui, self.logic)
        self.sections = [self.setupSection, self.dataSection, self.trainingSection]
        self.sections += [self.runTable, self.segmentSection, self.displaySection]
        self.loop = Loop(self.ui, self.logic, *self.sections[1:])
        self.sections += self.loop.sections
        self.trainingSection.begun = self.onTrainingBegun
        self.trainingSection.trained = self.onTrained
        self.trainingSection.runsChanged = self.runTable.changed = self.onRunsChanged
        self.trainingSection.showCase = self.dataSection.showCaseOf
        self.segmentSection.segmented = self.onSegmented
        self.logic.changed.append(self.updateButtons)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneCloses)
        for event in (scene.EndCloseEvent, scene.EndUndoEvent, scene.EndRedoEvent):
            self.addObserver(scene, event, self.onSceneChanged)
        self.addObserver(scene, scene.StartImportEvent, self.onImport)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneImported)
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
            self.addObserver(scene, event, self.onNodesChanged)
        self._nodesTimer = qt.QTimer()
        self._nodesTimer.setSingleShot(True)
        self._nodesTimer.connect("timeout()", self.showNodes)
        self.initializeParameterNode()
        self.showWhatIsThere()

    def enter(self):
        """Refresh what may have changed while another module was open."""
        self.logic.isInFront = True
        self.setupSection.refresh()
        self.onRunsChanged()
        self.showNodes()

    def exit(self):
        """Another module is chosen."""
        self.logic.isInFront = False

    def cleanup(self):
        self.removeObservers()
        if self.sections:
            self._nodesTimer.stop()
        if self._parameters is not None:
            self._parameters.disconnectGui(self._guiTag)
            self._parameters = None
        if self.logic is not None:
            self.logic.changed = []
            self.logic.engine.shutDown()
        for section in self.sections:
            section.cleanup()
        self.sections = []

    def onReload(self):
        """Reload the files of the package too, not this one only."""
        for name in [name for name in sys.modules if name.partition(".")[0] in ("MetaSSLSegmentLib", "metassl")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    # Sections open and close with the work

    def showWhatIsThere(self):
        """Open the sections that have something to offer; labels that say nothing take no room."""
        ui = self.ui
        statuses = (ui.dataStatus, ui.trainingStatus, ui.segmentStatus, ui.reviewStatus, ui.auditStatus)
        for label in (*statuses, ui.deviceText, ui.caseText, ui.modelText):
            label.visible = bool(label.text)
        self.ui.segmentSection.collapsed = not self.ui.modelBox.count
        self.ui.reviewSection.collapsed = self.ui.displaySection.collapsed = not self.ui.resultBox.count

    def onTrainingBegun(self):
        self.ui.setupSection.collapsed = self.ui.dataSection.collapsed = True

    def onTrained(self, model):
        self.segmentSection.chooseModel(model)
        self.ui.segmentSection.collapsed = False

    def onRunsChanged(self):
        """Trainings or models came or went."""
        self.trainingSection.refreshRuns()
        self.runTable.refresh()
        self.segmentSection.refreshModels()

    def onSegmented(self, result):
        self.displaySection.showNewest()
        self.loop.onSegmented(result)
        self.ui.displaySection.collapsed = False

    # The scene

    def onSceneCloses(self, caller, event):
        """Forget what was said about this scene, and end the work that belongs to it."""
        for section in self.sections:
            section.forgetScene()
        if not self.logic.busy():
            WorkLine(self.ui).end("")
        self.logic.endWork()

    def onSceneChanged(self, caller, event):
        """Show the choices, cases and results of the new scene, or of this one as it was before or after a step."""
        self.initializeParameterNode()

    def onImport(self, caller, event):
        """A scene is added to this one, or loaded in its place."""
        self.dataSection.remember()

    def onSceneImported(self, caller, event):
        """The parameter node exists once: an added scene that has one brings its choices and cases."""
        self.initializeParameterNode()
        self.dataSection.tellReplaced()

    def onNodesChanged(self, caller, event):
        """Nodes came or went; they are looked at when all of them are complete."""
        self._nodesTimer.start(0)

    def showNodes(self):
        """Offer the nodes that are there now."""
        for section in self.sections:
            section.nodesChanged()

    def initializeParameterNode(self):
        """Connect the panel with the parameter node of this scene."""
        if self._parameters is not None:
            self._parameters.disconnectGui(self._guiTag)
            self.removeObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameters = self.logic.getParameterNode()
        self._guiTag = self._parameters.connectGui(self.ui)
        self.addObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        cases = CaseList(self._parameters.parameterNode)
        if not cases.isSameAs(self._cases):  # else work that has begun goes on with the list that it knows
            self._cases = cases
            self.logic.endWork(_("Stopped, because the list of cases was replaced."))
        for section in self.sections:
            section.setParameterNode(self._parameters, self._cases)
        self.updateButtons()

    def onParametersModified(self, caller=None, event=None):
        self.trainingSection.showParameters()
        self.updateButtons()

    def updateButtons(self):
        for section in self.sections:
            section.updateButtons()


class MetaSSLSegmentLogic(ScriptedLoadableModuleLogic):
    """Holds what the sections share: the engine, the runs, and what turns nodes into files and files into nodes."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self.engine = EngineProcess(FOLDER)
        self.engine.stateChanged.append(self.tellSections)
        self.requirements = Requirements(FOLDER / "Resources/requirements.txt")
        self.exporter = CaseExporter()
        self.loader = ResultLoader()
        self.display = RegionDisplay()
        self.curves = TrainingCurves()
        self.runs = Runs(slicer.app.userSettings().value(RUNS_SETTING) or self.defaultRunsFolder())
        self.changed = []
        """Functions to call when what can be done now has changed."""
        self.isInFront = False
        """Whether the panel is the one that the person sees."""
        self._claim, self._task = "", None

    def getParameterNode(self):
        return MetaSSLSegmentParameterNode(super().getParameterNode())

    @staticmethod
    def defaultRunsFolder():
        """The folder MetaSSL in the user's documents."""
        documents = qt.QStandardPaths.writableLocation(qt.QStandardPaths.DocumentsLocation)
        return str(Path(documents) / "MetaSSL")

    def setRunsFolder(self, path):
        """Keep trainings in another folder from now on, also after a restart."""
        self.runs = Runs(path or self.defaultRunsFolder())
        slicer.app.userSettings().setValue(RUNS_SETTING, str(self.runs.folder))

    def segment(self, volumeNode, model, kinds=KINDS, **options):
        """For scripts: segment a volume and wait for the Result; see ``segmentAndWait``."""
        return segmentAndWait(self, volumeNode, model, kinds, **options)

    def train(self, dataset, **settings):
        """For scripts: train on the cases of a dataset.json and wait for the model folder; see ``trainAndWait``."""
        return trainAndWait(self, dataset, settings)

    def claim(self, reason, task):
        """Take the engine for a Task; until ``release`` the other buttons give the reason."""
        self._claim, self._task = reason, task
        self.tellSections()

    def release(self):
        """The Task has ended."""
        self._claim, self._task = "", None
        self.tellSections()

    def endWork(self, *reason):
        """End the work that belongs to a scene or to cases that go."""
        if self._task is not None:
            self._task.sceneCloses(*reason)

    def busy(self):
        """Why no other work can begin now; "" when it can."""
        return self._claim or (_("The engine is running.") if self.engine.isRunning else "")

    def notReady(self):
        """What must be installed before the engine can run; "" when nothing."""
        return _("Install what is missing in section 1 first.") if self.requirements.missing else ""

    def tellSections(self):
        for callback in list(self.changed):
            callback()

    @staticmethod
    def log(line):
        """Write the engine's log lines to Slicer's log too."""
        logging.info("MetaSSL: %s", line)
