"""Is a voxel right as often as its confidence says, and does a temperature from two cases mend it for the others?

    python Testing/Benchmarks/calibration.py RUN ... [--table docs/benchmarks.md]

A RUN is a folder that ``accuracy.py`` leaves: the trained run, its data set and the predictions of the cases that were
left out. Those cases, two by two, take the place of hold-out cases: the temperature is fitted on the two and measured
on all others. Counted are the voxels within 3 voxels of what is predicted or annotated.
"""

import argparse
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from metassl.data.dataset import IGNORE, Dataset
from metassl.data.images import read_image
from metassl.data.labels import read_label
from metassl.review.calibration import Reliability
from report import put_between_marks

MARK = "<!-- calibration table -->"


def reliabilities(run: Path) -> list[Reliability]:
    """One per case that was left out."""
    dataset, found = Dataset.load(run / "dataset.json"), []
    index = np.zeros(256, np.uint8)
    for k, c in enumerate(dataset.classes, 1):
        index[c.value] = k
    for case in dataset.with_role("ignored"):
        predicted = read_image(run / "predictions" / f"{case.id}_seg.nii.gz")
        confidence = sitk.GetArrayFromImage(read_image(run / "predictions" / f"{case.id}_confidence.nii.gz"))
        found.append(Reliability())
        labels = index[sitk.GetArrayFromImage(predicted).astype(np.uint8)]
        found[-1].add(confidence, labels, read_label(case.label, dataset, predicted), IGNORE)
    return found


def together(parts: list[Reliability]) -> Reliability:
    """The counts of several cases as one."""
    whole = Reliability()
    whole.right, whole.wrong = (sum(getattr(part, name) for part in parts) for name in ("right", "wrong"))
    return whole


def row(run: Path) -> str:
    """Calibration error before and after, and the diagram before and after, of one run."""
    cases = reliabilities(run)
    whole, fitted, after = together(cases), [], []
    for n in range(0, len(cases) - 1, 2):
        temperature = together(cases[n : n + 2]).temperature() or 1.0
        fitted.append(temperature)
        after.append(together(cases[:n] + cases[n + 2 :]).error(temperature))
    middle = float(np.median(fitted))
    diagrams = [
        " ".join(f"{confidence:.2f}:{right:.2f}" for confidence, right, _ in whole.diagram(temperature))
        for temperature in (1.0, middle)
    ]
    name = f"{run.parent.name}, {run.name}"
    return (
        f"| {name} | {whole.error():.3f} | {np.median(after):.3f} ({min(after):.3f} to {max(after):.3f}) "
        f"| {middle:.2f} ({min(fitted):.2f} to {max(fitted):.2f}) | {diagrams[0]} | {diagrams[1]} |"
    )


def main() -> None:
    """Count, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--table", type=Path, help="document whose table is replaced")
    args = parser.parse_args()
    head = "| run | calibration error | after, on the other cases | temperature | confidence:right before | after |"
    text = "\n".join([head, "|---|---|---|---|---|---|", *(row(run.resolve()) for run in args.runs)])
    print(text)
    if args.table:
        put_between_marks(args.table, MARK, text)


if __name__ == "__main__":
    main()
