import qt
import slicer

from .Colours import WRONG, onWidget

STATUS_SECONDS = 15
"""How long the application's status bar shows how work has ended."""
CHIP_SIZE = 12
"""Of colours beside texts, in pixels."""
TOOLTIP = "MetaSSL.toolTip"
"""Property of a button: what it does, as the .ui file says."""


class Section:
    """One collapsible part of the module's panel.

    Args:
        ui: the widgets, by name.
        logic: the module's logic with its collaborators.
    """

    def __init__(self, ui, logic):
        self.ui = ui
        self.logic = logic
        self.parameters = None
        self.cases = None
        self.task = None
        """The work of this section, when it has any."""
        self.status = None
        """The label that says how the section's last work ended."""

    def setParameterNode(self, parameters, cases):
        """Take the choices and cases of a scene, at the start and whenever another scene is there."""
        self.parameters = parameters
        self.cases = cases

    def forgetScene(self):
        """The scene is closed: what was said about it is not true any more."""
        if self.status is not None and not self.task.isRunning:
            say(self.status, "")

    def nodesChanged(self):
        """Nodes have entered or left the scene."""

    def updateButtons(self):
        """Enable what can be done now; tooltips of the others say what is missing."""

    def cleanup(self):
        """Let go of nodes, timers and unfinished work."""
        if self.task is not None:
            self.task.abandon()


def allow(button, reason):
    """Enable a button, or, when there is a reason not to, disable it and say that in place of its own tooltip."""
    if button.property(TOOLTIP) is None:
        button.setProperty(TOOLTIP, button.toolTip)
    button.enabled = not reason
    button.toolTip = reason or button.property(TOOLTIP)


def say(label, text, wrong=False):
    """Show a message in a label, red when something went wrong; an empty label takes no room."""
    label.styleSheet = f"color: {onWidget(WRONG, label).name()};" if wrong else ""
    label.text = text
    label.visible = bool(text)


def notify(text, isInFront):
    """When another module is in front, tell in the status bar how work has ended, and let the window ask for a look."""
    window = slicer.util.mainWindow()
    if window is not None and not isInFront:
        slicer.util.showStatusMessage("MetaSSL: " + text.replace("\n", " "), 1000 * STATUS_SECONDS)
        qt.QApplication.alert(window)


def setUpTable(table, names):
    """Name the columns of a QTableWidget and make its rows low."""
    table.setColumnCount(len(names))
    table.setHorizontalHeaderLabels(list(names))
    table.verticalHeader().setVisible(False)
    table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + 6)


def chip(colour):
    """A small square icon of a colour (RGB, 0-255)."""
    pixmap = qt.QPixmap(CHIP_SIZE, CHIP_SIZE)
    pixmap.fill(qt.QColor(*colour))
    return qt.QIcon(pixmap)


def fill(comboBox, choices, current=None, orFirst=True):
    """Replace the items of a combo box.

    Args:
        comboBox: the combo box; no signal is sent.
        choices: (key, text) pairs; the key becomes the item's data.
        current: key of the item to choose.
        orFirst: whether the first is chosen when that one is absent; none otherwise.
    """
    blocked = comboBox.blockSignals(True)
    comboBox.clear()
    for key, text in choices:
        comboBox.addItem(text, key)
    keys = [key for key, _text in choices]
    comboBox.setCurrentIndex(keys.index(current) if current in keys else (0 if keys and orFirst else -1))
    comboBox.blockSignals(blocked)
