"""The commands of README and docs/review.md run as they stand there, and options named in documents exist."""

import argparse
import re
import shlex
from pathlib import Path

import pytest
from metassl.cli.main import build_parser, main
from metassl.job import RENAMED
from volumes import balls

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STANDS_FOR = {"/data/heart": "heart", "/data/heart/": "heart"}


def blocks(file, language):
    """The code blocks of a document in one language."""
    return [text for found, text in BLOCK.findall(file.read_text(encoding="utf-8")) if found == language]


def commands(file):
    """The words of every line of a document's shell blocks that starts with metassl."""
    lines = [line for text in blocks(file, "sh") for line in text.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("metassl ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a reader has: the folder heart with labels of all cases, and new volumes."""
    place = tmp_path_factory.mktemp("reader")
    balls(place / "made", labelled=6)
    for number in range(6):
        for kind, parent in (("image", "images"), ("label", "labels")):
            target = place / "heart" / parent / f"heart_{number + 1:02}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            (place / "made" / f"{kind}{number}.nii.gz").rename(target)
    for name in ("new_volume", "new"):
        (place / f"{name}.nii.gz").write_bytes((place / "heart" / "images" / "heart_06.nii.gz").read_bytes())
    return place


@pytest.mark.slow
def test_the_commands_of_the_documents_run_one_after_the_other(folder, monkeypatch):
    monkeypatch.chdir(folder)
    found = [words for file in (ROOT / "README.md", ROOT / "docs" / "review.md") for words in commands(file)]
    assert {"prepare", "check", "train", "predict", "rank", "audit", "report"} <= {words[0] for words in found}
    for words in found:
        words = [STANDS_FOR.get(word, word) for word in words]
        if "--minutes" in words:
            words[words.index("--minutes") + 1] = "0.03"
        assert main(words) == 0, f"metassl {' '.join(words)}"
    made = {"dataset.json", "run/model", "results/new_volume_seg.nii.gz", "results/new_regions.nii.gz"}
    made |= {"ranking.csv", "audit/audit.json", "better/report.html"}
    assert [name for name in sorted(made) if not Path(name).exists()] == []
    (python,) = blocks(ROOT / "README.md", "python")
    Path("results/new_volume.json").unlink()
    exec(compile(python, "README.md", "exec"), {})
    assert Path("results/new_volume.json").exists()


def test_every_option_that_a_document_names_exists():
    parsers = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    options = {name: set(parser._option_string_actions) for name, parser in parsers.items()}
    known = set().union(*options.values()) | {f"--{name.replace('_', '-')}" for name in RENAMED}
    strange = []
    for file in DOCUMENTS:
        text = file.read_text(encoding="utf-8")
        for words in re.findall(r"`metassl (\w+)([^`]*)`", text):
            wrong = [option for option in re.findall(r"--[a-z][\w-]*", words[1]) if option not in options[words[0]]]
            strange += [f"{file.name}: metassl {words[0]} has no {option}" for option in wrong]
        if file.name not in ("benchmarks.md", "distributed.md"):  # they name options of other programs
            spans = re.findall(r"`(--[a-z][\w-]*)[^`]*`", text)
            strange += [f"{file.name}: {option}" for option in spans if option not in known]
    assert strange == []
