"""What the application adds to the bare MRML scene: `slicer.app`, slice views' nodes, `slicer.util.loadVolume` & co."""

import importlib.metadata
import os
from pathlib import Path
from types import SimpleNamespace

import qt
import slicer
import vtk

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

SLICE_VIEWS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}

# Node classes that Slicer's plugins list in the subject hierarchy.
_LISTED_NODES = ("Displayable", "Table", "Text", "PlotSeries", "PlotChart", "Sequence")


class Application:
    """Stand-in of `slicer.app`. `testing` and `restartRequests` are for tests."""

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
        return SimpleNamespace(noMainWindow=True, testingEnabled=self.testing)

    def setOverrideCursor(self, cursor):
        qt.QApplication.setOverrideCursor(cursor)

    def restoreOverrideCursor(self):
        qt.QApplication.restoreOverrideCursor()

    def startupEnvironment(self):
        return qt.QProcessEnvironment.systemEnvironment()

    def topLevelWidgets(self):
        return []  # so that slicer.util.mainWindow() is None

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

    def module(self, name):
        return getattr(slicer.modules, name.lower(), None)

    def modulesNames(self):
        return tuple(vars(slicer.moduleNames))

    def factoryManager(self):
        return SimpleNamespace(loadedModuleNames=self.modulesNames, isLoaded=lambda name: self.module(name) is not None)

    def connect(self, signature, function):
        return True  # no module is ever unloaded

    disconnect = connect


class LayoutManager:
    """Stand-in of the layout manager: three slice views with real nodes and logics, nothing on a screen."""

    threeDViewCount = tableViewCount = plotViewCount = 0

    def __init__(self):
        self.layout = 0
        self._sliceLogics = vtk.vtkCollection()

    def addSliceViews(self, scene, applicationLogic):
        for name, orientation in SLICE_VIEWS.items():
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLScene(scene)
            logic.AddSliceNode(name)
            logic.GetSliceNode().SetOrientation(orientation)
            logic.SetMRMLApplicationLogic(applicationLogic)
            self._sliceLogics.AddItem(logic)
        applicationLogic.SetSliceLogics(self._sliceLogics)

    def sliceViewNames(self):
        return tuple(SLICE_VIEWS)

    def mrmlSliceLogics(self):
        return self._sliceLogics

    def sliceWidget(self, name):
        logic = self._sliceLogics.GetItemAsObject(list(SLICE_VIEWS).index(name))
        return SimpleNamespace(
            sliceLogic=lambda: logic,
            mrmlSliceNode=logic.GetSliceNode,
            mrmlSliceCompositeNode=logic.GetSliceCompositeNode,
            fitSliceToBackground=logic.FitSliceToBackground,
        )

    def setLayout(self, layout):
        self.layout = layout

    def resetSliceViews(self):
        for index in range(self._sliceLogics.GetNumberOfItems()):
            self._sliceLogics.GetItemAsObject(index).FitSliceToBackground()

    def resetThreeDViews(self):
        """There are none."""


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


def replaceFileFunctions():
    """`slicer.util`'s loading and saving needs the application's IO manager; these use the same logics without it."""
    for function in (
        loadNodeFromFile,
        loadVolume,
        loadLabelVolume,
        loadSegmentation,
        loadColorTable,
        loadTable,
        saveNode,
        exportNode,
        saveScene,
        loadScene,
    ):
        setattr(slicer.util, function.__name__, function)


def loadNodeFromFile(filename, filetype=None, properties=None, returnNode=False):
    if returnNode:
        raise NotImplementedError("returnNode is deprecated in Slicer and not imitated")
    loaders = {
        "VolumeFile": _loadVolume,
        "SegmentationFile": _loadSegmentation,
        "ColorTableFile": _loadColorTable,
        "TableFile": _loadTable,
    }
    if filetype not in loaders:
        raise NotImplementedError(f"the harness loads {list(loaders)}, not {filetype!r}")
    node = loaders[filetype](str(filename), properties or {}) if os.path.isfile(filename) else None
    if node is None:
        raise RuntimeError(f"Failed to load node from file: {filename}")
    return node


def loadVolume(filename, properties=None, returnNode=False):
    return loadNodeFromFile(filename, "VolumeFile", properties, returnNode)


def loadLabelVolume(filename, properties=None, returnNode=False):
    return loadNodeFromFile(filename, "VolumeFile", {**(properties or {}), "labelmap": True}, returnNode)


def loadSegmentation(filename, properties=None, returnNode=False):
    return loadNodeFromFile(filename, "SegmentationFile", properties, returnNode)


def loadColorTable(filename, returnNode=False):
    return loadNodeFromFile(filename, "ColorTableFile", {}, returnNode)


def loadTable(filename):
    return loadNodeFromFile(filename, "TableFile")


def _loadVolume(filename, properties):
    labelmap, centred, singleFile, autoWindow = 1, 2, 4, 8  # the logic's option bits
    options = autoWindow * properties.get("autoWindowLevel", True)
    options |= labelmap * properties.get("labelmap", False)
    options |= centred * properties.get("center", False)
    options |= singleFile * properties.get("singleFile", False)
    name = properties.get("name") or Path(filename).name.partition(".")[0]
    node = slicer.modules.volumes.logic().AddArchetypeVolume(filename, name, int(options))
    if node is None:
        return None
    if properties.get("colorNodeID"):
        node.GetDisplayNode().SetAndObserveColorNodeID(properties["colorNodeID"])
    if properties.get("show", True):
        selection = slicer.app.applicationLogic().GetSelectionNode()
        if node.IsA("vtkMRMLLabelMapVolumeNode"):
            selection.SetActiveLabelVolumeID(node.GetID())
        else:
            selection.SetActiveVolumeID(node.GetID())
        slicer.app.applicationLogic().PropagateVolumeSelection(1)
    return node


def _loadSegmentation(filename, properties):
    logic = slicer.modules.segmentations.logic()
    return logic.LoadSegmentationFromFile(filename, properties.get("autoOpacities", True), properties.get("name", ""))


def _loadColorTable(filename, properties):
    return slicer.modules.colors.logic().LoadColorFile(filename)


def _loadTable(filename, properties):
    return slicer.modules.tables.logic().AddTable(filename)


def saveNode(node, filename, properties=None):
    if node.GetStorageNode() is None:
        node.AddDefaultStorageNode()
    storage = node.GetStorageNode()
    storage.SetFileName(str(filename))
    storage.SetUseCompression((properties or {}).get("useCompression", True))
    return bool(storage.WriteData(node))


def exportNode(node, filename, properties=None, world=False):
    """As saveNode, but the node does not remember the file."""
    if world and node.GetParentTransformNode() is not None:
        raise NotImplementedError("export in world coordinates is not imitated")
    storage = node.CreateDefaultStorageNode()
    storage.UnRegister(None)
    storage.SetScene(slicer.mrmlScene)
    storage.SetFileName(str(filename))
    storage.SetUseCompression((properties or {}).get("useCompression", True))
    return bool(storage.WriteData(node))


def saveScene(filename, properties=None):
    filename = str(filename)
    scene = slicer.mrmlScene
    if filename.endswith(".mrb"):
        return bool(scene.WriteToMRB(filename))
    if not filename.endswith(".mrml"):
        raise NotImplementedError("the harness saves .mrml and .mrb")
    scene.SetURL(filename)
    scene.SetRootDirectory(os.path.dirname(filename))
    return bool(scene.Commit(filename))


def loadScene(filename, properties=None):
    """Replaces the scene, except with the property `clear` set to False: then the file is added to it."""
    filename = str(filename)
    scene = slicer.mrmlScene
    clear = (properties or {}).get("clear", True)
    if filename.endswith(".mrb"):
        if clear:
            scene.Clear(False)
        return bool(scene.ReadFromMRB(filename, False))
    scene.SetURL(filename)
    scene.SetRootDirectory(os.path.dirname(filename))
    return bool(scene.Connect() if clear else scene.Import())
