import qt
import slicer
from slicer.i18n import tr as _

NEXT_PLACE = "Ctrl+Shift+N"
MODULE = "MetaSSLSegment"


class CorrectionBar:
    """Opens a segmentation in the Segment Editor, with a tool bar in Slicer's window that leads from place to place and
    back to this module.

    Args:
        nextPlace: called without arguments for the next place.
    """

    def __init__(self, nextPlace):
        self._nextPlace = nextPlace
        self._bar = self._label = self._button = self._back = self._shortcut = None

    def open(self, segmentationNode, volumeNode, text, hasPlaces):
        """Open the Segment Editor.

        Args:
            segmentationNode, volumeNode: what to edit, and the image.
            text: shown in the tool bar.
            hasPlaces: whether there are places to go to.

        Raises:
            RuntimeError: Slicer runs without a main window.
        """
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
        editor.setSegmentationNode(segmentationNode)
        editor.setSourceVolumeNode(volumeNode)
        if self._bar is None:
            self._make(slicer.util.mainWindow())
        self._button.enabled = hasPlaces
        self.say(text)
        self._bar.visible = True

    def say(self, text):
        """Show a text in the tool bar, when it is there."""
        if self._bar is not None:
            self._label.text = text

    def close(self):
        """Take the tool bar away."""
        if self._bar is not None:
            self._bar.visible = False
            self._bar.deleteLater()
            self._bar = self._shortcut = None

    def _make(self, window):
        self._bar = bar = qt.QToolBar(_("MetaSSL correction"), window)
        bar.objectName = "MetaSSLCorrectionBar"  # the window keeps the places of its tool bars by name
        self._label, self._button = qt.QLabel(), qt.QPushButton(_("Next place"))
        self._back = qt.QPushButton(_("Back to MetaSSL"))
        self._button.toolTip = _("Centre the slice views on the next place to look at ({key}).").format(key=NEXT_PLACE)
        self._back.toolTip = _("Return to the module MetaSSL Segment, where the segmentation can be used as a label.")
        self._button.connect("clicked(bool)", lambda checked: self._nextPlace())
        self._back.connect("clicked(bool)", lambda checked: slicer.util.selectModule(MODULE))
        for widget in (self._back, self._button, self._label):
            bar.addWidget(widget)
        self._shortcut = shortcutOn(bar, self._nextPlace)
        window.addToolBar(bar)


def shortcutOn(widget, nextPlace):
    """The key for the next place, while a widget can be seen."""
    shortcut = qt.QShortcut(widget)
    shortcut.setKey(qt.QKeySequence(NEXT_PLACE))
    shortcut.connect("activated()", nextPlace)
    return shortcut
