"""Much work in one session: the same round again and again leaves nothing behind."""

import gc
import json
import os
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import slicer
from harness.interaction import processEvents, waitUntil
from MetaSSLSegmentLib.Scene.Result import removeNode

ROUNDS = int(os.environ.get("METASSL_SOAK_ROUNDS", 6))
"""Of about 20 s each; 180 take an hour."""
MEGABYTES_A_ROUND = 1.0
PROC = Path("/proc/self")


def work(user, volume):
    """A training that is stopped and resumed, a segmentation, its correction as a new case, a check; then all goes."""
    user.startTraining(budgetKind="iterations", iterations=100000, network="small")
    waitUntil(lambda: user.widget.logic.curves.hasPoints("losses"), 120, "the first metrics")
    user.click("cancelButton")
    user.waitUntilIdle(120)
    (run,) = user.widget.logic.runs.unfinished()
    job = json.loads((run / "job.json").read_text())
    done = json.loads((run / "events.jsonl").read_text().splitlines()[-1])["iterations"]
    (run / "job.json").write_text(json.dumps({**job, "iterations": done + 2}))
    user.click("resumeButton")
    user.waitUntilIdle(120)
    assert user.ui.trainingStatus.text.startswith("Finished"), user.ui.trainingStatus.text

    result = user.segment(volume)
    assert "Done" in user.ui.segmentStatus.text, user.ui.segmentStatus.text
    segmentation = result.nodes["segmentation"]
    segmentID = segmentation.GetSegmentation().GetNthSegmentID(0)
    slicer.util.arrayFromSegmentInternalBinaryLabelmap(segmentation, segmentID)[:2] = 0  # the person wipes some slices
    segmentation.GetSegmentation().GetSegment(segmentID).Modified()
    user.ui.caseVolumeSelector.setCurrentNode(volume)
    user.ui.caseSegmentationSelector.setCurrentNode(segmentation)
    user.click("addNodesButton")
    user.click("checkButton")
    user.waitUntilIdle(120)
    assert "all can be used" in user.ui.dataStatus.text, user.ui.dataStatus.text

    user.select([user.cases.rows[-1].id])
    user.click("removeCasesButton")
    for node in result.nodes.values():
        removeNode(node)
    for file in sorted(run.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    run.rmdir()
    user.widget.trainingSection.refreshRuns()
    processEvents(100)
    gc.collect()


def left():
    """What is there after a round, by name, so that a difference names what stays."""
    nodes = slicer.mrmlScene.GetNodes()
    return {
        "nodes": Counter(nodes.GetItemAsObject(n).GetClassName() for n in range(nodes.GetNumberOfItems())),
        "temporary files": sorted(os.listdir(slicer.app.temporaryPath)),
        "threads": threading.active_count(),
        "children": (PROC / "task" / str(os.getpid()) / "children").read_text().split(),
        "handles": len(os.listdir(PROC / "fd")),
    }


def megabytes():
    """Memory that is this process's own."""
    return int((PROC / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not PROC.exists(), reason="counts what /proc tells")
def test_rounds_of_work_leave_nothing_behind(user, sample, record_property):
    case = json.loads(sample.read_text())["cases"][-1]
    user.addFolder(sample.parent)
    volume = slicer.util.loadVolume(str(sample.parent / case["images"][0]))
    work(user, volume)  # what is made once, such as colour tables, is made now
    before, memory = left(), [megabytes()]
    for _round in range(ROUNDS - 1):
        work(user, volume)
        after = left()
        assert {what: after[what] for what in after if after[what] != before[what]} == {}, before
        memory.append(megabytes())
    record_property("megabytes", [round(m, 1) for m in memory])
    growth = np.polyfit(range(len(memory) - 1), memory[1:], 1)[0]
    assert growth < MEGABYTES_A_ROUND, memory
