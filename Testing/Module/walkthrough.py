"""A new user's first hour in minutes: opens the module, trains, segments, looks. Writes the pictures of the README.

python Testing/Module/walkthrough.py --minutes 3 --out Resources/Screenshots
python Testing/Module/walkthrough.py --data ../shared/data/hippocampus --labelled 4 --unlabelled 20 --out pictures
python Testing/Module/walkthrough.py --minutes 1.5 --loop --out pictures    # correct, use as label, improve
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

FOLDER = Path(__file__).parent
for folder in (FOLDER, FOLDER.parents[1] / "MetaSSLSegment"):
    sys.path.insert(0, str(folder))

from harness import minislicer  # noqa: E402

slicer = minislicer.bootstrap()

import numpy as np  # noqa: E402
from harness.interaction import LatencyMonitor, processEvents, screenshot, waitUntil  # noqa: E402
from harness.scene_views import chartImage, savePng, sliceView  # noqa: E402
from user import User  # noqa: E402
from walkthrough_loop import review  # noqa: E402

PANEL_WIDTH = 560


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of cases (default: the sample)")
    parser.add_argument("--labelled", type=int, default=4)
    parser.add_argument("--unlabelled", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--loop", action="store_true", help="correct the result and improve the model, too")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as runs:
        user = User(Path(runs) / "MetaSSL")
        volume = chooseCases(user, args)
        picture(user, "data", args.out)
        train(user, args)
        result = user.segment(volume)
        say(user.ui.segmentStatus.text)
        for n in range(user.ui.regionTable.rowCount):
            say(" | ".join(user.ui.regionTable.item(n, column).text() for column in range(6)))
        picture(user, "segment", args.out)
        look(user, result, args.out)
        if args.loop:
            review(user, result, say, picture, args.out)
        user.close()


def say(text):
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def chooseCases(user, args):
    """Fill the case table; returns a volume that no training sees."""
    if args.data is None:
        user.click("sampleButton")
        user.waitUntilIdle(300)
        say(user.ui.dataStatus.text)
        unseen = next(row for row in user.cases.rows if row.role == "ignored")
    else:
        user.addFolder(args.data)
        say(user.ui.dataStatus.text)
        ids = [row.id for row in user.cases.rows]
        rest = ids[args.labelled + args.unlabelled :]
        user.setRole(ids[args.labelled :], "unlabelled")
        user.setRole(rest, "ignored")
        user.setRole(rest[1:4], "hold-out")
        unseen = next(row for row in user.cases.rows if row.id == rest[0])
        user.click("checkButton")
        user.waitUntilIdle(300)
        say(user.ui.dataStatus.text)
    user.widget.dataSection.showCase(user.cases.rows.index(unseen))
    return slicer.util.loadVolume(unseen.images[0], {"name": unseen.id})


def train(user, args):
    """Train for the given minutes, watched."""
    user.startTraining(budgetKind="minutes", minutes=args.minutes)
    with LatencyMonitor() as latency:
        waitUntil(lambda: user.ui.workProgress.value > 60 and "training" in user.ui.workText.text, 3600)
        user.ui.logSection.collapsed = False
        picture(user, "training", args.out)
        user.waitUntilIdle(3600)
    say(user.ui.trainingStatus.text)
    say(f"event loop latency: median {latency.median:.1f} ms, maximum {latency.maximum:.1f} ms")
    charts = [chart for chart in ("losses", "regions") if user.widget.logic.curves.hasPoints(chart)]
    images = [chartImage(user.widget.logic.curves.chartNode(chart), (620, 360)) for chart in charts]
    savePng(np.hstack(images), args.out / "curves.png")


def look(user, result, out):
    """Segmentation, regions and confidence over the image, as the slice view shows them."""
    views = []
    for mode in ("segmentation", "regions", "confidence"):
        user.click(f"{mode}Button")
        processEvents(50)
        views.append(sliceView("Red", (460, 460), offset=middleOfLabels(result)))
    savePng(np.hstack(views), out / "regions.png")
    picture(user, "display", out)
    user.click("nextPlaceButton")
    picture(user, "review", out)


def middleOfLabels(result):
    """Position (mm, superior) of the middle of the segments."""
    bounds = [0.0] * 6
    result.nodes["segmentation"].GetRASBounds(bounds)
    return (bounds[4] + bounds[5]) / 2


def picture(user, section, out):
    """A picture of one section of the panel."""
    user.panel.resize(PANEL_WIDTH, 1800)
    processEvents(50)
    screenshot(getattr(user.ui, f"{section}Section"), out / f"{section}.png")


if __name__ == "__main__":
    main()
