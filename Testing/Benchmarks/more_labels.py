"""What four more labels bring, which cases they should be, and whether a training has to begin anew.

    python Testing/Benchmarks/more_labels.py --data FOLDER [--budget 250] [--seeds 0 1 2 3 4]

A draw begins with four labelled cases and the default training. Chance, ``metassl rank`` (chance without
near-duplicates) and the least agreement each choose four more of the unlabelled cases, whose labels the data set has.
With eight labels a training from the first model takes a third of the budget; with the random ones another from scratch
takes all of it. Results lie beside those of ``accuracy.py``, whose tables show them.
"""

import argparse
import json
import random
from pathlib import Path

import accuracy
from metassl.data.dataset import Dataset
from report import metassl

MORE = 4


def ranking(folder: Path, args: argparse.Namespace) -> list[dict]:
    """The cases of ``metassl rank`` with the model of a run folder's parent, as it orders them."""
    out = folder / "ranking.json"
    if not out.exists():
        words = ["rank", folder / "run", folder / "dataset.json", "--out", out, "--threads", args.threads]
        metassl(*words, "--device", "cpu", threads=args.threads, capture_output=True)
    return json.loads(out.read_text(encoding="utf-8"))["cases"]


def draw(seed: int, here: accuracy.Experiment, args: argparse.Namespace) -> None:
    """One first model, and those that go on from it."""
    first = accuracy.Run("4 labels", (), seed)
    accuracy.execute(first, here, args)
    folder = args.out / here.name / first.name
    dataset = Dataset.load(folder / "dataset.json")
    unlabelled = sorted(case.id for case in dataset.with_role("unlabelled"))
    ranked = ranking(folder, args)
    doubted = sorted(ranked, key=lambda case: -1 if case["agreement"]["mean"] is None else case["agreement"]["mean"])
    third = json.loads((folder / "run" / "job.json").read_text(encoding="utf-8"))["megavoxels"] / 3
    warm = ("from the model, a third", ("--from", str(folder / "run"), "--megavoxels", str(third)))
    for name, chosen, starts in (
        ("random", random.Random(seed).sample(unlabelled, MORE), [warm, ("from scratch", ())]),
        ("metassl rank", [case["case"] for case in ranked[:MORE]], [warm]),
        ("least agreement first", [case["case"] for case in doubted[:MORE]], [warm]),
    ):
        more = dataset.with_roles(dict.fromkeys(chosen, "labelled"))
        for start, options in starts:
            run = accuracy.Run(f"4 more labels, {name}, {start}", options, seed)
            accuracy.execute(run, here, args, lambda *_, more=more: more)
            print(f"{here.name}, {run.name}: done", flush=True)


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
