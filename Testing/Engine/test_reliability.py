"""Kills, full disks and damaged files: nothing is lost that docs/reliability.md promises to keep."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.data.images import write_image
from metassl.errors import DiskError, InputError
from metassl.events import Reporter, read_events
from metassl.files import PARTIAL, replacing, require_whole
from metassl.inference.tensors import save_tensors
from metassl.job import Job
from metassl.planning.cache import build_cache
from metassl.training import run_lock
from metassl.training.checkpoint import load_checkpoint, save_checkpoint
from metassl.training.run_folder import RunFolder
from metassl.training.run_lock import run_holder
from metassl.training.train import train
from volumes import grey, label, write

CPU = torch.device("cpu")
SIZE = (16, 16, 16)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run that was stopped by its budget after two steps, with a checkpoint after each."""
    folder = tmp_path_factory.mktemp("runs")
    image = write(folder / "a.nii.gz", grey(0, SIZE))
    annotation = write(folder / "l.nii.gz", label(*[1] * 500, size=SIZE))
    cases = (Case("a", (str(image),), str(annotation), "labelled"),)
    run = RunFolder(folder / "run")
    settings = {"method": "supervised", "patch": (16, 16, 16), "device": "cpu", "precision": "fp32"}
    run.create(Job(iterations=2, **settings), Dataset("d", ("MR",), (SegmentClass("ball", 1, (255, 0, 0)),), cases))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metassl.training.trainer.CHECKPOINT_SECONDS", -1)
        train(run, Reporter(), lambda: False)
    return run.path


@pytest.fixture
def run(trained, tmp_path):
    """A copy of that run whose budget is one step more."""
    shutil.copytree(trained, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    job, _ = run.load()
    Job(**{**vars(job), "iterations": 3}).save(run.job_file)
    return run


def texts(run, kind="warning"):
    return [event["message"] for event in read_events(run.events_file, kind)]


LITTLE_ROOM = """
import resource, sys
import numpy as np, SimpleITK as sitk
from metassl.data.images import write_image
image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 255, (40, 40, 40), dtype=np.uint8))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
write_image(image, sys.argv[1], float(sys.argv[3]))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit for the size of files")
@pytest.mark.parametrize(("suffix", "slope"), [(".nii.gz", 1), (".nii.gz", 0.5), (".nii", 1), (".nrrd", 1)])
@pytest.mark.parametrize("room", [0, 8192, 50_000])
def test_a_full_disk_never_replaces_a_good_result(suffix, slope, room, tmp_path):
    """The system stops every write beyond some bytes, as a full disk does; ITK says nothing of it for NIfTI."""
    file = tmp_path / f"a_seg{suffix}"
    file.write_bytes(b"good")
    command = [sys.executable, "-c", LITTLE_ROOM, str(file), str(room), str(slope)]
    result = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert "DiskError: Cannot write" in result.stderr
    assert file.read_bytes() == b"good" and [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("pixel", [np.uint8, np.float32])
def test_whole_volumes_pass_and_cut_ones_do_not(suffix, pixel, tmp_path):
    image = sitk.GetImageFromArray(grey(0).astype(pixel))
    file = tmp_path / f"a{suffix}"
    write_image(image, file)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(file))), grey(0).astype(pixel))
    if suffix != ".mha":
        voxel_bytes = grey(0).astype(pixel).nbytes
        require_whole(file, voxel_bytes)
        file.write_bytes(file.read_bytes()[:-5])
        with pytest.raises(OSError, match="its end is missing"):
            require_whole(file, voxel_bytes)


def test_a_full_disk_is_named_by_its_own_name_when_weights_are_written(monkeypatch, tmp_path):
    """torch itself would speak of an unexpected position."""

    def full(content, file):
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            raise RuntimeError("[enforce fail at inline_container.cc:603] . unexpected pos 64 vs 0") from None

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DiskError, match="No space left on device"), replacing(tmp_path / "a.pt") as temporary:
        save_tensors({}, temporary)


@pytest.mark.parametrize("obstacle", ["log.txt is a folder", "events.jsonl is a folder", "the folder is gone"])
def test_a_log_that_cannot_be_kept_is_said_once_and_the_error_still_told(obstacle, tmp_path, capsys):
    name = obstacle.split(" is")[0]
    folder = tmp_path / "run"
    if name in ("log.txt", "events.jsonl"):
        (folder / name).mkdir(parents=True)
    reporter = Reporter(events=True)
    reporter.keep_in(folder)
    reporter.info("one")
    reporter.warning("two")
    reporter.error(InputError("three", "hint"))
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["event"] == "error" and events[-1]["message"] == "three" and events[-1]["code"] == 2
    assert len([e for e in events if "Cannot write" in e.get("message", "")]) == 1


def test_two_processes_do_not_train_into_one_folder(run):
    code = "import sys; from metassl.training.run_folder import RunFolder\n"
    code += "with RunFolder(sys.argv[1]).held(): print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(run.path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "encoding": "utf-8"}
    with subprocess.Popen(command, **pipes) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"is in use by process {other.pid} on .+ since 20") as caught:
            train(run, Reporter(), lambda: False)
        assert "Wait until that process has ended" in caught.value.hint
        assert run_holder(run.path) in str(caught.value) and f"process {other.pid} on " in run_holder(run.path)
        other.kill()  # a crash releases the lock, although its file stays
    assert run.lock_file.read_text() and run_holder(run.path) == ""
    assert train(run, Reporter(), lambda: False)["iterations"] == 3
    assert run.lock_file.read_text() == ""


def test_who_asks_for_the_holder_keeps_nobody_out(run, monkeypatch):
    """A training that starts while a panel asks takes the lock a moment later."""
    with run.held():
        pass
    asking = open(run.lock_file, encoding="utf-8")  # noqa: SIM115
    assert run_lock._took(asking, shared=True)
    monkeypatch.setattr(run_lock.time, "sleep", lambda seconds: asking.close())
    with run.held():
        assert asking.closed


def test_what_killed_processes_left_half_written_is_removed(run):
    folders = (run.path, run.cache, run.model / "configs", run.model / "models")
    left = [folder / f"{PARTIAL}1234-checkpoint.pt" for folder in folders]
    for file in left:
        file.write_bytes(b"half")
    train(run, Reporter(), lambda: False)
    assert not any(file.exists() for file in left)


def flip(file: Path) -> None:
    """Damage the middle of a file, as a failing disk does."""
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(255 - byte for byte in content[middle : middle + 64])
    file.write_bytes(content)


DAMAGES = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-2000]),
    "empty": lambda file: file.write_bytes(b""),
    "other bytes": flip,
    "a field is gone": lambda file: without(file, "optimizer"),
    "a field is no number": lambda file: without(file, "iteration", "many"),
}


def without(file, name, value=None):
    content = {key: part for key, part in load_checkpoint(file, CPU).items() if key != name}
    save_checkpoint(file, content if value is None else {**content, name: value})


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(damage, run):
    assert [load_checkpoint(file, CPU)["iteration"] for file in run.checkpoints()] == [2, 2]
    without(run.earlier_checkpoint_file, "iteration", 1)
    DAMAGES[damage](run.checkpoint_file)
    summary = train(run, Reporter(), lambda: False)
    assert summary["iterations"] == 3
    assert any("goes on from the checkpoint before it" in text and "checkpoint.pt" in text for text in texts(run))
    assert read_events(run.events_file, "start")[-1]["iteration"] == 1


def test_without_a_whole_checkpoint_the_run_is_refused_rather_than_started_anew(run):
    for file in run.checkpoints():
        flip(file)
    before = run.checkpoint_file.read_bytes()
    with pytest.raises(InputError, match=r"checkpoint\.pt is damaged"):
        train(run, Reporter(), lambda: False)
    assert run.checkpoint_file.read_bytes() == before


def test_a_kill_between_two_checkpoints_leaves_one(tmp_path, monkeypatch):
    """The one before has been moved aside, the new one has not yet taken its name."""
    newest, earlier = tmp_path / "checkpoint.pt", tmp_path / "checkpoint-before.pt"
    save_checkpoint(newest, {"iteration": 1}, earlier)
    monkeypatch.setattr("metassl.files._replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(newest, {"iteration": 2}, earlier)
    assert load_checkpoint(earlier, CPU)["iteration"] == 1


def test_where_there_is_room_for_one_checkpoint_the_newest_is_kept(tmp_path, monkeypatch):
    newest, earlier = tmp_path / "checkpoint.pt", tmp_path / "checkpoint-before.pt"
    for iteration in (1, 2):
        save_checkpoint(newest, {"iteration": iteration}, earlier)

    def save(content, file):
        if earlier.exists():
            raise OSError(28, "No space left on device")
        save_tensors(content, file)

    monkeypatch.setattr("metassl.training.checkpoint.save_tensors", save)
    save_checkpoint(newest, {"iteration": 3}, earlier)
    assert load_checkpoint(newest, CPU)["iteration"] == 3


def test_a_disk_that_fails_at_the_last_moment_leaves_the_only_checkpoint(tmp_path, monkeypatch):
    newest, earlier = tmp_path / "checkpoint.pt", tmp_path / "checkpoint-before.pt"
    save_checkpoint(newest, {"iteration": 1}, earlier)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    for _ in range(3):
        with pytest.raises(DiskError):
            save_checkpoint(newest, {"iteration": 2}, earlier)
    left = [file for file in (newest, earlier) if file.exists()]
    assert [load_checkpoint(file, CPU)["iteration"] for file in left] == [1]


def test_damaged_events_are_left_out_with_a_note(run):
    lines = run.events_file.read_bytes().splitlines(keepends=True)
    junk = (b"\xff\xfe\n", b"[" * 5000 + b"\n", b'{"event": 5}\n', b"9" * 6000 + b"\n", b'{"event": "metrics", "iterat')
    run.events_file.write_bytes(lines[0] + b"".join(junk[:4]) + b"".join(lines[1:]) + junk[4])
    kinds = [json.loads(line)["event"] for line in lines]
    train(run, Reporter(), lambda: False)
    assert any("4 damaged line(s)" in text for text in texts(run))
    assert [event["event"] for event in read_events(run.events_file)][: len(kinds)] == kinds


CACHE_DAMAGES = {
    "cut": lambda folder: DAMAGES["cut"](folder / "a.image.npy"),
    "gone": lambda folder: (folder / "a.label.npy").unlink(),
    "another type": lambda folder: np.save(folder / "a.image.npy", np.zeros((1, *SIZE), np.int8)),
    "places outside": lambda folder: np.save(folder / "a.foreground.npy", np.array([[1, 99, 0, 0]], np.int32)),
    "no JSON": lambda folder: (folder / "a.json").write_text("{"),
    "nasty JSON": lambda folder: (folder / "a.json").write_text('{"shape": [1e99, null, -1], "fingerprint": {}}'),
}


@pytest.mark.parametrize("damage", CACHE_DAMAGES)
def test_a_damaged_cache_is_made_again(damage, run):
    (whole,) = build_cache(run.load()[1], run.plan(), run.cache)
    image, voxels = whole.image().copy(), whole.foreground()
    CACHE_DAMAGES[damage](run.cache)
    (mended,) = build_cache(run.load()[1], run.plan(), run.cache)
    assert np.array_equal(mended.image(), image) and mended.shape == whole.shape
    assert {k: v.tolist() for k, v in mended.foreground().items()} == {k: v.tolist() for k, v in voxels.items()}


def test_the_document_names_tests_that_exist():
    """Every line of docs/reliability.md is held by a test that is there."""
    repository = Path(__file__).parents[2]
    tables = (
        (repository / "docs/reliability.md").read_text(encoding="utf-8").split("| promise | held by |\n|---|---|\n")
    )
    rows = [row for table in tables[1:] for row in re.findall(r"^\|(.+)\|(.+)\|$", table.split("\n\n")[0], re.M)]
    sources = [path.read_text(encoding="utf-8") for path in (repository / "Testing").rglob("test_*.py")]
    defined = {name for source in sources for name in re.findall(r"^def (test_\w+)", source, re.M)}
    assert len(rows) > 10
    for promise, tests in rows:
        named = re.findall(r"`(test_\w+)`", tests)
        assert named and set(named) <= defined, promise
