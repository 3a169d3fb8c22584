"""The second half of the walkthrough: a result is reviewed and corrected, becomes a label, and the model improves."""

import numpy as np
import qt
import SimpleITK as sitk
import slicer
from harness.interaction import processEvents, screenshot
from harness.main_window import MainWindow, SegmentEditorRepresentation
from harness.scene_views import savePng, sliceView
from MetaSSLSegmentLib.Scene.CaseNodes import segmentsOf
from MetaSSLSegmentLib.Scene.Grid import onGridOf


def review(user, result, say, picture, out):
    """Go through the places of a result, correct it, use it as a label, improve the model in a third of the time.

    Args:
        user: in front of the panel, with a model.
        result: of a case of the table that has a label file, which plays the person who corrects.
        say: called with what the panel says.
        picture: called with (user, section, folder).
        out: folder for the pictures: places, tool bar, what was drawn; the table of cases and the doubts at last.
    """
    editor = SegmentEditorRepresentation().install()
    window = MainWindow({"MetaSSLSegment": user.representation, "SegmentEditor": editor}, "MetaSSLSegment")
    slicer.app.mainWindow = window
    window.resize(900, 100)
    window.show()
    row = next(row for row in user.cases.rows if row.images[0] == result.volumeNode.GetStorageNode().GetFileName())
    truth = row.label
    tests = [
        test for test in user.cases.rows if test.role in ("ignored", "hold-out") and test is not row and test.label
    ]
    annotateNext(user, say)
    before = measured(user, tests[0], say)
    user.widget.displaySection.showResult(result)
    say(user.ui.agreementText.text)
    views = []
    for _place in range(3):
        user.click("nextPlaceButton")
        processEvents(50)
        views.append(sliceView("Red", (460, 460), fit=False))
    savePng(np.hstack(views), out / "places.png")
    user.click("correctButton")
    (bar,) = window.findChildren(qt.QToolBar)
    bar.findChildren(qt.QPushButton)[1].click()
    processEvents(50)
    screenshot(bar, out / "correction.png")
    draw(editor.self().editor, truth)
    savePng(sliceView("Red", (460, 460), fit=False), out / "corrected.png")
    bar.findChildren(qt.QPushButton)[0].click()
    processEvents(50)
    user.click("useAsLabelButton")
    user.waitUntilIdle(60)
    say(user.ui.reviewStatus.text)
    user.click("improveButton")
    user.waitUntilIdle(3600)
    say(user.ui.trainingStatus.text)
    user.ui.dataSection.collapsed = False
    annotateNext(user, say)
    after = measured(user, tests[0], say)
    say(f"agreement and Dice of a test case: before {before}, after {after}")
    user.ui.caseTable.horizontalHeader().sectionClicked.emit(6)
    picture(user, "data", out)
    audit(user, say, picture, out)
    slicer.app.mainWindow = None


def audit(user, say, picture, out):
    """Let the model look at the annotations, and look at what it doubts most."""
    user.click("auditButton")
    user.waitUntilIdle(3600)
    say(user.ui.auditStatus.text)
    user.click("showDoubtButton")
    user.click("nextPlaceButton")
    processEvents(50)
    say(user.ui.agreementText.text)
    views = [sliceView(name, (460, 460), fit=False) for name in ("Red", "Yellow", "Green")]
    savePng(np.hstack(views), out / "doubts.png")
    picture(user, "review", out)


def annotateNext(user, say):
    """Press the button, come back."""
    user.click("annotateNextButton")
    user.waitUntilIdle(3600)
    slicer.util.selectModule("MetaSSLSegment")
    processEvents(50)
    say(user.ui.dataStatus.text)


def measured(user, row, say):
    """Agreement, as its row tells it, and mean Dice of a test case, segmented with the chosen model."""
    volume = slicer.util.loadVolume(row.images[0], {"name": row.id, "show": False})
    result = user.segment(volume)
    label = sitk.GetArrayFromImage(onGridOf(sitk.ReadImage(row.label), volume))
    scores = []
    for ID, name in segmentsOf(result.nodes["segmentation"]):
        value = user.cases.segmentValues()[name]
        found = slicer.util.arrayFromSegmentBinaryLabelmap(result.nodes["segmentation"], ID, volume) > 0
        scores.append(2 * (found & (label == value)).sum() / (found.sum() + (label == value).sum()))
    say(f"{row.id}: {user.ui.agreementText.text}")
    return next(found.agreement for found in user.cases.rows if found.id == row.id), round(float(np.mean(scores)), 4)


def draw(editor, truth):
    """What a person draws who knows the truth."""
    volume, segmentation = editor.sourceVolumeNode(), editor.segmentationNode()
    label = sitk.GetArrayFromImage(onGridOf(sitk.ReadImage(truth), volume))
    values = slicer.modules.MetaSSLSegmentWidget.dataSection.cases.segmentValues()
    for ID, name in segmentsOf(segmentation):
        mask = (label == values[name]).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, ID, volume)
