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
from metassl.cli.main import main  # noqa: E402
from metassl.data.sample import make_sample  # noqa: E402
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


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A small synthetic data set."""
    return make_sample(tmp_path_factory.mktemp("sample ü '"), labelled=2, unlabelled=3, test=1)


@pytest.fixture(scope="session")
def trained(sample, tmp_path_factory):
    """A model folder of two steps on the sample, made once by the engine in this process."""
    run = tmp_path_factory.mktemp("trained") / "run"
    options = ["--iterations", "2", "--network", "small", "--method", "supervised", "--device", "cpu"]
    assert main(["train", str(sample), "--out", str(run), *options]) == 0
    return run / "model"
