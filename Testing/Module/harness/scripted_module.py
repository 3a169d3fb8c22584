"""Stand-in of `slicer.ScriptedLoadableModule`: the four classes that a scripted module derives from."""

import importlib
import logging
import os
import unittest

import ctk
import qt
import slicer

__all__ = [
    "ScriptedLoadableModule",
    "ScriptedLoadableModuleLogic",
    "ScriptedLoadableModuleTest",
    "ScriptedLoadableModuleWidget",
]


class ScriptedLoadableModule:
    """Describes the module to Slicer: title, categories, help."""

    def __init__(self, parent):
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = ""
        parent.categories, parent.dependencies, parent.contributors = [], [], []
        parent.helpText, parent.acknowledgementText = "", ""
        icons = [self.resourcePath(f"Icons/{self.moduleName}.{extension}") for extension in ("svg", "png")]
        icon = next((path for path in icons if os.path.isfile(path)), None)
        if icon:
            parent.icon = qt.QIcon(icon)
        if not hasattr(slicer, "selfTests"):
            slicer.selfTests = {}
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename):
        return os.path.join(os.path.dirname(self.parent.path), "Resources", filename)

    def getDefaultModuleDocumentationLink(self, docPage=None):
        base = slicer.app.documentationBaseUrl
        url = base + docPage if docPage else slicer.app.moduleDocumentationUrl(self.moduleName)
        return f'<p>See the <a href="{url}">online documentation</a>.</p>'

    def runTest(self, msec=100, **keywords):
        """Run the class `<module name>Test` of the module's file."""
        testClass = getattr(importlib.import_module(self.__module__), self.moduleName + "Test", None)
        if testClass is None:
            raise AssertionError(f"Test case class not found: {self.__module__}.{self.moduleName}Test")
        test = testClass()
        test.messageDelay = msec
        test.runTest(**keywords)


class ScriptedLoadableModuleWidget:
    """The module's panel. `parent` is the widget that shows it; without one, a window is opened."""

    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        self.parent = parent
        if parent is None:
            self.parent = slicer.qMRMLWidget()
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename):
        return os.path.join(os.path.dirname(slicer.util.modulePath(self.moduleName)), "Resources", filename)

    def setup(self):
        """Extended by the module; called once, and again with a new object when the module is reloaded."""
        self.setupDeveloperSection()

    def setupDeveloperSection(self):
        """In developer mode, buttons above the module's own widgets."""
        if not self.developerMode:
            return
        self.reloadCollapsibleButton = ctk.ctkCollapsibleButton("Reload && Test")
        self.layout.addWidget(self.reloadCollapsibleButton)
        self.reloadButton = qt.QPushButton("Reload")
        self.reloadButton.connect("clicked()", self.onReload)
        qt.QFormLayout(self.reloadCollapsibleButton).addRow(self.reloadButton)

    def cleanup(self):
        """Overridden by the module; called before the module is unloaded or reloaded.

        Slicer also calls `enter()` and `exit()` when they exist; they are no part of this class.
        """

    def _onModuleAboutToBeUnloaded(self, moduleName):
        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def onReload(self):
        slicer.util.reloadScriptedModule(self.moduleName)

    def onTest(self, **keywords):
        with slicer.util.tryWithErrorDisplay("Test failed."):
            delay = int(slicer.app.userSettings().value("Developer/SelfTestDisplayMessageDelay"))
            slicer.selfTests[self.moduleName](msec=delay, **keywords)


class ScriptedLoadableModuleLogic:
    """The module's computation; owns the parameter node."""

    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        """The scene's parameter node of this module; it is made when there is none."""
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is not None:
                # Closing the scene resets the attributes of singleton nodes.
                if node.GetAttribute("ModuleName") != self.moduleName:
                    node.SetAttribute("ModuleName", self.moduleName)
                return node
        else:
            nodes = self.getAllParameterNodes()
            if nodes:
                return nodes[0]
        return slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self):
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self):
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)  # only Python owns the node now
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """The module's self-test; Slicer calls `runTest()`."""

    def delayDisplay(self, message, requestedDelay=None, msec=None):
        """Show a message to the person who watches the test. `messageDelay`, when set, wins."""
        delay = next((value for value in (getattr(self, "messageDelay", None), msec, requestedDelay) if value), 100)
        slicer.util.delayDisplay(message, delay)

    def runTest(self):
        logging.warning("No test is defined in %s", type(self).__name__)
