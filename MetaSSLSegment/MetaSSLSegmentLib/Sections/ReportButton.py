import qt
from slicer.i18n import tr as _

from .Section import Section, allow
from .Task import Task
from .WorkLine import WorkLine


class ReportButton(Section):
    """Writes all of a training into one HTML file and opens it in the browser."""

    def __init__(self, ui, logic):
        super().__init__(ui, logic)
        self.task = Task(logic, WorkLine(ui))
        self.selected = lambda: []
        """Gives the run folders that a person has selected."""
        ui.reportButton.connect("clicked(bool)", self.onReport)
        ui.runTable.connect("itemSelectionChanged()", self.updateButtons)

    def updateButtons(self):
        one = "" if len(self.selected()) == 1 else _("Select one training in the table first.")
        allow(self.ui.reportButton, self.logic.busy() or self.logic.notReady() or one)

    def onReport(self, _checked=False):
        (run,) = self.selected()
        self.task.begin(_("A report is being written."), survives=True)
        self.task.run(["report", run], self._open)

    def _open(self, event):
        path = str(event.get("out"))
        opened = qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(path))
        text = _("The report is {path}") if opened else _("No browser could be opened. The report is {path}")
        self.task.finish(text.format(path=path))
