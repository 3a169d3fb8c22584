"""What Slicer's module factory does with a scripted module: load its file, make its widget, show and hide it."""

import importlib.util
import sys
from pathlib import Path


class ModuleDescription:
    """Stand-in of qSlicerScriptedLoadableModule: `parent` in the module class, and `slicer.modules.<name>`."""

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
        return WidgetRepresentation(self)

    def logic(self):
        return None  # a scripted module's logic belongs to its widget: slicer.util.getModuleLogic


class WidgetRepresentation:
    """Stand-in of qSlicerScriptedLoadableModuleWidget: the panel around the module's widget class."""

    def __init__(self, description):
        import qt
        import slicer

        pythonModule = sys.modules[description.name]
        self.panel = slicer.qSlicerWidget()
        self.panel.setLayout(qt.QVBoxLayout())
        self.panel.setMRMLScene(slicer.mrmlScene)
        widgetClass = getattr(pythonModule, f"{description.name}Widget")
        self._widget = widgetClass(self.panel)
        setattr(slicer.modules, f"{description.name}Widget", self._widget)
        self._widget.setup()  # Slicer prints an error and goes on; a test must fail

    def self(self):
        return self._widget

    def enter(self):
        """Show the panel, as when the user selects the module."""
        self.panel.show()
        if hasattr(self._widget, "enter"):
            self._widget.enter()

    def exit(self):
        """Hide the panel, as when the user selects another module."""
        if hasattr(self._widget, "exit"):
            self._widget.exit()
        self.panel.hide()

    def close(self):
        """Take the panel down, as when Slicer closes."""
        if hasattr(self._widget, "exit") and self.panel.visible:
            self.exit()
        self._widget.cleanup()
        self.panel.delete()


def loadModule(path):
    """Load the scripted module in the file `path` and register it; returns its Python module."""
    import slicer

    path = Path(path).resolve()
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # Slicer does so: packages beside the file can be imported
    specification = importlib.util.spec_from_file_location(path.stem, path)
    pythonModule = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = pythonModule
    specification.loader.exec_module(pythonModule)
    description = ModuleDescription(path)
    setattr(slicer.modules, path.stem.lower(), description)
    setattr(slicer.moduleNames, path.stem, path.stem)
    setattr(slicer.modules, f"{path.stem}Instance", getattr(pythonModule, path.stem)(description))
    return pythonModule


def openModule(path):
    """Load the module if need be, and open a new panel; returns its WidgetRepresentation (`.self()`, `.close()`)."""
    import slicer

    name = Path(path).stem
    description = getattr(slicer.modules, name.lower(), None)
    if description is None or description.path != str(Path(path).resolve()):
        loadModule(path)
        description = getattr(slicer.modules, name.lower())
    description._representation = description.createNewWidgetRepresentation()
    description._representation.enter()
    return description._representation
