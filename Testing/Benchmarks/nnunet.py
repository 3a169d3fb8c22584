"""Speed of training and of segmentation on the CPU, and memory, against nnU-Net v2's own trainer and predictor.

    python3.11 -m venv build/nnunet
    build/nnunet/bin/python -m pip install -c constraints.txt torch monai SimpleITK scikit-image nnunetv2
    PYTHONPATH=MetaSSLSegment build/nnunet/bin/python Testing/Benchmarks/nnunet.py [--threads 1] [--table FILE]

nnU-Net is only measured against, no part of MetaSSL needs it; hence the environment of its own. Four candidates, in
turns, so that other load on the machine meets all of them; given are medians:

- MetaSSL, and MetaSSL in float32: by default it computes in bf16 where the processor has it, nnU-Net on CPUs never;
- nnU-Net, our network: our network, as we build it, in nnU-Net's trainer and predictor;
- nnU-Net, its network: what it plans itself for the data set, with deep supervision in training; as our network is
  planned alike, all that is changed to make both of the same size is the number of filters.

Training: whole steps of supervised training on the same four synthetic volumes, 4 crops of 40 x 56 x 40, every loop
with its own reading, augmentation, loss and optimiser. nnU-Net plans and preprocesses the volumes itself. It augments
in worker processes as a rule; here it does so within the step (its single-threaded augmenter), since processes would
take the cores that are being measured. So the speed without waiting for crops is given too: more than that no number
of worker processes could reach. Our loop augments in the step, and waits only for the thread that reads crops.

Segmentation: from one synthetic volume in memory to its labels in memory, preprocessing included, with the patch that
we plan for it, windows that overlap by half, Gaussian weights, no mirroring. Every candidate has a process of its own
that is warm after one smaller volume; memory is how far its resident size rises above what it was with the images and
the network loaded (Linux). Weights are random, and the same in the first three candidates. How many voxels they label
alike is counted on the smaller volume, whose windows both place alike: random weights give other labels elsewhere.
"""

import argparse
import copy
import importlib.metadata
import importlib.util
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from inference import make_models, volume
from metassl.inference.model import load_model
from metassl.inference.volume import predict_volume
from metassl.networks.dynunet import build_network
from metassl.networks.instance_norm import move_to_device
from metassl.planning.plan import Plan
from report import arguments, machine, peak_resident, publish, reset_peak
from torch import nn
from training import Set, our_loop

MARK = "<!-- nnunet table -->"
CPU = torch.device("cpu")
BATCH = 4
OURS, OURS_FLOAT32, SAME_NETWORK, ITS_NETWORK = CANDIDATES = (
    "MetaSSL",
    "MetaSSL, float32",
    "nnU-Net, our network",
    "nnU-Net, its network",
)
MODEL = "mean-teacher"
"""Name of a model that ``make_models`` makes."""
DATASET = "Dataset001_bench"
CONFIGURATION = "3d_fullres"


def settle(folder: Path, threads: int) -> None:
    """Tell nnU-Net, here and in processes started from here, where its folders are and how many cores it has."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.update({name: str(folder / name)})
        (folder / name / DATASET).mkdir(parents=True)
    os.environ.update(nnUNet_def_n_proc=str(threads), nnUNet_n_proc_DA=str(threads))


def prepare(data: Set) -> None:
    """Let nnU-Net plan and preprocess the labelled cases, below the data set's folder."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess

    cases = data.dataset.with_role("labelled")
    description = {
        "channel_names": dict(enumerate(data.dataset.channels)),
        "labels": {"background": 0, **{c.name: c.value for c in data.dataset.classes}},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
        "dataset": {case.id: {"images": case.images, "label": case.label} for case in cases},
    }
    (data.folder / "nnUNet_raw" / DATASET / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    extract_fingerprints([1], num_processes=1, show_progress_bar=False)
    plan_experiments([1])
    preprocess([1], configurations=[CONFIGURATION], num_processes=[1], show_progress_bar=False)


def nnunet_file(folder: Path, name: str) -> dict:
    """One of the JSON files that nnU-Net's planning left."""
    return json.loads((folder / "nnUNet_preprocessed" / DATASET / name).read_text(encoding="utf-8"))


def nnunet_plans(folder: Path, plan: Plan) -> dict:
    """nnU-Net's plans with the patch, batch and size of network of ours."""
    plans = nnunet_file(folder, "nnUNetPlans.json")
    stages = len(plan.network.strides)
    configuration = plans["configurations"][CONFIGURATION]
    configuration.update(patch_size=list(plan.patch), batch_size=BATCH)
    configuration["architecture"]["arch_kwargs"].update(
        n_stages=stages,
        features_per_stage=plan.network.filters,
        kernel_sizes=plan.network.kernels,
        strides=plan.network.strides,
        n_conv_per_stage=[2] * stages,
        n_conv_per_stage_decoder=[2] * (stages - 1),
    )
    return plans


def nnunet_trainer(row: str, folder: Path, plan: Plan):
    """nnU-Net's trainer, ready for its first step."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.training.nnUNetTrainer.variants.network_architecture.nnUNetTrainerNoDeepSupervision import (
        nnUNetTrainerNoDeepSupervision,
    )

    class OurNetwork(nnUNetTrainerNoDeepSupervision):
        """Trains our network; the other arguments are those that nnU-Net looks for."""

        @staticmethod
        def build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision=True
        ) -> nn.Module:
            return move_to_device(build_network(plan.network), CPU)

    kind = OurNetwork if row == SAME_NETWORK else nnUNetTrainer
    plans = {**nnunet_plans(folder, plan), "continue_training": False}
    trainer = kind(plans, CONFIGURATION, "all", nnunet_file(folder, "dataset.json"), device=CPU)
    trainer.initialize()
    os.environ.update(nnUNet_n_proc_DA="0")  # augment within the step
    trainer.dataloader_train, _ = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    return trainer


def nnunet_loop(trainer):
    """Yields (seconds of a whole step, seconds of waiting for crops)."""
    while True:
        begin = time.perf_counter()
        batch = next(trainer.dataloader_train)
        waited = time.perf_counter() - begin
        trainer.train_step(batch)
        yield time.perf_counter() - begin, waited


def training(data: Set, repeats: int) -> dict[str, dict[str, float]]:
    """Row -> median samples per second, as it is and without waiting for crops."""
    single = copy.copy(data)
    single.job = replace(data.job, precision="fp32")
    with redirect_stdout(io.StringIO()):
        trainers = {row: nnunet_trainer(row, data.folder, data.plan) for row in (SAME_NETWORK, ITS_NETWORK)}
    loops = {
        OURS: our_loop(data),
        OURS_FLOAT32: our_loop(single),
        **{row: nnunet_loop(trainer) for row, trainer in trainers.items()},
    }
    times: dict[str, list[tuple[float, float]]] = {row: [] for row in loops}
    for _ in range(repeats + 2):
        for row, loop in loops.items():
            times[row].append(next(loop))
    return {
        row: {
            "samples per second": BATCH / statistics.median(seconds for seconds, _ in found[2:]),
            "without waiting": BATCH / statistics.median(seconds - waited for seconds, waited in found[2:]),
        }
        for row, found in times.items()
    }


def segmenter(row: str, folder: Path) -> Callable[[sitk.Image], np.ndarray]:
    """From an image to labels (k, j, i) uint8."""
    model = load_model(folder / MODEL)
    if row in (OURS, OURS_FLOAT32):
        if row == OURS_FLOAT32:
            model = replace(model, precision="fp32")
        return lambda image: sitk.GetArrayFromImage(
            predict_volume(model, [image], regions=False, confidence=False).labelmap
        )

    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(nnunet_plans(folder, model.plan))
    configuration = plans.get_configuration(CONFIGURATION)
    network = model.method.teacher
    if row == ITS_NETWORK:
        counts = model.plan.network.in_channels, model.plan.network.out_channels
        network = nnUNetTrainer.build_network_architecture(plans, configuration, *counts, enable_deep_supervision=False)
    predictor = nnUNetPredictor(0.5, use_gaussian=True, use_mirroring=False, device=CPU, allow_tqdm=False)
    description = nnunet_file(folder, "dataset.json")
    predictor.manual_initialization(network, plans, configuration, [network.state_dict()], description, "", None)
    return lambda image: predictor.predict_single_npy_array(
        sitk.GetArrayFromImage(image)[None], {"spacing": list(image.GetSpacing()[::-1])}
    )


def serve(row: str, folder: Path, size: int) -> None:
    """Print a line when ready; then segment the large volume once per line read, and print (seconds, MiB it took)."""
    smaller, image = volume(3 * max(load_model(folder / MODEL).plan.patch) // 2), volume(size)
    with redirect_stdout(io.StringIO()):
        segment = segmenter(row, folder)
        before = reset_peak()
        np.save(folder / f"{row}.npy", segment(smaller))
    print(flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        with redirect_stdout(io.StringIO()):
            segment(image)
        print(json.dumps((time.perf_counter() - begin, peak_resident() - before)), flush=True)


def segmentation(folder: Path, size: int, threads: int, repeats: int) -> dict[str, dict[str, float]]:
    """Row -> median seconds, and MiB."""
    options = ("--size", str(size), "--threads", str(threads))
    servers = {
        row: subprocess.Popen(
            [sys.executable, __file__, *options, "--serve", row, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for row in CANDIDATES
    }
    for server in servers.values():
        server.stdout.readline()  # until the last one is ready, nothing is measured
    found: dict[str, list[tuple[float, float]]] = {row: [] for row in servers}
    for _ in range(repeats):
        for row, server in servers.items():
            server.stdin.write("\n")
            server.stdin.flush()
            found[row].append(json.loads(server.stdout.readline()))
    for server in servers.values():
        server.communicate()
    return {
        row: {"seconds": statistics.median(seconds for seconds, _ in runs), "MiB": runs[-1][1]}
        for row, runs in found.items()
    }


def table(found: dict) -> str:
    """Markdown."""
    trained, segmented = found["training"], found["segmentation"]
    speed, ours = trained[OURS], segmented[OURS]
    lines = [
        f"{found['machine']}, {found['threads']} thread(s), CPU, nnU-Net {found['nnunetv2']}, medians of "
        f"{found['repeats']} steps and {found['volumes']} volumes",
        "",
        "| training, 4 crops per step | samples per second | without waiting for crops | MetaSSL's speed against it |",
        "|---|---|---|---|",
    ]
    for row, of in trained.items():
        ratio = speed["samples per second"] / of["samples per second"]
        lines.append(f"| {row} | {of['samples per second']:.2f} | {of['without waiting']:.2f} | {ratio:.2f} |")
    lines += [
        "",
        f"| segmentation, {found['size']}^3 voxels, patch {' x '.join(map(str, found['patch']))} | s "
        "| MetaSSL's time against it | MiB | MetaSSL's memory against it |",
        "|---|---|---|---|---|",
    ]
    for row, of in segmented.items():
        lines.append(
            f"| {row} | {of['seconds']:.1f} | {ours['seconds'] / of['seconds']:.2f} "
            f"| {of['MiB']:.0f} | {ours['MiB'] / of['MiB']:.2f} |"
        )
    lines += [
        "",
        f"MetaSSL in float32 and nnU-Net with our network label {100 * found['same label']:.1f} % of the voxels of a "
        "smaller volume alike, not all: they normalise intensities each in its own way, and average probabilities or "
        "logits.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure everything, write the JSON and the table."""
    parser = arguments(__doc__, "nnunet", 15, "training steps per candidate")
    parser.add_argument("--volumes", type=int, default=3, help="segmentations per candidate")
    parser.add_argument("--size", type=int, default=160, help="voxels per axis of the segmented volume")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--serve", nargs=2, metavar=("ROW", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not importlib.util.find_spec("nnunetv2"):
        sys.exit("nnU-Net is not installed here. Make an environment for it as the head of this file says.")
    torch.set_num_threads(args.threads)
    if args.serve:
        row, folder = args.serve
        serve(row, Path(folder), args.size)
        return

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settle(folder, args.threads)
        data = Set(folder, args.threads)
        data.device = CPU
        with redirect_stdout(io.StringIO()):
            prepare(data)
        make_models(folder, args.size)
        found = {
            "machine": machine(),
            "nnunetv2": importlib.metadata.version("nnunetv2"),
            "threads": args.threads,
            "repeats": args.repeats,
            "volumes": args.volumes,
            "size": args.size,
            "patch": load_model(folder / MODEL).plan.patch,
            "training": training(data, args.repeats),
            "segmentation": segmentation(folder, args.size, args.threads, args.volumes),
        }
        labels = [np.load(folder / f"{row}.npy") for row in (OURS_FLOAT32, SAME_NETWORK)]
        found["same label"] = float((labels[0] == labels[1]).mean())
    publish(found, table(found), args, MARK)


if __name__ == "__main__":
    main()
