"""Stand-in of `slicer.packaging`: requests are recorded in `REQUESTS`, nothing is ever installed.

Tests say what is missing through `MISSING` (distribution names); everything else counts as installed when it is
installed in the test's Python. What is asked for counts as installed afterwards, unless `FAILURE` holds an exception
(Slicer's own is a CalledProcessError) or `INEFFECTIVE` is set: pip may end well and change nothing that matters.
"""

import contextlib
import importlib.metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

REQUESTS = []
MISSING = set()
FAILURE = None
INEFFECTIVE = False


def reset():
    """Forget all requests and settings (for a test's end)."""
    global FAILURE, INEFFECTIVE
    REQUESTS.clear()
    MISSING.clear()
    FAILURE, INEFFECTIVE = None, False


def load_requirements(path):
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def _requirements(given):
    """One requirement, several in one text, or a list of them, as Slicer takes them."""
    if isinstance(given, list):
        return [Requirement(item) if isinstance(item, str) else item for item in given]
    if isinstance(given, Requirement):
        return [given]
    if not isinstance(given, str):
        raise TypeError(f"Expected str, Requirement, or list, got {type(given).__name__}")
    try:
        return [Requirement(given)]
    except InvalidRequirement:
        return [Requirement(item) for item in given.split()]


def _isInstalled(requirement):
    if requirement.extras:
        raise NotImplementedError("extras are not imitated")
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    if requirement.name in MISSING:
        return False
    try:
        return importlib.metadata.version(requirement.name) in requirement.specifier
    except importlib.metadata.PackageNotFoundError:
        return False


def pip_check(req):
    return all(_isInstalled(requirement) for requirement in _requirements(req))


def pip_ensure(
    requirements,
    constraints=None,
    skip_packages=None,
    prompt_install=True,
    prompt_restart=True,
    requester=None,
    skip_in_testing=True,
    show_progress=True,
):
    """Record the request. Slicer itself does nothing in testing mode unless `skip_in_testing=False`; neither do we."""
    import slicer

    missing = [str(item) for item in _requirements(requirements) if not _isInstalled(item)]
    options = {"constraints": constraints, "skip_packages": skip_packages, "requester": requester}
    REQUESTS.append(("pip_ensure", missing, {**options, "skip_in_testing": skip_in_testing}))
    if not missing or (skip_in_testing and slicer.app.testingEnabled()):
        return None
    if prompt_install and not slicer.util.confirmOkCancelDisplay(f"Install {missing}?", f"{requester} - Install"):
        raise RuntimeError("User declined package installation")
    _pretendToInstall(missing)
    return [] if skip_packages else None


def pip_install(
    requirements,
    constraints=None,
    no_deps_requirements=None,
    skip_packages=None,
    blocking=True,
    show_progress=True,
    requester=None,
    logCallback=None,
    completedCallback=None,
):
    if not blocking:
        raise NotImplementedError("installing beside other work is not imitated")
    wanted = _arguments(requirements)
    REQUESTS.append(("pip_install", wanted, {"constraints": constraints}))
    _pretendToInstall(wanted)
    return [] if skip_packages else None


def pip_uninstall(requirements, blocking=True, logCallback=None, completedCallback=None):
    REQUESTS.append(("pip_uninstall", _arguments(requirements), {}))


def _arguments(requirements):
    """pip's arguments; as in Slicer a text or a list of texts, and nothing else."""
    if type(requirements) is str:
        return requirements.split()
    if type(requirements) is not list or not all(isinstance(item, str) for item in requirements):
        raise ValueError("pip_install requirement input must be string or list")
    return requirements


def isPipInstallInProgress():
    return False


def _pretendToInstall(arguments):
    if FAILURE is not None:
        raise FAILURE
    for argument in () if INEFFECTIVE else arguments:
        with contextlib.suppress(InvalidRequirement):  # an option, or its value
            MISSING.discard(Requirement(argument).name)
