"""Real MRML and real Qt widgets for every test; the scene is empty before and after each."""

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
MODULE = FOLDER.parents[1] / "MetaSSLSegment" / "MetaSSLSegment.py"
for folder in (FOLDER, MODULE.parent):
    sys.path.insert(0, str(folder))

from harness import minislicer  # noqa: E402

slicer = minislicer.bootstrap()

from harness.interaction import failOnCallbackErrors, failOnWarnings  # noqa: E402
from user import User  # noqa: E402


@pytest.fixture(autouse=True)
def scene():
    """The empty MRML scene."""
    slicer.mrmlScene.Clear(False)
    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(False)


@pytest.fixture
def user(tmp_path):
    """A person in front of the freshly opened module."""
    with failOnCallbackErrors(), failOnWarnings():
        person = User(tmp_path / "runs")
        yield person
        person.close()
