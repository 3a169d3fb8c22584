"""What tests of the way from a result back to a label have in common."""

import json

import numpy as np
import pytest
import slicer
from harness.interaction import processEvents
from harness.main_window import MainWindow, SegmentEditorRepresentation
from MetaSSLSegmentLib.Scene.ResultLoader import ResultLoader
from test_exchange import CLASSES, engineResult

AGREEMENT = {"mean": 0.81, "classes": {"nucleus": 0.9, "tract": None}, "hold_out_cases": 5, "agree_less": 0}
PLACES = [
    {"position": [1.0, -2.0, 3.0], "classes": ["nucleus", "background"], "volume_ml": 0.25, "certainty": 0.6},
    {"position": [4.0, 5.0, -6.0], "classes": ["background", "tract"], "volume_ml": 0.125, "certainty": 0.5},
]


def reviewed(volume, folder, name="volume", **numbers):
    """A result of a volume in the scene, as the engine writes it: labels 3 and 7, agreement and places."""
    labels = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    labels[1], labels[2] = 3, 7
    engineResult(folder, volume, labels)
    told = {"volume_ml": {}, "regions": {}, "agreement": AGREEMENT, "places": PLACES, **numbers}
    (folder / f"{name}.json").write_text(json.dumps(told))
    return ResultLoader().load(volume, folder, name, [{**c, "terminology": None} for c in CLASSES])


def show(user, result):
    """Let the panel show a result as it does after Apply."""
    user.widget.onSegmented(result)
    processEvents()
    return result


@pytest.fixture
def window(user, monkeypatch):
    """Slicer's main window with our module in front, and the Segment Editor beside it."""
    editor = SegmentEditorRepresentation()
    representations = {"MetaSSLSegment": user.representation, "SegmentEditor": editor.install()}
    window = MainWindow(representations, "MetaSSLSegment")
    monkeypatch.setattr(slicer.app, "mainWindow", window)
    window.show()
    yield window
    window.moduleSelector().selectModule("MetaSSLSegment")
    window.delete()
    del slicer.modules.segmenteditor
