"""Accuracy of every method with its own loss and with MetaSSL, on real data, with one configuration for all.

    python Testing/Benchmarks/accuracy.py --data FOLDER [--iterations 800] [--seeds 0 1] [--workers 2] [--table FILE]

FOLDER holds images/, labels/ and split.json with the keys labelled_4, pool and test: training sees the labels of
labelled_4 only, the rest of the pool without labels; test cases are predicted with the final checkpoint and nothing is
chosen on them. Every run is a ``metassl train``, ``predict`` and ``evaluate`` of its own with its result in one JSON;
runs that have one are not repeated, runs that were cut off go on. The table is made from all results.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

METHODS = ("mean-teacher", "cps", "fixmatch", "r-drop", "cct")
MARK = "<!-- accuracy table -->"


@dataclass(frozen=True)
class Run:
    """One row and seed: which cases are labelled, and the training options."""

    row: str
    labelled: str
    options: tuple[str, ...]
    seed: int

    @property
    def name(self) -> str:
        """Folder name."""
        return f"{self.row.replace(' ', '-').replace('+', 'with')}-{self.labelled}-seed{self.seed}".lower()


def runs(seeds: list[int]) -> list[Run]:
    """All runs, seed by seed, so that early results cover all rows."""
    found = []
    for seed in seeds:
        found.append(Run("supervised only", "labelled_4", ("--method", "supervised"), seed))
        full = ("--method", "supervised", "--batch-labelled", "4")
        found.append(Run("full supervision on the pool", "pool", full, seed))
        for method in METHODS:
            for loss in ("own", "metassl"):
                row = f"{method} + MetaSSL" if loss == "metassl" else method
                found.append(Run(row, "labelled_4", ("--method", method, "--loss", loss), seed))
    return found


def execute(run: Run, args: argparse.Namespace) -> None:
    """Train, predict, evaluate; write result.json last."""
    folder = args.out / f"{args.iterations}" / run.name
    result = folder / "result.json"
    if result.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    split = args.data / "split.json"
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}

    def metassl(*arguments: str) -> None:
        with open(folder / "log.txt", "a", encoding="utf-8") as log:
            command = [sys.executable, "-m", "metassl", *arguments]
            subprocess.run(command, stdout=log, stderr=log, check=True, env=environment)

    dataset, trained = folder / "dataset.json", folder / "run"
    unlabelled = [] if run.labelled == "pool" else ["--unlabelled", f"@{split}:pool"]
    chosen = [*unlabelled, "--labelled", f"@{split}:{run.labelled}", "--ignored", f"@{split}:test"]
    metassl("prepare", str(args.data), "--out", str(dataset), *chosen)
    budget = ["--iterations", str(args.iterations), "--threads", str(args.threads)]
    if (trained / "job.json").exists():
        metassl("train", "--resume", str(trained))
    else:
        metassl("train", str(dataset), "--out", str(trained), "--seed", str(run.seed), *budget, *run.options)
    tests = [
        str(args.data / "images" / f"{case}.nii.gz") for case in json.loads(split.read_text(encoding="utf-8"))["test"]
    ]
    results = folder / "predictions"
    metassl("predict", str(trained / "model"), *tests, "--out", str(results), "--threads", str(args.threads))
    metassl("evaluate", str(results), str(dataset), "--out", str(folder))
    content = {
        "row": run.row,
        "seed": run.seed,
        "iterations": args.iterations,
        "threads": args.threads,
        "options": run.options,
        "training_seconds": training_seconds(trained),
        "machine": machine(),
        "metrics": json.loads((folder / "metrics.json").read_text(encoding="utf-8")),
    }
    partial = folder / "result.json.partial"
    partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
    partial.replace(result)


def training_seconds(run: Path) -> float:
    """Seconds in the training loop, from the last event of the run."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    return [event["seconds"] for event in events if event["event"] == "checkpoint"][-1]


def machine() -> str:
    """Processor and number of cores."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        models = [
            x for x in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if x.startswith("model name")
        ]
        name = models[0].split(":", 1)[1].strip() if models else name
    return f"{name}, {os.cpu_count()} cores"


def results(folder: Path) -> list[dict]:
    """All finished runs below a folder."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("result.json"))]


def case_values(result: dict, metric: str) -> dict[str, float]:
    """Case -> mean over the classes of a metric; undefined distances are left out."""
    values: dict[str, list[float]] = {}
    for row in result["metrics"]["rows"]:
        if row[metric] is not None:
            values.setdefault(row["case"], []).append(row[metric])
    return {case: statistics.fmean(found) for case, found in values.items()}


def paired(group: list[dict], base: list[dict]) -> str:
    """Mean Dice difference over cases, seeds averaged, with its 95 % confidence interval; only seeds that both have."""
    seeds = {r["seed"] for r in group} & {r["seed"] for r in base}
    if not seeds:
        return ""

    def per_case(results: list[dict]) -> dict[str, float]:
        found = [case_values(r, "dice") for r in results if r["seed"] in seeds]
        return {case: statistics.fmean(values[case] for values in found) for case in found[0]}

    mine, theirs = per_case(group), per_case(base)
    differences = [mine[case] - theirs[case] for case in mine]
    half = 1.96 * statistics.stdev(differences) / len(differences) ** 0.5
    return f"{statistics.fmean(differences):+.4f} ± {half:.4f}"


def table(found: list[dict]) -> str:
    """Markdown: a row per method, in the order of ``runs``."""
    rows: dict[str, list[dict]] = {run.row: [] for run in runs([0])}
    for result in found:
        rows[result["row"]].append(result)
    lines = [
        "| method | seeds | Dice | HD95 mm | ASSD mm | Dice against own loss | minutes of training |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, group in rows.items():
        if not group:
            continue
        cells = []
        for metric, digits in (("dice", 4), ("hd95", 3), ("assd", 3)):
            means = [statistics.fmean(case_values(result, metric).values()) for result in group]
            spread = f" ± {statistics.stdev(means):.{digits}f}" if len(means) > 1 else ""
            cells.append(f"{statistics.fmean(means):.{digits}f}{spread}")
        base = rows.get(row.removesuffix(" + MetaSSL"), []) if row.endswith(" + MetaSSL") else []
        minutes = statistics.median(result["training_seconds"] for result in group) / 60
        seeds = ", ".join(str(result["seed"]) for result in sorted(group, key=lambda r: r["seed"]))
        lines.append(f"| {row} | {seeds} | {' | '.join(cells)} | {paired(group, base)} | {minutes:.1f} |")
    return "\n".join(lines)


def write_table(args: argparse.Namespace) -> None:
    """Replace the part of the document between two marks, one table per number of iterations."""
    parts = []
    for folder in sorted(args.out.iterdir(), key=lambda path: int(path.name)):
        found = results(folder)
        if not found:
            continue
        where = f"{found[0]['machine']}, {found[0]['threads']} thread(s) per run"
        parts.append(f"**{folder.name} iterations**, {where}\n\n{table(found)}")
    text = args.table.read_text(encoding="utf-8") if args.table.exists() else f"{MARK}\n{MARK}\n"
    before, _, rest = text.partition(MARK)
    after = rest.partition(MARK)[2]
    args.table.write_text(f"{before}{MARK}\n\n" + "\n\n".join(parts) + f"\n\n{MARK}{after}", encoding="utf-8")


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("build/accuracy"))
    parser.add_argument("--iterations", type=int, default=800)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rows", nargs="+", help="only rows whose name begins with one of these")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads per run")
    parser.add_argument("--table", type=Path, default=Path("docs/benchmarks.md"))
    args = parser.parse_args()
    args.data, args.out = args.data.resolve(), args.out.resolve()
    wanted = [r for r in runs(args.seeds) if not args.rows or r.row.startswith(tuple(args.rows))]

    def attempt(run: Run) -> bool:
        begin = time.time()
        try:
            execute(run, args)
        except subprocess.CalledProcessError as error:
            print(f"{run.name}: failed, exit code {error.returncode}; see its log.txt", flush=True)
            return False
        print(f"{run.name}: {time.time() - begin:.0f} s", flush=True)
        return True

    with ThreadPoolExecutor(args.workers) as pool:
        fine = all(list(pool.map(attempt, wanted)))
    write_table(args)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
