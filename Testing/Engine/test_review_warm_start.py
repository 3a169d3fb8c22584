"""A training that goes on from a model: what is taken over, what is refused, and that nothing learnt is lost."""

from dataclasses import replace

import pytest
import torch
from metassl.cli.main import main
from metassl.data.dataset import Dataset
from metassl.errors import InputError
from metassl.events import Reporter, read_events
from metassl.inference.model import load_model, save_model
from metassl.job import Job
from metassl.planning.plan import Plan
from metassl.ssl.methods import METHODS, build_method
from metassl.ssl.thresholds import AdaptiveThresholds
from metassl.training.budget import Budget
from metassl.training.run_folder import RunFolder
from metassl.training.train import train
from metassl.training.trainer import Trainer
from metassl.training.warm_start import start_from
from volumes import BALL, CORE, RIM, balls

FAST = {"patch": (16, 16, 16), "device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A run of 40 steps that found the ball."""
    folder = tmp_path_factory.mktemp("parent")
    run = RunFolder(folder / "run")
    run.create(Job(iterations=40, method="mean-teacher", **FAST), balls(folder))
    train(run, Reporter(), lambda: False)
    return run


def model_of(folder, plan, method="cps", classes=(BALL, RIM), thresholds=(0.9, 0.8, 0.7)):
    torch.manual_seed(0)
    save_model(
        folder,
        build_method(method, plan.network),
        plan=plan,
        job=Job(method=method, iterations=7, mirror_axes=("LR",)),
        dataset=Dataset("first", ("MR",), classes, ()),
        thresholds=torch.tensor(thresholds),
        provenance={"iterations": 7, "cases": {"labelled": ["a", "b"]}},
    )
    return folder


def test_the_first_step_is_as_good_as_the_parent(parent, tmp_path):
    dataset = Dataset.load(parent.dataset_file)
    dataset = dataset.with_roles({"case3": "hold-out"})
    found = {}
    for name in ("cold", "warm"):
        job, start = Job(iterations=1, method="mean-teacher", **FAST), None
        if name == "warm":
            job, start = start_from(parent.path, {"iterations": 1, "device": "cpu", "precision": "fp32"}, dataset)
        run = RunFolder(tmp_path / name)
        run.create(job, dataset, start)
        found[name] = train(run, Reporter(), lambda: False)["hold_out"]["mean_dice"]
    assert found["warm"] > 0.7 > 0.5 > found["cold"]
    assert Plan.load(RunFolder(tmp_path / "warm").plan_file) == parent.plan()
    facts = load_model(tmp_path / "warm").metadata["metassl"]
    assert facts["method"] == "mean-teacher"
    assert facts["provenance"]["parent"] == {
        "path": str(parent.path.absolute()),
        "name": "balls",
        "iterations": 40,
        "labelled": ["case0", "case1"],
    }


def test_the_unlabelled_loss_counts_fully_from_the_first_step(parent, tmp_path):
    job, start = start_from(parent.path, {"iterations": 3, "device": "cpu"}, Dataset.load(parent.dataset_file))
    run = RunFolder(tmp_path / "run")
    run.create(job, Dataset.load(parent.dataset_file), start)
    train(run, Reporter(), lambda: False)
    metrics = read_events(run.events_file, "metrics")
    assert {e["consistency"] for e in metrics} == {1.0}
    assert all(e["loss"].get("unlabelled", 0) > 0 for e in metrics)
    assert Budget(job, warm_start=True).doubt() < 0.1  # trust in annotations is earned anew: corrected ones surprise


@pytest.mark.parametrize("name", list(METHODS))
def test_outputs_are_matched_by_class_name(name, tmp_path, tiny_plan):
    folder = model_of(tmp_path / "model", tiny_plan, name)
    dataset = Dataset("second", ("MR",), (CORE, RIM, BALL), ())
    job, start = start_from(folder, {"iterations": 1}, dataset)
    assert job.method == name and job.mirror_axes == ("LR",)
    assert start.plan.network == replace(tiny_plan.network, out_channels=4)
    assert start.new_classes(dataset.classes) == ["core"]
    start.save(tmp_path / "start.pt")
    start = type(start).load(tmp_path / "start.pt")
    torch.manual_seed(1)
    method, old = build_method(name, start.plan.network), load_model(folder).method
    fresh = {k: v.clone() for k, v in method.state_dict().items()}
    thresholds = AdaptiveThresholds(4, initial=0.5)
    start.give(method, thresholds, dataset.classes)
    images = torch.randn(1, 1, 8, 8, 8)
    with torch.no_grad():
        mine, theirs = method.network.eval()(images), old.network(images)
    assert torch.allclose(mine[:, [0, 2, 3]], theirs[:, [0, 2, 1]], atol=1e-5)
    outputs = [k for k in fresh if ".output_block." in k]
    assert outputs
    for k in outputs:
        new, given = method.state_dict()[k], old.state_dict()[k]
        assert torch.equal(new[[0, 2, 3]], given[[0, 2, 1]]) and torch.equal(new[1], fresh[k][1])
    assert thresholds.tau[0, 1].tolist() == pytest.approx([0.9, 0.5, 0.7, 0.8])


def test_an_added_class_is_learnt_and_the_old_one_kept(parent, tmp_path):
    dataset = balls(tmp_path, (CORE, BALL)).with_roles({"case3": "hold-out"})
    settings = {"iterations": 40, "device": "cpu", "precision": "fp32"}
    job, start = start_from(parent.path, settings, dataset)
    run = RunFolder(tmp_path / "run")
    run.create(job, dataset, start)
    dice = train(run, Reporter(), lambda: False)["hold_out"]["dice"]
    assert dice["ball"] > 0.7 and dice["core"] > 0.5
    consistency = [e["consistency"] for e in read_events(run.events_file, "metrics")]
    assert consistency[0] < 0.1  # what the networks say of the new class means nothing yet


def test_a_killed_start_and_a_moved_parent_do_not_matter(parent, tmp_path, monkeypatch):
    moved = tmp_path / "parent"
    model_of(moved, parent.plan(), "mean-teacher", (BALL,), (0.9, 0.8))
    dataset, run = Dataset.load(parent.dataset_file), RunFolder(tmp_path / "run")
    job, start = start_from(moved, {"iterations": 2, "device": "cpu"}, dataset)
    run.create(job, dataset, start)
    run.job_file.unlink()  # killed before it was written
    run.create(job, dataset, start)
    moved.rename(tmp_path / "elsewhere")
    steps, step = [], Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda self, crops: steps.append(self.budget.iteration) or step(self, crops))
    train(run, Reporter(), lambda: len(steps) == 1)
    assert train(run, Reporter(), lambda: False)["iterations"] == 2
    assert steps == [0, 1]
    assert load_model(run.model).metadata["metassl"]["provenance"]["parent"]["path"] == str(moved)


def test_a_warm_start_that_was_cut_off_does_not_warm_a_cold_one(parent, tmp_path):
    dataset, run = Dataset.load(parent.dataset_file), RunFolder(tmp_path / "run")
    job, start = start_from(parent.path, {"iterations": 1, "device": "cpu"}, dataset)
    run.create(job, dataset, start)
    run.job_file.unlink()
    run.create(Job(iterations=1, **FAST), dataset)
    assert not run.start_file.exists()


@pytest.mark.parametrize(
    ("dataset", "settings", "words"),
    [
        (Dataset("d", ("T1",), (BALL, RIM), ()), {}, r"trained on the channel\(s\) MR; the data set has T1"),
        (Dataset("d", ("MR",), (CORE, BALL), ()), {}, r"lacks the model's class\(es\) rim"),
        (Dataset("d", ("MR",), (BALL, RIM), ()), {"method": "fixmatch"}, "--method cannot be changed: .* cps"),
        (Dataset("d", ("MR",), (BALL, RIM), ()), {"patch": [16, 8, 8]}, "--patch cannot be changed: .* 8 x 8 x 8"),
        (Dataset("d", ("MR",), (BALL, RIM), ()), {"network": "large"}, "--network cannot be changed: .* small"),
    ],
)
def test_what_does_not_fit_is_refused_with_words(dataset, settings, words, tmp_path, tiny_plan):
    with pytest.raises(InputError, match=words) as caught:
        start_from(model_of(tmp_path / "model", tiny_plan), settings, dataset)
    assert "without --from" in caught.value.hint


def test_settings_that_say_the_same_are_welcome(tmp_path, tiny_plan):
    settings = {"method": "cps", "network": "auto", "patch": [8, 8, 8], "spacing": (1.0, 1.0, 1.0), "mirror": []}
    dataset = Dataset("d", ("MR",), (BALL, RIM), ())
    job, _ = start_from(model_of(tmp_path / "model", tiny_plan), settings, dataset)
    assert (job.method, job.mirror_axes) == ("cps", ())


def test_on_the_command_line(parent, tmp_path, capsys):
    options = ["--iterations", "1", "--device", "cpu", "--threads", "1"]
    arguments = ["train", str(parent.dataset_file), "--out", str(tmp_path / "run"), "--from", str(parent.model)]
    assert main([*arguments, *options]) == 0
    assert "Starting from the model" in capsys.readouterr().err
    assert load_model(tmp_path / "run").metadata["metassl"]["provenance"]["parent"]["name"] == "balls"
    assert main(["train", "--resume", str(tmp_path / "run"), "--from", str(parent.model)]) == 2
    assert "--from" in capsys.readouterr().err
    assert main([*arguments[:3], str(tmp_path / "other"), *arguments[4:], "--method", "cps", *options]) == 2
    assert not (tmp_path / "other").exists()
