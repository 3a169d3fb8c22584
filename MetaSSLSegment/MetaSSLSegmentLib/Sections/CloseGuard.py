import qt
import slicer
from slicer.i18n import tr as _


class CloseGuard:
    """Asks before Slicer is closed while work is being done."""

    def __init__(self):
        self._window = None
        self._filter = _CloseFilter()

    def watch(self, reason):
        """Ask from now on; the reason is a sentence that says what is being done."""
        self._window = slicer.util.mainWindow()
        self._filter.reason = reason
        if self._window is not None:
            self._window.installEventFilter(self._filter)

    def rest(self):
        """Ask no more."""
        if self._window is not None:
            self._window.removeEventFilter(self._filter)
        self._window = None


class _CloseFilter(qt.QObject):
    reason = ""

    def eventFilter(self, watched, event):
        """Hold back the main window's closing unless the person confirms it."""
        if event.type() != qt.QEvent.Close or slicer.app.testingEnabled():
            return False
        question = _("{reason} Closing Slicer ends it. A training is saved first and can be resumed. Close Slicer?")
        if slicer.util.confirmYesNoDisplay(question.format(reason=self.reason)):
            return False
        event.ignore()
        return True
