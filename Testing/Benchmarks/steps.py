"""What a training step takes, against another version of this repository.

    python Testing/Benchmarks/steps.py --against CHECKOUT [--repeats 3] [--iterations 40] [--table docs/benchmarks.md]

Both versions train on the same sample in turns, each in a process of its own on one thread, with equal patches of
40 x 56 x 40 voxels and without a warm-up, so that other load on the machine meets both; compared are seconds per step.
A step of the warm-up costs what a supervised one does.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from report import arguments, machine, publish

MARK = "<!-- steps table -->"
ROOT = Path(__file__).parents[2]
METHODS = ("supervised", "mean-teacher", "cps")
PATCH = ("40", "56", "40")  # the same read from either end: the order changed between versions


def metassl(checkout: Path, *arguments: object) -> str:
    """Run the command of a version; returns its standard error."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "MetaSSLSegment"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "metassl", *map(str, arguments)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stderr


def seconds_per_step(checkout: Path, method: str, sample: Path, iterations: int) -> float:
    """Of one training."""
    options = ["--method", method, "--iterations", iterations, "--network", "small", "--threads", 1, "--patch", *PATCH]
    if checkout == ROOT:
        options += ["--warm-up", 0]
    with tempfile.TemporaryDirectory() as folder:
        metassl(checkout, "train", sample / "dataset.json", "--out", Path(folder, "run"), *options)
        lines = Path(folder, "run", "events.jsonl").read_text(encoding="utf-8").splitlines()
    last = [event for event in map(json.loads, lines) if event["event"] == "checkpoint"][-1]
    return last["seconds"] / last["iteration"]


def table(found: dict, args: argparse.Namespace) -> str:
    """Markdown."""
    lines = [
        f"{machine()}, 1 thread, medians of {args.repeats} trainings of {args.iterations} steps",
        "",
        "| step | s | before, s | ratio |",
        "|---|---|---|---|",
    ]
    for method, (now, before) in found.items():
        ratio = statistics.median(n / b for n, b in zip(now, before))
        lines.append(f"| {method} | {statistics.median(now):.3f} | {statistics.median(before):.3f} | {ratio:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write the table."""
    parser = arguments(__doc__, "steps", 3, "trainings per version and method")
    parser.add_argument("--against", type=Path, required=True, help="checkout of another version")
    parser.add_argument("--iterations", type=int, default=40, help="steps per training")
    args = parser.parse_args()
    found = {method: ([], []) for method in METHODS}
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder, "sample")
        metassl(ROOT, "sample", "--out", sample)
        for _ in range(args.repeats):
            for method, times in found.items():
                for checkout, seconds in zip((ROOT, args.against.resolve()), times):
                    seconds.append(seconds_per_step(checkout, method, sample, args.iterations))
    publish(found, table(found, args), args, MARK)


if __name__ == "__main__":
    main()
