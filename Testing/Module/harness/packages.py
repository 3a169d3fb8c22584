"""Stand-in of `slicer.packaging`: requests are recorded in `REQUESTS`, nothing is ever installed.

Tests say what is missing through `MISSING` (distribution names); everything else counts as installed when it is
installed in the test's Python. What is asked for counts as installed afterwards, unless `FAILURE` holds an exception.
"""

import importlib.metadata
from pathlib import Path

from packaging.requirements import Requirement

REQUESTS = []
MISSING = set()
FAILURE = None


def reset():
    """Forget all requests and settings (for a test's end)."""
    global FAILURE
    REQUESTS.clear()
    MISSING.clear()
    FAILURE = None


def load_requirements(path):
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def _requirements(given):
    """One requirement, several in one text, or a list of them, as Slicer takes them."""
    if isinstance(given, list):
        return [item if isinstance(item, Requirement) else Requirement(item) for item in given]
    if isinstance(given, Requirement):
        return [given]
    if not isinstance(given, str):
        raise TypeError(f"Expected str, Requirement or list, got {type(given).__name__}")
    return [Requirement(given)] if ";" in given else [Requirement(item) for item in given.split()]


def _isInstalled(requirement):
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
    _pretendToInstall(missing)
    return [] if skip_packages else None


def pip_install(requirements, **options):
    wanted = requirements if isinstance(requirements, list) else requirements.split()
    REQUESTS.append(("pip_install", [str(item) for item in wanted], options))
    _pretendToInstall(wanted)


def pip_uninstall(requirements, **options):
    wanted = requirements if isinstance(requirements, list) else requirements.split()
    REQUESTS.append(("pip_uninstall", [str(item) for item in wanted], options))


def isPipInstallInProgress():
    return False


def _pretendToInstall(requirements):
    if FAILURE is not None:
        raise FAILURE
    for requirement in requirements:
        if not str(requirement).startswith("-"):
            MISSING.discard(Requirement(str(requirement)).name)
