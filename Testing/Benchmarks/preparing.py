"""What a training waits for before its first step: checking, planning and caching; and how fast volumes are read.

    python Testing/Benchmarks/preparing.py --data FOLDER [--against CHECKOUT] [--repeats 5] [--table docs/benchmarks.md]

FOLDER holds images/ and labels/ of small volumes; its first 50 cases are taken, 12 of them labelled. The large volume
is made here: 512 x 512 x 300 voxels of noise like CT in .nii.gz, .nrrd and .mha. With CHECKOUT, the folder of another
version of this repository, both versions run in turns, each time in a process of its own, so that other load on the
machine meets both; given are the medians and the median of the ratios. Importing does not count.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from report import arguments, machine, publish

MARK = "<!-- preparing table -->"
ROOT = Path(__file__).parents[2]
LARGE = (300, 512, 512)
CASES, LABELLED = 50, 12
PREPARE = """
import sys, tempfile, time
from dataclasses import replace
from pathlib import Path
import torch
try:
    from metassl.data.checking import check_dataset
    from metassl.layouts.prepare import prepare
    from metassl.planning.cache import build_cache
    from metassl.planning.planner import make_plan
except ImportError:  # before the engine had folders
    from metassl.checking import check_dataset
    from metassl.layouts import prepare
    from metassl.planning import make_plan
    from metassl.preprocessing import build_cache
from metassl.job import Job
torch.set_num_threads(2)
dataset, _ = prepare(Path(sys.argv[1]))
roles = ["labelled"] * int(sys.argv[3]) + ["unlabelled"] * (int(sys.argv[2]) - int(sys.argv[3]))
dataset = replace(dataset, cases=tuple(replace(c, role=r) for c, r in zip(dataset.cases, roles)))
with tempfile.TemporaryDirectory() as folder:
    begin = time.perf_counter()
    try:
        from metassl.data.kept import KeptVolumes
        kept = KeptVolumes()
        report = check_dataset(dataset, kept=kept)
        dataset = report.usable_dataset()
        plan = make_plan(dataset, Job(), measured=report.measured)
        headers = {m.case.id: m.header for m in report.measured}
        build_cache(dataset, plan, Path(folder), kept=kept, headers=headers)
    except ImportError:  # before volumes were kept
        dataset = check_dataset(dataset).usable_dataset()
        build_cache(dataset, make_plan(dataset, Job()), Path(folder))
    print(time.perf_counter() - begin)
"""
READ = """
import sys, time
try:
    from metassl.data.dataset import Case
    from metassl.data.reading import read_images
except ImportError:
    from metassl.dataset import Case
    from metassl.reading import read_images
import SimpleITK
SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(2)
cases = [Case(str(n), (path,)) for n, path in enumerate(sys.argv[1:])]
read_images(cases[0])
begin = time.perf_counter()
for case in cases:
    read_images(case)
print(time.perf_counter() - begin)
"""


def write_large(folder: Path) -> list[str]:
    """A body of noise in air, int16, compressed."""
    random = np.random.default_rng(0)
    _, y, x = np.ogrid[: LARGE[0], -1 : 1 : LARGE[1] * 1j, -1 : 1 : LARGE[2] * 1j]
    noise = random.normal(0, 12, LARGE)
    image = sitk.GetImageFromArray(np.where(x**2 + y**2 < 0.7, noise + 40, noise / 2 - 1000).astype(np.int16))
    image.SetSpacing((0.7, 0.7, 1.0))
    paths = [str(folder / f"large{ending}") for ending in (".nii.gz", ".nrrd", ".mha")]
    for path in paths:
        sitk.WriteImage(image, path, useCompression=True)
    return paths


def seconds(checkout: Path, program: str, words: list[str]) -> float:
    """What the program measures with the engine of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "MetaSSLSegment")}
    command = [sys.executable, "-c", program, *words]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def measure(args: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    """Row -> median seconds now and, with another version, before, and the median ratio."""
    images = sorted(map(str, (args.data / "images").iterdir()))[:CASES]
    rows = {
        f"check, plan and cache {CASES} cases": (PREPARE, [str(args.data), str(CASES), str(LABELLED)]),
        f"read {CASES} cases": (READ, images),
        **{f"read {Path(path).name}": (READ, [path]) for path in write_large(folder)},
    }
    found = {}
    for name, (program, words) in rows.items():
        pairs = []
        for _ in range(args.repeats):
            before = seconds(args.against, program, words) if args.against else None
            pairs.append((before, seconds(ROOT, program, words)))
        found[name] = {"now": statistics.median(now for _, now in pairs)}
        if args.against:
            found[name]["before"] = statistics.median(before for before, _ in pairs)
            found[name]["ratio"] = statistics.median(now / before for before, now in pairs)
        print(name, found[name], flush=True)
    return found


def main() -> None:
    """Measure, write the JSON and the table."""
    parser = arguments(__doc__, "preparing", 5)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/ of small volumes")
    parser.add_argument("--against", type=Path, help="checkout of another version")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(args, Path(folder))
    found = {"machine": machine(), "repeats": args.repeats, "data": args.data.name, "rows": rows}
    lines = [
        f"{machine()}, {args.data.name}, medians of {args.repeats}",
        "",
        "| | seconds | before | ratio |",
        "|---|---|---|---|",
    ]
    for name, row in rows.items():
        before, ratio = (f"{row[key]:.2f}" if key in row else "-" for key in ("before", "ratio"))
        lines.append(f"| {name} | {row['now']:.2f} | {before} | {ratio} |")
    publish(found, "\n".join(lines), args, MARK)


if __name__ == "__main__":
    main()
