import logging
import shutil
import tempfile
from pathlib import Path

import slicer
from metassl import duration
from slicer.i18n import tr as _

from ..Engine.EngineListener import EngineListener
from ..Scene.CaseExporter import ExportError
from ..Scene.DatasetExport import datasetPieces
from ..Scene.Pieces import Pieces
from ..Scene.ResultLoader import LoadError
from ..Scene.Words import phaseName
from .CloseGuard import CloseGuard
from .Section import notify, say


class Task:
    """The work of a section, one piece after the other: the only place where work begins and ends.

    From ``begin`` to ``finish`` the engine is claimed, so that every other button says why it has to wait. What fails
    or is stopped on the way finishes here by itself, with a text for the user. Work belongs to the scene in which it
    began: when that is closed, ``sceneCloses`` ends it, except for commands that ``run`` was told to let go on.

    Args:
        logic: the module's logic.
        line: the WorkLine; None for work that a script asked for.
        label: shows at last how the work ended; may be None.
        ended: called without arguments whenever a piece of work has ended, before other work can begin.
    """

    def __init__(self, logic, line=None, label=None, ended=lambda: None):
        self.logic = logic
        self.line = line
        self.label = label
        self.ended = ended
        self.isRunning = False
        self.isStopping = False
        self.folder = None
        """The temporary folder, while there is one."""
        self.problem = ""
        """Why the last piece of work did not reach its end; "" when it did."""
        self.warnings = []
        """Sentences with which the engine has warned in this piece of work."""
        self.stopText = _("Cancel")
        self.onStop = self.cancel
        """Text of the button that stops the work, and what it does."""
        self._pieces = None
        self._survives = False
        self._guard = CloseGuard()
        if line is not None:
            line.onStop(lambda: self.isRunning and self.onStop())

    def begin(self, reason, temporary=False, survives=False):
        """Claim the engine.

        Args:
            reason: what is being done, a sentence; shown, and why other work has to wait.
            temporary: whether the work needs ``folder``, which is removed when it ends.
            survives: whether it has nothing to do with the scene, and goes on when that is closed.

        Raises:
            RuntimeError: other work is being done.
        """
        if self.logic.busy():
            raise RuntimeError(self.logic.busy())
        if temporary:
            self.folder = Path(tempfile.mkdtemp(prefix="MetaSSL-", dir=slicer.app.temporaryPath))
        self.isRunning, self.isStopping, self._survives, self.problem = True, False, survives, ""
        self.warnings = []
        self._say(reason)
        if self.line is not None:
            self.line.begin(reason, self.stopText)
        self._guard.watch(reason)
        self.logic.claim(reason, self)

    def export(self, cases, folder, done):
        """Write the cases as dataset.json into a folder, then call ``done`` with its path."""

        def progress(done, total, name):
            self.progress("exporting", done / total, None, name)

        self.work(datasetPieces(cases, self.logic.exporter, folder, progress), done)

    def work(self, pieces, done):
        """Do what a generator does, piece by piece, then call ``done`` with what it returns.

        An ExportError or LoadError of the pieces finishes the work; any other one too, and is logged.
        """

        def finished(returned):
            self._pieces = None
            done(returned)

        def failed(error):
            if not isinstance(error, ExportError | LoadError):
                logging.error("MetaSSL: work failed", exc_info=error)
            self.finish(str(error), wrong=True)

        self._pieces = Pieces(pieces, finished, failed)
        self._pieces.start()

    def run(self, arguments, done, survives=False, **listening):
        """Start a command of the engine; ``done`` is called with its last event, and finishes the work or goes on.

        Args:
            arguments: of the command.
            done: called with the command's last event.
            survives: whether the command, and what follows, goes on when the scene is closed.
            listening: attributes of the EngineListener that are not as usual.
        """
        usual = {
            "progress": self.progress,
            "log": self.logic.log,
            "failed": lambda failure: self.finish("\n".join([failure.text(), *self.warnings]), wrong=True),
            "cancelled": lambda event: self.finish(_("Stopped.")),
        }
        self._survives = self._survives or survives
        event = listening.pop("event", lambda event: None)

        def listen(told):
            if isinstance(told, dict) and told.get("event") == "warning" and told.get("message"):
                self.warnings.append(str(told["message"]))
            event(told)

        usual["event"] = listen
        self.logic.engine.start(arguments, EngineListener(done=done, **(usual | listening)))

    def progress(self, phase, fraction, seconds=None, text=""):
        """Show how far the work is: "phase: 42 %, 3:05 min left, text"."""
        if self.line is not None and not self.isStopping:
            left = "" if seconds is None else _("{time} left").format(time=duration(seconds))
            if text.startswith("step "):  # the engine's own word
                text = _("step {number}").format(number=text.removeprefix("step "))
            parts = ", ".join(filter(None, (f"{100 * fraction:.0f} %", left, text)))
            self.line.progress(f"{phaseName(phase)}: {parts}", fraction)

    def cancel(self, graceSeconds=10, text=None, kill=""):
        """Stop the work: an export at once, the engine within ``graceSeconds``.

        Args:
            graceSeconds: after this time the engine is killed.
            text: shown until the work has ended.
            kill: text of the button that is offered meanwhile to end it at once; "" for none.
        """
        if self._pieces is not None:
            self.finish(_("Stopped."))
            return
        self.isStopping = True
        if self.line is not None:
            self.line.stopping(text or _("Stopping..."), kill)
        self.logic.engine.stop(graceSeconds)

    def sceneCloses(self, text=None):
        """The scene in which the work began is about to close, or for another reason (a text for people) it is not the
        same any more: end what belongs to it, whose results nobody wants."""
        if not self.isRunning or self._survives:
            return
        self.finish(text or _("Stopped, because the scene was closed."), wrong=True)
        self.logic.engine.abandon()

    def finish(self, text=None, wrong=False):
        """End the work: its temporary folder goes, the text (if any) says how it ended, and other work can begin."""
        wasRunning, self.isRunning, self.isStopping = self.isRunning, False, False
        self._discard()
        self._guard.rest()
        if text is not None:
            self._say(text, wrong)
        self.problem = text if text and wrong else ""
        if not wasRunning:
            return
        if self.line is not None:
            self.line.end(text or "", wrong)
        try:
            self.ended()
        finally:
            self.logic.release()
        if text:
            notify(text, self.logic.isInFront)

    def abandon(self):
        """The panel goes away: nobody is told any more, and nothing temporary stays."""
        self._guard.rest()
        self._discard()

    def _say(self, text, wrong=False):
        if self.label is not None:
            say(self.label, text, wrong)

    def _discard(self):
        if self._pieces is not None:
            self._pieces.cancel()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder = self._pieces = None
