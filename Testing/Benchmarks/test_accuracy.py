"""The tables of the accuracy benchmark, from results with numbers that one can check by hand."""

import argparse
import json

import accuracy
import numpy as np
import pytest
from metassl import Dataset, make_sample
from PIL import Image


def result(row, seed, dice, minutes=1.0, first=0):
    """A result with one class and a Dice per case; ``first`` numbers the first case."""
    rows = [
        {"case": f"c{first + n}", "name": "a", "dice": d, "hd95": None if d == 0 else 2.0, "assd": 1.0}
        for n, d in enumerate(dice)
    ]
    return {
        "row": row,
        "seed": seed,
        "threads": 1,
        "machine": "box",
        "training_seconds": 60 * minutes,
        "steps": 100 + seed,
        "cases": accuracy.measured_cases(rows),
    }


def test_rows_have_means_over_cases_and_seeds():
    found = [
        result("cps", 0, (0.8, 0.6)),
        result("cps", 1, (0.9, 0.7)),
        result("cps + MetaSSL", 0, (0.8, 0.7), minutes=3),
    ]
    lines = accuracy.table(found).splitlines()
    assert lines[2] == "| cps | 0, 1 | 0.7500 ± 0.0707 | 2.000 ± 0.000 | 1.000 ± 0.000 |  |  |  | 100 | 1.0 |"
    # against seed 0 of cps only: differences 0.0 and 0.1
    assert lines[3] == "| cps + MetaSSL | 0 | 0.7500 | 2.000 | 1.000 |  | +0.0500 ± 0.0980 |  | 100 | 3.0 |"


def test_levers_are_compared_with_the_default_and_with_full_supervision():
    found = [
        result(accuracy.SUPERVISED, 0, (0.5, 0.5)),
        result(accuracy.FULL, 0, (0.9, 0.9)),
        result(accuracy.BASE, 0, (0.6, 0.6)),
        result("lever late", 0, (0.8, 0.7)),
        result("lever late", 1, (0.0, 0.0)),  # no full supervision with this seed
    ]
    cells = [line.split("|") for line in accuracy.table(found).splitlines()]
    gaps = {row[1].strip(): row[8].strip() for row in cells[2:]}
    assert gaps == {accuracy.SUPERVISED: "", accuracy.FULL: "", accuracy.BASE: "25 %", "lever late": "62 %"}
    assert cells[-1][7].strip() == "+0.1500 ± 0.0980"
    assert cells[-1][6].strip() == "+0.2500 ± 0.0980"  # against supervised only, which seed 0 alone has


def test_every_seed_may_measure_other_cases():
    found = [
        result(row, seed, (level + more, level), first=seed)
        for row, more in ((accuracy.BASE, 0.0), ("lever late", 0.1))
        for seed, level in ((0, 0.5), (1, 0.7))
    ]
    # late is better by 0.1 in c0, by 0 in c2, and by 0 (seed 0) and 0.1 (seed 1) in c1: mean 0.05
    assert "+0.0500 ± 0.0566" in accuracy.table(found).splitlines()[-1]


def test_the_cost_of_spoilt_annotations_is_that_of_the_same_row_and_seed():
    whole = [result("cps", 0, (0.8, 0.8)), result("cps", 1, (0.0, 0.0)), result("cps + MetaSSL", 0, (0.9, 0.9))]
    spoilt = [result("cps", 0, (0.5, 0.7)), result("cps + MetaSSL", 0, (0.9, 0.9)), result("cct", 0, (0.1, 0.1))]
    cells = [line.split("|") for line in accuracy.table(spoilt, whole).splitlines()]
    assert len({len(row) for row in cells}) == 1
    costs = {row[1].strip(): row[-2].strip() for row in cells[2:]}
    assert costs == {"cps": "0.2000 ± 0.1960", "cps + MetaSSL": "0.0000 ± 0.0000", "cct": ""}


def test_spoilt_annotations_differ_but_stay_annotations():
    label = np.zeros((20, 22, 24), np.uint8)
    label[6:14, 6:10, 6:14], label[6:14, 10:14, 6:14] = 1, 2
    spoilt = [accuracy.spoil(label, np.random.default_rng(seed)) for seed in range(8)]
    sizes = [np.count_nonzero(s) for s in spoilt]
    assert min(sizes) < np.count_nonzero(label) < max(sizes), "some grow, some shrink"
    for one in spoilt:
        assert one.shape == label.shape and set(np.unique(one)) == {0, 1, 2}
        overlap = 2 * np.count_nonzero((one == label) & (label > 0)) / (np.count_nonzero(one) + 512)
        assert 0 < overlap < 0.95


def test_undefined_distances_are_left_out():
    assert accuracy.case_values(result("cps", 0, (0.8, 0.0)), "hd95") == {"c0": 2.0}


def test_every_method_is_there_with_and_without_metassl():
    rows = [run.row for run in accuracy.runs([0])]
    assert len(rows) == 13 and len(set(rows)) == 13
    assert {f"{m}{s}" for m in accuracy.METHODS for s in ("", " + MetaSSL")} < set(rows)
    assert len({run.name for run in accuracy.runs([0, 1])}) == 26


def test_table_replaces_the_part_between_the_marks(tmp_path):
    for budget, seed in ((20, 0), (100, 0), (100, 1)):
        folder = tmp_path / "results" / f"liver test {budget} units"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"cps-seed{seed}.json").write_text(json.dumps(result("cps", seed, (0.5, 0.5))))
    document = tmp_path / "table.md"
    document.write_text(f"before\n{accuracy.MARK}\nold\n{accuracy.MARK}\nafter\n")
    arguments = argparse.Namespace(results=tmp_path / "results", table=document, figure=None)
    accuracy.show_tables(arguments)
    accuracy.show_tables(arguments)
    text = document.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert text.index("**liver test 20 units**") < text.index("**liver test 100 units**")
    assert text.count("| cps |") == 2 and text.count(accuracy.MARK) == 2


def test_the_curve_has_a_line_per_organ_and_budget(tmp_path):
    for budget in (20, 100):
        folder = tmp_path / f"liver test {budget} units"
        folder.mkdir(parents=True)
        for row, dice in ((accuracy.SUPERVISED, 0.5), (accuracy.BASE, 0.5 + budget / 1000)):
            (folder / f"{row}.json").write_text(json.dumps(result(row, 0, (dice, dice))))
    lines = accuracy.curve(tmp_path).splitlines()
    assert lines[2] == "| liver test 20 units | 0.5000 | 0.5200 |  | +0.0200 ± 0.0000 |"
    assert lines[3] == "| liver test 100 units | 0.5000 | 0.6000 |  | +0.1000 ± 0.0000 |"
    pytest.importorskip("matplotlib")
    accuracy.draw_curve(tmp_path, tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as picture:
        assert len(np.unique(np.asarray(picture).reshape(-1, 4), axis=0)) > 10, "axes, two lines and points"


def test_a_unit_is_a_supervised_step_of_two_crops_of_the_unlimited_patch(tmp_path):
    dataset = make_sample(tmp_path / "s", labelled=1, unlabelled=0, test=0)
    unit = accuracy.unit_megavoxels(Dataset.load(dataset))
    assert unit == pytest.approx(2 * 40 * 40 * 40 / 1e6, rel=0.3)


@pytest.mark.parametrize("wanted", ["supervised only", "cps + MetaSSL"])
def test_names_can_be_folders(wanted):
    (name,) = (run.name for run in accuracy.runs([0]) if run.row == wanted)
    assert name.replace("-", "").replace("_", "").isalnum()
