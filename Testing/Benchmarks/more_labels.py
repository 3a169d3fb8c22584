"""What four more labels bring: ranked or random cases, from scratch or from the model in a third of the time.

    python Testing/Benchmarks/more_labels.py --data FOLDER [--budget 250] [--seeds 0 1]

A draw begins with four labels and the default training. ``metassl rank`` and chance then choose four more of the
unlabelled cases, whose labels the data set has. With eight labels a training from scratch takes the same budget again,
one from the first model a third of it. Results lie beside those of ``accuracy.py``, whose tables show them.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import accuracy
from metassl.data.dataset import Dataset

MORE = 4


def ranked(folder: Path, threads: int) -> list[str]:
    """The first cases of ``metassl rank`` with the model of a run folder's parent."""
    out = folder / "ranking.json"
    if not out.exists():
        command = [sys.executable, "-m", "metassl", "rank", str(folder / "run"), str(folder / "dataset.json")]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        command += ["--out", str(out), "--threads", str(threads), "--device", "cpu"]
        subprocess.run(command, check=True, capture_output=True, env=environment)
    return [case["case"] for case in json.loads(out.read_text(encoding="utf-8"))["cases"]][:MORE]


def draw(seed: int, here: accuracy.Experiment, args: argparse.Namespace) -> None:
    """One first model, and four that go on from it."""
    first = accuracy.Run("4 labels", (), seed)
    accuracy.execute(first, here, args)
    folder = args.out / here.name / first.name
    dataset = Dataset.load(folder / "dataset.json")
    unlabelled = sorted(case.id for case in dataset.with_role("unlabelled"))
    third = json.loads((folder / "run" / "job.json").read_text(encoding="utf-8"))["megavoxels"] / 3
    warm = ("--from", str(folder / "run"), "--megavoxels", str(third))
    for name, chosen in (
        ("random", random.Random(seed).sample(unlabelled, MORE)),
        ("ranked", ranked(folder, args.threads)),
    ):
        more = dataset.with_roles(dict.fromkeys(chosen, "labelled"))
        for start, options in (("from scratch", ()), ("from the model, a third", warm)):
            run = accuracy.Run(f"4 more labels, {name}, {start}", options, seed)
            accuracy.execute(run, here, args, lambda *_, more=more: more)
            print(f"{run.name}: done", flush=True)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="as for accuracy.py")
    parser.add_argument("--budget", type=float, default=250, metavar="UNITS")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/accuracy"), help="folder of the runs")
    parser.add_argument("--results", type=Path, default=Path("build/accuracy/results"))
    args = parser.parse_args()
    args.out, args.device = args.out.resolve(), "cpu"
    here = accuracy.Experiment(args.data.resolve(), "more labels", False, args.budget)
    for seed in args.seeds:
        draw(seed, here, args)
    print(accuracy.table(accuracy.results(args.results / here.name)))


if __name__ == "__main__":
    main()
