ROW_HEIGHT = 22
"""Of tables, in pixels."""
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

    def setParameterNode(self, parameters, cases):
        """Take the choices and cases of a scene, at the start and whenever another scene is there."""
        self.parameters = parameters
        self.cases = cases

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
    """Show a message under a section's buttons, red when something went wrong."""
    label.styleSheet = "color: #c03020;" if wrong else ""
    label.text = text


def setUpTable(table, names):
    """Name the columns of a QTableWidget and make its rows low."""
    table.setColumnCount(len(names))
    table.setHorizontalHeaderLabels(list(names))
    table.verticalHeader().setVisible(False)
    table.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)


def showProgress(bar, fraction=None):
    """Show how far the work is (0-1); without a number the bar, if there is one, goes away."""
    if bar is None:
        return
    bar.visible = fraction is not None
    bar.value = int(100 * (fraction or 0))


def fill(comboBox, choices, current=None):
    """Replace the items of a combo box.

    Args:
        comboBox: the combo box; no signal is sent.
        choices: (key, text) pairs; the key becomes the item's data.
        current: key of the item to choose; the first when None or absent.
    """
    blocked = comboBox.blockSignals(True)
    comboBox.clear()
    for key, text in choices:
        comboBox.addItem(text, key)
    keys = [key for key, _text in choices]
    comboBox.setCurrentIndex(keys.index(current) if current in keys else (0 if keys else -1))
    comboBox.blockSignals(blocked)
