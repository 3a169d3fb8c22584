"""What a prediction says of itself, without a reference: does it hold?

    python Testing/Benchmarks/expected.py --data FOLDER [--iterations 150] [--methods cps] [--table docs/benchmarks.md]

FOLDER holds images/, labels/ and split.json with the keys labelled_4, pool and test. For each method a model is
trained on the 4 labelled cases, with 6 hold-out cases and 60 unlabelled ones of the pool; the test cases are segmented.
Measured is, class by class, how far expected and true Dice have the same order (Spearman) and how far they are apart,
and how many of the wrong voxels lie near the places to look at. Every step is a ``metassl`` command; a training that
is there already is not repeated.
"""

import argparse
import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from metassl.data.images import read_image
from metassl.data.overlap import dice_per_class
from metassl.layouts.prepare import prepare
from report import machine, put_between_marks
from skimage.morphology import dilation

METHODS = ("cps", "mean-teacher")
HOLD_OUT, UNLABELLED = 6, 60
NEAR = 2.0
"""A wrong voxel is near a place that is within so many mm."""
PLACES = (5, 10, 20)
MARK = "<!-- expected table -->"


def metassl(*arguments: str | Path) -> None:
    """A command of the engine."""
    subprocess.run([sys.executable, "-m", "metassl", *map(str, arguments)], check=True)


def spearman(a: list[float], b: list[float]) -> float:
    """Rank correlation; equal values share their ranks."""

    def ranks(values: list[float]) -> np.ndarray:
        _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[where]

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def share_near(points: np.ndarray, wrong: np.ndarray) -> float:
    """Share of the wrong voxels (n, 3; mm) that are within ``NEAR`` of one of the points (m, 3; mm)."""
    if not len(points) or not len(wrong):
        return 0.0
    apart = np.linalg.norm(wrong[:, None] - points[None], axis=2)
    return float((apart.min(1) <= NEAR).mean())


def positions(grid: sitk.Image, index: np.ndarray) -> np.ndarray:
    """(n, 3) mm of voxels (n, 3; k, j, i)."""
    return np.array([grid.TransformIndexToPhysicalPoint([int(n) for n in row[::-1]]) for row in index]).reshape(-1, 3)


def near_places(content: dict, predicted: sitk.Image, truth: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(2, 3) share of wrong voxels near the first ``PLACES``: of ours, and of random voxels of the border."""
    label = sitk.GetArrayViewFromImage(predicted)
    wrong = positions(predicted, np.argwhere(label != truth))
    ours = np.array([[-p["position"][0], -p["position"][1], p["position"][2]] for p in content["places"]])
    border = np.argwhere(dilation(label, np.ones((3, 3, 3))) != label)
    chosen = positions(predicted, border[generator.permutation(len(border))[: max(PLACES)]])
    return np.array([[share_near(points[:n], wrong) for n in PLACES] for points in (ours, chosen)])


def figures(run: Path, out: Path, dataset) -> dict:
    """What the JSON files of the test cases say against their labels."""
    names = [c.name for c in dataset.classes]
    rows = {name: [] for name in names}
    near, generator = [], np.random.default_rng(0)
    for case in dataset.with_role("ignored"):
        content = json.loads((out / f"{case.id}.json").read_text(encoding="utf-8"))
        predicted = read_image(out / f"{case.id}_seg.nii.gz")
        truth = sitk.GetArrayFromImage(read_image(case.label))
        label = sitk.GetArrayFromImage(predicted)
        dice = dice_per_class(label, truth, len(names))
        near.append(near_places(content, predicted, truth, generator))
        found = content["expected_dice"]
        for name, true in zip(names, dice):
            measures = found["measures"][name]
            rows[name].append((true, found["classes"][name], measures["soft_dice"], measures["agreement"]))
    found = {}
    for name, values in rows.items():
        true, expected, soft, agreement = (list(column) for column in zip(*values))
        found[name] = {
            "true Dice": f"{np.mean(true):.3f} ± {np.std(true):.3f}",
            "Spearman of expected Dice": f"{spearman(expected, true):.2f}",
            "of soft Dice": f"{spearman(soft, true):.2f}",
            "of agreement": f"{spearman(agreement, true):.2f}",
            "mean error, calibrated": f"{np.mean(np.abs(np.subtract(expected, true))):.3f}",
            "of soft Dice as it is": f"{np.mean(np.abs(np.subtract(soft, true))):.3f}",
            "of the mean of the hold-out cases": f"{np.mean(np.abs(hold_out_dice(run)[name] - np.array(true))):.3f}",
        }
    return {"classes": found, "near": np.mean(near, axis=0)}


def hold_out_dice(run: Path) -> dict[str, float]:
    """What one would expect of every case alike."""
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [e for e in map(json.loads, lines) if e["event"] == "hold-out"][-1]["dice"]


def main() -> None:
    """Train, segment, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--iterations", default="150")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--out", type=Path, default=Path("build/expected"))
    parser.add_argument("--table", type=Path, help="document whose tables are replaced")
    args = parser.parse_args()
    made, _ = prepare(args.data)
    split = json.loads((args.data / "split.json").read_text(encoding="utf-8"))
    rest = sorted(set(split["pool"]) - set(split["labelled_4"]))
    random.Random(0).shuffle(rest)
    roles = {n: "hold-out" for n in rest[:HOLD_OUT]} | {n: "unlabelled" for n in rest[HOLD_OUT:][:UNLABELLED]}
    roles |= dict.fromkeys(split["labelled_4"], "labelled") | dict.fromkeys(split["test"], "ignored")
    dataset = replace(made, cases=tuple(c for c in made.cases if c.id in roles)).with_roles(roles)
    file, results = args.out / "dataset.json", {}
    dataset.save(file)
    for method in args.methods:
        run, out = args.out / method, args.out / f"{method} predictions"
        if not (run / "model" / "models" / "model.pt").exists():
            options = ("--iterations", args.iterations, "--threads", 1, "--method", method, "--warm-up", 0)
            metassl("train", file, "--out", run, *options)
        metassl("predict", run, file, "--roles", "ignored", "--out", out, "--threads", 1)
        results[method] = figures(run, out, dataset)
    text = f"{tables(results)}\n\n{made.name}, {args.iterations} steps, {machine()}."
    print(text)
    if args.table:
        put_between_marks(args.table, MARK, text)


def tables(results: dict) -> str:
    """The figures as Markdown."""
    first = next(iter(next(iter(results.values()))["classes"].values()))
    lines = [f"| method, class | {' | '.join(first)} |", "|---|" + "---|" * len(first)]
    for method, found in results.items():
        for name, values in found["classes"].items():
            lines.append(f"| {method}, {name} | {' | '.join(values.values())} |")
    lines += ["", f"| wrong voxels near the first | {' | '.join(f'{n} places' for n in PLACES)} |"]
    lines.append("|---|" + "---|" * len(PLACES))
    for method, found in results.items():
        for name, values in zip(("places", "random border voxels"), found["near"]):
            lines.append(f"| {method}, {name} | {' | '.join(f'{v:.0%}' for v in values)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
