"""Where two runs of ``accuracy.py`` are wrong: in the same voxels, and in which regions.

    python Testing/Benchmarks/shared_errors.py FIRST SECOND

FIRST and SECOND are folders of runs of the same experiment, such as build/accuracy/test 300/cps-with-metassl-seed0.
"""

import argparse
import statistics
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from metassl.data.dataset import Dataset
from metassl.data.images import read_image
from metassl.evaluation.metrics import evaluate_case
from metassl.regions import REGIONS


def voxels(path: Path | str) -> np.ndarray:
    """A volume's array."""
    return sitk.GetArrayFromImage(read_image(path))


def main() -> None:
    """Print a line per figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs=2, type=Path, help="folders of two runs")
    runs = parser.parse_args().runs
    dataset = Dataset.load(runs[0] / "dataset.json")
    between, wrong, both, regions = [], 0, 0, np.zeros(1 + len(REGIONS), int)
    for case in dataset.with_role("ignored"):
        truth = voxels(case.label)
        first, second = (voxels(run / "predictions" / f"{case.id}_seg.nii.gz") for run in runs)
        rows = evaluate_case(case.id, first, second, dataset.classes, spacing=(1, 1, 1))
        between.append(statistics.fmean(row.dice for row in rows))
        missed = first != truth
        wrong += missed.sum()
        both += (missed & (second != truth)).sum()
        found = runs[0] / "predictions" / f"{case.id}_regions.nii.gz"
        if found.exists():
            regions += np.bincount(voxels(found)[missed], minlength=len(regions))
    print(f"Dice between the runs: {statistics.fmean(between):.4f}")
    print(f"of the first run's wrong voxels, wrong in the second too: {both / wrong:.0%}")
    for region in REGIONS if regions.any() else ():
        print(f"of the first run's wrong voxels, in {region.code}: {regions[region.value] / wrong:.0%}")


if __name__ == "__main__":
    main()
