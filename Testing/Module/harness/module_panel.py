"""Stand-in of Slicer's module panel: the scroll area in the dock that shows one module.

As in Slicer, the area scrolls up and down only. A module whose widget asks for more width than the dock has is cut off
on the right; one that asks for no more height than there is, and can shrink, fills the area and is never scrolled.
"""

import ctk
import qt


class ModulePanel(qt.QScrollArea):
    """
    Args:
        pythonModule: of the module that is shown, for its help text.
    """

    def __init__(self, pythonModule):
        super().__init__()
        self.setFrameShape(qt.QFrame.NoFrame)
        self.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        self.setWidgetResizable(True)
        content = qt.QWidget()
        self._column = qt.QVBoxLayout(content)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._help = ctk.ctkCollapsibleButton("Help && Acknowledgement")
        self._help.collapsed = True
        self._help.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
        self._help.setToolTip(pythonModule.__name__)
        self._column.addWidget(self._help)
        self._column.addSpacerItem(qt.QSpacerItem(0, 0, qt.QSizePolicy.Minimum, qt.QSizePolicy.MinimumExpanding))
        self.setWidget(content)

    def setModule(self, widget):
        """Show a module's widget; its size hint becomes the smallest width."""
        widget.layout().setContentsMargins(0, 0, 0, 0)
        self._column.insertWidget(1, widget, 1)
        widget.setSizePolicy(qt.QSizePolicy.Minimum, widget.sizePolicy.verticalPolicy())
        widget.setVisible(True)

    def removeModule(self):
        """Take the module's widget out again; it lives on without a parent."""
        widget = self._column.takeAt(1).widget()
        widget.setVisible(False)
        widget.setParent(None)
