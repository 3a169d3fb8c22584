"""The main job from the command line, on sample data or on a folder of real data: what `make demo` runs.

    python Testing/Demo/demo.py --out demo [--data FOLDER] [--minutes 1.5]

Trains twice for the same time, supervised only and with Mean Teacher and MetaSSL, segments the test cases with both,
compares them with the labels, and draws one picture per test case. With --data, FOLDER is anything that `metassl
prepare` reads; a split.json in it (keys labelled_4, pool, test) is followed, otherwise 4 labelled cases train and 4
others test.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from figures import write_case_figure
from metassl.data.dataset import Dataset
from metassl.data.images import read_image, volume_header
from metassl.layouts.prepare import prepare

TRAINED = {"supervised only": ("--method", "supervised"), "Mean Teacher + MetaSSL": ()}


def metassl(*arguments: object) -> None:
    """Run the command as a user would, showing it."""
    print("\n$ metassl " + " ".join(map(str, arguments)), flush=True)
    subprocess.run([sys.executable, "-m", "metassl", *map(str, arguments)], check=True)


def real_dataset(folder: Path) -> Dataset:
    """The data set of a folder with test cases set to the role "ignored": training never sees them."""
    dataset, _ = prepare(folder)
    split = folder / "split.json"
    if split.exists():
        parts = json.loads(split.read_text(encoding="utf-8"))
        labelled, test, pool = (set(parts[key]) for key in ("labelled_4", "test", "pool"))
    else:
        names = [case.id for case in dataset.cases if case.label]
        random.Random(0).shuffle(names)
        labelled, test, pool = set(names[:4]), set(names[4:8]), {case.id for case in dataset.cases}
    roles = {i: "unlabelled" for i in pool} | {i: "ignored" for i in test} | {i: "labelled" for i in labelled}
    return dataset.with_roles(roles)


def array(path: Path | str) -> np.ndarray:
    """The voxels (k, j, i) of a volume in LPS orientation."""
    return sitk.GetArrayFromImage(sitk.DICOMOrient(read_image(path), "LPS"))


def draw(dataset: Dataset, predictions: Path, pictures: Path) -> None:
    """One picture per test case."""
    for case in dataset.with_role("ignored"):

        def layer(kind: str, name: str = case.id) -> np.ndarray:
            return array(predictions / f"{name}_{kind}.nii.gz")

        write_case_figure(
            pictures / f"{case.id}.png",
            array(case.images[0]),
            label=array(case.label),
            prediction=layer("seg"),
            regions=layer("regions"),
            confidence=layer("confidence"),
            classes=dataset.classes,
            spacing=volume_header(case.images[0]).spacing,
            title=case.id,
        )


def summary(folders: dict[str, Path]) -> None:
    """The models' mean metrics beside each other."""
    found = {
        name: json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["summary"]
        for name, folder in folders.items()
    }
    classes = list(next(iter(found.values())))
    print(f"\nDice on the test cases after equal training time\n\n{'':<24}" + "".join(f"{c:>14}" for c in classes))
    for name, metrics in found.items():
        print(f"{name:<24}" + "".join(f"{metrics[c]['dice']['mean']:>14.3f}" for c in classes))
    print()
    for metric, title in (("hd95", "HD95 mm"), ("assd", "ASSD mm")):
        values = {name: metrics["mean"][metric]["mean"] for name, metrics in found.items()}
        print(f"{title:<10}" + "   ".join(f"{n}: {'-' if v is None else format(v, '.2f')}" for n, v in values.items()))


def main() -> None:
    """Sample or real data, two trainings, predictions, metrics, pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--minutes", type=float, default=1.5, help="training time of each model")
    args = parser.parse_args()
    begin = time.time()
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    if args.data:
        dataset = real_dataset(args.data)
        shown = dataset.with_role("ignored")[:4]  # as many as one looks at
        dataset = replace(dataset, cases=tuple(c for c in dataset.cases if c.role != "ignored" or c in shown))
        dataset.save(args.out / "dataset.json")
    else:
        metassl("sample", "--out", args.out / "sample")
        dataset = Dataset.load(args.out / "sample" / "dataset.json")
        dataset.save(args.out / "dataset.json")
    tests = args.out / "tests.json"
    replace(dataset, cases=dataset.with_role("ignored")).save(tests)
    tables = {}
    for name, options in TRAINED.items():
        folder = args.out / name.replace(" + ", "-").replace(" ", "-").lower()
        metassl("train", args.out / "dataset.json", "--out", folder, "--minutes", args.minutes, *options)
        metassl("predict", folder / "model", tests, "--out", folder / "predictions")
        metassl("evaluate", folder / "predictions", tests, "--out", folder)
        tables[name] = folder
    draw(dataset, folder / "predictions", args.out / "pictures")
    summary(tables)
    print(f"\nPictures: {args.out / 'pictures'}   ({time.time() - begin:.0f} s in all)")


if __name__ == "__main__":
    main()
