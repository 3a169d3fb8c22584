"""Acts on the module's panel as a person does: reads what it says, clicks what is enabled, waits."""

from pathlib import Path

from harness.interaction import processEvents, waitUntil
from harness.module_loading import openModule

FOLDER = Path(__file__).parent
MODULE = FOLDER.parents[1] / "MetaSSLSegment" / "MetaSSLSegment.py"

PANEL_SIZE = 360, 600
"""Pixels that a module has in Slicer's dock on a small screen."""


class User:
    """A person in front of the opened module.

    Args:
        runs: the runs folder that this person chose.
    """

    def __init__(self, runs):
        self.representation = openModule(MODULE)
        self.panel = self.representation.panel
        self.panel.resize(*PANEL_SIZE)
        self.widget = self.representation.self()
        self.ui = self.widget.ui
        self.ui.runsFolderButton.directory = str(runs)
        processEvents()

    @property
    def parameters(self):
        return self.widget.logic.getParameterNode()

    @property
    def cases(self):
        return self.widget.dataSection.cases

    def click(self, name):
        """Press a button; it must be enabled."""
        button = getattr(self.ui, name)
        assert button.enabled, f"{name} cannot be pressed: {button.toolTip}"
        button.click()

    def choose(self, comboName, key):
        """Choose an item of a combo box by its key."""
        box = getattr(self.ui, comboName)
        index = box.findData(key)
        assert index >= 0, f"{comboName} has no {key}"
        box.setCurrentIndex(index)

    def waitUntilIdle(self, seconds):
        """Wait until the engine's work has ended."""
        waitUntil(lambda: not self.widget.logic.busy(), seconds, "the engine's work to end")
        processEvents()

    def select(self, ids):
        """Select rows of the case table."""
        self.widget.dataSection.caseTable.select(ids)

    def addFolder(self, folder, seconds=300):
        """Add a folder of cases and wait for the check."""
        self.ui.casesFolderPath.currentPath = str(folder)
        self.click("addFolderButton")
        self.waitUntilIdle(seconds)

    def setRole(self, ids, role):
        """Give cases a role."""
        self.ui.caseTable.clearSelection()
        self.select(ids)
        self.choose("roleBox", role)
        self.click("setRoleButton")

    def train(self, *, seconds=900, **choices):
        """Start a training with parameters of the parameter node, and wait for its end."""
        self.startTraining(**choices)
        self.waitUntilIdle(seconds)

    def startTraining(self, **choices):
        """Start a training and come back at once."""
        for name, value in choices.items():
            setattr(self.parameters, name, value)
        self.click("startButton")

    def segment(self, volume, seconds=300):
        """Segment a volume; returns the Result."""
        self.parameters.inputVolume = volume
        self.click("applyButton")
        self.waitUntilIdle(seconds)
        return self.widget.displaySection.result

    def columns(self, tableName, column):
        """The texts of one column of a table."""
        table = getattr(self.ui, tableName)
        return [table.item(row, column).text() for row in range(table.rowCount)]

    def close(self):
        """Close the module."""
        self.representation.close()
