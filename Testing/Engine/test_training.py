"""Training as a user runs it: the real command in a real child process, on small volumes."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from metassl.cli.main import main
from metassl.crops.prefetching import Prefetcher
from metassl.crops.sampling import CropSampler
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.errors import DiskError, InputError, Stopped
from metassl.events import Reporter, read_events
from metassl.inference.model import load_model
from metassl.job import BUDGETS, Job
from metassl.planning.plan import Plan
from metassl.ssl.methods import METHODS
from metassl.training.checkpoint import load_checkpoint, save_checkpoint
from metassl.training.objective import Objective
from metassl.training.run_folder import RunFolder
from metassl.training.train import train
from metassl.training.trainer import Trainer
from tiny_trainer import make_trainer
from volumes import balls

FAST = ("--threads", "1", "--patch", "16", "16", "16", "--device", "cpu")


def volume(path: Path, array: np.ndarray) -> str:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.5, 1.0, 1.25))
    sitk.WriteImage(image, str(path))
    return str(path)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Three labelled, three unlabelled and one hold-out case with a bright ball in noise."""
    folder = tmp_path_factory.mktemp("balls")
    random_numbers = np.random.default_rng(0)
    cases = []
    roles = ["labelled"] * 3 + ["unlabelled"] * 3 + ["hold-out"]
    for number, role in enumerate(roles):
        grid = np.stack(np.meshgrid(*[np.arange(20)] * 3, indexing="ij"))
        centre = random_numbers.uniform(7, 13, (3, 1, 1, 1))
        ball = (((grid - centre) ** 2).sum(0) < 25).astype(np.uint8)
        image = volume(
            folder / f"image{number}.nii.gz",
            (ball * 80 + random_numbers.normal(100, 20, ball.shape)).astype(np.float32),
        )
        label = None if role == "unlabelled" else volume(folder / f"label{number}.nii.gz", ball)
        cases.append(Case(f"case{number}", (image,), label, role))
    Dataset("balls", ("MR",), (SegmentClass("ball", 1, (255, 0, 0)),), tuple(cases)).save(folder / "dataset.json")
    return folder / "dataset.json"


def metassl(*arguments: object, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "metassl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", **options)


def start(*arguments: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-u", "-m", "metassl", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", **options)


def wait_for(process: subprocess.Popen, kind: str) -> dict:
    """The next event of a kind; fails when the process ends without it."""
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == kind:
            return event
    raise AssertionError(f"the process ended ({process.wait()}) without a {kind!r} event")


def started_run(dataset: Path, out: Path, **settings) -> RunFolder:
    run = RunFolder(out)
    run.create(Job(**{"patch": (16, 16, 16), "device": "cpu", **settings}), Dataset.load(dataset))
    return run


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("loss", ["metassl", "own"])
def test_every_method_trains_and_makes_a_model(method, loss, dataset, tmp_path):
    if (method, loss) == ("supervised", "own"):
        pytest.skip("supervised only has no unlabelled loss")
    run = started_run(dataset, tmp_path / "run", method=method, loss=loss, iterations=3, precision="fp32")
    summary = train(run, Reporter(), lambda: False)
    assert summary["iterations"] == 3 and not summary["stopped"]
    assert 0 <= summary["hold_out"]["mean_dice"] <= 1 and set(summary["hold_out"]["hd95"]) == {"ball"}
    assert load_model(run.model).metadata["metassl"]["method"] == method
    metrics = read_events(run.events_file, "metrics")[-1]
    assert metrics["iteration"] == 3 and metrics["loss"]["supervised"] > 0
    if method == "supervised":
        assert set(metrics["loss"]) == {"supervised"}
    elif loss == "metassl":
        for stream in ("labelled", "unlabelled"):
            assert sum(metrics["shares"][stream].values()) == pytest.approx(1, abs=1e-3)
        assert len(metrics["thresholds"]["unlabelled reference"]) == 2


def test_training_learns_the_ball(dataset, tmp_path):
    run = started_run(dataset, tmp_path / "run", iterations=60)
    summary = train(run, Reporter(), lambda: False)
    assert summary["hold_out"]["mean_dice"] > 0.7
    losses = [e["loss"]["supervised"] for e in read_events(run.events_file, "metrics")]
    assert losses[-1] < losses[0] / 2


def test_hold_out_is_measured_on_the_way_if_that_is_quick(dataset, tmp_path, monkeypatch):
    counts = {}
    for name, share in (("quick", 1e9), ("slow", 0.0)):
        monkeypatch.setattr("metassl.training.trainer.MOST_SHARE", share)
        run = started_run(dataset, tmp_path / name, iterations=8)
        summary = train(run, Reporter(), lambda: False)
        measured = read_events(run.events_file, "hold-out")
        assert measured[-1]["iteration"] == 8 and measured[-1]["mean_dice"] == summary["hold_out"]["mean_dice"]
        counts[name] = [e["iteration"] for e in measured]
        assert ["hd95_per_case" in e for e in measured] == [False] * (len(measured) - 1) + [True]
    assert counts == {"quick": [2, 4, 6, 8], "slow": [8]}


def test_command_with_events_tells_everything(dataset, tmp_path):
    process = start(
        "train", dataset, "--out", tmp_path / "run", "--iterations", 2, *FAST, "--events", stdin=subprocess.PIPE
    )
    events = [json.loads(line) for line in process.stdout]
    assert process.wait() == 0
    kinds = [e["event"] for e in events]
    assert kinds[-1] == "done" and {"start", "progress", "metrics", "checkpoint", "hold-out"} <= set(kinds)
    assert events[-1]["iterations"] == 2 and Path(events[-1]["model"]).exists()
    phases = {e["phase"] for e in events if e["event"] == "progress"}
    assert {"checking", "preprocessing", "training"} <= phases


@pytest.mark.parametrize(
    "how", ["line", "end of input", "interrupt", pytest.param("terminate", marks=pytest.mark.slow)]
)
def test_a_stop_saves_and_resume_goes_on(how, dataset, tmp_path):
    run = tmp_path / "run"
    process = start("train", dataset, "--out", run, "--iterations", 100000, *FAST, "--events", stdin=subprocess.PIPE)
    wait_for(process, "metrics")
    if how == "line":
        process.stdin.write("stop\n")
        process.stdin.flush()
    elif how == "end of input":
        process.stdin.close()
    else:
        process.send_signal(signal.SIGINT if how == "interrupt" else signal.SIGTERM)
    done = wait_for(process, "done")
    assert process.wait(30) == 130
    assert done["stopped"] and done["iterations"] >= 1
    assert load_model(run / "model").metadata["metassl"]["provenance"]["complete"] is False
    target = done["iterations"] + 2
    assert main(["train", "--resume", str(run), "--iterations", str(target)]) == 0
    iterations = [e["iteration"] for e in read_events(run / "events.jsonl", "metrics")]
    assert iterations == sorted(iterations) and iterations[-1] == target


def test_when_the_parent_dies_the_run_is_saved(dataset, tmp_path):
    run = tmp_path / "run"
    process = start("train", dataset, "--out", run, "--iterations", 100000, *FAST, "--events", stdin=subprocess.PIPE)
    wait_for(process, "metrics")
    process.stdout.close()  # first nobody reads, then standard input ends, as when a process is killed
    time.sleep(2)
    process.stdin.close()
    assert process.wait(30) == 130
    done = read_events(run / "events.jsonl", "done")[-1]
    assert (
        done["stopped"]
        and load_checkpoint(run / "checkpoint.pt", torch.device("cpu"))["iteration"] == done["iterations"]
    )


def test_without_events_the_end_of_input_is_no_stop(dataset, tmp_path):
    result = metassl("train", dataset, "--out", tmp_path / "run", "--iterations", 2, *FAST, stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "" and "Done: 2 steps" in result.stderr


CHECKPOINT_OFTEN = """
import sys
from metassl.cli import main as cli
from metassl.training import trainer as training
training.CHECKPOINT_SECONDS = 0.2
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_kills_at_random_moments_never_break_a_run(dataset, tmp_path):
    run = tmp_path / "run"
    clock = random.Random(1)
    reached = []
    for _ in range(10):
        new = not (run / "job.json").exists()
        arguments = (dataset, "--out", run, "--iterations", 100000, *FAST) if new else ("--resume", run)
        command = [sys.executable, "-c", CHECKPOINT_OFTEN, "train", *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(clock.uniform(0.5, 9))
        process.kill()
        process.wait()
        if (run / "checkpoint.pt").exists():
            reached.append(load_checkpoint(run / "checkpoint.pt", torch.device("cpu"))["iteration"])
        if (run / "events.jsonl").exists():
            read_events(run / "events.jsonl")
    assert reached == sorted(reached) and reached[-1] > reached[0] > 0
    target = reached[-1] + 3
    result = metassl("train", "--resume", run, "--iterations", target)
    assert result.returncode == 0, result.stderr
    iterations = [e["iteration"] for e in read_events(run / "events.jsonl", "metrics")]
    assert iterations == sorted(iterations) and iterations[-1] == target
    assert load_model(run / "model").metadata["metassl"]["provenance"]["iterations"] == target


def test_a_resumed_run_ends_like_an_uninterrupted_one(dataset, tmp_path, monkeypatch):
    whole, parts = (
        started_run(dataset, tmp_path / name, method="r-drop", iterations=6, precision="fp32")
        for name in ("whole", "parts")
    )
    train(whole, Reporter(), lambda: False)
    steps, step = [], Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda self, crops: steps.append(self.budget.iteration) or step(self, crops))
    summary = train(parts, Reporter(), lambda: len(steps) == 3)
    assert summary["stopped"] and summary["iterations"] == 3
    train(parts, Reporter(), lambda: False)
    assert steps == [0, 1, 2, 3, 4, 5]
    first, second = (load_checkpoint(r.checkpoint_file, torch.device("cpu")) for r in (whole, parts))
    assert first["iteration"] == second["iteration"] == 6
    for name, value in first["method"].items():
        assert torch.allclose(value, second["method"][name], atol=1e-5), name
    assert torch.allclose(first["heterogeneous"]["thresholds.tau"], second["heterogeneous"]["thresholds.tau"])


def test_the_total_loss_weighs_its_parts(dataset, tmp_path, monkeypatch):
    settings = {"iterations": 4, "warm_up": 0.0, "ramp": 0.0, "consistency": 0.5}
    run = started_run(dataset, tmp_path / "run", method="cps", precision="fp32", **settings)
    totals, compute = [], Objective.forward

    def remember(self, *data):
        totals.append(compute(self, *data))
        return totals[-1]

    monkeypatch.setattr(Objective, "forward", remember)
    train(run, Reporter(), lambda: False)
    for total, part in totals:
        expected = part["supervised"] + 0.5 * (part["labelled"] + part["unlabelled"])
        assert part["labelled"] > 0 and part["unlabelled"] > 0
        assert total.item() == pytest.approx(expected.item(), rel=1e-6)


def test_every_step_counts_alike_however_long_its_gradient(dataset, tmp_path, monkeypatch):
    compute, kernels = Objective.forward, []
    for scale in (1, 10):
        steps = count()

        def scaled(self, *data, scale=scale, steps=steps):
            loss, metrics = compute(self, *data)
            return scale ** next(steps) * loss, metrics

        monkeypatch.setattr(Objective, "forward", scaled)
        run = started_run(
            dataset, tmp_path / f"run{scale}", iterations=4, method="supervised", precision="fp32", seed=1
        )
        train(run, Reporter(), lambda: False)
        weights = load_checkpoint(run.checkpoint_file, torch.device("cpu"))["method"]
        # biases before an instance normalisation have no gradient but rounding
        kernels.append({name: value for name, value in weights.items() if value.ndim > 1})
    assert kernels[0]
    for name, value in kernels[0].items():
        assert torch.allclose(value, kernels[1][name], atol=5e-4), name


def test_out_of_memory_shrinks_the_patch_and_goes_on(dataset, tmp_path, monkeypatch):
    run = started_run(dataset, tmp_path / "run", iterations=2, patch=(24, 24, 24))
    step = Trainer.step

    def too_large(self, crops):
        if np.prod(self.plan.patch) > 16 * 24 * 24:
            raise torch.OutOfMemoryError("CUDA out of memory (injected)")
        return step(self, crops)

    monkeypatch.setattr(Trainer, "step", too_large)
    summary = train(run, Reporter(), lambda: False)
    assert summary["iterations"] == 2
    before, after = 24**3, np.prod(Plan.load(run.plan_file).patch)
    assert after < before
    assert any("Out of memory" in e["message"] for e in read_events(run.events_file, "warning"))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_loss_that_is_not_finite_ends_with_advice(precision, tiny_plan, tmp_path, monkeypatch):
    monkeypatch.setattr("metassl.training.objective.dice_ce_loss", lambda p, *_: p.sum() * float("nan"))
    trainer = make_trainer(tmp_path, tiny_plan, iterations=50, method="supervised", precision=precision)
    with pytest.raises(Exception, match="not finite") as caught:
        trainer.run_to_end(lambda: False)
    assert "learning-rate" in caught.value.hint


def test_the_time_budget_is_what_a_person_waits(dataset, tmp_path, monkeypatch):
    """Data that come slowly, checkpoints that take long, hold-out cases: all of it counts."""
    crops = CropSampler.crops
    monkeypatch.setattr(CropSampler, "crops", lambda self, step: time.sleep(0.4) or crops(self, step))
    save = Trainer.save
    monkeypatch.setattr(Trainer, "save", lambda self: time.sleep(0.3) or save(self))
    monkeypatch.setattr("metassl.training.trainer.CHECKPOINT_SECONDS", 1)
    run = started_run(dataset, tmp_path / "run", minutes=0.1, method="supervised")
    begin = time.monotonic()
    summary = train(run, Reporter(), lambda: False)
    preparing = read_events(run.events_file, "start")[0]["time"] - (time.time() - (time.monotonic() - begin))
    waited = time.monotonic() - begin - preparing
    assert 5 < waited < 8
    assert summary["seconds"] == pytest.approx(waited, abs=1)
    assert read_events(run.events_file, "metrics")[-1]["seconds"] > 4


def test_a_stop_is_heard_while_the_disk_hangs(dataset, tmp_path, monkeypatch):
    crops = CropSampler.crops
    monkeypatch.setattr(CropSampler, "crops", lambda self, step: (step > 1 and time.sleep(20)) or crops(self, step))
    run = started_run(dataset, tmp_path / "run", minutes=5, method="supervised")
    asked = []

    def should_stop():
        asked.append(time.monotonic())
        return len(read_events(run.events_file, "metrics") if run.events_file.exists() else []) > 0 and len(asked) > 20

    monkeypatch.setattr(Prefetcher, "close", lambda self: self._closed.set())  # its thread sleeps on
    summary = train(run, Reporter(), should_stop)
    assert summary["stopped"] and summary["iterations"] == 2 and summary["seconds"] < 15
    assert max(b - a for a, b in pairwise(asked[-8:])) < 2


def test_a_checkpoint_that_cannot_be_written_on_the_way_does_not_end_the_run(dataset, tmp_path, monkeypatch):
    failures = iter([True, True])

    def full(path, *rest):
        if next(failures, False):
            raise DiskError(f"Cannot write {path}: no space.")
        save_checkpoint(path, *rest)

    monkeypatch.setattr("metassl.training.trainer.save_checkpoint", full)
    monkeypatch.setattr("metassl.training.trainer.CHECKPOINT_SECONDS", -1)
    run = started_run(dataset, tmp_path / "run", iterations=4, method="supervised")
    assert train(run, Reporter(), lambda: False)["iterations"] == 4
    warnings = [e["message"] for e in read_events(run.events_file, "warning")]
    assert len(warnings) == 2 and all("no space" in w and "tried again" in w for w in warnings)
    assert load_checkpoint(run.checkpoint_file, torch.device("cpu"))["iteration"] == 4


def test_hold_out_cases_that_do_not_fit_do_not_shrink_the_training(dataset, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")

    monkeypatch.setattr("metassl.training.trainer.predict_labels", refuse)
    run = started_run(dataset, tmp_path / "run", iterations=4, method="supervised")
    summary = train(run, Reporter(), lambda: False)
    assert summary["iterations"] == 4 and summary["hold_out"] is None
    assert Plan.load(run.plan_file).patch == (16, 16, 16)
    assert any("hold-out case" in e["message"] for e in read_events(run.events_file, "warning"))


def test_a_stop_does_not_wait_for_the_end_of_a_hold_out_case(dataset, tmp_path, monkeypatch):
    asked = []

    def predict(*_, should_stop, **__):
        asked.append(should_stop())
        raise Stopped("Stopped while segmenting.")

    monkeypatch.setattr("metassl.training.trainer.predict_labels", predict)
    run = started_run(dataset, tmp_path / "run", iterations=8, method="supervised")
    summary = train(run, Reporter(), lambda: bool(asked))
    assert asked == [False] and summary["stopped"] and summary["iterations"] == 2


def test_two_runs_do_not_share_a_folder(dataset, tmp_path):
    started_run(dataset, tmp_path / "run")
    with pytest.raises(InputError, match="holds a training run already") as caught:
        started_run(dataset, tmp_path / "run")
    assert "--resume" in caught.value.hint
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.docx").write_text("")
    with pytest.raises(InputError, match="not empty"):
        started_run(dataset, tmp_path / "other")
    (tmp_path / "exported" / "cases").mkdir(parents=True)  # volumes that the Slicer side wrote for this run
    started_run(dataset, tmp_path / "exported")


def refusal(capsys, *arguments):
    """What a command says that cannot use its input."""
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_resuming_nothing_says_so(tmp_path, capsys):
    assert "holds no training run" in refusal(capsys, "train", "--resume", tmp_path / "nothing")


def test_resuming_with_another_method_is_refused(dataset, tmp_path, capsys):
    started_run(dataset, tmp_path / "run")
    said = refusal(capsys, "train", "--resume", tmp_path / "run", "--method", "cps")
    assert "--method cannot be changed" in said


@pytest.mark.parametrize("first", [{"iterations": 2}, {"megavoxels": 0.02}, {"minutes": 9.0}])
@pytest.mark.parametrize("more", [{"iterations": 5}, {"megavoxels": 0.05}, {"minutes": 7.0}])
def test_a_resumed_run_takes_a_budget_of_any_kind(tmp_path, monkeypatch, first, more):
    run = RunFolder(tmp_path / "run")
    run.create(Job(**first), balls(tmp_path))
    monkeypatch.setattr("metassl.training.train.train", lambda run, *rest: {"stopped": True, "model": None})
    ((name, value),) = more.items()
    assert main(["train", "--resume", str(run.path), f"--{name}", str(value)]) == 130
    job, _ = run.load()
    assert {n: getattr(job, n) for n in BUDGETS if getattr(job, n) is not None} == more


def test_ssl_without_unlabelled_cases_says_what_to_do(dataset, tmp_path, capsys):
    content = Dataset.load(dataset)
    content.with_roles({f"case{n}": "ignored" for n in (3, 4, 5)}).save(tmp_path / "dataset.json")
    arguments = ("train", tmp_path / "dataset.json", "--out", tmp_path / "run", "--iterations", 1, *FAST)
    said = refusal(capsys, *arguments)
    assert "needs unlabelled cases" in said and "--method supervised" in said


def test_damaged_checkpoint_is_refused(tmp_path):
    file = tmp_path / "checkpoint.pt"
    save_checkpoint(file, {"iteration": 1})
    assert load_checkpoint(file, torch.device("cpu"))["iteration"] == 1
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(file, torch.device("cpu"))


def test_an_annotation_that_contradicts_the_others_is_named(dataset, tmp_path):
    """The ball of one case is annotated in the wrong place."""
    content = Dataset.load(dataset)
    wrong = content.with_role("labelled")[1]
    label = sitk.GetArrayFromImage(sitk.ReadImage(wrong.label))
    shifted = volume(tmp_path / "shifted.nii.gz", np.roll(label, 7, axis=(0, 1, 2)))
    cases = tuple(replace(c, label=shifted) if c.id == wrong.id else c for c in content.cases)
    run = RunFolder(tmp_path / "run")
    job = Job(patch=(16, 16, 16), device="cpu", method="mean-teacher", iterations=150)
    run.create(job, replace(content, cases=cases))
    train(run, Reporter(), lambda: False)
    (event,) = read_events(run.events_file, "annotations")
    assert set(event["cases"]) == {c.id for c in cases if c.role == "labelled"}
    trust = {name: values["trust"] for name, values in event["cases"].items()}
    assert trust.pop(wrong.id) < 0.5 and min(trust.values()) > 0.5
    warnings = [e["message"] for e in read_events(run.events_file, "warning")]
    assert [w for w in warnings if "annotation" in w] and all(wrong.id in w for w in warnings if "annotation" in w)
