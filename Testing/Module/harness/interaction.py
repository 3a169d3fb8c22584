"""Helps tests to act like a user: let Qt work, wait, watch the GUI's responsiveness, take screenshots."""

import contextlib
import logging
import statistics
import sys
import time
import traceback
from pathlib import Path

import qt
import vtk

HARNESS_ONLY = (
    "vtkMRMLColorTableNodeFileGenericColors",
    "invalid orientation preset name: Reformat",
    "ResolveUnresolvedItems: Failed to process 1 unresolved items",
    "Failed to merge subject hierarchy nodes, re-building subject hierarchy from scratch",
)
"""Parts of warnings that are not ours: of files of colours and presets of views that the wheel lacks, and of the
hierarchies of two scenes, each with any node, that become one."""


def processEvents(milliseconds=0):
    """Let Qt handle what is pending; with a time, keep on for that long. Deferred deletions are made too."""
    end = time.monotonic() + milliseconds / 1000
    while True:
        qt.QApplication.processEvents()
        qt.QApplication.sendPostedEvents(None, qt.QEvent.DeferredDelete)
        if time.monotonic() >= end:
            return
        time.sleep(0.001)


def waitUntil(condition, seconds=10.0, message=None):
    """Let Qt work until `condition()` is true and return what it returned; fail after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= end:
            name = getattr(condition, "__name__", repr(condition))
            raise AssertionError(f"waited {seconds} s in vain for: {message or name}")
        processEvents(5)


class LatencyMonitor:
    """Measures what a user feels as a GUI that hangs: how late a timer of 10 ms comes, in ms.

    On a computer that others keep busy it comes late all the same. What the GUI's own code is to blame for is
    ``busiest``, the most CPU time (ms) that this thread spent between two of the timer's calls.

    Use it as a context manager around something that lets Qt work (such as `waitUntil`).
    """

    interval = 10

    def __enter__(self):
        self.samples, self.spent = [], []
        self._previous, self._before = time.perf_counter(), time.thread_time()
        self._timer = qt.QTimer()
        self._timer.setTimerType(qt.Qt.PreciseTimer)
        self._timer.connect("timeout()", self._sample)
        self._timer.start(self.interval)
        return self

    def __exit__(self, *exception):
        self._timer.stop()
        self._sample()  # a block that lasted until now counts

    def _sample(self):
        now, spent = time.perf_counter(), time.thread_time()
        self.samples.append(max(0.0, (now - self._previous) * 1000 - self.interval))
        self.spent.append((spent - self._before) * 1000)
        self._previous, self._before = now, spent

    def __str__(self):
        return f"median {self.median:.1f} ms, maximum {self.maximum:.1f} ms, busiest {self.busiest:.1f} ms"

    @property
    def busiest(self):
        return max(self.spent)

    @property
    def median(self):
        return statistics.median(self.samples)

    @property
    def maximum(self):
        return max(self.samples)


@contextlib.contextmanager
def failOnCallbackErrors():
    """Raise at the end when a slot or an observer raised: Qt and VTK only print such errors."""
    errors = []
    previous = sys.excepthook
    sys.excepthook = lambda kind, error, trace: errors.append("".join(traceback.format_exception(kind, error, trace)))
    try:
        yield errors
    finally:
        sys.excepthook = previous
    if errors:
        raise AssertionError("errors in callbacks:\n" + "\n".join(errors))


@contextlib.contextmanager
def failOnWarnings(*harmless):
    """Raise at the end when VTK, MRML or Python's logging gave a warning or an error: what Slicer's error log shows.

    Args:
        harmless: texts of warnings that the test provokes; those of ``HARNESS_ONLY`` are too.
    """
    window, previous, records = vtk.vtkStringOutputWindow(), vtk.vtkOutputWindow.GetInstance(), []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: records.append(record.getMessage())
    vtk.vtkOutputWindow.SetInstance(window)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        vtk.vtkOutputWindow.SetInstance(previous)
        logging.getLogger().removeHandler(handler)
    found = [text for text in (*window.GetOutput().split("\n\n"), *records) if text.strip()]
    found = [text for text in found if not any(known in text for known in (*HARNESS_ONLY, *harmless))]
    if found:
        raise AssertionError("warnings in the log:\n" + "\n".join(found))


def screenshot(widget, path, width=None):
    """Save the widget's picture; it need not be on a screen. A width resizes it first (Slicer's panel: about 500)."""
    if width:
        widget.resize(width, widget.heightForWidth(width) if widget.hasHeightForWidth() else widget.sizeHint().height())
    widget.ensurePolished()
    processEvents()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not widget.grab().save(str(path)):
        raise OSError(f"could not write {path}")
    return path
