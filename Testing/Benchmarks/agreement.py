"""What a prediction says of itself, without a reference: does it hold?

    python Testing/Benchmarks/agreement.py RUN ... [--table docs/benchmarks.md]

A RUN was trained already; the cases of its data set that it left out (role ignored), with labels, are segmented; with
``--role unlabelled`` those that it saw without their labels: settings are chosen on these.
Measured is, class by class, how far three figures put the cases into the order of their true Dice: the agreement, the
Dice between the two predictions, and the Dice that their confidence promises. The order is judged by its rank
correlation (Spearman) and by the area under the risk-coverage curve (AURC): what the Dice of the cases lacks of 1, on
average over keeping only the first one, two, ... of all. The last part is how many of the wrong voxels lie near the
places to look at. Runs of the same data and method are averaged. ``accuracy.py`` leaves such runs.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from metassl.data.dataset import Dataset
from metassl.data.images import read_image
from metassl.data.overlap import dice_per_class
from metassl.inference.model import Model, load_model
from metassl.inference.volume import VolumePrediction
from metassl.review.agreement import class_agreement
from metassl.review.cases import Watch, predict_cases
from metassl.review.places import places_of_prediction
from report import machine, put_between_marks
from skimage.morphology import dilation

NEAR = 2.0
"""A wrong voxel is near a place that is within so many mm."""
PLACES = (5, 10, 20)
MARK = "<!-- agreement table -->"


def spearman(a: list[float], b: list[float]) -> float:
    """Rank correlation; equal values share their ranks."""

    def ranks(values: list[float]) -> np.ndarray:
        _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[where]

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def soft_dice(prediction: VolumePrediction, value: int) -> float:
    """The Dice that a class has if every voxel is right as often as its confidence says."""
    images = prediction.labelmap, prediction.other, prediction.confidence
    label, other, confidence = (sitk.GetArrayViewFromImage(image) for image in images)
    mine, doubt = label == value, 1 - np.nan_to_num(confidence)
    right = mine.sum() - doubt[mine].sum()
    missed = doubt[(other == value) & ~mine].sum()
    unassigned = doubt[(label == 0) & (other == 0)].sum() * mine.sum() / max((label > 0).sum(), 1)
    return float(2 * right / max(mine.sum() + right + missed + unassigned, 1))


def share_near(points: np.ndarray, wrong: np.ndarray) -> float:
    """Share of the wrong voxels (n, 3; mm) that are within ``NEAR`` of one of the points (m, 3; mm)."""
    if not len(points) or not len(wrong):
        return 0.0
    apart = np.linalg.norm(wrong[:, None] - points[None], axis=2)
    return float((apart.min(1) <= NEAR).mean())


def positions(grid: sitk.Image, index: np.ndarray) -> np.ndarray:
    """(n, 3) mm of voxels (n, 3; k, j, i)."""
    return np.array([grid.TransformIndexToPhysicalPoint([int(n) for n in row[::-1]]) for row in index]).reshape(-1, 3)


def near_places(
    model: Model, prediction: VolumePrediction, truth: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """(2, 3) share of wrong voxels near the first ``PLACES``: of ours, and of random voxels of the border."""
    predicted = prediction.labelmap
    label = sitk.GetArrayViewFromImage(predicted)
    wrong = positions(predicted, np.argwhere(label != truth))
    places = [place.position for place in places_of_prediction(prediction, model.classes)]
    ours = np.array(places).reshape(-1, 3) * (-1, -1, 1)
    border = np.argwhere(dilation(label, np.ones((3, 3, 3))) != label)
    chosen = positions(predicted, border[generator.permutation(len(border))[: max(PLACES)]])
    return np.array([[share_near(points[:n], wrong) for n in PLACES] for points in (ours, chosen)])


def aurc(order: list[float], true: list[float]) -> float:
    """Area under the risk-coverage curve: mean of 1 - Dice over the n most trusted cases, on average over n."""
    trusted_first = np.argsort(-np.array(order), kind="stable")
    risks = 1 - np.array(true)[trusted_first]
    return float((risks.cumsum() / np.arange(1, len(risks) + 1)).mean())


def figures(run: Path, role: str, most: int) -> dict:
    """What the predictions of the cases of a role, at most so many by chance, say against their labels."""
    model, dataset = load_model(run), Dataset.load(run / "dataset.json")
    rows, near, generator = {c.name: [] for c in model.classes}, [], np.random.default_rng(0)
    cases = [case for case in dataset.with_role(role) if case.label is not None]
    cases = random.Random(0).sample(cases, min(most, len(cases)))
    watch = Watch(lambda done, total, text="": print(f"\r{dataset.name} {done:.1f} of {total}", end=" ", flush=True))
    for case, _, prediction in predict_cases(model, cases, watch, []):
        truth = sitk.GetArrayFromImage(read_image(case.label))
        dice = dice_per_class(sitk.GetArrayFromImage(prediction.labelmap), truth, len(model.classes))
        near.append(near_places(model, prediction, truth, generator))
        agreement = class_agreement(prediction, model.classes)
        label, other = (sitk.GetArrayViewFromImage(image) for image in (prediction.labelmap, prediction.other))
        between = dice_per_class(label, other, len(model.classes))
        for c, *values in zip(model.classes, dice, between):
            rows[c.name].append((*values, agreement[c.name] or 0.0, soft_dice(prediction, c.value)))
    print()
    classes = {}
    for name, values in rows.items():
        true, between, agreement, soft = (list(column) for column in zip(*values))
        classes[name] = {
            "cases": len(true),
            "true Dice": np.mean(true),
            "agreement": np.mean(agreement),
            "Spearman of agreement": spearman(agreement, true),
            "of Dice between": spearman(between, true),
            "of soft Dice": spearman(soft, true),
            "AURC by chance": 1 - np.mean(true),
            "by agreement": aurc(agreement, true),
            "by Dice between": aurc(between, true),
            "by soft Dice": aurc(soft, true),
            "by true Dice": aurc(true, true),
        }
    method = model.metadata["metassl"]["method"]
    return {"name": f"{dataset.name}, {method}", "classes": classes, "near": np.mean(near, axis=0)}


def main() -> None:
    """Segment, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--role", choices=("ignored", "unlabelled"), default="ignored", help="of the cases")
    parser.add_argument("--most", type=int, default=1000, metavar="N", help="cases of a run, by chance")
    parser.add_argument("--table", type=Path, help="document whose tables are replaced")
    args = parser.parse_args()
    text = f"{tables([figures(run, args.role, args.most) for run in args.runs])}\n\n{machine()}."
    print(text)
    if args.table:
        put_between_marks(args.table, MARK, text)


def tables(results: list[dict]) -> str:
    """The figures as Markdown, on average over the runs of a name; correlations also with their range."""
    groups: dict[str, list[dict]] = {}
    for found in results:
        groups.setdefault(found["name"], []).append(found)
    first = next(iter(results[0]["classes"].values()))
    lines = [f"| data, method, class | runs | {' | '.join(first)} |", "|---|---|" + "---|" * len(first)]
    for name, runs in groups.items():
        for c in runs[0]["classes"]:
            cells = [cell(what, [found["classes"][c][what] for found in runs]) for what in first]
            lines.append(f"| {name}, {c} | {len(runs)} | {' | '.join(cells)} |")
    lines += ["", f"| wrong voxels near the first | {' | '.join(f'{n} places' for n in PLACES)} |"]
    lines.append("|---|" + "---|" * len(PLACES))
    for name, runs in groups.items():
        near = np.mean([found["near"] for found in runs], axis=0)
        for where, values in zip(("places", "random border voxels"), near):
            lines.append(f"| {name}, {where} | {' | '.join(f'{v:.0%}' for v in values)} |")
    return "\n".join(lines)


def cell(what: str, values: list[float]) -> str:
    """One cell of the first table."""
    if what == "cases":
        return str(values[0])
    if "AURC" in what or what.startswith(("by", "true", "agreement")):
        return f"{np.mean(values):.3f}"
    spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{spread}"


if __name__ == "__main__":
    main()
