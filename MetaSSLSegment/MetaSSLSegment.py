import logging
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
from MetaSSLSegmentLib.Scene.ResultLoader import ResultLoader
from MetaSSLSegmentLib.Scene.SampleSource import registerSampleData
from MetaSSLSegmentLib.Scene.TrainingCurves import TrainingCurves
from MetaSSLSegmentLib.Sections.DataSection import DataSection
from MetaSSLSegmentLib.Sections.DisplaySection import DisplaySection
from MetaSSLSegmentLib.Sections.SegmentSection import SegmentSection
from MetaSSLSegmentLib.Sections.SetupSection import SetupSection
from MetaSSLSegmentLib.Sections.TrainingSection import RUNS_SETTING, TrainingSection
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

FOLDER = Path(__file__).parent


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
        self.parent.acknowledgementText = _(
            "Method: Zhao et al., MetaSSL: A General Heterogeneous Loss for Semi-Supervised Medical Image "
            "Segmentation, IEEE Transactions on Medical Imaging, 2025. This is an independent implementation."
        )
        slicer.app.connect(
            "startupCompleted()", lambda: registerSampleData(FOLDER / "Resources/Icons/MetaSSLSegment.png")
        )


class MetaSSLSegmentWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: five sections, each with a class of its own."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.sections = []
        self._parameters = None
        self._guiTag = None

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
        self.segmentSection = SegmentSection(self.ui, self.logic)
        self.displaySection = DisplaySection(self.ui, self.logic)
        self.sections = [self.setupSection, self.dataSection, self.trainingSection]
        self.sections += [self.segmentSection, self.displaySection]
        self.trainingSection.modelChosen = self.segmentSection.chooseModel
        self.segmentSection.segmented = lambda result: self.displaySection.showNewest()
        self.logic.changed.append(self.updateButtons)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneChanged)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneChanged)
        self.initializeParameterNode()

    def enter(self):
        """Refresh what may have changed while another module was open."""
        self.setupSection.refresh()
        self.trainingSection.refreshRuns()
        self.segmentSection.refreshModels()
        self.displaySection.refresh()

    def cleanup(self):
        self.removeObservers()
        if self._parameters is not None:
            self._parameters.disconnectGui(self._guiTag)
            self._parameters = None
        if self.logic is not None:
            self.logic.changed = []
            self.logic.engine.shutDown()
        for section in self.sections:
            section.cleanup()
        self.sections = []

    def onSceneChanged(self, caller, event):
        """Show the choices, cases and results of the new scene."""
        self.initializeParameterNode()

    def initializeParameterNode(self):
        """Connect the panel with the parameter node of this scene."""
        if self._parameters is not None:
            self._parameters.disconnectGui(self._guiTag)
            self.removeObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameters = self.logic.getParameterNode()
        self._guiTag = self._parameters.connectGui(self.ui)
        self.addObserver(self._parameters, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        cases = CaseList(self._parameters.parameterNode)
        for section in self.sections:
            section.setParameterNode(self._parameters, cases)
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
        self._claim = ""

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

    def claim(self, reason):
        """Take the engine for a Task; until ``release`` the other buttons give the reason."""
        self._claim = reason
        self.tellSections()

    def release(self):
        """The Task has ended."""
        self._claim = ""
        self.tellSections()

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
