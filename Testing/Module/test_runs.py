"""Runs and models in a folder that people, programs and power cuts have been at."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from MetaSSLSegmentLib.Engine.Runs import (
    FINISHED,
    TAIL,
    UNFINISHED,
    ModelFolder,
    Runs,
    classesOf,
    eventsOf,
    modelIn,
    stateOf,
)

START = {"event": "start", "iteration": 0}
METRICS = {"event": "metrics", "iteration": 1, "loss": {"total": 1.0}}
DONE = {"event": "done", "stopped": False, "iterations": 10}
STOPPED = {"event": "done", "stopped": True, "iterations": 5}
ERROR = {"event": "error", "message": "No.", "code": 3}


def makeRun(folder, *events, ending="\n"):
    """A run folder with these events."""
    folder.mkdir(parents=True)
    (folder / "job.json").write_text("{}")
    (folder / "events.jsonl").write_text("\n".join(map(json.dumps, events)) + ending, encoding="utf-8")
    return folder


def makeModel(folder, metadata=None):
    """A model folder."""
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True)
    described = {"metassl": {"classes": []}} if metadata is None else metadata
    (folder / "configs" / "metadata.json").write_text(json.dumps(described))
    (folder / "models" / "model.pt").write_bytes(b"weights")
    return folder


def setTime(path, seconds):
    os.utime(path, (seconds, seconds))


# How far a run is


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([START, METRICS, DONE], FINISHED),
        ([START, METRICS, STOPPED], UNFINISHED),
        ([START, METRICS, ERROR], UNFINISHED),
        ([START, METRICS], UNFINISHED),
        ([], UNFINISHED),
        ([START, STOPPED, START, METRICS, DONE], FINISHED),
        ([START, DONE, START, METRICS], UNFINISHED),
        ([START, {"event": "done"}], FINISHED),
    ],
    ids=["done", "stopped", "failed", "killed", "before the first event", "resumed", "resumed after done", "old"],
)
def test_a_run_is_finished_when_that_is_its_last_word(tmp_path, events, state):
    assert stateOf(makeRun(tmp_path / "run", *events)) == state


@pytest.mark.parametrize(
    "ending", ["", '\n{"event": "metr', "\n\x00\x00\x00", "\nfoo\n", "\n\n\n", "\n[1]\n", "\n5\n", '\n"x"\n']
)
def test_a_torn_or_foreign_last_line_hides_nothing(tmp_path, ending):
    run = makeRun(tmp_path / "run", START, METRICS, DONE, ending=ending)
    assert stateOf(run) == FINISHED
    assert eventsOf(run) == [START, METRICS, DONE]


def test_damaged_lines_in_the_middle_are_left_out(tmp_path):
    run = makeRun(tmp_path / "run")
    (run / "events.jsonl").write_bytes(
        json.dumps(START).encode()
        + b'\n{"event": \xff\xfe}\n'
        + b"[" * 99999
        + b"\n"
        + b"\xc3\n"
        + b'{"event": "done"}\r\n'
    )
    assert eventsOf(run) == [START, {"event": "done"}]
    assert stateOf(run) == FINISHED


def test_a_long_run_is_judged_by_its_end(tmp_path):
    metrics = [{**METRICS, "iteration": n, "note": "ä" * 100} for n in range(2000)]
    run = makeRun(tmp_path / "run", START, *metrics, DONE)
    assert (run / "events.jsonl").stat().st_size > 3 * TAIL
    assert stateOf(run) == FINISHED and len(eventsOf(run)) == 2002
    killed = makeRun(tmp_path / "killed", START, DONE, START, *metrics)
    assert stateOf(killed) == UNFINISHED


def test_the_real_engines_summary_fits_into_the_end(tmp_path):
    """Hold-out measurements of many cases make the last event long."""
    dice = {f"class {n}": 0.5 for n in range(255)}
    long = {**DONE, "hold_out": {"mean_dice": 0.5, "cases": 100, "dice": dice}}
    run = makeRun(tmp_path / "run", START, *([METRICS] * 5000), long)
    assert len(json.dumps(long)) < TAIL / 4 and stateOf(run) == FINISHED


@pytest.mark.parametrize("kind", ["nothing", "folder"])
def test_a_run_without_a_readable_events_file_can_be_resumed(tmp_path, kind):
    run = makeRun(tmp_path / "run", DONE)
    (run / "events.jsonl").unlink()
    if kind == "folder":
        (run / "events.jsonl").mkdir()
    assert stateOf(run) == UNFINISHED and eventsOf(run) == []


# Listing


def test_unfinished_runs_are_offered_newest_first(tmp_path):
    for n, (name, events) in enumerate(
        {"old": [START], "done": [START, DONE], "newest": [START, STOPPED], "middle": [ERROR]}.items()
    ):
        setTime(makeRun(tmp_path / name, *events) / "job.json", {"newest": 100}.get(name, n))
    assert [run.name for run in Runs(tmp_path).unfinished()] == ["newest", "middle", "old"]


def test_foreign_files_and_folders_are_left_out(tmp_path):
    makeRun(tmp_path / "run", START)
    (tmp_path / "holiday.jpg").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "job.json").mkdir()
    (tmp_path / "job.json").write_text("{}")
    (tmp_path / "events.jsonl").write_text("{}")
    runs = Runs(tmp_path)
    assert [run.name for run in runs.unfinished()] == ["run"]
    assert runs.models() == []


@pytest.mark.parametrize("place", ["gone", "file", "x" * 5000, "a\0b"])
def test_a_runs_folder_that_cannot_be_listed_is_empty(tmp_path, place):
    (tmp_path / "file").touch()
    runs = Runs(tmp_path / place)
    assert runs.unfinished() == [] and runs.models() == []
    assert modelIn(tmp_path / place) is None and stateOf(tmp_path / place) == UNFINISHED
    assert eventsOf(tmp_path / place) == []


def test_a_folder_that_may_not_be_read_hides_no_other(tmp_path, monkeypatch):
    makeRun(tmp_path / "secret", START)
    makeRun(tmp_path / "mine", START)
    makeModel(tmp_path / "secret" / "model")
    makeModel(tmp_path / "mine" / "model")
    refuse(monkeypatch, tmp_path / "secret")
    runs = Runs(tmp_path)
    assert [run.name for run in runs.unfinished()] == ["mine"]
    assert [model.name for model in runs.models()] == ["mine"]
    assert stateOf(tmp_path / "secret") == UNFINISHED and eventsOf(tmp_path / "secret") == []
    refuse(monkeypatch, tmp_path)
    assert runs.unfinished() == [] and runs.models() == []


def refuse(monkeypatch, folder):
    """As a folder without permissions, also for root, who runs the tests in containers."""
    import builtins
    import io

    for module, name in ((os, "stat"), (os, "scandir"), (os, "listdir"), (builtins, "open"), (io, "open")):
        original = getattr(module, name)

        def guarded(path, *arguments, original=original, name=name, **options):
            inside = not isinstance(path, int) and Path(os.fsdecode(path)).is_relative_to(folder)
            if inside and (name != "stat" or Path(os.fsdecode(path)) != folder):
                raise PermissionError(13, "Permission denied", str(path))
            return original(path, *arguments, **options)

        monkeypatch.setattr(module, name, guarded)


def test_thousands_of_runs_are_listed_quickly(tmp_path, record_property):
    """Entering the module lists them; nobody may wait for that."""
    template = makeRun(tmp_path / "template", START, *([{**METRICS, "note": "x" * 400}] * 500), DONE)
    makeModel(template / "model")
    runs = tmp_path / "runs"
    for n in range(2000):
        shutil.copytree(template, runs / f"run {n}", copy_function=os.link)
    start = time.perf_counter()
    listed = Runs(runs)
    assert listed.unfinished() == [] and len(listed.models()) == 2000
    seconds = time.perf_counter() - start
    print(f"2000 runs of 200 KB events listed in {seconds:.2f} s")
    record_property("seconds", seconds)
    assert seconds < 4


# Models


def test_models_of_runs_and_copied_models_are_found_newest_first(tmp_path):
    paths = {
        "run": makeModel(makeRun(tmp_path / "run", DONE) / "model"),
        "copied": makeModel(tmp_path / "copied"),
        "stopped": makeModel(makeRun(tmp_path / "stopped", STOPPED) / "model"),
    }
    makeRun(tmp_path / "too early", START)
    for n, name in enumerate(("run", "copied", "stopped")):
        setTime(paths[name] / "configs" / "metadata.json", 1000 + n)
    expected = [ModelFolder(paths[name], name) for name in ("stopped", "copied", "run")]
    assert Runs(tmp_path).models() == expected


def test_the_runs_folder_may_be_a_model_itself(tmp_path):
    """Somebody chose the model's folder instead of the one around it."""
    makeModel(tmp_path / "model")
    assert [model.path for model in Runs(tmp_path / "model").models()] == [tmp_path / "model"]
    assert [model.path for model in Runs(tmp_path).models()] == [tmp_path / "model"], "once, not twice"


def test_half_a_model_is_none(tmp_path):
    makeModel(tmp_path / "a")
    (tmp_path / "a" / "models" / "model.pt").unlink()
    makeModel(tmp_path / "b")
    (tmp_path / "b" / "configs" / "metadata.json").unlink()
    assert Runs(tmp_path).models() == []


def test_another_monai_bundle_is_no_model_of_ours(tmp_path):
    """They have the same files; the engine could not use them."""
    makeModel(tmp_path / "spleen", {"version": "0.1", "network_data_format": {}})
    assert Runs(tmp_path).models() == [] and modelIn(tmp_path / "spleen") is None


# Classes of a model


def test_the_classes_of_a_model_are_read(tmp_path):
    described = {"name": "Höhle", "value": 3, "colour": [1, 2, 3], "terminology": "a~b"}
    plain = {"name": "b", "value": "4", "colour": [255, 0.0, 7]}
    model = makeModel(tmp_path / "m", {"metassl": {"classes": [described, plain]}})
    assert classesOf(model) == [
        {"name": "Höhle", "value": 3, "colour": (1, 2, 3), "terminology": "a~b"},
        {"name": "b", "value": 4, "colour": (255, 0, 7), "terminology": None},
    ]


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        {},
        {"metassl": []},
        {"metassl": {}},
        {"metassl": {"classes": 5}},
        {"metassl": {"classes": [5]}},
        {"metassl": {"classes": [[1]]}},
        {"metassl": {"classes": [{"name": "a", "value": 1}]}},
        {"metassl": {"classes": [{"name": "a", "value": "x", "colour": [1, 2, 3]}]}},
        {"metassl": {"classes": [{"name": "a", "value": 1, "colour": [1, 2]}]}},
        {"metassl": {"classes": [{"name": "a", "value": 1, "colour": None}]}},
    ],
)
def test_metadata_that_describes_no_model_is_refused_with_its_path(tmp_path, metadata):
    with pytest.raises(ValueError, match=r"metadata\.json: ."):
        classesOf(makeModel(tmp_path / "m", metadata))


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe", b"[" * 99999])
def test_metadata_that_cannot_be_read_is_refused_with_its_path(tmp_path, content):
    file = makeModel(tmp_path / "m") / "configs" / "metadata.json"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"metadata\.json: ."):
        classesOf(tmp_path / "m")


# New runs


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("Hippocampus", "Hippocampus "),
        ('a/b\\c:d*e?f"g<h>i|j\nk', "a_b_c_d_e_f_g_h_i_j_k "),
        ("../../etc/passwd", "_.._etc_passwd "),
        ("  .hidden. ", "hidden "),
        ("", "run "),
        ("...", "run "),
        ("ü 日本", "ü 日本 "),
        ("x" * 300, "x" * 40 + " "),
    ],
)
def test_a_new_run_is_named_after_data_and_time_and_lies_in_the_runs_folder(tmp_path, name, start):
    path = Runs(tmp_path).newFolder(name)
    assert path.parent == tmp_path and path.name.startswith(start) and not path.exists()
    path.mkdir()


def test_two_runs_of_the_same_second_have_different_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda form: "2026-01-01 00.00.00")
    names = []
    for _n in range(3):
        path = Runs(tmp_path).newFolder("a")
        path.mkdir()
        names.append(path.name)
    assert names == ["a 2026-01-01 00.00.00", "a 2026-01-01 00.00.00 (2)", "a 2026-01-01 00.00.00 (3)"]


def test_a_runs_folder_need_not_exist_yet(tmp_path):
    assert not Runs(tmp_path / "later").newFolder("a").parent.exists()
