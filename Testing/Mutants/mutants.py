"""Planted mistakes, and whether the fast tests notice: ``python Testing/Mutants/mutants.py [name ...]``.

Every mutant is one change in a copy of the engine. It is killed when one of its tests fails; without it they all pass.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "MetaSSLSegment"
TESTS = REPOSITORY / "Testing" / "Engine"


class Mutant(NamedTuple):
    """A mistake.

    Attributes:
        name: what is wrong.
        file: below the engine.
        old, new: the text that is there once, and what takes its place.
        tests: files or single tests below Testing/Engine, separated by spaces, one of which has to fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str


WIRING, REGIONS, LOSSES = "test_wiring.py", "test_quadripartition.py", "test_losses.py"
TRUST, METHODS = "test_annotation_trust.py", "test_methods.py"
MUTANTS = (
    # training
    Mutant("no schedule", "training/trainer.py", 'group["lr"] = self.budget.learning_rate()', "pass", WIRING),
    Mutant("ramp always 1", "training/budget.py", "return math.exp(-5 * (1 - rise) ** 2)", "return 1.0", WIRING),
    Mutant("no weight decay", "training/trainer.py", "weight_decay=job.weight_decay", "weight_decay=0.0", WIRING),
    Mutant("views exchanged", "training/objective.py", "weak, strong, labels = ", "strong, weak, labels = ", WIRING),
    Mutant(
        "strong equals weak",
        "crops/augmentation.py",
        "_strong(images, resolutions, blurred, *strong[1:], seeds), labels",
        "images * contrast + brightness, labels",
        WIRING,
    ),
    Mutant(
        "no elastic field",
        "crops/augmentation.py",
        "return grid.add_(field.permute(0, 2, 3, 4, 1))",
        "return grid",
        WIRING,
    ),
    Mutant("trust never applied", "training/objective.py", "trust[:labelled] *= ", "_ = ", WIRING),
    Mutant(
        "unlabelled crops in a corner",
        "crops/sampling.py",
        "start = self._centre(case, stream, shape, random) - np.array(self.size) // 2",
        "start = (self._centre(case, stream, shape, random) - np.array(self.size) // 2) * (stream == 0)",
        WIRING,
    ),
    Mutant("no unscale before the cut", "training/trainer.py", "self.scaler.unscale_(self.optimizer)", "pass", WIRING),
    Mutant(
        "hold-out counts ignored voxels",
        "data/overlap.py",
        "counted = label != IGNORE",
        "counted = label == label",
        WIRING,
    ),
    Mutant("no pinning in the trainer", "training/trainer.py", 'pin=self.device.type == "cuda"', "pin=False", WIRING),
    Mutant("no pinning in the thread", "crops/prefetching.py", "if pin:", "if False:", WIRING),
    Mutant(
        "gradients are not cut",
        "training/trainer.py",
        "clip_grad_norm_(self.method.trained_parameters(), GRADIENT_NORM)",
        "clip_grad_norm_(self.method.trained_parameters(), 1e9)",
        WIRING,
    ),
    # what the voxels teach
    Mutant(
        "unanimous exchanged with discrepant",
        "ssl/quadripartition.py",
        "(label != other_label)",
        "(label == other_label)",
        REGIONS,
    ),
    Mutant(
        "suspicious above the threshold",
        "ssl/quadripartition.py",
        "confidence <= threshold",
        "confidence > threshold",
        REGIONS,
    ),
    Mutant("the last of equal classes", "ssl/voxels.py", "(values > highest)", "(values >= highest)", REGIONS),
    Mutant("thresholds never move", "ssl/thresholds.py", "self.tau.copy_(", "id(", REGIONS),
    Mutant(
        "thresholds forget absent classes",
        "ssl/thresholds.py",
        "torch.where(count > 0, moved, self.tau)",
        "moved",
        REGIONS,
    ),
    Mutant("thresholds without memory", "ssl/thresholds.py", " + (1 - self.alpha) * self.tau", "", REGIONS),
    Mutant("no cap", "ssl/thresholds.py", ".clamp(max=self.cap)", "", REGIONS),
    Mutant(
        "ignored voxels move thresholds",
        "ssl/thresholds.py",
        "label = mask_labels(branch.label, valid)",
        "label = branch.label",
        REGIONS,
    ),
    Mutant("Dice does not square", "ssl/dice_ce.py", "p.square_().mul_(w).add_(t)", "p.mul_(w).add_(t)", LOSSES),
    Mutant(
        "supervised loss counts ignored voxels",
        "ssl/dice_ce.py",
        "weight = (labels != IGNORE)",
        "weight = (labels == labels)",
        LOSSES,
    ),
    Mutant(
        "half of the cross-entropy",
        "ssl/dice_ce.py",
        "return 0.5 * (dice.mean() - agreement",
        "return 0.5 * (dice.mean() - 0.5 * agreement",
        LOSSES,
    ),
    Mutant(
        "DC and DS exchanged",
        "ssl/heterogeneous.py",
        "PAPER_LABELLED = (1.0, 1 / 1.5, 1 / 1.5**2, 1 / 1.5**3)",
        "PAPER_LABELLED = (1.0, 1 / 1.5, 1 / 1.5**3, 1 / 1.5**2)",
        LOSSES,
    ),
    Mutant("one direction of two", "ssl/heterogeneous.py", "        if symmetric:\n", "        if False:\n", LOSSES),
    Mutant(
        "unlabelled regions by the wrong thresholds",
        "ssl/heterogeneous.py",
        "self.thresholds.used(UNLABELLED, other)",
        "self.thresholds.used(LABELLED, other)",
        LOSSES,
    ),
    Mutant("ignored voxels have weights", "ssl/heterogeneous.py", "code *= valid.view(torch.uint8)", "pass", LOSSES),
    Mutant(
        "pasted voxels keep the pseudo-label",
        "ssl/heterogeneous.py",
        "teaches = torch.where(pasted & valid[rest], labels[rest], teaches)",
        "pass",
        "test_pasting.py",
    ),
    Mutant(
        "pasted voxels count in the shares",
        "ssl/heterogeneous.py",
        "code[rest] *= (~pasted).view(torch.uint8)",
        "pass",
        "test_pasting.py",
    ),
    Mutant(
        "labels are not pasted",
        "crops/pasting.py",
        "labels[crop] = torch.where(here, labels[partner], labels[crop])",
        "pass",
        "test_pasting.py",
    ),
    Mutant("the surroundings are never pasted", "crops/pasting.py", "here.logical_not_()", "pass", "test_pasting.py"),
    Mutant(
        "trust forgets the volume",
        "ssl/annotation_trust.py",
        "self.dice() * smaller / larger.clamp(min=1e-9)",
        "self.dice()",
        TRUST,
    ),
    Mutant("trust may vanish", "ssl/annotation_trust.py", ".clamp(min=LEAST)", "", TRUST),
    Mutant("trust does not wait for the ramp", "ssl/annotation_trust.py", ".pow(POWER * ramp)", ".pow(POWER)", TRUST),
    Mutant(
        "trust counts ignored voxels",
        "ssl/annotation_trust.py",
        "counted = labels != IGNORE",
        "counted = labels == labels",
        TRUST,
    ),
    Mutant(
        "CPS learns from the strong view",
        "ssl/methods/cps.py",
        "weak = streams.weak[",
        "weak = streams.strong[",
        METHODS,
    ),
    Mutant(
        "CPS trains on the weak view",
        "ssl/methods/cps.py",
        "first, second = self.network(streams.strong), self.second(streams.strong)",
        "first, second = self.network(streams.weak), self.second(streams.weak)",
        METHODS,
    ),
    Mutant(
        "each CPS network learns from itself",
        "ssl/methods/cps.py",
        "[(first, of_second), (second, of_first)]",
        "[(first, of_first), (second, of_second)]",
        METHODS,
    ),
    Mutant(
        "the teacher sees the strong view",
        "ssl/methods/mean_teacher.py",
        "self.teacher(streams.weak[",
        "self.teacher(streams.strong[",
        WIRING,
    ),
    Mutant(
        "the teacher never learns",
        "ssl/methods/mean_teacher.py",
        "average([*self.teacher.module.parameters()], [*self.network.parameters()], self.teacher.n_averaged)",
        "pass",
        METHODS,
    ),
    Mutant(
        "a fixed decay",
        "ssl/methods/mean_teacher.py",
        "min(self.ema_decay, 1 - 10 / (iteration + 10))",
        "self.ema_decay",
        METHODS,
    ),
    # crops, grids and volumes
    Mutant(
        "crops outside hold no ignored voxels",
        "crops/sampling.py",
        "if label is None else label, start, self.size, IGNORE)",
        "if label is None else label, start, self.size, 0)",
        "test_sampling.py",
    ),
    Mutant(
        "no crop is centred on foreground",
        "crops/sampling.py",
        "if random.random() < FOREGROUND_SHARE:",
        "if False:",
        "test_sampling.py",
    ),
    Mutant(
        "the same order in every epoch",
        "crops/sampling.py",
        "self.seed, stream, epoch)",
        "self.seed, stream, number)",
        "test_sampling.py",
    ),
    Mutant(
        "zeros beyond the crop are background",
        "crops/augmentation.py",
        "shifted = labels.unsqueeze(1).float() - IGNORE",
        "shifted = labels.unsqueeze(1).float()",
        "test_augmentation.py",
    ),
    Mutant(
        "mirrored without being asked",
        "crops/augmentation.py",
        "for axis in self.mirror:",
        "for axis in (2,):",
        "test_augmentation.py",
    ),
    Mutant(
        "thick slices rotate out of plane",
        "crops/augmentation.py",
        "angles[np.arange(3) != coarsest] = 0",
        "pass",
        "test_augmentation.py",
    ),
    Mutant(
        "labels are interpolated",
        "planning/resampling.py",
        "_to_spacing(image, plan, sitk.sitkNearestNeighbor)",
        "_to_spacing(image, plan, sitk.sitkLinear)",
        "test_preprocessing.py",
    ),
    Mutant(
        "the first voxel's middle stays", "planning/resampling.py", "(n / o - 1) / 2", "0.0", "test_preprocessing.py"
    ),
    Mutant(
        "volumes are not turned",
        "planning/resampling.py",
        "align(image, plan.alignment)",
        "image",
        "test_preprocessing.py",
    ),
    Mutant(
        "CT is not clipped",
        "planning/intensities.py",
        "result = np.clip(array, low, high)",
        "result = np.array(array)",
        "test_preprocessing.py",
    ),
    Mutant(
        "air counts in the z-score",
        "planning/intensities.py",
        "inside = array[array > lowest] if",
        "inside = array if",
        "test_preprocessing.py",
    ),
    # files
    Mutant(
        "volumes are not read back",
        "files.py",
        'raise OSError("its end is missing, probably because the disk is full")',
        "pass",
        "test_reliability.py::test_a_full_disk_never_replaces_a_good_result",
    ),
    Mutant(
        "no lock",
        "training/run_folder.py",
        "with run_lock(self.lock_file):",
        "if True:",
        "test_reliability.py::test_two_processes_do_not_train_into_one_folder",
    ),
    Mutant(
        "links are followed",
        "training/run_folder.py",
        "refuse_links(*files)",
        "list(files)",
        "test_untrusted.py::test_links_in_a_run_folder_are_not_followed",
    ),
    Mutant(
        "logs are written through links",
        "files.py",
        'no_links = getattr(os, "O_NOFOLLOW", 0)',
        "no_links = 0",
        "test_untrusted.py::test_links_that_come_later_are_not_written_through",
    ),
    Mutant(
        "checksums are not looked at",
        "inference/tensors.py",
        "if archive.testzip() is not None:",
        "if False:",
        "test_reliability.py::test_a_damaged_checkpoint_falls_back_to_the_one_before",
    ),
    Mutant(
        "one checkpoint",
        "training/trainer.py",
        "save_checkpoint(self.run.checkpoint_file, content, self.run.earlier_checkpoint_file)",
        "save_checkpoint(self.run.checkpoint_file, content)",
        "test_reliability.py::test_a_damaged_checkpoint_falls_back_to_the_one_before",
    ),
    Mutant(
        "the only checkpoint is removed",
        "training/checkpoint.py",
        "not (earlier.exists() and path.exists())",
        "not earlier.exists()",
        "test_reliability.py::test_a_disk_that_fails_at_the_last_moment_leaves_the_only_checkpoint",
    ),
    Mutant(
        "damaged caches are used",
        "planning/cache.py",
        "return cached if cached.is_whole(len(dataset.channels)) else None",
        "return cached",
        "test_reliability.py::test_a_damaged_cache_is_made_again",
    ),
    Mutant(
        "NaN weights are loaded",
        "inference/tensors.py",
        "if not math.isfinite(part.sum(dtype=torch.float32)):",
        "if False:",
        "test_untrusted.py::test_a_model_whose_weights_are_no_numbers_is_refused",
    ),
    Mutant(
        "deep JSON is read",
        "files.py",
        "_require_shallow(content)\n        return",
        "return",
        "test_untrusted.py::test_deep_and_huge_json_is_refused",
    ),
    Mutant(
        "NaN passes for a number",
        "validation.py",
        " or value != value or abs(value) == math.inf",
        "",
        "test_untrusted.py::test_whatever_a_field_holds_it_is_used_or_refused_by_name",
    ),
    Mutant(
        "a stop is not watched",
        "cli/stopping.py",
        "late(heard.is_set())",
        "pass",
        "test_stopping.py::test_every_command_stops_within_five_seconds",
    ),
)


def mutate(mutant: Mutant, package: Path) -> None:
    """Plant the mistake in a copy of the package.

    Raises:
        ValueError: the text to change is not there exactly once.
    """
    file = package / "metassl" / mutant.file
    source = file.read_text(encoding="utf-8")
    if source.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: {mutant.old!r} occurs {source.count(mutant.old)} times in {mutant.file}")
    file.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")


def passes(package: Path, tests: list[str]) -> bool:
    """Whether the tests pass with this copy of the package; the first failure is enough."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True)
    if result.returncode not in (0, 1):
        raise SystemExit(result.stdout + result.stderr)
    return result.returncode == 0


def main() -> int:
    """Try the named mutants, or all of them; the exit code is 0 when 95 % are killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only these")
    names = parser.parse_args().names
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    if not passes(PACKAGE, sorted({test for mutant in chosen for test in mutant.tests.split()})):
        raise SystemExit("The tests fail without any mutant.")
    survivors = []
    for mutant in chosen:
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder) / "MetaSSLSegment"
            shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
            mutate(mutant, package)
            survived = passes(package, mutant.tests.split())
        survivors += [mutant.name] * survived
        print(f"{'SURVIVED' if survived else 'killed':<9} {mutant.name}", flush=True)
    killed = len(chosen) - len(survivors)
    print(f"{killed} of {len(chosen)} killed" + (f"; survived: {', '.join(survivors)}" if survivors else ""))
    return int(killed < 0.95 * len(chosen))


if __name__ == "__main__":
    sys.exit(main())
