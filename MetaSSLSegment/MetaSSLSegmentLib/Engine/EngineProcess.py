import logging
import math
import os
import signal
import sys
from collections import deque

import qt
import slicer
from slicer.i18n import tr as _

from .EngineListener import EngineListener
from .EventDecoder import EventDecoder
from .Failure import crashedBehindLauncher, failureOf, failureToStart, failureToUse

STARTER = (
    "import json, os, runpy; "
    "hasattr(os, 'nice') and os.nice(5); "
    "print(json.dumps(dict(event='process', pid=os.getpid())), flush=True); "
    "runpy.run_module('metassl', run_name='__main__', alter_sys=True)"
)
"""As ``-m metassl``, but gives way to Slicer's own work, and says its process number first: Slicer's Python is a
launcher, and the engine its child."""
MOST_LINES, MOST_CHARACTERS = 200, 2000
"""What is logged of the output that arrives at once: nobody can read more, and it would block the GUI."""
SECONDS_TO_EXIT = 30
"""How long the engine may take to exit after its last event; after that it counts as hung."""
SECONDS_FOR_LAUNCHER = 2
"""How long a launcher may take to notice that its engine was killed."""


class EngineProcess:
    """Runs one command of the engine at a time in a child process, without ever blocking the GUI.

    The child's standard input stays open while this process lives: when Slicer dies, the child sees its end, saves and
    exits.

    Args:
        engineFolder: the folder that holds the package metassl.
        program: the Python interpreter; Slicer's own when None.
    """

    def __init__(self, engineFolder, program=None):
        self.engineFolder = str(engineFolder)
        self.program = str(program or sys.executable)
        self.stateChanged = []
        """Functions to call without arguments whenever a command starts, is asked to stop or has ended."""
        self._process = None
        self._ended = ()
        self._forget()

    @property
    def isRunning(self):
        """Whether a command runs."""
        return self._process is not None

    @property
    def isStopping(self):
        """Whether the running command was asked to stop."""
        return self._stopping

    def start(self, arguments, listener):
        """Start ``metassl ARGUMENTS --events``.

        Raises:
            RuntimeError: a command runs already.
        """
        if self.isRunning:
            raise RuntimeError("The engine is busy.")
        self._listener = listener
        self._decoders = {"out": EventDecoder(), "err": EventDecoder()}
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self.kill)
        self._process = process = qt.QProcess()
        process.setProcessEnvironment(self.environment())
        process.setWorkingDirectory(self.engineFolder)  # Python finds the package there
        process.connect("started()", self._onStarted)
        process.connect("readyReadStandardOutput()", self._onOutput)
        process.connect("readyReadStandardError()", self._onErrorOutput)
        process.connect("finished(int,QProcess::ExitStatus)", self._onFinished)
        process.connect("errorOccurred(QProcess::ProcessError)", self._onError)
        command, *options = [str(argument) for argument in arguments]
        process.start(self.program, ["-u", "-c", STARTER, command, "--events", *options])
        self._tellState()

    def stop(self, graceSeconds=120):
        """Ask the command to finish its step, save and exit; after the grace period it is killed."""
        if not self.isRunning or self._stopping:
            return
        self._stopping = True
        self._process.write(b"stop\n")
        self._timer.start(int(1000 * graceSeconds))
        self._tellState()

    def abandon(self, graceSeconds=5):
        """Stop the command, whose listener is not called any more: nobody wants its result."""
        if self.isRunning:
            self._listener = EngineListener()
            self.stop(graceSeconds)

    def kill(self):
        """End the command at once; what it saved last stays."""
        if not self.isRunning:
            return
        self._stopping = True
        if self._killed or not _killedByNumber(self._pid):
            self._process.kill()
        else:
            self._timer.start(1000 * SECONDS_FOR_LAUNCHER)
        self._killed = True
        self._tellState()

    def shutDown(self, seconds=5):
        """Stop the command when Slicer closes or the module is reloaded: wait a little, then kill. Nobody is called."""
        if not self.isRunning:
            return
        process, functions = self._process, self.stateChanged
        self._listener, self.stateChanged = EngineListener(), []
        self.stop()
        if not process.waitForFinished(int(1000 * seconds)):
            self.kill()
            if not process.waitForFinished(1000 * SECONDS_FOR_LAUNCHER):
                process.kill()
                process.waitForFinished(1000)
        if self.isRunning:  # not even the system could end it
            process.blockSignals(True)
            self._release()
        self.stateChanged = functions

    @staticmethod
    def environment():
        """The environment in which Slicer was started, without what would lead Python to other packages."""
        environment = qt.QProcessEnvironment()
        for name, value in slicer.util.startupEnvironment().items():
            if name not in ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH"):
                environment.insert(name, value)
        environment.insert("PYTHONUTF8", "1")
        environment.insert("PYTHONNOUSERSITE", "1")
        return environment

    # What the process says

    def _onStarted(self):
        self._call(self._listener.started)

    def _onOutput(self):
        if self.isRunning:
            self._tell(self._decoders["out"].feed(self._process.readAllStandardOutput().data()))

    def _onErrorOutput(self):
        if self.isRunning:
            self._tell(self._decoders["err"].feed(self._process.readAllStandardError().data()))

    def _tell(self, items):
        process, lines = self._process, []
        for item in items:
            if self._process is not process:  # a callback has shut it down meanwhile
                return
            if isinstance(item, str):
                lines.append(item)
                continue
            self._tellLines(lines)
            lines = []
            if item["event"] == "process":
                self._pid = self._pid or item.get("pid")
            elif item["event"] == "progress":
                self._call(
                    self._listener.progress,
                    str(item.get("phase", "")),
                    min(1.0, max(0.0, _number(item.get("fraction")) or 0.0)),
                    _number(item.get("eta_seconds")),
                    str(item.get("text", "")),
                )
            else:
                if item["event"] in ("done", "error"):
                    self._lastWord = item
                    if not self._stopping:
                        self._timer.start(1000 * SECONDS_TO_EXIT)
                self._call(self._listener.event, item)
        self._tellLines(lines)

    def _tellLines(self, lines):
        """Log the lines that came at once in one call; only the last ones when there are too many."""
        if lines:
            shown = [line[:MOST_CHARACTERS] for line in lines[-MOST_LINES:]]
            self._lastLines.extend(shown)
            if len(lines) > MOST_LINES:
                shown.insert(0, _("... {count} more lines ...").format(count=len(lines) - MOST_LINES))
            self._call(self._listener.log, "\n".join(shown))

    # How it ends

    def _onError(self, error):
        if error == qt.QProcess.FailedToStart:
            self._end(self._listener.failed, failureToStart(self.program))

    def _onFinished(self, exitCode, exitStatus):
        self._onOutput()
        self._onErrorOutput()
        for decoder in self._decoders.values():
            self._tell(decoder.finish())
        crashed = exitStatus == qt.QProcess.CrashExit or crashedBehindLauncher(exitCode, self._lastLines)
        word = self._lastWord
        done = word is not None and word["event"] == "done"
        if done and (exitCode == 0 or crashed or self._killed):  # its last word comes when everything is saved
            self._end(self._listener.cancelled if word.get("stopped") else self._listener.done, word)
        elif word is None and (self._killed or (crashed and self._stopping)):
            self._end(self._listener.cancelled, None)
        elif exitCode == 130 and not crashed:
            self._end(self._listener.cancelled, word)
        else:
            error = None if done else word
            self._end(self._listener.failed, failureOf(exitCode, crashed, error, self._lastLines))

    def _end(self, callback, result):
        """Forget the process before anybody is told, so that the next command may start from the callback."""
        if not self.isRunning:  # a callback has shut it down meanwhile
            return
        failed = self._listener.failed
        self._release()
        error = self._call(callback, result)
        if error is not None and callback is not failed:
            self._call(failed, failureToUse(error))
        self._tellState()

    def _release(self):
        self._timer.stop()
        # without a Python reference, PythonQt would delete them at once, in the midst of their own signal
        self._ended = self._process, self._timer
        for ended in self._ended:
            ended.deleteLater()
        self._forget()

    def _forget(self):
        self._process = self._timer = self._pid = self._lastWord = None
        self._listener = EngineListener()
        self._decoders = {}
        self._lastLines = deque(maxlen=20)
        self._stopping = self._killed = False

    def _tellState(self):
        for callback in list(self.stateChanged):
            self._call(callback)

    @staticmethod
    def _call(callback, *arguments):
        """A callback's error must not end the process's other callbacks; it is returned."""
        try:
            callback(*arguments)
        except Exception as error:
            logging.exception("MetaSSL: an event of the engine could not be handled")
            return error


def _number(value):
    """A finite float, or None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _killedByNumber(pid):
    """Kill the process with this number; whether that was possible."""
    if not isinstance(pid, int) or pid < 2:  # 0 and negative numbers mean many processes
        return False
    try:
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows has SIGTERM only, which ends at once there
    except (OSError, OverflowError):
        return False
    return True
