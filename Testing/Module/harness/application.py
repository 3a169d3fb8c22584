"""What the application adds to the bare MRML scene: `slicer.app`, logics, the subject hierarchy's items."""

import importlib.metadata
from types import SimpleNamespace

import qt
import slicer
import vtk

from .views import LayoutManager

# Logics in the order in which they must be made: others look for the colours.
MODULE_LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Texts": "vtkSlicerTextsLogic",
}

# Node classes that Slicer's plugins list in the subject hierarchy.
_LISTED_NODES = ("Displayable", "Table", "Text", "PlotSeries", "PlotChart", "Sequence")


class Application:
    """Stand-in of `slicer.app`. `testing`, `mainWindow` and `restartRequests` are for tests."""

    applicationName = "Slicer"
    version = applicationVersion = ".".join(importlib.metadata.version("slicer-core").split(".")[:2]) + ".0"
    majorVersion, minorVersion = (int(part) for part in version.split(".")[:2])
    revision = "0"
    os = "linux"
    documentationBaseUrl = "https://slicer.readthedocs.io/en/latest/"

    def __init__(self, scene, applicationLogic, temporaryPath):
        self._scene, self._applicationLogic = scene, applicationLogic
        self.temporaryPath = self.cachePath = self.slicerHome = self.extensionsInstallPath = temporaryPath
        self.testing = True
        self.restartRequests = 0
        self.mainWindow = None
        """A QMainWindow named qSlicerMainWindow; without one, `slicer.util.mainWindow()` is None."""
        self._layoutManager = LayoutManager()
        self._moduleManager = ModuleManager()
        self._extensionsManager = ExtensionsManager()
        self._startupFunctions = []

    def testingEnabled(self):
        return self.testing

    def mrmlScene(self):
        return self._scene

    def applicationLogic(self):
        return self._applicationLogic

    def layoutManager(self):
        return self._layoutManager

    def moduleManager(self):
        return self._moduleManager

    def extensionsManagerModel(self):
        return self._extensionsManager

    def connect(self, signature, function):
        if signature != "startupCompleted()":
            raise NotImplementedError(f"the harness's application has no signal {signature}")
        self._startupFunctions.append(function)
        return True

    def completeStartup(self):
        """For tests: send the signal startupCompleted() to those who connected since the last time."""
        waiting, self._startupFunctions = self._startupFunctions, []
        for function in waiting:
            function()

    def processEvents(self, *arguments):
        qt.QApplication.processEvents()

    def userSettings(self):
        return qt.QSettings()

    settings = revisionUserSettings = userSettings

    def commandOptions(self):
        return SimpleNamespace(noMainWindow=self.mainWindow is None, testingEnabled=self.testing)

    def setOverrideCursor(self, cursor):
        qt.QApplication.setOverrideCursor(cursor)

    def restoreOverrideCursor(self):
        qt.QApplication.restoreOverrideCursor()

    def startupEnvironment(self):
        return qt.QProcessEnvironment.systemEnvironment()

    def topLevelWidgets(self):
        return [] if self.mainWindow is None else [self.mainWindow]

    def moduleDocumentationUrl(self, moduleName):
        return f"{self.documentationBaseUrl}user_guide/modules/{moduleName.lower()}.html"

    def translate(self, context, text):
        return text

    def restart(self):
        self.restartRequests += 1

    def pauseRender(self):
        """Nothing is rendered."""

    resumeRender = pauseRender


class ExtensionsManager:
    """Stand-in of the extensions manager: `installed` names the extensions; `serverHas` those that it can download."""

    def __init__(self):
        self.interactive = True
        self.installed = set()
        self.serverHas = set()

    def isExtensionInstalled(self, name):
        return name in self.installed

    def installExtensionFromServer(self, name, restart=True, update=True):
        if name not in self.serverHas:
            return False
        self.installed.add(name)
        return True


class ModuleManager:
    """Stand-in of the module manager: knows the modules in `slicer.modules`."""

    def __init__(self):
        self._beforeUnloading = []

    def module(self, name):
        return getattr(slicer.modules, name.lower(), None)

    def modulesNames(self):
        return tuple(vars(slicer.moduleNames))

    def factoryManager(self):
        return SimpleNamespace(loadedModuleNames=self.modulesNames, isLoaded=lambda name: self.module(name) is not None)

    def connect(self, signature, function):
        if signature != "moduleAboutToBeUnloaded(QString)":
            raise NotImplementedError(f"the harness's module manager has no signal {signature}")
        self._beforeUnloading.append(function)
        return True

    def disconnect(self, signature, function):
        self._beforeUnloading.remove(function)
        return True

    def unload(self, name):
        """For tests: send the signal that comes before a module goes, as when Slicer closes."""
        for function in list(self._beforeUnloading):
            function(name)


def addModuleLogics(scene, applicationLogic):
    """Make the logics of Slicer's own modules and register them as `slicer.modules.X`; returns them by name."""
    logics = {}
    # Colour and terminology files, which the logics look for, are not in the wheel.
    vtk.vtkObject.GlobalWarningDisplayOff()
    try:
        for name, className in MODULE_LOGICS.items():
            logic = logics[name] = getattr(slicer, className)()
            applicationLogic.SetModuleLogic(name, logic)
            logic.SetMRMLApplicationLogic(applicationLogic)
            logic.SetMRMLScene(scene)
            module = SimpleNamespace(name=name, path="", logic=lambda logic=logic: logic)
            setattr(slicer.modules, name.lower(), module)
            setattr(slicer.moduleNames, name, name)
    finally:
        vtk.vtkObject.GlobalWarningDisplayOn()
    applicationLogic.SetColorLogic(logics["Colors"])
    return logics


def keepSubjectHierarchy(scene):
    """Give each new data node an item in the subject hierarchy, as Slicer's plugins (in Qt) do."""

    def hierarchy():
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)

    def addItem(node):
        isListed = any(node.IsA(f"vtkMRML{kind}Node") for kind in _LISTED_NODES)
        if isListed and not node.GetHideFromEditors() and not hierarchy().GetItemByDataNode(node):
            hierarchy().CreateItem(hierarchy().GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAdded(caller, event, node):
        if not scene.IsImporting() and not scene.IsClosing() and hierarchy() is not None:
            addItem(node)

    def onImported(caller, event):
        for node in [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]:
            addItem(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeRemoved(caller, event, node):
        item = hierarchy().GetItemByDataNode(node) if hierarchy() is not None else 0
        if item:
            hierarchy().RemoveItem(item, False, False)

    hierarchy()  # is made by the first request
    scene.AddObserver(scene.NodeAddedEvent, onNodeAdded)
    scene.AddObserver(scene.NodeAboutToBeRemovedEvent, onNodeRemoved)
    # Low priority: after the hierarchy node has resolved its own items.
    scene.AddObserver(scene.EndImportEvent, onImported, -1000.0)
