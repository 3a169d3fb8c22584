"""Accuracy at equal compute: every method with its own loss and with MetaSSL, on real data, one configuration for all.

    python Testing/Benchmarks/accuracy.py --data FOLDER [FOLDER ...] --budget 500 2000 [--seeds 0 1 2] [--workers 2]
    python Testing/Benchmarks/accuracy.py --data FOLDER --on pool --rows default --lever "late: --ramp 1"
    python Testing/Benchmarks/accuracy.py --on sample
    python Testing/Benchmarks/accuracy.py --data FOLDER --corrupt

A budget is in units: what one step of supervised training on two crops costs, forwards and back, with the patch that is
planned where neither time nor memory limits it; passing a crop forwards only counts a third. So a busy machine changes
nothing, and a method that costs more per step makes fewer steps. With ``--minutes`` the budget is wall clock instead.

FOLDER holds images/, labels/ and split.json with the keys labelled_4, pool and test. ``--on`` says what is measured:

- test: training sees the labels of four pool cases (seed 0: labelled_4, other seeds draw others), the rest of the pool
  without labels; measured are the test cases, with the final checkpoint, and nothing is chosen on them.
- pool: every seed draws other labelled and measured cases from the pool. Settings are chosen here.
- sample: the synthetic sample, another one for every seed.

``--corrupt`` spoils half of the labelled annotations: dilated or eroded by 2 voxels and shifted by up to 3. ``--lever``
adds rows: the default with other options. Every run is a ``metassl train``, ``predict`` and ``evaluate`` of its own and
leaves its result in one JSON below ``--results``: runs that have one are not repeated, runs that were cut off continue.
With ``--device cuda`` a GPU trains what is planned for a CPU: the same network, patch and steps, in less time.
Tables and curves are made from all results; those of docs/benchmarks.md are in Testing/Benchmarks/Results.
"""

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import report
import SimpleITK as sitk
import torch
from metassl.data.dataset import Dataset
from metassl.data.images import image_like, read_image, write_image
from metassl.data.sample import make_sample
from metassl.files import write_text
from metassl.job import Job
from metassl.layouts.prepare import prepare
from metassl.planning.planner import make_plan
from metassl.training.fitting import Fit
from report import machine, put_between_marks
from skimage.morphology import ball, dilation, erosion

METHODS = ("mean-teacher", "cps", "fixmatch", "r-drop", "cct")
BASE = "default"
"""The row without any option, which levers change and are compared with."""
FULL = "full supervision on the pool"
SUPERVISED = "supervised only"
MEASURED_ON_POOL = 24
METRICS = {"dice": 4, "hd95": 3, "assd": 3}
"""What is reported, with how many decimals."""
MARK = "<!-- accuracy table -->"


@dataclass(frozen=True)
class Run:
    """One row and seed: whether everything is labelled, and the training options."""

    row: str
    options: tuple[str, ...]
    seed: int
    all_labelled: bool = False

    @property
    def name(self) -> str:
        """Folder name."""
        return f"{self.row.replace(' ', '-').replace('+', 'with')}-seed{self.seed}".lower()


def runs(seeds: list[int], levers: list[str] = ()) -> list[Run]:
    """All runs, seed by seed, so that early results cover all rows."""
    found = []
    for seed in seeds:
        found.append(Run(SUPERVISED, ("--method", "supervised"), seed))
        found.append(Run(FULL, ("--method", "supervised"), seed, True))
        found.append(Run(BASE, (), seed))
        for method in METHODS:
            for loss in ("own", "metassl"):
                row = f"{method} + MetaSSL" if loss == "metassl" else method
                found.append(Run(row, ("--method", method, "--loss", loss), seed))
        for lever in levers:
            name, _, options = lever.partition(":")
            found.append(Run(f"lever {name.strip()}", tuple(options.split()), seed))
    return found


@dataclass(frozen=True)
class Experiment:
    """Runs that may be compared with each other: what is measured on which data, with which budget.

    Attributes:
        data: folder of the organ; None: the sample.
        on: "test", "pool" or "sample".
        corrupt: whether half of the annotations are spoilt.
        budget: units, or minutes.
        unit: of the budget.
    """

    data: Path | None
    on: str
    corrupt: bool
    budget: float
    unit: str = "units"

    @property
    def name(self) -> str:
        """Folder and heading."""
        where = "sample" if self.data is None else f"{self.data.name} {self.on}"
        return f"{where}{' corrupted' if self.corrupt else ''} {self.budget:g} {self.unit}"


def planned_for_cpu(dataset: Dataset, job: Job) -> list[str]:
    """Options with which another device trains what a CPU would."""
    cpu = torch.device("cpu")
    plan = make_plan(dataset, job, "cpu", Fit(job, cpu, torch.float32).most_voxels)
    spacing, patch = ([str(n) for n in values[::-1]] for values in (plan.spacing, plan.patch))
    return ["--network", plan.network.size, "--spacing", *spacing, "--patch", *patch]


def unit_megavoxels(dataset: Dataset) -> float:
    """Million voxels of one unit: two crops of the patch that is planned without limits for a CPU."""
    return 2 * math.prod(make_plan(dataset, Job(method="supervised")).patch) / 1e6


def dataset_of(run: Run, here: Experiment, args: argparse.Namespace, folder: Path) -> Dataset:
    """The cases of a run; those that are measured have the role "ignored"."""
    if here.data is None:
        path = args.out / "samples" / str(run.seed) / "dataset.json"
        made = Dataset.load(path)
        measured = [c.id for c in made.with_role("ignored")]
        labelled = [c.id for c in made.with_role("labelled")][:4]
    else:
        made, _ = prepare(here.data)
        split = json.loads((here.data / "split.json").read_text(encoding="utf-8"))
        measured, labelled, pool = split["test"], split["labelled_4"], split["pool"]
        if here.on == "pool" or run.seed:
            pool = sorted(pool)
            random.Random(1000 + run.seed).shuffle(pool)
            labelled = pool[MEASURED_ON_POOL : MEASURED_ON_POOL + 4]
        if here.on == "pool":
            measured = pool[:MEASURED_ON_POOL]
        made = replace(made, cases=tuple(c for c in made.cases if c.id in {*measured, *pool}))
    roles = {c.id: "labelled" if run.all_labelled or c.id in labelled else "unlabelled" for c in made.cases}
    made = made.with_roles({**roles, **dict.fromkeys(measured, "ignored")})
    return corrupted(made, sorted(labelled)[::2], run.seed, folder) if here.corrupt else made


def corrupted(dataset: Dataset, cases: list[str], seed: int, folder: Path) -> Dataset:
    """The data set with the labels of some cases dilated or eroded by 2 voxels and shifted by up to 3."""
    changed = []
    for case in dataset.cases:
        if case.id in cases and case.role == "labelled":
            label = read_image(case.label)
            spoilt = spoil(sitk.GetArrayFromImage(label), np.random.default_rng((seed, cases.index(case.id))))
            path = folder / "spoilt" / f"{case.id}.nii.gz"
            write_image(image_like(spoilt, label), path)
            case = replace(case, label=str(path))
        changed.append(case)
    return replace(dataset, cases=tuple(changed))


def spoil(label: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A wrong annotation: grown or shrunk by 2 voxels, then shifted by up to 3 voxels along every axis."""
    if generator.random() < 0.5:
        grown = dilation(label, ball(2))
        label = np.where(label > 0, label, grown)
    else:
        label = np.where(erosion(label > 0, ball(2)), label, 0)
    shift = generator.integers(-3, 4, 3)
    padded = np.pad(label, 3)
    return padded[tuple(slice(3 - s, 3 - s + n) for s, n in zip(shift, label.shape))].astype(np.uint8)


def execute(run: Run, here: Experiment, args: argparse.Namespace, cases: Callable[..., Dataset] = dataset_of) -> None:
    """Train, predict, evaluate; write the result last.

    Args:
        run, here, args: what, on which data, and the command line.
        cases: as ``dataset_of``.
    """
    folder = args.out / here.name / run.name
    result = args.results / here.name / f"{run.name}.json"
    if result.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)

    def metassl(*arguments: str) -> None:
        with open(folder / "log.txt", "a", encoding="utf-8") as log:
            report.metassl(*arguments, threads=args.threads, stdout=log, stderr=log)

    file, trained = folder / "dataset.json", folder / "run"
    if (trained / "job.json").exists():
        metassl("train", "--resume", str(trained))
    else:
        dataset = cases(run, here, args, folder)
        dataset.save(file)
        budget = ["--minutes", str(here.budget)]
        if here.unit == "units":
            megavoxels = round(here.budget * unit_megavoxels(dataset), 6)
            budget = ["--megavoxels", str(megavoxels)]
            if args.device != "cpu":
                budget += planned_for_cpu(dataset, Job(megavoxels=megavoxels))
        budget += ["--threads", str(args.threads), "--device", args.device]
        metassl("train", str(file), "--out", str(trained), "--seed", str(run.seed), *budget, *run.options)
    found = folder / "predictions"
    measured = ("--roles", "ignored", "--threads", str(args.threads), "--device", args.device)
    metassl("predict", str(trained / "model"), str(file), "--out", str(found), *measured)
    metassl("evaluate", str(found), str(file), "--out", str(folder))
    patch = json.loads((trained / "plan.json").read_text(encoding="utf-8"))["patch"]
    rows = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["rows"]
    options = [option.removeprefix(f"{args.out}{os.sep}") for option in run.options]  # no path of this machine
    facts = {"threads": args.threads, "options": options, "patch": patch, **training_facts(trained)}
    write_result(result, run, here, {**facts, "machine": machine(args.device)}, rows)


def write_result(file: Path, run: Run, here: Experiment, facts: dict, rows: list[dict]) -> None:
    """Write what the tables are made of.

    Args:
        file: the JSON.
        run, here: what was measured, and on which data.
        facts: of the training: threads, options, patch, training_seconds, steps, machine.
        rows: of metrics.json.
    """
    what = {"row": run.row, "seed": run.seed, "budget": here.budget, "unit": here.unit}
    write_text(file, json.dumps({**what, **facts, "cases": measured_cases(rows)}) + "\n")


def measured_cases(rows: list[dict]) -> dict[str, dict[str, list[float | None]]]:
    """Metric -> case -> its values, class by class, of the rows of metrics.json."""
    found: dict[str, dict[str, list[float | None]]] = {metric: {} for metric in METRICS}
    for row in rows:
        for metric, digits in METRICS.items():
            value = None if row[metric] is None else round(row[metric], digits + 2)
            found[metric].setdefault(row["case"], []).append(value)
    return found


def training_facts(run: Path) -> dict[str, float]:
    """Seconds in the training loop and number of steps, from the last checkpoint that a run tells of."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    last = [event for event in events if event["event"] == "checkpoint"][-1]
    return {"training_seconds": last["seconds"], "steps": last["iteration"]}


def results(folder: Path) -> list[dict]:
    """All finished runs of an experiment."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def case_values(result: dict, metric: str) -> dict[str, float]:
    """Case -> mean over the classes of a metric; undefined distances are left out."""
    defined = {case: [v for v in values if v is not None] for case, values in result["cases"][metric].items()}
    return {case: statistics.fmean(values) for case, values in defined.items() if values}


def paired(group: list[dict], base: list[dict]) -> str:
    """Mean Dice difference over cases, with its 95 % confidence interval; only seeds that both have count."""
    seeds = {r["seed"] for r in group} & {r["seed"] for r in base}
    if not seeds:
        return ""

    def per_case(results: list[dict]) -> dict[str, float]:
        found: dict[str, list[float]] = {}  # not every seed measures the same cases
        for result in results:
            for case, value in case_values(result, "dice").items() if result["seed"] in seeds else ():
                found.setdefault(case, []).append(value)
        return {case: statistics.fmean(values) for case, values in found.items()}

    mine, theirs = per_case(group), per_case(base)
    differences = [mine[case] - theirs[case] for case in mine]
    half = 1.96 * statistics.stdev(differences) / len(differences) ** 0.5
    return f"{statistics.fmean(differences):+.4f} ± {half:.4f}"


def gap_closed(group: list[dict], rows: dict[str, list[dict]]) -> str:
    """Share of the way from supervised only to full supervision, over the seeds that all three have."""
    three = [{r["seed"]: r for r in found} for found in (group, rows[SUPERVISED], rows[FULL])]
    seeds = set.intersection(*(set(found) for found in three))
    if not seeds or group[0]["row"] in (SUPERVISED, FULL):
        return ""
    mine, low, high = (
        statistics.fmean(statistics.fmean(case_values(found[seed], "dice").values()) for seed in seeds)
        for found in three
    )
    return f"{100 * (mine - low) / (high - low):.0f} %" if high > low else ""


def lost(group: list[dict], whole: list[dict]) -> str:
    """Dice that spoilt annotations cost: that of the same row and seeds with the right ones, minus this."""
    minus = paired(whole, group)
    return minus.removeprefix("+")


def table(found: list[dict], whole: list[dict] = ()) -> str:
    """Markdown: a row per method, in the order of ``runs``, levers last.

    Args:
        found: results of one experiment.
        whole: results of the same experiment with all annotations right, when ``found`` had spoilt ones.
    """
    rows: dict[str, list[dict]] = {run.row: [] for run in runs([0])}
    for result in found:
        rows.setdefault(result["row"], []).append(result)
    lines = [
        "| row | seeds | Dice | HD95 mm | ASSD mm | Dice against supervised only "
        "| Dice against own loss (lever: default) | gap closed | steps | minutes |"
        + (" Dice lost to spoilt annotations |" if whole else ""),
        "|---|---|---|---|---|---|---|---|---|---|" + ("---|" if whole else ""),
    ]
    for row, group in rows.items():
        if not group:
            continue
        cells = []
        for metric, digits in METRICS.items():
            values = [case_values(result, metric).values() for result in group]
            means = [statistics.fmean(found) for found in values if found]  # no distance where nothing was found
            spread = f" ± {statistics.stdev(means):.{digits}f}" if len(means) > 1 else ""
            cells.append(f"{statistics.fmean(means):.{digits}f}{spread}" if means else "")
        base = []
        if row.endswith(" + MetaSSL"):
            base = rows[row.removesuffix(" + MetaSSL")]
        elif row.startswith("lever "):
            base = rows[BASE]
        minutes = statistics.median(result["training_seconds"] for result in group) / 60
        steps = statistics.median(result["steps"] for result in group)
        against = "" if row == SUPERVISED else paired(group, rows[SUPERVISED])
        seeds = ", ".join(str(result["seed"]) for result in sorted(group, key=lambda r: r["seed"]))
        lines.append(
            f"| {row} | {seeds} | {' | '.join(cells)} | {against} | {paired(group, base)} | {gap_closed(group, rows)} "
            f"| {steps:.0f} | {minutes:.1f} |"
            + (f" {lost(group, [r for r in whole if r['row'] == row])} |" if whole else "")
        )
    return "\n".join(lines)


def natural(path: Path) -> list:
    """Sorts names by their words, numbers by their size."""
    return [(0, float(w), "") if w.replace(".", "").isdigit() else (1, 0.0, w) for w in path.name.split()]


def compared(results_folder: Path) -> Iterator[tuple[str, dict[str, list[dict]]]]:
    """Name and results by row of the experiments on right annotations that have supervised only and the default."""
    for folder in sorted(results_folder.iterdir(), key=natural):
        groups = {row: [r for r in results(folder) if r["row"] == row] for row in (SUPERVISED, BASE, FULL)}
        if "corrupted" not in folder.name and groups[SUPERVISED] and groups[BASE]:
            yield folder.name, groups


def mean_dice(group: list[dict]) -> float:
    """Mean over the seeds of the mean over the cases."""
    return statistics.fmean(statistics.fmean(case_values(result, "dice").values()) for result in group)


def curve(results_folder: Path) -> str:
    """Markdown: mean Dice of supervised only, the default and full supervision, by organ and budget."""
    rows = (SUPERVISED, BASE, FULL)
    lines = [f"| | {' | '.join(rows)} | gain with its interval |", "|---|" + "---|" * (len(rows) + 1)]
    for name, groups in compared(results_folder):
        means = [f"{mean_dice(groups[row]):.4f}" if groups[row] else "" for row in rows]
        lines.append(f"| {name} | {' | '.join(means)} | {paired(groups[BASE], groups[SUPERVISED])} |")
    return "\n".join(lines)


def draw_curve(results_folder: Path, file: Path) -> None:
    """Dice against the budget: a panel per organ, supervised only and the default, every seed and their mean."""
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("Agg")  # into a file, whatever else runs in this process

    organs: dict[str, list[tuple[float, dict[str, list[dict]]]]] = {}
    for name, groups in compared(results_folder):
        organ, _, budget = name.removesuffix(" units").rpartition(" ")
        if name.endswith(" units"):
            organs.setdefault(organ, []).append((float(budget), groups))
    figure, panels = pyplot.subplots(1, len(organs), figsize=(3 * len(organs), 3), layout="constrained", squeeze=False)
    for panel, (organ, found) in zip(panels[0], organs.items()):
        budgets = [budget for budget, _ in found]
        for row, colour in ((SUPERVISED, "tab:gray"), (BASE, "tab:green")):
            panel.plot(budgets, [mean_dice(groups[row]) for _, groups in found], "-", color=colour, label=row)
            for budget, groups in found:
                panel.plot([budget] * len(groups[row]), [mean_dice([r]) for r in groups[row]], ".", color=colour)
        panel.set(title=organ.removesuffix(" test").replace("_", " "), xscale="log", xlabel="units")
        panel.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("Dice")
    panels[0][0].legend(frameon=False)
    figure.savefig(file, dpi=110)


def show_tables(args: argparse.Namespace) -> None:
    """Print the curve and a table per experiment; in the document, if one is given, they replace a marked part."""
    parts = [curve(args.results)]
    for folder in sorted(args.results.iterdir(), key=natural):
        found = results(folder)
        if not found:
            continue
        where = f"{found[0]['machine']}, {found[0]['threads']} thread(s) per run"
        whole = results(folder.with_name(folder.name.replace(" corrupted", ""))) if "corrupted" in folder.name else ()
        parts.append(f"**{folder.name}**, {where}\n\n{table(found, whole)}")
    text = "\n\n".join(parts)
    print(text)
    if args.table:
        put_between_marks(args.table, MARK, text)
    if args.figure:
        draw_curve(args.results, args.figure)


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", help="folders with images/, labels/ and split.json")
    parser.add_argument("--on", choices=("test", "pool", "sample"), default="test", help="what is measured")
    parser.add_argument("--corrupt", action="store_true", help="spoil half of the labelled annotations")
    parser.add_argument("--lever", action="append", default=[], metavar="NAME: OPTIONS", help="an additional row")
    parser.add_argument("--out", type=Path, default=Path("build/accuracy"), help="folder of the runs")
    parser.add_argument("--results", type=Path, help="folder of the JSONs; OUT/results when not given")
    parser.add_argument("--budget", type=float, nargs="+", default=[500], metavar="UNITS", help="compute, see above")
    parser.add_argument("--minutes", type=float, nargs="+", help="wall clock instead of compute")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rows", nargs="+", help="only these rows, and all levers")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads per run")
    parser.add_argument("--device", default="cpu", help="cpu or cuda; see above")
    parser.add_argument("--table", type=Path, help="document whose tables are replaced")
    parser.add_argument("--figure", type=Path, help="picture of the curves that is replaced")
    args = parser.parse_args()
    if args.data is None and args.on != "sample":
        parser.error("--data is needed, unless it is --on sample")
    args.out = args.out.resolve()
    args.results = args.results or args.out / "results"
    folders = [None] if args.on == "sample" else [folder.resolve() for folder in args.data]
    budgets = [(m, "minutes") for m in args.minutes] if args.minutes else [(b, "units") for b in args.budget]
    experiments = [Experiment(f, args.on, args.corrupt, *budget) for budget in budgets for f in folders]
    wanted = [
        r for r in runs(args.seeds, args.lever) if not args.rows or r.row in args.rows or r.row.startswith("lever ")
    ]
    for seed in args.seeds if args.on == "sample" else ():
        folder = args.out / "samples" / str(seed)
        if not (folder / "dataset.json").exists():
            make_sample(folder, seed=1000 + seed, labelled=28, unlabelled=0, test=16)

    def attempt(item: tuple[Run, Experiment]) -> bool:
        run, here = item
        begin = time.time()
        try:
            execute(run, here, args)
        except subprocess.CalledProcessError as error:
            print(f"{here.name}, {run.name}: failed, exit code {error.returncode}; see its log.txt", flush=True)
            return False
        print(f"{here.name}, {run.name}: {time.time() - begin:.0f} s", flush=True)
        return True

    with ThreadPoolExecutor(args.workers) as pool:
        fine = all(list(pool.map(attempt, [(run, here) for run in wanted for here in experiments])))
    show_tables(args)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
