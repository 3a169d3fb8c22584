from typing import NamedTuple

from slicer.i18n import tr as _


class Failure(NamedTuple):
    """Why the engine did not finish its work.

    Attributes:
        message: what went wrong, one sentence.
        remedy: what to do next.
        exitCode: of the process; None when it never started, 0 when it is not to blame.
    """

    message: str
    remedy: str
    exitCode: int | None

    def text(self):
        """Message and remedy for a person."""
        return self.message + ("\n" + self.remedy if self.remedy else "")


def failureToStart(program):
    """The failure of a process that never ran."""
    return Failure(
        _("The engine cannot be started: {program} is missing or not allowed to run.").format(program=program),
        _("Reinstall 3D Slicer, or ask your administrator whether programs may be started from that folder."),
        None,
    )


def failureToUse(error):
    """The failure of using what the engine has made."""
    return Failure(
        _("The engine's result could not be used: {error}").format(error=error),
        _("This is a defect. Please report it with Slicer's log."),
        0,
    )


def crashedBehindLauncher(exitCode, lastLines):
    """Whether the system killed the engine, and Slicer's launcher, which started it, made an ordinary exit of that."""
    return exitCode == 1 and any("exit abnormally" in line for line in lastLines)


def failureOf(exitCode, crashed, errorEvent=None, lastLines=()):
    """The failure of a process that ended without a result.

    Args:
        exitCode: of the process; when it crashed, what the system says instead.
        crashed: whether the system ended it.
        errorEvent: the engine's own last word, or None.
        lastLines: the end of the log, for failures that the engine did not explain.
    """
    usual = {
        1: (_("The engine ran into an unexpected error."), _("This is a defect. Please report it with the log.")),
        2: (_("The engine cannot use this input."), _("See the log, correct the input and start again.")),
        3: (
            _("The memory is too small for this work."),
            _("Close other programs, choose the small network in section 3, or crop the volume."),
        ),
        4: (
            _("A Python package that the engine needs is missing or broken."),
            _("Open section 1, Set-up: install what is missing. When nothing is missing, press Check the engine."),
        ),
        5: (_("A file cannot be written."), _("Free some disk space, or choose another runs folder in section 3.")),
        130: (_("The work was stopped."), ""),
    }
    if errorEvent is not None and errorEvent.get("message"):
        remedy = usual.get(exitCode, usual[1])[1]
        return Failure(str(errorEvent["message"]), _inSlicersWords(errorEvent.get("hint"), remedy), exitCode)
    if crashed:
        return Failure(
            _("The system ended the engine (code {code}).").format(code=exitCode),
            _("Probably the memory ran out: close other programs or choose the small network, then press Resume."),
            exitCode,
        )
    unknown = (_("The engine ended with code {code}.").format(code=exitCode), usual[1][1])
    if exitCode == 0:
        unknown = (_("The engine ended without a result."), usual[1][1])
    message, remedy = usual.get(exitCode, unknown)
    return Failure("\n".join([message, *list(lastLines)[-3:]]), remedy, exitCode)


def _inSlicersWords(hint, remedy):
    """The engine's hint, unless it speaks of the command line, which people in Slicer do not see."""
    if not isinstance(hint, str) or any(word in hint for word in ("metassl ", "--", "pip install")):
        return remedy
    return hint or remedy
