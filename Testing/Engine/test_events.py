import json

import pytest
from metassl.errors import InputError
from metassl.events import Reporter, duration, read_events


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_events_are_ascii_lines_on_standard_output(capsys):
    reporter = Reporter(events=True)
    reporter.info("Gerät bereit")
    reporter.event("start", name="Fälle")
    output = capsys.readouterr()
    assert output.err == "Gerät bereit\n"
    assert output.out.isascii()
    assert [(e["event"], e["name"]) for e in lines(output.out)] == [("start", "Fälle")]


def test_without_events_standard_output_stays_empty(capsys):
    reporter = Reporter()
    reporter.event("start")
    reporter.progress("training", 1, 2)
    output = capsys.readouterr()
    assert output.out == ""
    assert "training" in output.err and "50%" in output.err


def test_progress_has_fraction_and_eta(capsys):
    reporter = Reporter(events=True)
    reporter.progress("training", 1, 4, "step 1", eta=30)
    reporter.progress("training", 4, 4, eta=0)
    first, last = lines(capsys.readouterr().out)
    assert (first["fraction"], first["eta_seconds"], first["phase"], first["text"]) == (0.25, 30, "training", "step 1")
    assert last["fraction"] == 1


def test_progress_is_not_sent_more_often_than_people_can_read(capsys):
    reporter = Reporter(events=True)
    for done in range(1000):
        reporter.progress("training", done, 1000)
    assert len(lines(capsys.readouterr().out)) < 10


def test_events_and_texts_are_kept_in_the_run_folder(tmp_path, capsys):
    reporter = Reporter()
    reporter.keep_in(tmp_path)
    reporter.event("metrics", iteration=3)
    reporter.progress("training", 1, 2)
    reporter.warning("careful")
    reporter.error(InputError("bad file", "mend it"))
    kept = read_events(tmp_path / "events.jsonl")
    assert [e["event"] for e in kept] == ["metrics", "warning", "error"]
    assert kept[2]["code"] == 2 and kept[2]["hint"] == "mend it"
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert "Warning: careful" in log and "Error: bad file" in log and "mend it" in log
    assert [e["iteration"] for e in read_events(tmp_path / "events.jsonl", "metrics")] == [3]


def test_a_line_that_was_cut_short_is_dropped(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text('{"event": "a"}\n{"event": "b", "n')
    assert [e["event"] for e in read_events(file)] == ["a"]
    reporter = Reporter()
    reporter.keep_in(tmp_path)
    reporter.event("c")
    assert [e["event"] for e in read_events(file)] == ["a", "c"]


@pytest.mark.parametrize(("seconds", "text"), [(None, "?"), (45.2, "45 s"), (185, "3:05 min"), (7800, "2:10 h")])
def test_duration(seconds, text):
    assert duration(seconds) == text
