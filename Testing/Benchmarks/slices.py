"""Single slices: the middle coronal slice of every volume, trained on and measured through the command line.

    python Testing/Benchmarks/slices.py --data FOLDER [--iterations 200] [--seed 0] --out build/slices

FOLDER holds images/, labels/ and split.json with the keys labelled_4, pool and test, as for accuracy.py: four slices
have labels, the rest of the pool is unlabelled, and the test slices are measured.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk


def middle_slice(source: Path, target: Path, label: bool) -> None:
    """Write the middle coronal slice, one voxel from front to back, in its geometry; labels as one class."""
    image = sitk.ReadImage(str(source))
    across = int(np.abs(np.reshape(image.GetDirection(), (3, 3))[1]).argmax())
    start, size = [0, 0, 0], list(image.GetSize())
    start[across], size[across] = size[across] // 2, 1
    target.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.RegionOfInterest(image, size, start)
    # the middle lies where one part of the organ becomes the other
    sitk.WriteImage(image > 0 if label else image, str(target))


def metassl(*arguments: str | Path) -> None:
    """Run a command of metassl."""
    subprocess.run([sys.executable, "-m", "metassl", *map(str, arguments)], check=True)


def main() -> None:
    """Slices, training, segmentation, metrics."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--iterations", default="200")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--threads", default="0")
    args = parser.parse_args()
    split = json.loads((args.data / "split.json").read_text())
    parts = {"train": (split["pool"], split["labelled_4"]), "test": (split["test"], split["test"])}
    for part, (images, labels) in parts.items():
        for kind, names in (("images", images), ("labels", labels)):
            for name in names:
                middle_slice(
                    args.data / kind / f"{name}.nii.gz", args.out / part / kind / f"{name}.nii.gz", kind == "labels"
                )
    described, run = args.out / "dataset.json", args.out / "run"
    metassl("prepare", args.out / "train", "--out", described)
    threads = [] if args.threads == "0" else ["--threads", args.threads]
    metassl("train", described, "--out", run, "--iterations", args.iterations, "--seed", args.seed, *threads)
    metassl("predict", run / "model", args.out / "test" / "images", "--out", args.out / "predictions")
    metassl("evaluate", args.out / "predictions", args.out / "test" / "labels", "--out", args.out / "metrics")


if __name__ == "__main__":
    main()
