"""Time and memory of segmenting one large volume, against MONAI's sliding window with the same network and settings.

    python Testing/Benchmarks/inference.py [--size 256] [--classes 2] [--repeats 1] [--threads 1]
        [--large 512 512 400] [--large-classes 2 40] [--only-large] [--table docs/benchmarks.md]

A synthetic volume of --size voxels per axis, the small network that is planned for it, with random weights, windows
that overlap by half, Gaussian weights, bf16 where the processor has it. Every candidate goes from the image in memory
to its results in memory, and begins with the same preparation of the image:

- MONAI: ``sliding_window_inference`` with MONAI's DynUNet, result on the CPU, argmax;
- MONAI, two networks: one run after the other, both results held, as regions need them;
- labels: ``predict_volume`` of a Mean Teacher, labels only (one network);
- everything: ``predict_volume`` with labels, regions and confidence (two networks), of a Mean Teacher and of CPS.

Times: all in one process, in turns; medians; those of two networks are compared with twice that of MONAI's one. Memory:
each in a process of its own, two at a time, how far the resident size rises above what it was with image and model
loaded (Linux). Agreement, in float32 on a smaller volume: largest difference of the confidence from the probability
that MONAI's sliding window averages, and share of voxels with the same label.

Large files: ``predict_files`` of CPS, everything, for --large voxels that are smaller than those of the model, once per
number of --large-classes (none: left out). One file from reading to writing, and the next one until the first is
written; largest resident size of the whole process. Windows do not overlap, which saves time; memory is the same.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.devices import autocast, inference_precision
from metassl.errors import Stopped
from metassl.inference.model import Model, load_model, save_model
from metassl.inference.volume import predict_volume
from metassl.job import Job
from metassl.networks.dynunet import network_arguments
from metassl.planning.planner import make_plan
from metassl.planning.resampling import to_grid
from metassl.prediction.predict import predict_files
from metassl.ssl.methods import build_method
from monai.inferers import sliding_window_inference
from monai.networks.nets import DynUNet
from report import arguments, machine, peak_resident, publish, reset_peak
from torch import nn

MARK = "<!-- inference table -->"
LARGE_MARK = "<!-- large files table -->"
CPU = torch.device("cpu")
PEERS = {1: "MONAI", 2: "MONAI, two networks"}
"""Number of networks -> row."""
CANDIDATES = {
    PEERS[1]: ("mean-teacher", 1),
    PEERS[2]: ("mean-teacher", 2),
    "labels": ("mean-teacher", 1),
    "everything, Mean Teacher": ("mean-teacher", 2),
    "everything, CPS": ("cps", 2),
}
"""Row -> method of its model, number of networks that it asks."""
OFF_GRID = 0.8
"""Voxel edge (mm) of the large volume, for a model of 1 mm."""


def make_models(folder: Path, size: int, count: int) -> None:
    """Models with random weights, planned for volumes of this size and classes, as ``metassl train`` saves them."""
    sitk.WriteImage(sitk.Image([size] * 3, sitk.sitkUInt8), folder / "case.mha")
    case = Case("case", (str(folder / "case.mha"),), str(folder / "case.mha"), "labelled")
    classes = tuple(SegmentClass(f"class {k}", k, (255, k, 0)) for k in range(1, count + 1))
    dataset = Dataset(name="bench", channels=("MR",), classes=classes, cases=(case,))
    for name in {method for method, _ in CANDIDATES.values()}:
        job = Job(method=name, network="small", spacing=(1.0, 1.0, 1.0))
        plan = make_plan(dataset, job)
        method = build_method(job.method, plan.network)
        if name == "mean-teacher":
            for parameter in method.teacher.parameters():  # a student that has learned differs
                parameter.data += 0.01 * torch.randn_like(parameter)
        thresholds = torch.full((1 + len(classes),), 0.4)
        save_model(folder / name, method, plan=plan, job=job, dataset=dataset, thresholds=thresholds, provenance={})


def volume(*size: int) -> sitk.Image:
    """Noise (size i, j, k) with structures of several sizes, so that no window is empty."""
    random = np.random.default_rng(0)
    array = random.normal(size=size[::-1]).astype(np.float32)
    for scale in (8, 32):
        coarse = random.normal(size=[-(-n // scale) for n in array.shape]).astype(np.float32)
        for axis in range(3):
            coarse = coarse.repeat(scale, axis)
        array += coarse[tuple(slice(n) for n in array.shape)]
    return sitk.GetImageFromArray(array)


def plain(model: Model, network: nn.Module) -> nn.Module:
    """One of the model's networks as MONAI builds it."""
    result = DynUNet(**network_arguments(model.plan.network)).eval()
    result.load_state_dict(network.state_dict())
    return result


def sliding_window(model: Model, predictor: Callable, image: sitk.Image) -> torch.Tensor:
    """(channels, k, j, i) float32 of MONAI's sliding window."""
    array, _ = to_grid([image], model.plan)
    with torch.no_grad(), autocast(CPU, inference_precision(CPU, model.precision)):
        return sliding_window_inference(
            torch.from_numpy(array)[None], model.plan.patch, 1, predictor, overlap=0.5, mode="gaussian", device=CPU
        )[0]


def candidate(row: str, folder: Path) -> Callable[[sitk.Image], object]:
    """From an image to the results of one row."""
    method, count = CANDIDATES[row]
    model = load_model(folder / method)
    if row in PEERS.values():
        networks = [plain(model, network) for network in (model.method.network, model.method.teacher.module)[-count:]]
        return lambda image: [sliding_window(model, n, image) for n in networks][-1].argmax(0)
    everything = count == 2
    return lambda image: predict_volume(model, [image], regions=everything, confidence=everything)


def seconds_of(folder: Path, size: int, repeats: int) -> dict[str, float]:
    """Row -> median seconds; that of the peer with two networks is left out."""
    segment = {row: candidate(row, folder) for row in CANDIDATES if row != PEERS[2]}
    small, image = volume(32, 32, 32), volume(size, size, size)
    for run in segment.values():
        run(small)
    times: dict[str, list[float]] = {row: [] for row in segment}
    for _ in range(repeats):
        for row, run in segment.items():
            begin = time.perf_counter()
            run(image)
            times[row].append(time.perf_counter() - begin)
    return {row: statistics.median(found) for row, found in times.items()}


def memory_of(row: str, folder: Path, size: int) -> float:
    """MiB that a row takes beyond image and model; only right in a process of its own."""
    run, image = candidate(row, folder), volume(size, size, size)
    before = reset_peak()
    run(image)
    return peak_resident() - before


def write_large(folder: Path, size: Sequence[int]) -> None:
    """Two files of one large volume, off the grid of the models."""
    image = sitk.Cast(100 * volume(*size), sitk.sitkInt16)
    image.SetSpacing([OFF_GRID] * 3)
    for name in "ab":
        sitk.WriteImage(image, folder / f"{name}.nii")


def files_of(model: Path, folder: Path) -> float:
    """MiB of a process that segments large files; only right in a process of its own."""
    files = [folder / f"{name}.nii" for name in "ab"]
    with tempfile.TemporaryDirectory() as out:
        try:
            predict_files(load_model(model), files, out, overlap=0, should_stop=Path(out, "a.json").exists)
        except Stopped:
            return peak_resident()
    raise RuntimeError("The second file was segmented before the first one's results were written.")


def agreement(folder: Path) -> dict[str, float]:
    """Largest difference of the confidence from MONAI's, and smallest share of voxels with the same label."""
    differences, same = [], []
    for method in ("mean-teacher", "cps"):
        model = load_model(folder / method)
        model = replace(model, precision="fp32")
        networks = (
            (model.method.teacher.module,) if method == "mean-teacher" else (model.method.network, model.method.second)
        )
        image = volume(*[3 * max(model.plan.patch) // 2] * 3)
        peers = [
            sliding_window(model, nn.Sequential(plain(model, network), nn.Softmax(1)), image) for network in networks
        ]
        confidence, label = (sum(peers) / len(peers)).max(0)
        found = predict_volume(model, [image])
        differences.append(np.abs(sitk.GetArrayFromImage(found.confidence) - confidence.numpy()).max())
        same.append((sitk.GetArrayFromImage(found.labelmap) == label.numpy()).mean())
    return {"probability": float(max(differences)), "same label": float(min(same))}


def table(found: dict) -> str:
    """Markdown."""
    seconds, memory, same = found["seconds"], found["MiB"], found["agreement"]
    lines = [
        f"{found['machine']}, {found['threads']} thread(s), {found['size']}^3 voxels, patch "
        f"{' x '.join(map(str, found['patch']))}, {found['classes']} classes, medians of {found['repeats']}",
        "",
        "| | s | time against as many runs of MONAI | peak MiB | memory against as many networks with MONAI |",
        "|---|---|---|---|---|",
    ]
    for row, (_, networks) in CANDIDATES.items():
        taken = seconds.get(row, networks * seconds[PEERS[1]])
        lines.append(
            f"| {row} | {taken:.1f} | {taken / networks / seconds[PEERS[1]]:.2f} "
            f"| {memory[row]:.0f} | {memory[row] / memory[PEERS[networks]]:.2f} |"
        )
    lines += [
        "",
        f"In float32: largest difference from MONAI's probabilities {same['probability']:.0e}, voxels with the same "
        f"label {100 * same['same label']:.3f} %.",
    ]
    return "\n".join(lines)


def large_table(found: dict) -> str:
    """Markdown."""
    size = " x ".join(map(str, found["large"]))
    lines = [
        f"{found['machine']}, {found['threads']} thread(s), files of {size} voxels of {OFF_GRID} mm, model of 1 mm",
        "",
        "| everything, CPS | peak MiB of the process |",
        "|---|---|",
        *(f"| {count} classes | {peak:.0f} |" for count, peak in found["large MiB"].items()),
    ]
    return "\n".join(lines)


def child(args: argparse.Namespace, *options: str) -> float:
    """The number that this script prints with other options."""
    command = [sys.executable, __file__, "--size", str(args.size), "--threads", str(args.threads), *options]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(args: argparse.Namespace, folder: Path) -> dict:
    """All but the large files."""
    make_models(folder, args.size, args.classes)
    with ThreadPoolExecutor(2) as pool:
        peaks = pool.map(lambda row: child(args, "--memory-of", row, str(folder)), CANDIDATES)
        return {
            "size": args.size,
            "classes": args.classes,
            "patch": load_model(folder / "cps").plan.patch,
            "repeats": args.repeats,
            "MiB": dict(zip(CANDIDATES, peaks)),
            "seconds": seconds_of(folder, args.size, args.repeats),
            "agreement": agreement(folder),
        }


def measure_large(args: argparse.Namespace, folder: Path) -> dict:
    """The large files."""
    write_large(folder, args.large)
    peaks = {}
    for count in args.large_classes:
        models = folder / str(count)
        models.mkdir()
        make_models(models, args.size, count)
        peaks[count] = child(args, "--files-of", str(models / "cps"), str(folder))
    return {"large": args.large, "large MiB": peaks}


def main() -> None:
    """Measure everything, write the JSON and the table."""
    parser = arguments(__doc__, "inference", 1, "runs per time")
    parser.add_argument("--size", type=int, default=256, help="voxels per axis")
    parser.add_argument("--classes", type=int, default=2, help="classes of the models, without background")
    text = "voxels of the files off the models' grid"
    parser.add_argument("--large", type=int, nargs=3, default=(512, 512, 400), metavar=("I", "J", "K"), help=text)
    text = "classes of the models for them; none leaves them out"
    parser.add_argument("--large-classes", type=int, nargs="*", default=(2, 40), metavar="N", help=text)
    parser.add_argument("--only-large", action="store_true", help="leave all but the large files out")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--memory-of", nargs=2, metavar=("ROW", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--files-of", type=Path, nargs=2, metavar=("MODEL", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        row, folder = args.memory_of
        print(memory_of(row, Path(folder), args.size))
        return
    if args.files_of:
        print(files_of(*args.files_of))
        return

    found = {"machine": machine(), "threads": args.threads}
    tables = {}
    with tempfile.TemporaryDirectory() as temporary:
        if not args.only_large:
            found |= measure(args, Path(temporary))
            tables[MARK] = table(found)
        if args.large_classes:
            found |= measure_large(args, Path(temporary))
            tables[LARGE_MARK] = large_table(found)
    for mark, text in tables.items():
        publish(found, text, args, mark)


if __name__ == "__main__":
    main()
