"""What all benchmarks share: their command line, clock and memory, and where their results go."""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import torch


def arguments(doc: str, name: str, repeats: int, repeats_help: str | None = None) -> argparse.ArgumentParser:
    """The options that every benchmark of speed has.

    Args:
        doc: docstring of the script.
        name: of the results, build/benchmarks/NAME.json.
        repeats: default of --repeats.
        repeats_help: of what there are so many.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=repeats, help=repeats_help)
    parser.add_argument("--out", type=Path, default=Path(f"build/benchmarks/{name}.json"))
    parser.add_argument("--table", type=Path, help="document whose table is replaced")
    return parser


def metassl(*arguments: object, threads: int = 1, **output: object) -> None:
    """A command of the engine with so many threads; ``output`` are options of subprocess.run."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    subprocess.run([sys.executable, "-m", "metassl", *map(str, arguments)], check=True, env=environment, **output)


def publish(found: dict, text: str, args: argparse.Namespace, mark: str) -> None:
    """Write the results as JSON, print their table, and put it into the document if one is given."""
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(text)
    if args.table:
        put_between_marks(args.table, mark, text)


def put_between_marks(file: Path, mark: str, content: str) -> None:
    """Replace the part of a document between two equal marks; a new file gets both."""
    text = file.read_text(encoding="utf-8") if file.exists() else f"{mark}\n{mark}\n"
    before, _, rest = text.partition(mark)
    after = rest.partition(mark)[2]
    file.write_text(f"{before}{mark}\n\n{content}\n\n{mark}{after}", encoding="utf-8")


def machine(device: str = "cpu") -> str:
    """Processor and number of cores, or the GPU."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        models = [
            x for x in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if x.startswith("model name")
        ]
        name = models[0].split(":", 1)[1].strip() if models else name
    return f"{name}, {os.cpu_count()} cores"


def synchronised(device: torch.device) -> float:
    """Seconds on a clock, after the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def reset_peak() -> float:
    """Let the peak of the resident size start from here (Linux), and give it, MiB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak_resident()


def peak_resident() -> float:
    """Largest resident size since the last reset, MiB (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
