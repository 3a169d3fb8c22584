"""Dice of nnU-Net v2's own trainer after some minutes on the CPU, as one more row of ``accuracy.py --minutes``.

    PYTHONPATH=MetaSSLSegment build/nnunet/bin/python Testing/Benchmarks/nnunet_accuracy.py --data FOLDER --minutes 5

``nnunet.py`` says how to make the environment. nnU-Net plans and preprocesses the labelled cases (that time is not
counted) and trains its own 3d_fullres plan with its own network, batch, augmentation, loss, optimiser and schedule.
The measured cases are segmented with overlapping windows and, as by MetaSSL's default, without mirroring.
"""

import argparse
import io
import os
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path

import accuracy
import numpy as np
import torch
from metassl.data.dataset import Dataset
from metassl.data.images import image_like, read_image, write_image
from metassl.evaluation.evaluate import evaluate_folder
from nnunet import CONFIGURATION, CPU, nnunet_file, prepare, settle
from report import machine

ROW = "nnU-Net v2, labelled cases"


class Data:
    """What ``nnunet.prepare`` needs of a data set."""

    def __init__(self, folder: Path, dataset: Dataset):
        self.folder, self.dataset = folder, dataset


def train(folder: Path, minutes: float):
    """nnU-Net's trainer after so many minutes, and its number of steps."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    plans = {**nnunet_file(folder, "nnUNetPlans.json"), "continue_training": False}
    trainer = nnUNetTrainer(plans, CONFIGURATION, "all", nnunet_file(folder, "dataset.json"), device=CPU)
    trainer.initialize()
    os.environ.update(nnUNet_n_proc_DA="0")  # augment within the step
    trainer.dataloader_train, _ = trainer.get_dataloaders()
    trainer.on_train_epoch_start()
    begin, steps = time.monotonic(), 0
    while time.monotonic() - begin < 60 * minutes:
        trainer.lr_scheduler.step(steps / trainer.num_iterations_per_epoch)
        trainer.train_step(next(trainer.dataloader_train))
        steps += 1
    return trainer, steps, time.monotonic() - begin


def segment(trainer, folder: Path, dataset: Dataset, out: Path) -> None:
    """Write a segmentation of every measured case."""
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(0.5, use_gaussian=True, use_mirroring=False, device=CPU, allow_tqdm=False)
    state = [trainer.network.state_dict()]
    description = nnunet_file(folder, "dataset.json")
    managers = trainer.plans_manager, trainer.configuration_manager
    predictor.manual_initialization(trainer.network, *managers, state, description, "nnUNetTrainer", None)
    for case in dataset.with_role("ignored"):
        array, facts = SimpleITKIO().read_images(list(case.images))
        found = predictor.predict_single_npy_array(array, facts)
        grid = read_image(case.images[0])
        write_image(image_like(np.asarray(found, np.uint8), grid), out / f"{case.id}_seg.nii.gz")


def measure(data: Path, seed: int, args: argparse.Namespace) -> None:
    """One draw of one organ; leaves its result beside those of ``accuracy.py``."""
    here = accuracy.Experiment(data, "test", False, args.minutes, "minutes")
    run = accuracy.Run(ROW, (), seed)
    result = args.results / here.name / f"{run.name}.json"
    if result.exists():
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settle(folder, args.threads)
        dataset = accuracy.dataset_of(run, here, args, folder)
        with redirect_stdout(io.StringIO()):
            prepare(Data(folder, dataset))
            trainer, steps, seconds = train(folder, args.minutes)
            segment(trainer, folder, dataset, folder / "predictions")
        dataset.save(folder / "dataset.json")
        rows = [asdict(row) for row in evaluate_folder(folder / "predictions", folder / "dataset.json").rows]
    facts = {
        "threads": args.threads,
        "options": (),
        "patch": list(trainer.configuration_manager.patch_size),
        "training_seconds": seconds,
        "steps": steps,
        "machine": machine(),
    }
    accuracy.write_result(result, run, here, facts, rows)
    print(f"{here.name}, seed {seed}: {steps} steps", flush=True)


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="as for accuracy.py")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path("Testing/Benchmarks/Results"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for seed in args.seeds:
        for data in args.data:
            measure(data.resolve(), seed, args)


if __name__ == "__main__":
    sys.exit(main())
