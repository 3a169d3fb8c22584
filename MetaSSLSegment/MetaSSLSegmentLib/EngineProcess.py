import logging
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import qt
import slicer

from .EventDecoder import EventDecoder
from .Failure import failureOf, failureToStart


def _nothing(*arguments):
    pass


@dataclass
class EngineListener:
    """What to call when the engine has something to say; exactly one of done, failed and cancelled comes last.

    Attributes:
        started: (), the process runs.
        progress: (phase, fraction 0-1, seconds left or None, text).
        event: (event), every event but progress, as a dictionary.
        log: (line), for people.
        done: (event), the last event of work that was finished.
        failed: (Failure).
        cancelled: (event or None), the last event of work that was stopped; None when it had to be killed.
    """

    started: Callable[[], Any] = _nothing
    progress: Callable[[str, float, float | None, str], Any] = _nothing
    event: Callable[[dict], Any] = _nothing
    log: Callable[[str], Any] = _nothing
    done: Callable[[dict], Any] = _nothing
    failed: Callable[[Any], Any] = _nothing
    cancelled: Callable[[dict | None], Any] = _nothing


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
        """Functions to call without arguments whenever a command starts or has ended."""
        self._process = None
        self._listener = EngineListener()
        self._killTimer = qt.QTimer()
        self._killTimer.setSingleShot(True)
        self._killTimer.connect("timeout()", self.kill)

    @property
    def isRunning(self):
        """Whether a command runs."""
        return self._process is not None

    @property
    def isStopping(self):
        """Whether the running command was asked to stop."""
        return self.isRunning and self._stopping

    def start(self, arguments, listener):
        """Start ``metassl ARGUMENTS --events``.

        Raises:
            RuntimeError: a command runs already.
        """
        if self.isRunning:
            raise RuntimeError("The engine is busy.")
        self._listener = listener
        self._decoders = {"out": EventDecoder(), "err": EventDecoder()}
        self._lastEvent = None
        self._lastLines = deque(maxlen=20)
        self._stopping = False
        self._process = process = qt.QProcess()
        process.setProcessEnvironment(self.environment())
        process.setWorkingDirectory(self.engineFolder)  # "-m" finds the package there
        process.connect("started()", self._onStarted)
        process.connect("readyReadStandardOutput()", self._onOutput)
        process.connect("readyReadStandardError()", self._onErrorOutput)
        process.connect("finished(int,QProcess::ExitStatus)", self._onFinished)
        process.connect("errorOccurred(QProcess::ProcessError)", self._onError)
        arguments = [str(argument) for argument in arguments]
        process.start(self.program, ["-u", "-m", "metassl", arguments[0], "--events", *arguments[1:]])
        self._tellState()

    def stop(self, graceSeconds=120):
        """Ask the command to finish its step, save and exit; after the grace period it is killed."""
        if not self.isRunning or self._stopping:
            return
        self._stopping = True
        self._process.write(b"stop\n")
        self._killTimer.start(int(1000 * graceSeconds))
        self._tellState()

    def kill(self):
        """End the command at once; what it saved last stays."""
        if self.isRunning:
            self._stopping = True
            self._process.kill()

    def shutDown(self, seconds=5):
        """Stop the command when Slicer closes or the module is reloaded: wait a little, then kill. Nobody is called."""
        if not self.isRunning:
            return
        process = self._process
        self._listener = EngineListener()
        self.stateChanged = []
        self.stop()
        if not process.waitForFinished(int(1000 * seconds)):
            process.kill()
            process.waitForFinished(1000)
        self._killTimer.stop()
        self._process = None

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

    def _onStarted(self):
        self._call(self._listener.started)

    def _onOutput(self):
        if self.isRunning:
            self._read("out", self._process.readAllStandardOutput().data())

    def _onErrorOutput(self):
        if self.isRunning:
            self._read("err", self._process.readAllStandardError().data())

    def _read(self, stream, data):
        self._tell(self._decoders[stream].feed(data))

    def _tell(self, items):
        for item in items:
            if isinstance(item, str):
                self._lastLines.append(item)
                self._call(self._listener.log, item)
            elif item["event"] == "progress":
                self._call(
                    self._listener.progress,
                    str(item.get("phase", "")),
                    float(item.get("fraction") or 0),
                    item.get("eta_seconds"),
                    str(item.get("text", "")),
                )
            else:
                self._lastEvent = item
                self._call(self._listener.event, item)

    def _onError(self, error):
        if error == qt.QProcess.FailedToStart:
            self._end(self._listener.failed, failureToStart(self.program))

    def _onFinished(self, exitCode, exitStatus):
        self._onOutput()
        self._onErrorOutput()
        for decoder in self._decoders.values():
            self._tell(decoder.finish())
        crashed = exitStatus == qt.QProcess.CrashExit
        last = self._lastEvent if self._lastEvent and self._lastEvent["event"] in ("done", "error") else None
        if exitCode == 0 and not crashed and last is not None and last["event"] == "done":
            self._end(self._listener.done, last)
        elif self._stopping and (crashed or exitCode == 130):
            self._end(self._listener.cancelled, None if crashed else last)
        elif exitCode == 130 and not crashed:
            self._end(self._listener.cancelled, last)
        else:
            error = last if last is not None and last["event"] == "error" else None
            self._end(self._listener.failed, failureOf(exitCode, crashed, error, self._lastLines))

    def _end(self, callback, result):
        """Forget the process before anybody is told, so that the next command may start from the callback."""
        self._killTimer.stop()
        process, self._process = self._process, None
        process.deleteLater()
        self._call(callback, result)
        self._tellState()

    def _tellState(self):
        for callback in list(self.stateChanged):
            self._call(callback)

    @staticmethod
    def _call(callback, *arguments):
        """A callback's error must not end the process's other callbacks."""
        try:
            callback(*arguments)
        except Exception:
            logging.exception("MetaSSL: an event of the engine could not be handled")
