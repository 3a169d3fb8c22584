import shutil
import tempfile
from pathlib import Path

import slicer
from metassl import duration
from slicer.i18n import tr as _

from ..Engine.EngineProcess import EngineListener
from ..Scene.DatasetExport import DatasetExport
from .Section import say, showProgress


class Task:
    """The work of a section, one piece after the other: the only place where work begins and ends.

    From ``begin`` to ``finish`` the engine is claimed, so that every other button says why it has to wait. What fails
    or is stopped on the way finishes here by itself, with a text for the user.

    Args:
        logic: the module's logic.
        label: shows how far the work is, and at last how it ended.
        bar: shows how far the work is; None for work without progress.
        ended: called without arguments whenever a piece of work has ended, before other work can begin.
    """

    def __init__(self, logic, label, bar=None, ended=lambda: None):
        self.logic = logic
        self.label = label
        self.bar = bar
        self.ended = ended
        self.isRunning = False
        self.isStopping = False
        self.folder = None
        """The temporary folder, while there is one."""
        self._export = None
        showProgress(self.bar)

    def begin(self, reason, temporary=False):
        """Claim the engine.

        Args:
            reason: what is being done, a sentence; shown, and why other work has to wait.
            temporary: whether the work needs ``folder``, which is removed when it ends.
        """
        if temporary:
            self.folder = Path(tempfile.mkdtemp(prefix="MetaSSL-", dir=slicer.app.temporaryPath))
        self.isRunning, self.isStopping = True, False
        showProgress(self.bar, 0)
        say(self.label, reason)
        self.logic.claim(reason)

    def export(self, cases, folder, done):
        """Write the cases as dataset.json into a folder, then call ``done`` with its path."""

        def exported(dataset):
            self._export = None
            done(dataset)

        self._export = DatasetExport(
            cases,
            self.logic.exporter,
            folder,
            lambda count, total, name: self.progress(_("exporting"), count / total, None, name),
            exported,
            lambda text: self.finish(text, wrong=True),
        )
        self._export.start()

    def run(self, arguments, done, **listening):
        """Start a command of the engine; ``done`` is called with its last event, and finishes the work or goes on.

        ``listening`` are attributes of the EngineListener that are not as usual.
        """
        usual = {
            "progress": self.progress,
            "log": self.logic.log,
            "failed": lambda failure: self.finish(failure.text(), wrong=True),
            "cancelled": lambda event: self.finish(_("Stopped.")),
        }
        self.logic.engine.start(arguments, EngineListener(done=done, **(usual | listening)))

    def progress(self, phase, fraction, seconds=None, text=""):
        """Show how far the work is: "phase: 42 %, 3:05 min left, text"."""
        showProgress(self.bar, fraction)
        if not self.isStopping:
            left = "" if seconds is None else _("{time} left").format(time=duration(seconds))
            say(self.label, f"{phase}: " + ", ".join(filter(None, (f"{100 * fraction:.0f} %", left, text))))

    def cancel(self, graceSeconds=10, text=None):
        """Stop the work: an export at once, the engine within ``graceSeconds``; meanwhile the text is shown."""
        if self._export is not None:
            self._export.cancel()
            self.finish(_("Stopped before the engine was started."))
            return
        self.isStopping = True
        say(self.label, text or _("Stopping..."))
        self.logic.engine.stop(graceSeconds)

    def finish(self, text=None, wrong=False):
        """End the work: its temporary folder goes, the text (if any) says how it ended, and other work can begin."""
        wasRunning, self.isRunning, self.isStopping = self.isRunning, False, False
        self._discard()
        showProgress(self.bar)
        if text is not None:
            say(self.label, text, wrong)
        if wasRunning:
            try:
                self.ended()
            finally:
                self.logic.release()

    def abandon(self):
        """The panel goes away: nobody is told any more, and nothing temporary stays."""
        if self._export is not None:
            self._export.cancel()
        self._discard()

    def _discard(self):
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder = self._export = None
