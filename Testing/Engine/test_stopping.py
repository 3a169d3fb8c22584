"""A stop is heeded within five seconds, or what it waits for is said; nobody has to listen."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from metassl.cli.stopping import end_or_say, stop_requests, stoppable
from metassl.errors import Stopped
from metassl.events import Reporter
from metassl.files import remove_unfinished, replacing
from volumes import label, write

posix = pytest.mark.skipif(os.name == "nt", reason="Windows cannot send these signals")
HANGS = """
import importlib, sys, time
from metassl.cli.main import main
module, name = sys.argv[1].split(":")

def hang(*_, **__):
    print('{"event": "hanging"}', flush=True)
    time.sleep(60)

setattr(importlib.import_module(module), name, hang)
sys.exit(main([*sys.argv[2:], "--events"]))
"""
"""A command in which one call, as one of a library, takes a minute."""


@pytest.fixture
def source(tmp_path):
    """A folder with two labelled and one unlabelled case, and its dataset.json."""
    for name in "abc":
        write(tmp_path / "source/images" / f"{name}.nii.gz", np.random.default_rng(0).normal(size=(6, 6, 6)))
    for name in "ab":
        write(tmp_path / "source/labels" / f"{name}.nii.gz", label(1, 1, 1))
    command = [sys.executable, "-m", "metassl", "prepare", "source", "--out", "d.json"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


COMMANDS = {
    "check": ("metassl.data.checking:check_dataset", "check d.json"),
    "sample": ("metassl.data.sample:make_sample", "sample --out s"),
    "prepare": ("metassl.layouts.prepare:prepare", "prepare source --out e.json"),
    "evaluate": ("metassl.evaluation.evaluate:evaluate_folder", "evaluate source/labels source/labels"),
    "predict": ("metassl.inference.model:load_model", "predict model source --out out"),
    "train: checking": ("metassl.training.train:check_dataset", "train d.json --out run --device cpu"),
    "train: planning": ("metassl.training.train:make_plan", "train d.json --out run --device cpu"),
    "train: preprocessing": ("metassl.training.train:build_cache", "train d.json --out run --device cpu"),
}
HOW = ("line", "end of input", "SIGTERM", "SIGINT")
STOPS = [("check", how) for how in HOW] + [(command, "line") for command in COMMANDS if command != "check"]
QUICK = (("check", "line"), ("check", "SIGTERM"))


@posix
@pytest.mark.parametrize(
    ("command", "how"), [pytest.param(*stop, marks=() if stop in QUICK else pytest.mark.slow) for stop in STOPS]
)
def test_every_command_stops_within_five_seconds(command, how, source):
    place, arguments = COMMANDS[command]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    with subprocess.Popen([sys.executable, "-c", HANGS, place, *arguments.split()], cwd=source, **pipes) as process:
        while "hanging" not in (line := process.stdout.readline()):
            assert line, process.stderr.read()
        asked = time.monotonic()
        if how == "line":
            process.stdin.write("stop\n")
            process.stdin.flush()
        elif how == "end of input":
            process.stdin.close()
        else:
            process.send_signal(getattr(signal, how))
        last = [json.loads(line) for line in process.stdout][-1]
        assert time.monotonic() - asked < 6 and process.wait(5) == 130
    assert (last["event"], last["code"]) == ("error", 130)


@pytest.mark.parametrize(
    ("phase", "heard", "ranks", "ends"),
    [
        ("planning", True, "1", True),
        ("checking", False, "1", True),
        ("segmenting", False, "1", True),
        ("segmenting", True, "1", False),  # a case that is done is written
        ("training", False, "1", False),
        ("hold-out", True, "1", False),
        ("planning", False, "2", False),  # the other ranks would wait for ever
    ],
)
def test_only_what_would_be_lost_is_waited_for_and_that_is_said(phase, heard, ranks, ends, monkeypatch, capsys):
    exits = []
    monkeypatch.setattr(os, "_exit", exits.append)
    monkeypatch.setenv("WORLD_SIZE", ranks)
    reporter = Reporter()
    reporter.at_hand = phase
    end_or_say(reporter, heard)
    assert exits == ([130] if ends else [])
    assert ("Stopping: what is at hand is finished and saved first." in capsys.readouterr().err) != ends


def test_ending_at_once_leaves_no_half_written_file(tmp_path):
    file = tmp_path / "a.json"
    file.write_text("whole")
    with replacing(file) as temporary:
        temporary.write_text("half")
        remove_unfinished()
        assert [path.name for path in tmp_path.iterdir()] == ["a.json"] and file.read_text() == "whole"
        temporary.write_text("{}")


def test_a_phase_ends_at_its_next_step():
    told, stop = [], []
    progress = stoppable(lambda *arguments: told.append(arguments), lambda: bool(stop))
    progress(1, 2, "a")
    stop.append(True)
    with pytest.raises(Stopped):
        progress(2, 2, "b")
    assert told == [(1, 2, "a")]


@posix
def test_a_scheduler_may_send_its_signal_twice():
    with stop_requests(events=False) as should_stop:
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
        assert should_stop()


@posix
@pytest.mark.parametrize("streams", ["| head -c 1", ">&-", "2>&-", "<&-", ">&- 2>&- <&-", "> /dev/full"])
@pytest.mark.parametrize("command", ["train --help", "check d.json", "check no.json", "check d.json --events"])
def test_nobody_has_to_listen(command, streams, source):
    """Closed streams and full ones: no traceback, and the exit code still says what happened."""
    line = f'"{sys.executable}" -m metassl {command} {streams}'
    if "|" in streams:
        line = f"set -o pipefail; {line}"
    listening = "--events" in command and "<" not in streams
    parent, write_end = os.pipe() if listening else (subprocess.DEVNULL, None)
    result = subprocess.run(["bash", "-c", line], cwd=source, capture_output=True, encoding="utf-8", stdin=parent)
    if write_end is not None:
        os.close(write_end)
        os.close(parent)
    if "no.json" in command:
        expected = {2}
    elif "--events" in command and "<" in streams:
        expected = {0, 130}  # closed standard input is a parent that is gone
    else:
        expected = {0, 2}  # whether the small volumes pass the checks is not the question here
    assert result.returncode in expected and "Traceback" not in result.stderr and "Exception" not in result.stderr
