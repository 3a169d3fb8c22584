"""What Slicer's module factory does with a scripted module: load its file, make, show, hide and reload its widget."""

import importlib.util
import sys
from pathlib import Path

import qt
import slicer

from . import pythonqt_bridge
from .module_panel import ModulePanel
from .mrml_widgets import qSlicerWidget


class qSlicerScriptedLoadableModule:
    """Stand-in: `parent` in the module class, and `slicer.modules.<name>`."""

    def __init__(self, path):
        self.path = str(path)
        self.name = Path(path).stem
        self.title = ""
        self.hidden = False
        self.icon = None
        self._representation = None

    def widgetRepresentation(self):
        """The module's only panel; it is made by the first call."""
        if self._representation is None:
            self._representation = self.createNewWidgetRepresentation()
        return self._representation

    def createNewWidgetRepresentation(self):
        return qSlicerScriptedLoadableModuleWidget(self.name)

    def logic(self):
        return None  # a scripted module's logic belongs to its widget: slicer.util.getModuleLogic


@pythonqt_bridge.playsCpp
class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """Stand-in: the widget that is the parent of what the module's Python widget class makes."""

    def __init__(self, name):
        super().__init__()
        self._name = name
        self._panel = None
        self.setLayout(qt.QVBoxLayout())
        self.setMRMLScene(slicer.mrmlScene)
        self.reload()

    def reload(self):
        """Make the Python widget anew from the module's class as it is now."""
        widgetClass = getattr(sys.modules[self._name], f"{self._name}Widget")
        self._widget = widgetClass(self)
        setattr(slicer.modules, f"{self._name}Widget", self._widget)
        self._widget.setup()  # Slicer prints an error and goes on; a test must fail

    def self(self):
        return self._widget

    @property
    def panel(self):
        """For tests: the ModulePanel in which `enter` shows the widget."""
        return self._panel

    def enter(self):
        """Show the widget, as when the user selects the module."""
        if self._panel is None:
            self._panel = ModulePanel(sys.modules[self._name])
        self._panel.setModule(self)
        self._panel.show()
        if hasattr(self._widget, "enter"):
            self._widget.enter()

    def exit(self):
        """Hide the widget, as when the user selects another module."""
        if hasattr(self._widget, "exit"):
            self._widget.exit()
        self._panel.removeModule()
        self._panel.hide()

    def close(self):
        """Take the widget down, as when Slicer closes."""
        if self._panel is not None and self._panel.visible:
            self.exit()
        slicer.app.moduleManager().unload(self._name)
        if self._panel is not None:
            self._panel.delete()
        self.delete()


def loadModule(path):
    """Load the scripted module in the file `path` and register it; returns its Python module."""
    path = Path(path).resolve()
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # Slicer does so: packages beside the file can be imported
    specification = importlib.util.spec_from_file_location(path.stem, path)
    pythonModule = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = pythonModule
    specification.loader.exec_module(pythonModule)
    description = qSlicerScriptedLoadableModule(path)
    setattr(slicer.modules, path.stem.lower(), description)
    setattr(slicer.moduleNames, path.stem, path.stem)
    setattr(slicer.modules, f"{path.stem}Instance", getattr(pythonModule, path.stem)(description))
    return pythonModule


def openModule(path):
    """Load the module if need be, and open a new panel; returns its qSlicerScriptedLoadableModuleWidget."""
    name = Path(path).stem
    description = getattr(slicer.modules, name.lower(), None)
    if description is None or description.path != str(Path(path).resolve()):
        loadModule(path)
        description = getattr(slicer.modules, name.lower())
    description._representation = description.createNewWidgetRepresentation()
    description._representation.enter()
    return description._representation
