"""Speed of training: steps of every method, samples per second against other loops, memory with many cases.

    python Testing/Benchmarks/training.py [--repeats 15] [--threads 1] [--table docs/benchmarks.md]

All candidates of a table run in one process on the same crops of synthetic volumes (network small, patch 40 x 56 x 40,
2 labelled + 2 unlabelled crops), in turns, so that other load on the machine meets all of them; given are medians.

- Steps: a whole optimiser step of each method with its own loss and with MetaSSL.
- Passes: 4 patches through the network as we build it (see metassl/normalisation.py) and as MONAI does.
- Throughput: our supervised training against a loop as in MONAI's tutorials (MONAI's transforms, DynUNet, DiceCELoss,
  autocast), each with its own reading and augmentation of crops; and how long our loop waits for crops.
- Memory: peak resident size of `metassl train` with 10 and with 1000 cases, each in a process of its own, and the time
  from start to first step on a set that is cached already.
- Busy machine: steps of `metassl train` with all cores beside one busy process per two cores, against the same with the
  OpenMP library's own spinning.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from accuracy import METHODS, training_facts
from metassl.crops.prefetching import Prefetcher
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.devices import autocast, choose_device, choose_precision
from metassl.events import Reporter
from metassl.job import Job
from metassl.networks.dynunet import build_network, network_arguments
from metassl.networks.instance_norm import move_to_device
from metassl.planning.cache import build_cache
from metassl.planning.planner import make_plan
from metassl.training.run_folder import RunFolder
from metassl.training.trainer import Trainer
from monai.data import CacheDataset, DataLoader
from monai.losses import DiceCELoss
from monai.networks.nets import DynUNet
from monai.transforms import Compose, RandAffined, RandCropByPosNegLabeld, RandGaussianNoised, RandScaleIntensityd
from report import arguments, machine, publish, synchronised

MARK = "<!-- training table -->"
PATCH = (40, 56, 40)
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Program that runs another one and prints its peak resident size."""


def volumes(folder: Path, labelled: int, unlabelled: int) -> Dataset:
    """Noise with a bright ellipsoid, written as NIfTI; about the size of a hippocampus crop."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = (36, 50, 36)
    position = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    cases = []
    for number in range(labelled + unlabelled):
        random = np.random.default_rng(number)
        radius = random.uniform(0.4, 0.7, (3, 1, 1, 1))
        inside = np.square(position / radius).sum(0) < 1
        label = inside * np.where(position[0] > 0, 2, 1)
        image = (random.normal(size=shape) + 2 * inside).astype(np.float32)
        paths = []
        for kind, array in (("image", image), ("label", label.astype(np.uint8))):
            paths.append(str(folder / f"{number:04}-{kind}.nii.gz"))
            sitk.WriteImage(sitk.GetImageFromArray(array), paths[-1], useCompression=False)
        known = number < labelled
        cases.append(
            Case(f"{number:04}", (paths[0],), paths[1] if known else None, "labelled" if known else "unlabelled")
        )
    dataset = Dataset(
        name="bench",
        channels=("MR",),
        classes=(SegmentClass("front", 1, (255, 0, 0)), SegmentClass("back", 2, (0, 0, 255))),
        cases=tuple(cases),
    )
    dataset.save(folder / "dataset.json")
    return dataset


class Set:
    """A planned and cached data set, from which trainers are made."""

    def __init__(self, folder: Path, threads: int):
        self.folder = folder
        self.device = choose_device("auto")
        self.job = Job(iterations=100000, network="small", patch=PATCH, threads=threads)
        self.dataset = volumes(folder / "volumes", 4, 16)
        self.plan = make_plan(self.dataset, self.job, self.device.type)
        self.cases = build_cache(self.dataset, self.plan, folder / "cache")

    def trainer(self, **settings) -> Trainer:
        """A fresh trainer with other settings."""
        job = replace(self.job, **settings)
        run = RunFolder(self.folder / f"{job.method}-{job.loss}-{time.monotonic_ns()}")
        run.create(job, self.dataset)
        return Trainer(run, job, self.dataset, self.plan, self.cases, self.device, Reporter(events=False))


def step_seconds(data: Set, repeats: int) -> dict[str, dict[str, float]]:
    """Method -> loss -> median seconds of a step, all candidates in turns."""
    found = {}
    for method in METHODS:
        trainers = {loss: data.trainer(method=method, loss=loss) for loss in ("own", "metassl")}
        times: dict[str, list[float]] = {loss: [] for loss in trainers}
        for step in range(repeats + 2):
            for loss, trainer in trainers.items():
                crops = trainer.sampler.crops(step)
                begin = synchronised(data.device)
                trainer.step(crops)
                times[loss].append(synchronised(data.device) - begin)
        found[method] = {loss: statistics.median(values[2:]) for loss, values in times.items()}
    return found


def pass_seconds(data: Set, repeats: int) -> dict[str, dict[str, float]]:
    """Pass -> network -> median seconds of 4 patches through MONAI's DynUNet as it is, and ours, also in float32."""
    plain = DynUNet(**network_arguments(data.plan.network)).to(data.device)
    ours = move_to_device(build_network(data.plan.network), data.device)
    chosen = choose_precision(data.device)
    networks = {"plain": (plain, chosen), "ours": (ours, chosen), "float32": (ours, torch.float32)}
    images = torch.randn(4, 1, *PATCH, device=data.device)
    times = {kind: {name: [] for name in networks} for kind in ("forward", "forward and backward")}
    for _ in range(repeats + 2):
        for kind, found in times.items():
            for name, (network, precision) in networks.items():
                begin = synchronised(data.device)
                with torch.set_grad_enabled(kind != "forward"), autocast(data.device, precision):
                    logits = network(images)
                if kind != "forward":
                    logits.float().square().mean().backward()
                found[name].append(synchronised(data.device) - begin)
    return {k: {name: statistics.median(v[2:]) for name, v in found.items()} for k, found in times.items()}


def our_loop(data: Set):
    """Yields (seconds of a whole step, seconds of waiting for crops) of our supervised training, 4 crops per step."""
    trainer = data.trainer(method="supervised", batch_labelled=4)
    with closing(Prefetcher(trainer.sampler, 0)) as prefetcher:
        batches = iter(prefetcher)
        while True:
            begin = synchronised(data.device)
            crops = next(batches)
            waited = time.perf_counter() - begin
            trainer.step(crops)
            yield synchronised(data.device) - begin, waited


def tutorial_loop(data: Set):
    """Yields (seconds, 0) of a loop as in MONAI's tutorials, with the same network, patch, batch and number format."""
    items = [
        {"image": np.asarray(case.image(), np.float32), "label": np.asarray(case.label())[None].astype(np.uint8)}
        for case in data.cases
        if case.role == "labelled"
    ]
    keys = ("image", "label")
    transforms = Compose(
        [
            RandCropByPosNegLabeld(keys, "label", PATCH, num_samples=1, allow_smaller=True),
            RandAffined(
                keys,
                prob=1,
                spatial_size=PATCH,
                rotate_range=(0.26, 0.26, 0.26),
                scale_range=(0.2, 0.2, 0.2),
                mode=("bilinear", "nearest"),
            ),
            RandScaleIntensityd("image", 0.3, prob=0.5),
            RandGaussianNoised("image", prob=0.5, std=0.2),
        ]
    )
    loader = DataLoader(
        CacheDataset(items * 250, transforms, progress=False, cache_rate=0), batch_size=4, shuffle=True, num_workers=0
    )
    torch.manual_seed(0)
    network = DynUNet(**network_arguments(data.plan.network)).to(data.device)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True)
    precision = choose_precision(data.device)
    batches = iter(loader)
    while True:
        begin = synchronised(data.device)
        batch = next(batches)
        image, label = batch["image"].to(data.device), batch["label"].to(data.device)
        optimizer.zero_grad(set_to_none=True)
        with autocast(data.device, precision):
            logits = network(image)
        loss_of(logits.float(), label).backward()
        optimizer.step()
        yield synchronised(data.device) - begin, 0.0


def throughput(data: Set, repeats: int) -> dict[str, float]:
    """Median samples per second of both loops, and the share of our loop that is waiting for crops."""
    loops = {"ours": our_loop(data), "tutorial": tutorial_loop(data)}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
    for _ in range(repeats + 2):
        for name, loop in loops.items():
            times[name].append(next(loop))
    result = {name: 4 / statistics.median(seconds for seconds, _ in values[2:]) for name, values in times.items()}
    result["waiting"] = statistics.median(waited / seconds for seconds, waited in times["ours"][2:])
    return result


def run_of(folder: Path, cases: int, threads: int) -> dict[str, float]:
    """Peak memory (MiB) of a short `metassl train` with so many cases; seconds to the first step when cached."""
    volumes(folder / str(cases), 4, cases - 4)
    run = folder / f"run-{cases}"
    options = ["--iterations", "3", "--network", "small", "--patch", *map(str, PATCH), "--threads", str(threads)]
    command = [sys.executable, "-m", "metassl", "train"]
    first = [*command, str(folder / str(cases) / "dataset.json"), "--out", str(run), *options]
    printed = subprocess.run([sys.executable, "-c", PEAK, *first], check=True, capture_output=True, text=True).stdout
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    # the same again from the start of training: plan and cache are there
    (run / "checkpoint.pt").unlink()
    (run / "events.jsonl").unlink()
    begin = time.time()
    subprocess.run([*command, "--resume", str(run)], check=True, capture_output=True)
    events = [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    started = next(event["time"] for event in events if event["event"] == "start")
    return {"MiB": int(printed.split()[-1]) / unit, "seconds to first step": started - begin}


def busy_seconds(folder: Path, repeats: int) -> dict[str, float]:
    """Median seconds per step beside busy processes, with our waiting of threads and with the library's default."""
    volumes(folder / "busy", 4, 6)
    times: dict[str, list[float]] = {"ours": [], "default": []}
    endless = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(endless) for _ in range(max(1, (os.cpu_count() or 1) // 2))]
    try:
        for repeat in range(repeats):
            for name, environment in (("ours", {}), ("default", {"GOMP_SPINCOUNT": "300000"})):
                run = folder / f"busy-{name}-{repeat}"
                options = ["--iterations", "8", "--network", "small", "--patch", *map(str, PATCH)]
                command = [sys.executable, "-m", "metassl", "train", str(folder / "busy" / "dataset.json")]
                command += ["--out", str(run), *options]
                subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})
                times[name].append(training_facts(run)["training_seconds"] / 8)
    finally:
        for other in others:
            other.kill()
    return {name: statistics.median(found) for name, found in times.items()}


def table(found: dict) -> str:
    """Markdown."""
    lines = [
        f"{found['machine']}, {found['threads']} thread(s), {found['device']}, medians of {found['repeats']} steps",
        "",
        "| step | own loss, ms | MetaSSL, ms | ratio |",
        "|---|---|---|---|",
    ]
    for method, seconds in found["steps"].items():
        own, metassl = seconds["own"], seconds["metassl"]
        lines.append(f"| {method} | {1000 * own:.0f} | {1000 * metassl:.0f} | {metassl / own:.2f} |")
    speed, small, large = found["throughput"], found["memory"]["10"], found["memory"]["1000"]
    lines += [
        "",
        "| | ours | peer | ratio |",
        "|---|---|---|---|",
        *(
            f"| {kind} of 4 patches, ms, against MONAI's DynUNet as it is | {1000 * seconds['ours']:.0f} "
            f"| {1000 * seconds['plain']:.0f} | {seconds['ours'] / seconds['plain']:.2f} |"
            for kind, seconds in found["passes"].items()
        ),
        *(
            f"| {kind} of 4 patches, ms, against ours in float32 | {1000 * seconds['ours']:.0f} "
            f"| {1000 * seconds['float32']:.0f} | {seconds['ours'] / seconds['float32']:.2f} |"
            for kind, seconds in found["passes"].items()
        ),
        f"| supervised training, samples per second, against a MONAI tutorial loop | {speed['ours']:.2f} "
        f"| {speed['tutorial']:.2f} | {speed['ours'] / speed['tutorial']:.2f} |",
        f"| share of our step spent waiting for crops | {100 * speed['waiting']:.1f} % | | |",
        f"| peak memory with 1000 cases against 10 cases, MiB | {large['MiB']:.0f} | {small['MiB']:.0f} "
        f"| {large['MiB'] / small['MiB']:.2f} |",
        f"| seconds to the first step, imports included, cached set of 1000 (10) cases "
        f"| {large['seconds to first step']:.1f} | {small['seconds to first step']:.1f} | |",
        f"| CPS + MetaSSL step on all cores beside busy processes, s, against OpenMP's own spinning "
        f"| {found['busy']['ours']:.2f} | {found['busy']['default']:.2f} "
        f"| {found['busy']['ours'] / found['busy']['default']:.2f} |",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure everything, write the JSON and the table."""
    parser = arguments(__doc__, "training", 15, "steps per candidate")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = Set(folder, args.threads)
        found = {
            "machine": machine(),
            "device": str(data.device),
            "threads": args.threads,
            "repeats": args.repeats,
            "steps": step_seconds(data, args.repeats),
            "passes": pass_seconds(data, args.repeats),
            "throughput": throughput(data, args.repeats),
            "memory": {str(cases): run_of(folder, cases, args.threads) for cases in (10, 1000)},
            "busy": busy_seconds(folder, 3),
        }
    publish(found, table(found), args, MARK)


if __name__ == "__main__":
    main()
