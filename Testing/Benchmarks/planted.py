"""Mistakes that annotators make, planted into right annotations: does ``metassl audit`` find them?

    python Testing/Benchmarks/planted.py --data FOLDER [--iterations 150] [--table docs/benchmarks.md]

FOLDER holds images/, labels/ and split.json with the keys pool and test. A model is trained on 20 labelled cases of the
pool, half of which have one mistake each, and 60 unlabelled ones. Audited are these cases, whose mistakes the model
has seen, and the test cases, which it has not, half of them with a mistake too. Every step is a ``metassl`` command; a
training that is there already is not repeated.
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
from metassl.data.dataset import Case, Dataset
from metassl.data.images import image_like, read_image, write_image
from metassl.layouts.prepare import prepare
from report import machine, put_between_marks
from skimage.morphology import ball

KINDS = ("missing slices", "lobe cut off", "swapped classes", "shift", "extra blob")
LABELLED, UNLABELLED = 20, 60
NEAR = 3.0
"""A place is on a mistake when a wrong voxel is within so many mm."""
PLACES = (1, 3, 5)
MARK = "<!-- planted table -->"


def metassl(*arguments: str | Path) -> None:
    """A command of the engine."""
    subprocess.run([sys.executable, "-m", "metassl", *map(str, arguments)], check=True)


def with_mistakes(cases: list[Case], folder: Path) -> tuple[tuple[Case, ...], dict[str, str]]:
    """The cases as labelled ones, every second with a planted mistake; id -> kind of the mistake."""
    found, planted = [], {}
    for number, case in enumerate(cases):
        case = replace(case, role="labelled")
        if number % 2:
            label = read_image(case.label)
            kind = KINDS[number // 2 % len(KINDS)]
            wrong = plant(sitk.GetArrayFromImage(label), kind, np.random.default_rng(number))
            path = folder / f"{case.id}.nii.gz"
            write_image(image_like(wrong, label), path)
            case, planted[case.id] = replace(case, label=str(path)), kind
        found.append(case)
    return tuple(found), planted


def plant(label: np.ndarray, kind: str, generator: np.random.Generator) -> np.ndarray:
    """An annotation with one mistake.

    - missing slices: a fifth of the annotated axial slices, next to each other and not at an end, are empty
    - lobe cut off: the outer quarter of the structure along its longest axis is missing
    - swapped classes: the first two classes are exchanged; with one class, as a lobe cut off
    - shift: all is moved by 3 voxels along a random axis
    - extra blob: a ball of 3 voxels' radius of a random class lies beside the structure

    Args:
        label: (k, j, i) class indices.
        kind: one of ``KINDS``.
        generator: chooses where.

    Returns:
        (k, j, i), another array.
    """
    label = label.copy()
    places = np.argwhere(label > 0)
    low, high = places.min(0), places.max(0) + 1
    if kind == "missing slices":
        count = max(1, (high[0] - low[0]) // 5)
        first = int(generator.integers(low[0] + 1, max(low[0] + 2, high[0] - count)))
        label[first : first + count] = 0
    elif kind == "shift":
        axis, step = int(generator.integers(3)), int(generator.choice((-3, 3)))
        moved = np.roll(label, step, axis)
        edge = [slice(None)] * 3
        edge[axis] = slice(None, step) if step > 0 else slice(step, None)
        moved[tuple(edge)] = 0
        label = moved
    elif kind == "extra blob":
        label = _with_blob(label, generator)
    elif kind == "swapped classes" and label.max() > 1:
        exchanged = np.arange(256, dtype=np.uint8)
        exchanged[1:3] = 2, 1
        label = exchanged[label]
    else:
        axis = int(np.argmax(high - low))
        length = max(1, (high[axis] - low[axis]) // 4)
        outer = [slice(None)] * 3
        outer[axis] = slice(low[axis] + length) if generator.integers(2) else slice(high[axis] - length, None)
        label[tuple(outer)] = 0
    return label


def _with_blob(label: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The label with a ball that touches nothing of it, as near as there is room."""
    shape, radius = ball(3), 3
    inside = np.zeros_like(label, bool)
    inside[radius:-radius, radius:-radius, radius:-radius] = True
    free = np.argwhere(inside)
    places = np.argwhere(label > 0)
    near = np.array([np.abs(places - spot).max(1).min() for spot in free])
    room = free[(near > radius + 1) & (near < radius + 6)]
    if not len(room):
        room = free[near == near.max()]
    centre = room[generator.integers(len(room))]
    box = tuple(slice(c - radius, c + radius + 1) for c in centre)
    label[box][shape.astype(bool)] = generator.integers(1, label.max() + 1)
    return label


def on_mistake(places: list[dict], before: str, after: str) -> list[bool]:
    """Of every place whether it lies within ``NEAR`` of a voxel that the mistake changed."""
    right, wrong = read_image(before), read_image(after)
    changed = np.argwhere(sitk.GetArrayViewFromImage(right) != sitk.GetArrayViewFromImage(wrong))
    points = np.array([wrong.TransformIndexToPhysicalPoint([int(n) for n in index[::-1]]) for index in changed])
    found = []
    for place in places:
        r, a, s = place["position"]
        found.append(bool(np.linalg.norm(points - (-r, -a, s), axis=1).min() <= NEAR))
    return found


def figures(audit: dict, planted: dict[str, str], originals: dict[str, str], dataset: Dataset) -> dict:
    """Of one audit: how many of the first cases have a mistake, and how often the first places lie on it."""
    order = [case["case"] for case in audit["cases"]]
    first = {"5": 5, "as many as planted": len(planted)}
    labels = {case.id: case.label for case in dataset.cases}
    hits = {
        case["case"]: on_mistake(case["places"], originals[case["case"]], labels[case["case"]])
        for case in audit["cases"]
        if case["case"] in planted
    }
    by_dice = sorted(audit["cases"], key=lambda case: np.mean(list(case["dice"].values())))
    return {
        "cases": len(order),
        "planted": len(planted),
        "precision of the first cases": {name: np.mean([c in planted for c in order[:k]]) for name, k in first.items()},
        "the same, by Dice": {name: np.mean([c["case"] in planted for c in by_dice[:k]]) for name, k in first.items()},
        "mistakes with a place on them": {k: np.mean([any(hit[:k]) for hit in hits.values()]) for k in PLACES},
        "of every kind": {
            kind: f"{sum(any(hits[c][:3]) for c in hits if planted[c] == kind)} of {list(planted.values()).count(kind)}"
            for kind in KINDS
        },
    }


def main() -> None:
    """Train, audit, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--iterations", default="150")
    parser.add_argument("--out", type=Path, default=Path("build/planted"))
    parser.add_argument("--table", type=Path, help="document whose table is replaced")
    args = parser.parse_args()
    made, _ = prepare(args.data)
    split = json.loads((args.data / "split.json").read_text(encoding="utf-8"))
    pool = sorted(split["pool"])
    random.Random(0).shuffle(pool)
    by_id = {case.id: case for case in made.cases}
    unlabelled = tuple(replace(by_id[n], role="unlabelled") for n in pool[LABELLED : LABELLED + UNLABELLED])
    run, results = args.out / "run", {}
    for name, ids, others in (("seen", pool[:LABELLED], unlabelled), ("unseen", sorted(split["test"]), ())):
        cases, planted = with_mistakes([by_id[n] for n in ids], args.out / f"labels {name}")
        dataset, file = replace(made, cases=cases + others), args.out / f"{name}.json"
        dataset.save(file)
        if not (run / "model" / "models" / "model.pt").exists():
            options = ("--method", "cps", "--warm-up", 0, "--iterations", args.iterations, "--threads", 1)
            metassl("train", file, "--out", run, *options)
        metassl("audit", run, file, "--out", args.out / name, "--threads", 1)
        audit = json.loads((args.out / name / "audit.json").read_text(encoding="utf-8"))
        results[name] = figures(audit, planted, {n: by_id[n].label for n in ids}, dataset)
    text = table(results) + f"\n\n{made.name}, {args.iterations} steps, {machine()}."
    print(text)
    if args.table:
        put_between_marks(args.table, MARK, text)


def table(results: dict) -> str:
    """The figures as Markdown."""
    lines = [f"| | {' | '.join(f'{name} in training' for name in results)} |", "|---|" + "---|" * len(results)]
    for what in next(iter(results.values())):
        values = [found[what] for found in results.values()]
        if not isinstance(values[0], dict):
            lines.append(f"| {what} | {' | '.join(map(str, values))} |")
            continue
        for keys in zip(*values):
            cells = [v[k] if isinstance(v[k], str) else f"{v[k]:.0%}" for v, k in zip(values, keys)]
            name = {"mistakes with a place on them": "first {} places", "of every kind": "in three places: {}"}
            name = name.get(what, "first {}").format(keys[0])
            lines.append(f"| {what}, {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
