import logging
import threading
import time

import qt

SECONDS_FOR_THREAD = 0.005
"""How long each look at a thread waits: inside Slicer, other threads get on only while the main thread waits."""


class Pieces:
    """Does work piece by piece, one piece in each turn of the event loop, so that the application stays alive.

    Args:
        work: a generator that does a piece up to each of its yields.
        done: called with what the generator returns when all is done.
        failed: called with the exception that ended the work, or with one of ``done``.
    """

    def __init__(self, work, done, failed):
        self.work = work
        self.done = done
        self.failed = failed
        self._isCancelled = False

    def start(self):
        """Begin with the next turn of the event loop."""
        qt.QTimer.singleShot(0, self._goOn)

    def cancel(self):
        """Do no more; nobody is called."""
        self._isCancelled = True
        self.work.close()

    def _goOn(self):
        if self._isCancelled:
            return
        try:
            next(self.work)
        except StopIteration as end:
            self._call(self.done, end.value)
        except Exception as error:
            self._fail(error)
        else:
            self.start()

    def _call(self, done, value):
        try:
            done(value)
        except Exception as error:  # else the work would never end
            self._fail(error)

    def _fail(self, error):
        """Nobody else would hear of it: this is called by a timer."""
        logging.debug("MetaSSL: work ended early", exc_info=True)
        self.failed(error)


def atOnce(work):
    """Do all pieces now."""
    for _piece in work:
        pass


def inThread(function):
    """Pieces that wait for a function in another thread; for long calls that need neither Qt nor the scene.

    Raises:
        Exception: what the function raised.
    """
    errors = []

    def run():
        try:
            function()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(SECONDS_FOR_THREAD)
            yield
    finally:
        while thread.is_alive():  # cancelled: what it writes must not come after the others have cleaned up
            time.sleep(SECONDS_FOR_THREAD)
    if errors:
        raise errors[0]
