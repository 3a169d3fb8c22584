"""Damaged volumes: each is refused in words that name it, or read as it was; none crashes, hangs or lies."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mutations import damage, write_originals


def read_all(jobs, folder):
    """What a process of its own says to each [path, image]; None where it crashed or hung."""
    answers = []
    while len(answers) < len(jobs):
        file = folder / "jobs.json"
        file.write_text(json.dumps(jobs[len(answers) :]))
        reader = Path(__file__).with_name("reader_process.py")
        run = subprocess.run([sys.executable, reader, file], capture_output=True, text=True, timeout=3000)
        lines = run.stdout.splitlines()
        answers += [json.loads(line) for line in lines]
        if len(answers) < len(jobs):
            answers.append({"crash": f"exit code {run.returncode}: {run.stderr[-1500:]}"})
    return answers


def complaint(answer, original, path):
    """What is wrong with how a damaged file was taken, "" when it is right."""
    if "crash" in answer:
        return answer["crash"]
    if answer["said"]:
        named = all(path.name in text or path.parent.name in text for text in answer["said"])
        return "" if named or "voxels" in answer else f"not named: {answer['said']}"
    same = answer["voxels"] == original["voxels"] and np.allclose(
        np.concatenate(answer["grid"]), np.concatenate(original["grid"]), atol=0.01
    )
    return "" if same else "read as another volume without a word"


@pytest.mark.parametrize(
    ("count", "seed"),
    [(30, 0), pytest.param(300, 1, marks=pytest.mark.slow), pytest.param(300, 2, marks=pytest.mark.slow)],
)
def test_damaged_files_are_refused_or_read_as_they_were(tmp_path, count, seed):
    originals = write_originals(tmp_path)
    image = str(originals.pop("image"))
    names = list(originals)
    jobs, notes = [[str(originals[name]), image if ".seg" in name else None] for name in names], []
    for number in range(count):
        name = names[number % len(names)]
        path, how = damage(originals[name], tmp_path / f"damaged{number}", np.random.default_rng((seed, number)))
        jobs.append([str(path), image if ".seg" in name else None])
        notes.append((name, path, how))
    answers = read_all(jobs, tmp_path)
    good = dict(zip(names, answers))
    assert all(answer["said"] == [] and "voxels" in answer for answer in good.values())
    wrong = [
        f"{name} {path} ({how}): {text}"
        for (name, path, how), answer in zip(notes, answers[len(names) :])
        if (text := complaint(answer, good[name], path))
    ]
    assert wrong == []
