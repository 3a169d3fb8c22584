"""Mistakes that annotators make, planted into right annotations: does ``metassl audit`` find them?

    python Testing/Benchmarks/planted.py --data FOLDER [--labelled 8] [--budget 500] [--seeds 0 1 2]

FOLDER holds images/, labels/ and split.json with the keys pool and test. Every second one of the labelled cases, drawn
from the pool, gets one mistake; 60 more are unlabelled. Audited are

- seen: these cases, by a model that was trained on them, mistakes and all
- by halves: these cases, every half by a model that was trained on the other one, with the same budget each
- unseen: the test cases, every second one with a mistake too, by the first model

Every step is a ``metassl`` command. A draw leaves its figures in one JSON below ``--results`` and is not repeated; the
table is made from all of them. The budget is in units, see accuracy.py.
"""

import argparse
import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from subprocess import DEVNULL

import numpy as np
import SimpleITK as sitk
from accuracy import BASE, natural, unit_megavoxels
from metassl.data.dataset import Case, Dataset
from metassl.data.images import image_like, read_image, write_image
from metassl.files import write_text
from metassl.layouts.prepare import prepare
from report import machine, metassl, put_between_marks
from skimage.morphology import ball

KINDS = ("missing slices", "lobe cut off", "swapped classes", "shift", "extra blob")
UNLABELLED = 60
NEAR = 3.0
"""A place is on a mistake when a wrong voxel is within so many mm."""
PLACES = (1, 3)
MARK = "<!-- planted table -->"


def with_mistakes(cases: list[Case], folder: Path, seed: int) -> tuple[tuple[Case, ...], dict[str, str]]:
    """The cases as labelled ones, every second with a planted mistake; id -> kind of the mistake."""
    found, planted = [], {}
    for number, case in enumerate(cases):
        case = replace(case, role="labelled")
        if number % 2:
            label = read_image(case.label)
            kind = KINDS[(number // 2 + seed) % len(KINDS)]
            wrong = plant(sitk.GetArrayFromImage(label), kind, np.random.default_rng((seed, number)))
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


def figures(cases: list[dict], planted: dict[str, str], originals: dict[str, str], wrong: dict[str, str]) -> dict:
    """Of one audit: which of the planted mistakes are among the first cases, and on which there is a place.

    Args:
        cases: of audit.json.
        planted: case -> kind of its mistake.
        originals, wrong: case -> file of its right annotation, and of the audited one.
    """
    by_score = sorted(cases, key=lambda case: (case["score"], case["case"]))[: len(planted)]
    by_dice = sorted(cases, key=lambda case: np.mean(list(case["dice"].values())))[: len(planted)]
    hits = {
        case["case"]: on_mistake(case["places"], originals[case["case"]], wrong[case["case"]])
        for case in cases
        if case["case"] in planted
    }
    return {
        "planted": dict(Counter(planted.values())),
        "first by score": sum(case["case"] in planted for case in by_score),
        "first by Dice": sum(case["case"] in planted for case in by_dice),
        **{f"place {k}": dict(Counter(planted[c] for c, hit in hits.items() if any(hit[:k]))) for k in PLACES},
    }


def audited(name: str, run: Path, dataset: Dataset, out: Path) -> list[dict]:
    """The cases of ``metassl audit``; the command's folder is named after what is audited."""
    file = out / f"audited {name}.json"
    dataset.save(file)
    metassl("audit", run, file, "--out", out / name, "--threads", 1, "--device", "cpu", stdout=DEVNULL)
    return json.loads((out / name / "audit.json").read_text(encoding="utf-8"))["cases"]


def trained(name: str, dataset: Dataset, out: Path, budget: float, method: str, seed: int) -> Path:
    """Run folder of a training; what is there already is not repeated, what was cut off goes on."""
    run, file = out / f"run {name}", out / f"{name}.json"
    if (run / "job.json").exists():
        metassl("train", "--resume", run, stdout=DEVNULL)
    else:
        dataset.save(file)
        units = ("--megavoxels", round(budget * unit_megavoxels(dataset), 6), "--seed", seed)
        options = () if method == BASE else ("--method", method)
        metassl("train", file, "--out", run, *units, *options, "--threads", 1, "--device", "cpu", stdout=DEVNULL)
    return run


def draw(data: Path, seed: int, args: argparse.Namespace, out: Path) -> dict:
    """Train, audit, count: the figures of the three kinds of audit."""
    made, _ = prepare(data)
    split = json.loads((data / "split.json").read_text(encoding="utf-8"))
    pool = sorted(split["pool"])
    random.Random(seed).shuffle(pool)
    by_id = {case.id: case for case in made.cases}
    originals = {case.id: case.label for case in made.cases}
    mine = pool[: args.labelled]
    others = tuple(replace(by_id[n], role="unlabelled") for n in pool[args.labelled :][:UNLABELLED])
    cases, planted = with_mistakes([by_id[n] for n in mine], out / "labels seen", seed)
    tests, planted_tests = with_mistakes([by_id[n] for n in sorted(split["test"])], out / "labels unseen", seed)
    wrong = {case.id: case.label for case in (*cases, *tests)}
    budget = (args.budget, args.method, seed)

    whole = replace(made, cases=cases + others)
    run = trained("seen", whole, out, *budget)
    found = {
        "seen": figures(audited("seen", run, whole, out), planted, originals, wrong),
        "unseen": figures(audited("unseen", run, replace(made, cases=tests), out), planted_tests, originals, wrong),
    }
    halves = [cases[: len(cases) // 2], cases[len(cases) // 2 :]]
    by_halves = []
    for name, taught, left in (("first", *halves), ("second", *halves[::-1])):
        unlabelled = tuple(replace(case, role="unlabelled") for case in left)
        run = trained(f"{name} half", replace(made, cases=taught + unlabelled + others), out, *budget)
        by_halves += audited(f"by the {name} half", run, replace(made, cases=left), out)
    found["by halves"] = figures(by_halves, planted, originals, wrong)
    return found


def table(results: list[dict]) -> str:
    """The figures of all draws as Markdown."""
    head = ["data, method, labels, units", "draws", "audit", "planted", "among as many first cases", "by Dice instead"]
    head += ["first place on it", "in three places", *KINDS]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---|" * (len(head) - 1)]
    groups: dict[str, list[dict]] = {}
    for result in results:
        name = "{data}, {method}, {labelled}, {budget:g}".format(**result)
        groups.setdefault(name, []).append(result)
    for name, draws in groups.items():
        for audit in ("seen", "by halves", "unseen"):
            found = [result["audits"][audit] for result in draws]
            kinds = {key: sum((Counter(f[key]) for f in found), Counter()) for key in ("planted", "place 1", "place 3")}
            planted = kinds["planted"].total()
            first = [sum(f[f"first by {by}"] for f in found) for by in ("score", "Dice")]
            shares = [f"{n / planted:.0%}" for n in (*first, kinds["place 1"].total(), kinds["place 3"].total())]
            each = [f"{kinds['place 3'][kind]} of {kinds['planted'][kind]}" for kind in KINDS]
            lines.append(f"| {' | '.join([name, str(len(draws)), audit, str(planted), *shares, *each])} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--labelled", type=int, default=8, help="labelled cases")
    parser.add_argument("--budget", type=float, default=500, metavar="UNITS", help="of every training")
    parser.add_argument("--method", default=BASE)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=Path("build/planted"), help="folder of the runs")
    parser.add_argument("--results", type=Path, default=Path("build/planted/results"), help="folder of the JSONs")
    parser.add_argument("--table", type=Path, help="document whose table is replaced")
    args = parser.parse_args()
    for seed in args.seeds:
        for data in map(Path.resolve, args.data):
            name = f"{data.name} {args.method} {args.labelled} labels {args.budget:g} units seed {seed}"
            file = args.results / f"{name}.json"
            if file.exists():
                continue
            out = args.out.resolve() / name
            out.mkdir(parents=True, exist_ok=True)
            audits = draw(data, seed, args, out)
            what = {"data": data.name, "method": args.method, "labelled": args.labelled, "budget": args.budget}
            write_text(file, json.dumps({**what, "seed": seed, "machine": machine(), "audits": audits}) + "\n")
            print(f"{name}: done", flush=True)
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(args.results.glob("*.json"), key=natural)]
    text = f"{table(found)}\n\n{', '.join(sorted({result['machine'] for result in found}))}, one thread per run."
    print(text)
    if args.table:
        put_between_marks(args.table, MARK, text)


if __name__ == "__main__":
    main()
