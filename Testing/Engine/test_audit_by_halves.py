"""``metassl audit`` without a model: every annotation by a model that has not seen it."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from metassl.cli.main import main
from metassl.data.dataset import Case, Dataset
from metassl.errors import Stopped
from metassl.review.audit import NOTE_OF_HALVES, halves_of
from metassl.training.train import train
from volumes import BALL, balls, write

SETTINGS = ("--iterations", "30", "--method", "mean-teacher", "--patch", "16", "16", "16", "--precision", "fp32")
FAST = ("--device", "cpu", "--threads", "1")


def audit(folder, *arguments):
    return main(["audit", *map(str, arguments), str(folder / "dataset.json"), "--out", str(folder / "audit"), *FAST])


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """8 labelled cases, of which case3 has a ball in a corner, 1 unlabelled and 1 hold-out case."""
    folder = tmp_path_factory.mktemp("halves")
    balls(folder, labelled=8, unlabelled=1, hold_out=1)
    wrong = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "label3.nii.gz")))
    wrong[1:6, 1:6, 1:6] = 1
    write(folder / "label3.nii.gz", wrong)
    assert audit(folder, *SETTINGS) == 0
    return folder


def test_every_annotation_is_judged_by_a_model_that_has_not_seen_it(audited):
    told = read(audited / "audit" / "audit.json")
    assert told["model"] is None and told["note"] == NOTE_OF_HALVES and told["failed"] == []
    assert {case["case"] for case in told["cases"]} == {f"case{n}" for n in (*range(8), 9)}
    assert not any(case["trained_on"] for case in told["cases"])
    assert told["cases"][0]["case"] == "case3"
    assert np.linalg.norm(np.array(told["cases"][0]["places"][0]["position"]) - (-3, -3, 3)) < 4
    taught = [Dataset.load(audited / "audit" / f"{name} half" / "dataset.json") for name in ("first", "second")]
    first, second = ({case.id for case in half.with_role("labelled")} for half in taught)
    assert len(first) == len(second) == 4 and not first & second
    for half, others in zip(taught, (second, first)):
        assert {case.id for case in half.with_role("unlabelled")} == {*others, "case8"}, "they teach as unlabelled"
        assert [case.id for case in half.with_role("ignored")] == ["case9"], "nothing is measured"


def test_the_same_command_trains_nothing_again_and_another_budget_is_refused(audited, capsys):
    assert audit(audited, *SETTINGS) == 0
    assert capsys.readouterr().err.count("resumed after step 30") == 2
    assert audit(audited, "--iterations", "31", *SETTINGS[2:]) != 0
    assert "other settings or cases" in capsys.readouterr().err


def test_a_stopped_audit_goes_on(tmp_path, monkeypatch, capsys):
    balls(tmp_path, labelled=8, unlabelled=1)

    def stopped(run, reporter, should_stop):
        events = run.events_file
        return train(run, reporter, lambda: events.exists() and '"metrics"' in events.read_text(encoding="utf-8"))

    with monkeypatch.context() as patch:
        patch.setattr("metassl.training.train.train", stopped)
        assert audit(tmp_path, *SETTINGS) == Stopped.exit_code
    assert "The same command goes on" in capsys.readouterr().err
    assert not (tmp_path / "audit" / "audit.json").exists()
    assert audit(tmp_path, *SETTINGS) == 0
    assert "resumed after step" in capsys.readouterr().err
    assert len(read(tmp_path / "audit" / "audit.json")["cases"]) == 8


def test_the_halves_are_by_chance():
    cases = tuple(Case(f"case{n}", ("i.nrrd",), "l.nrrd", "labelled") for n in range(9))
    dataset = Dataset("d", ("MR",), (BALL,), cases)
    assert [len(half) for half in halves_of(dataset, 0)] == [5, 4]
    assert halves_of(dataset, 0) == halves_of(dataset, 0) != halves_of(dataset, 1)


def test_too_few_labels_and_settings_beside_a_model_are_refused(tmp_path, capsys):
    balls(tmp_path, labelled=7)
    assert audit(tmp_path, *SETTINGS) != 0
    assert "7 labelled case(s) are too few" in capsys.readouterr().err and not (tmp_path / "audit").exists()
    assert audit(tmp_path, "--minutes", "1", tmp_path / "run") != 0
    assert "--minutes is a setting of a training" in capsys.readouterr().err
