import logging
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import slicer
from metassl import REGIONS
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from .Engine.Runs import Runs, eventsOf
from .Scene.CaseList import CaseList
from .Scene.RegionDisplay import regionColours
from .Scene.SampleSource import makeAndLoad


class MetaSSLSegmentTest(ScriptedLoadableModuleTest):
    """The main job through the panel's own code, inside the application, without network; minutes on a CPU."""

    STEPS = 20

    def setUp(self):
        slicer.mrmlScene.Clear()
        self.warnings = []
        self.handler = logging.Handler(logging.WARNING)
        self.handler.emit = self.hear
        logging.getLogger().addHandler(self.handler)
        self.folder = Path(tempfile.mkdtemp(prefix="MetaSSL test ä "))
        self.widget = slicer.modules.metasslsegment.widgetRepresentation().self()
        self.ui = self.widget.ui
        self.usualRuns = self.widget.logic.runs
        self.widget.logic.runs = Runs(self.folder)
        self.widget.initializeParameterNode()

    def tearDown(self):
        logging.getLogger().removeHandler(self.handler)
        if self.widget.logic.engine.isRunning:  # the test failed: stop as a user would, so that the panel is free again
            self.widget.logic.engine.stop(graceSeconds=20)
            self.waitForEngine(30)
        self.widget.logic.runs = self.usualRuns
        slicer.mrmlScene.Clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def runTest(self):
        self.setUp()
        try:
            self.test_mainJob()
        finally:
            self.tearDown()

    def test_mainJob(self):
        """Sample, training, segmentation, display, and a second training that is stopped."""
        if self.widget.logic.requirements.missing:
            self.skipTest("not installed: " + ", ".join(self.widget.logic.requirements.missing))
        self.delayDisplay("Making the sample")
        volume = makeAndLoad()[0]
        self.ui.sampleButton.click()
        self.waitForEngine(120)
        cases = CaseList(self.widget.logic.getParameterNode().parameterNode)
        self.assertEqual(cases.counts()["labelled"], 4, self.ui.dataStatus.text)
        self.assertTrue(all(row.status for row in cases.rows if row.role != "ignored"), self.ui.dataStatus.text)

        self.delayDisplay("Training")
        parameters = self.widget.logic.getParameterNode()
        parameters.budgetKind, parameters.iterations, parameters.network = "iterations", self.STEPS, "small"
        self.ui.startButton.click()
        self.waitForEngine(600)
        model = self.widget.trainingSection.trainedModel
        self.assertIsNotNone(model, self.ui.trainingStatus.text + self.ui.logText.plainText)
        losses = [event for event in eventsOf(model.parent) if event["event"] == "metrics"]
        self.assertGreater(len(losses), 0)
        self.assertTrue(self.widget.logic.curves.hasPoints("losses"))
        self.checkAxes([event["iteration"] for event in losses])

        self.delayDisplay("Segmenting")
        parameters.inputVolume = volume
        self.ui.applyButton.click()
        self.waitForEngine(300)
        result = self.widget.displaySection.result
        self.assertIsNotNone(result, self.ui.segmentStatus.text)
        self.assertEqual(set(result.nodes), {"segmentation", "regions", "confidence"})
        regions = slicer.util.arrayFromVolume(result.nodes["regions"])
        confidence = slicer.util.arrayFromVolume(result.nodes["confidence"])
        self.assertEqual(regions.shape, slicer.util.arrayFromVolume(volume).shape)
        self.assertTrue(set(np.unique(regions)) <= {0, *(region.value for region in REGIONS)})
        self.assertTrue(confidence.min() >= 0 and 0 < confidence.max() <= 1)
        display = result.nodes["regions"].GetDisplayNode()
        self.assertEqual(display.GetColorNodeID(), regionColours().GetID())
        for mode in ("regions", "confidence", "image", "segmentation"):
            self.widget.displaySection.show(mode)

        self.delayDisplay("Stopping a second training")
        parameters.iterations = 100000
        self.ui.startButton.click()
        self.waitUntil(lambda: self.widget.logic.curves.hasPoints("losses"), 300)
        self.ui.cancelButton.click()
        self.waitForEngine(150)
        self.assertEqual(len(self.widget.logic.runs.unfinished()), 1, self.ui.trainingStatus.text)
        self.assertEqual(self.warnings, [], "in the log")
        self.delayDisplay("Test passed")

    def hear(self, record):
        """Remember warnings of our own code; other modules may have theirs."""
        if "MetaSSL" in record.pathname + record.getMessage():
            self.warnings.append(record.getMessage())

    def checkAxes(self, steps):
        """The plot view shows all points of the chart, wherever the first ones were."""
        if slicer.app.layoutManager() is None:  # no main window
            return
        low, high = self.widget.logic.curves.chartNode("losses").GetXAxisRange()
        self.assertLessEqual(low, min(steps))
        self.assertGreaterEqual(high, max(steps))

    def waitForEngine(self, seconds):
        """Let the application work until the panel's work has ended."""
        self.waitUntil(lambda: not self.widget.logic.busy(), seconds)

    def waitUntil(self, condition, seconds):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, f"took more than {seconds} s")
            slicer.app.processEvents()
            time.sleep(0.01)
