"""Data sets, run folders and models from somebody else: refused with a sentence, or used; never followed, never run."""

import copy
import json
import os
import zipfile

import numpy as np
import pytest
import torch
from metassl.data.alignment import Alignment
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.errors import InputError
from metassl.events import Reporter, read_events
from metassl.files import read_json, refuse_links, replacing, write_json
from metassl.inference.model import load_model, save_model
from metassl.job import Job
from metassl.planning.plan import Intensity, Plan
from metassl.ssl.methods import build_method
from metassl.training.run_folder import RunFolder
from metassl.training.train import train

NASTY = (None, True, -1, 1.5, 0, 10**400, float("nan"), float("inf"), "", "a\nb", "x" * 5000, [], {}, [[[]]], {"a": []})
links = pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows")


@pytest.fixture
def model_folder(tmp_path, tiny_plan):
    folder = tmp_path / "model"
    torch.manual_seed(0)
    classes = (SegmentClass("one", 1, (1, 2, 3), "term"), SegmentClass("two", 2, (4, 5, 6)))
    save_model(
        folder,
        build_method("supervised", tiny_plan.network),
        plan=tiny_plan,
        job=Job(method="supervised", iterations=1),
        dataset=Dataset("d", ("MR",), classes, ()),
        thresholds=torch.full((3,), 0.5),
        provenance={},
    )
    return folder


def places(content, path=()):
    """The path of everything inside a JSON value."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from places(value, (*path, key))


def changed(content, path, value):
    """A copy with another value at the path; without anything there where the value is Ellipsis."""
    result = copy.deepcopy(content)
    *way, last = path
    inner = result
    for key in way:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return result


def files_that_are_read(tmp_path, plan, model_folder):
    """Name -> (file, what reads it, the part of it to damage)."""
    cases = (Case("a", ("/a.nrrd",), "/l.nrrd", "labelled"), Case("b", ("/b.nrrd",)))
    Dataset("heart", ("CT",), (SegmentClass("atrium", 3, (1, 2, 3), "term"),), cases, 9).save(tmp_path / "dataset.json")
    Job(patch=(8, 16, 8), mirror_axes=("LR",), iterations=5).save(tmp_path / "job.json")
    rules = (Intensity("ct", -100.0, 300.0, 50.0, 25.0),)
    alignment = Alignment(((0.8, 0.6, 0.0), (-0.6, 0.8, 0.0), (0.0, 0.0, 1.0)), 0)
    ct = Plan(plan.spacing, plan.patch, rules, plan.network, alignment)
    ct.save(tmp_path / "plan.json")
    return {
        "dataset.json": (tmp_path / "dataset.json", Dataset.load, ()),
        "job.json": (tmp_path / "job.json", Job.load, ()),
        "plan.json": (tmp_path / "plan.json", Plan.load, ()),
        "metadata.json": (model_folder / "configs/metadata.json", lambda _: load_model(model_folder), ("metassl",)),
    }


UNREAD = {"settings", "provenance"}
"""Parts of metadata.json that are for people."""


@pytest.mark.parametrize("name", ["dataset.json", "job.json", "plan.json", "metadata.json"])
def test_whatever_a_field_holds_it_is_used_or_refused_by_name(name, tmp_path, tiny_plan, model_folder):
    """Every field, one after the other, replaced by every nasty value and left out."""
    file, load, within = files_that_are_read(tmp_path, tiny_plan, model_folder)[name]
    whole = read_json(file)
    load(file)
    part = whole["metassl"] if within else whole
    tried = refused = 0
    for path in [within + path for path in places(part) if path[0] not in UNREAD]:
        for value in (..., *NASTY):
            file.write_text(json.dumps(changed(whole, path, value)))
            tried += 1
            try:
                load(file)
            except InputError as error:
                refused += 1
                assert file.name in str(error) and len(str(error)) < 1000 and "\n" not in str(error), (path, value)
    assert refused > tried / 2, f"{refused} of {tried} refused"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100 + "]" * 100, "deep inside each other"),
        ("[" * 200_000, "not valid JSON"),
        ("9" * 10_000, "not valid JSON"),
        ('"' + "x" * 2**25 + '"', "larger than 32 MB"),
    ],
)
def test_deep_and_huge_json_is_refused(text, words, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=words):
        read_json(tmp_path / "a.json")


INSIDE = ("metassl", "plan", "intensities", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("metassl", "thresholds", 0), float("nan")),
        (("metassl", "thresholds", 0), 1.5),
        (("metassl", "plan", "spacing", 0), float("inf")),
        (("metassl", "plan", "spacing", 0), 0),
        (("metassl", "plan", "patch", 0), 2**20),
        ((*INSIDE, "std"), 0),
        ((*INSIDE, "std"), float("nan")),
        ((*INSIDE, "mean"), float("inf")),
        ((*INSIDE, "lower"), 400),
    ],
)
def test_numbers_that_would_segment_nothing_are_refused(path, value, model_folder):
    file = model_folder / "configs" / "metadata.json"
    ct = {"scheme": "ct", "lower": -100.0, "upper": 300.0, "mean": 50.0, "std": 25.0}
    whole = changed(read_json(file), INSIDE, ct)
    write_json(file, whole)
    load_model(model_folder)
    file.write_text(json.dumps(changed(whole, path, value)))
    with pytest.raises(InputError, match=r"metadata\.json"):
        load_model(model_folder)


def with_weights(folder, change):
    file = folder / "models" / "model.pt"
    weights = torch.load(file, weights_only=True)
    change(weights)
    torch.save(weights, file)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_whose_weights_are_no_numbers_is_refused(value, model_folder):
    with_weights(model_folder, lambda weights: next(iter(weights.values())).view(-1)[:1].fill_(value))
    with pytest.raises(InputError, match=r"model\.pt .*not finite"):
        load_model(model_folder)


def test_weights_take_no_more_memory_than_their_file(model_folder):
    file = model_folder / "models" / "model.pt"
    with_weights(model_folder, lambda weights: weights.update(bomb=torch.zeros(1).expand(10**11)))
    with pytest.raises(InputError, match="larger than the file"):
        load_model(model_folder)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    with pytest.raises(InputError, match="compressed"):
        load_model(model_folder)


def test_a_network_that_is_larger_than_its_weights_is_not_built(model_folder, monkeypatch):
    file = model_folder / "configs" / "metadata.json"
    monkeypatch.setattr("metassl.inference.model.build_method", lambda *_: pytest.fail("built"))
    write_json(file, changed(read_json(file), ("metassl", "plan", "network", "filters"), [512, 512, 512]))
    with pytest.raises(InputError, match="too small for that network"):
        load_model(model_folder)


@links
@pytest.mark.parametrize("place", ["log.txt", "events.jsonl", "cache", "checkpoint.pt", "model", "cache/a.image.npy"])
def test_links_in_a_run_folder_are_not_followed(place, tmp_path):
    mine = tmp_path / "thesis.txt"
    mine.write_text("mine")
    run = RunFolder(tmp_path / "run")
    run.create(Job(iterations=1), Dataset("d", ("MR",), (SegmentClass("a", 1, (0, 0, 0)),), ()))
    (run.path / place).parent.mkdir(exist_ok=True)
    (run.path / place).symlink_to(tmp_path if place in ("cache", "model") else mine)
    with pytest.raises(InputError, match="link") as caught:
        train(run, Reporter(), lambda: False)
    assert place in str(caught.value) and mine.read_text() == "mine" and len(list(tmp_path.iterdir())) == 2


@links
def test_links_that_come_later_are_not_written_through(tmp_path):
    mine = tmp_path / "thesis.txt"
    mine.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    reporter = Reporter()
    reporter.keep_in(run)
    for name in ("log.txt", "events.jsonl", f".partial-{os.getpid()}-job.json"):
        (run / name).symlink_to(mine)
    reporter.warning("careful")
    with replacing(run / "job.json") as temporary:
        temporary.write_text("{}")
    assert mine.read_text() == "mine" and (run / "job.json").read_text() == "{}"


@links
def test_links_and_pipes_in_a_model_folder_are_not_followed(model_folder, tmp_path):
    file = model_folder / "models" / "model.pt"
    file.rename(tmp_path / "elsewhere.pt")
    file.symlink_to(tmp_path / "elsewhere.pt")
    with pytest.raises(InputError, match="link"):
        load_model(model_folder)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(InputError, match="no plain file"):
        load_model(model_folder)


def test_plain_folders_are_no_links(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("")
    refuse_links(tmp_path, tmp_path / "missing", tmp_path / "a" / "b" / "c" / "below a file")


def test_names_cannot_forge_lines(tmp_path, capsys):
    """A line break, an escape sequence and a character that turns the direction of text, in a name."""
    name = "case\n2026-01-01 00:00:00 Error: pay \x1b[2J\u202etxt"
    reporter = Reporter()
    reporter.keep_in(tmp_path)
    reporter.warning(name)
    reporter.error(InputError(f"{name} cannot be read."))
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    for text in (log, capsys.readouterr().err):
        assert not any(character in text for character in "\x1b\u202e")
        assert [line for line in text.splitlines() if "2026-01-01" in line and "case" not in line] == []
    assert len(log.splitlines()) == 2 and len(read_events(tmp_path / "events.jsonl")) == 2


def test_a_pickle_in_the_cache_is_not_run(tmp_path):
    """numpy refuses objects; this holds it to that."""
    from metassl.planning.cache import CachedCase

    np.save(tmp_path / "a.image.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert not CachedCase("a", "unlabelled", tmp_path, (1, 1, 1)).is_whole(1)
