"""What an NVIDIA GPU does with a training: pace, memory against the plan's estimate, and who waits for whom.

    python Testing/Benchmarks/gpu.py [--patch 96] [--steps 20] [--table docs/benchmarks.md]

Every method with MetaSSL, networks small and standard, 2 labelled and 2 unlabelled crops of noise. Memory is the
allocator's peak; "questions" are synchronisations per step that torch reports.
"""

import argparse
import math
import statistics
import sys
import time
import warnings
from pathlib import Path

import torch
from metassl.crops.augmentation import MARGIN
from metassl.crops.sampling import Crops
from metassl.devices import autocast, choose_precision, describe_device
from metassl.job import Job
from metassl.networks.instance_norm import move_to_device
from metassl.planning.memory import bytes_per_voxel, fixed_bytes
from metassl.planning.plan import Intensity, Plan
from metassl.planning.planner import SIZES, plan_network, plan_strides
from metassl.ssl.methods import METHODS, build_method
from metassl.training.objective import Objective
from report import put_between_marks

MARK = "<!-- gpu table -->"


def measure(size: str, name: str, side: int, steps: int, device: torch.device) -> dict[str, float]:
    """Seconds of a step, peak and expected bytes, synchronisations per step."""
    patch, precision = (side,) * 3, choose_precision(device)
    network = plan_network(size, 1, 3, (1.0, 1.0, 1.0), plan_strides(patch, (1.0, 1.0, 1.0), SIZES[size].stages))
    method = move_to_device(build_method(name, network), device)
    objective = Objective(Job(method=name), Plan((1.0,) * 3, patch, (Intensity("zscore"),), network), 2).to(device)
    optimizer = torch.optim.AdamW(method.trained_parameters(), fused=True)
    count = 2 if name == "supervised" else 4
    crop = (int(side * MARGIN),) * 3
    crops = Crops(
        torch.rand(count, 1, *crop).half().pin_memory(),
        torch.randint(0, 3, (count, *crop), dtype=torch.uint8).pin_memory(),
        tuple(range(count)),
        (0, 1) + (0,) * (count - 2),
    )
    torch.backends.cudnn.benchmark = True
    torch.cuda.reset_peak_memory_stats(device)
    seconds, questions = [], []
    for _ in range(steps):
        torch.cuda.synchronize(device)
        begin = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            streams = objective.streams(crops.to(device), 2, 0.5)
            optimizer.zero_grad(set_to_none=True)
            with autocast(device, precision):
                predictions = method(streams)
            objective(method, predictions, streams, 0.5)[0].backward()
            norm = torch.nn.utils.clip_grad_norm_(method.trained_parameters(), 0.12)
            if torch.isfinite(norm):
                optimizer.step()
            method.after_step(1)
            torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - begin)
        questions.append(sum("synchronizing" in str(w.message) for w in caught))
    kind = {"networks": method.networks, "decoders": method.decoders, "weak_views": method.weak_views}
    expected = fixed_bytes(network, method.networks)
    expected += count * side**3 * bytes_per_voxel(network, number_bytes=precision.itemsize, **kind)
    return {
        "seconds": statistics.median(seconds[steps // 2 :]),
        "pace": method.passes(network, 2, count - 2) * math.prod(patch) / 1e6,
        "peak": torch.cuda.max_memory_allocated(device),
        "expected": expected,
        "questions": statistics.median(questions),
    }


def main() -> int:
    """Measure every method and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patch", type=int, default=96, help="side of the cubic patch")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--table", type=Path, help="document whose table is replaced")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no NVIDIA GPU.", file=sys.stderr)
        return 1
    device = torch.device("cuda")
    lines = [
        f"{describe_device(device)}, torch {torch.__version__}, patch {args.patch}^3, {args.steps} steps",
        "",
        "| network, method | ms per step | million voxels per second | peak MiB | expected / peak | questions |",
        "|---|---|---|---|---|---|",
    ]
    for size in ("small", "standard"):
        for name in METHODS:
            found = measure(size, name, args.patch, args.steps, device)
            lines.append(
                f"| {size}, {name} | {1000 * found['seconds']:.0f} | {found['pace'] / found['seconds']:.1f} "
                f"| {found['peak'] / 2**20:.0f} | {found['expected'] / found['peak']:.2f} | {found['questions']:.0f} |"
            )
    text = "\n".join(lines)
    print(text)
    if args.table:
        put_between_marks(args.table, MARK, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
