"""Expected quality, places, rank, audit and report, through the command line, with a model that found a bright ball."""

import csv
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from metassl.cli.main import main
from metassl.data.dataset import Case, Dataset
from metassl.review.audit import NOTE
from volumes import BALL, RIM, balls, write

FAST = ("--device", "cpu", "--threads", "1")


def metassl(*arguments):
    return main([*map(str, arguments), *FAST])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder with the data set (2 labelled, 2 unlabelled, 3 hold-out cases) and a run of 40 steps."""
    folder = tmp_path_factory.mktemp("trained")
    balls(folder, hold_out=3)
    options = ("--iterations", 40, "--method", "mean-teacher", "--patch", 16, 16, 16, "--precision", "fp32")
    assert metassl("train", folder / "dataset.json", "--out", folder / "run", *options) == 0
    return folder


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def voxels(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_a_result_says_on_how_many_hold_out_cases_the_predictions_agree_less(trained, tmp_path):
    metadata = read(trained / "run" / "model" / "configs" / "metadata.json")
    known = metadata["metassl"]["hold_out_confident_agreement"]
    assert len(known) == 3 and all(0 < value <= 1 for value in known)
    assert (
        metassl("predict", trained / "run", trained / "image3.nii.gz", trained / "image4.nii.gz", "--out", tmp_path)
        == 0
    )
    found = [read(tmp_path / f"image{n}.json")["agreement"] for n in (3, 4)]
    for agreement in found:
        assert agreement["hold_out_cases"] == 3 and agreement["mean"] == agreement["classes"]["ball"]
        assert agreement["agree_less"] == sum(value < agreement["mean"] for value in known)
    assert found[1]["mean"] in known  # image4 is of a hold-out case


def model_with(trained, folder, **facts):
    """A copy of the trained model that says something else of itself."""
    shutil.copytree(trained / "run" / "model", folder)
    file = folder / "configs" / "metadata.json"
    metadata = read(file)
    metadata["metassl"].update(facts)
    file.write_text(json.dumps(metadata), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("hold_out_confident_agreement", [0.9, 1.5]),
        ("hold_out_confident_agreement", "0.9"),
        ("hold_out_confident_agreement", [None]),
        ("confidence_temperature", 0),
        ("confidence_temperature", "hot"),
    ],
)
def test_damaged_facts_of_hold_out_cases_are_refused_with_words(trained, tmp_path, capsys, name, damage):
    model = model_with(trained, tmp_path / "model", **{name: damage})
    assert metassl("predict", model, trained / "image3.nii.gz", "--out", tmp_path / "out") == 2
    assert name in capsys.readouterr().err


def test_hold_out_cases_calibrate_the_confidence_of_results(trained, tmp_path):
    fitted = read(trained / "run" / "model" / "configs" / "metadata.json")["metassl"]["confidence_temperature"]
    assert fitted == 0.5, "a model whose mistakes are all unsure is as sure as it may become"
    found = {}
    for temperature in (None, 1.0, 2.0):
        model = model_with(trained, tmp_path / f"model{temperature}", confidence_temperature=temperature)
        out = tmp_path / f"out{temperature}"
        assert metassl("predict", model, trained / "image3.nii.gz", "--out", out, "--exact-confidence") == 0
        found[temperature] = voxels(out / "image3_confidence.nii.gz").astype(float)
        assert np.array_equal(voxels(out / "image3_seg.nii.gz"), voxels(tmp_path / "outNone" / "image3_seg.nii.gz"))
    assert np.array_equal(found[None], found[1.0])
    some = (found[1.0] > 0.01) & (found[1.0] < 0.99)
    logits = [np.log(c[some] / (1 - c[some])) for c in (found[1.0], found[2.0])]
    assert some.any() and np.allclose(logits[0] / 2, logits[1], atol=1e-4)


def test_a_result_names_places_inside_the_volume(trained, tmp_path):
    assert metassl("predict", trained / "run", trained / "image3.nii.gz", "--out", tmp_path) == 0
    places = read(tmp_path / "image3.json")["places"]
    assert places and all(set(p["classes"]) == {"ball", "background"} for p in places)
    amounts = [p["volume_ml"] * p["certainty"] for p in places]
    assert amounts == sorted(amounts, reverse=True)
    for place in places:
        right, anterior, superior = place["position"]
        assert 0 <= -right <= 19 and 0 <= -anterior <= 19 and 0 <= superior <= 19


def test_without_regions_nothing_is_said_of_the_quality(trained, tmp_path):
    assert metassl("predict", trained / "run", trained / "image3.nii.gz", "--out", tmp_path, "--no-regions") == 0
    assert not {"agreement", "places"} & set(read(tmp_path / "image3.json"))


def test_rank_lets_a_copy_of_an_annotated_case_wait(trained, tmp_path, capsys):
    shutil.copy(trained / "image0.nii.gz", tmp_path / "copy.nii.gz")
    dataset = Dataset.load(trained / "dataset.json")
    dataset = replace(dataset, cases=(*dataset.cases, Case("copy", (str(tmp_path / "copy.nii.gz"),))))
    dataset.save(tmp_path / "dataset.json")
    assert metassl("rank", trained / "run", tmp_path / "dataset.json", "--out", tmp_path / "rank.csv") == 0
    with open(tmp_path / "rank.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2", "3"] and rows[-1]["case"] == "copy"
    assert [row["like"] for row in rows] == ["", "", "case0"] and 0 < float(rows[0]["agreement ball"]) <= 1
    lines = capsys.readouterr().out.splitlines()
    assert "agreement" in lines[0] and [line.split()[1] for line in lines[1:]] == [row["case"] for row in rows]
    assert metassl("rank", tmp_path / "dataset.json", "--out", tmp_path / "rank.json") == 0
    ranking = read(tmp_path / "rank.json")
    assert [case["case"] for case in ranking["cases"]] == [row["case"] for row in rows], "no model, the same order"
    assert ranking["cases"][-1] == {"rank": 3, "case": "copy", "like": "case0"}
    assert "near-duplicate of" in capsys.readouterr().out


def test_rank_goes_on_without_a_case_that_cannot_be_read(trained, tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    dataset = Dataset.load(trained / "dataset.json")
    dataset = replace(dataset, cases=(*dataset.cases, Case("broken", (str(tmp_path / "broken.nii.gz"),))))
    dataset.save(tmp_path / "dataset.json")
    assert metassl("rank", trained / "run", tmp_path / "dataset.json", "--out", tmp_path / "rank.json") == 0
    ranking = read(tmp_path / "rank.json")
    assert ranking["failed"] == ["broken"] and {c["case"] for c in ranking["cases"]} == {"case2", "case3"}
    assert all(0 < case["agreement"]["mean"] <= 1 for case in ranking["cases"])


def test_audit_finds_a_planted_mistake_and_where_it_is(trained, tmp_path, capsys):
    wrong = voxels(trained / "label5.nii.gz")
    wrong[1:6, 1:6, 1:6] = 1
    write(tmp_path / "wrong.nii.gz", wrong)
    dataset = Dataset.load(trained / "dataset.json")
    cases = [replace(c, label=str(tmp_path / "wrong.nii.gz")) if c.id == "case5" else c for c in dataset.cases]
    replace(dataset, cases=tuple(cases)).save(tmp_path / "dataset.json")
    assert metassl("audit", trained / "run", tmp_path / "dataset.json", "--out", tmp_path / "audit") == 0
    audit = read(tmp_path / "audit" / "audit.json")
    first, *others = audit["cases"]
    assert first["case"] == "case5" and not first["trained_on"] and first["score"] < others[0]["score"]
    assert {c["case"] for c in others} == {"case0", "case1", "case4", "case6"}
    assert {c["case"] for c in audit["cases"] if c["trained_on"]} == {"case0", "case1"}
    place = first["places"][0]
    assert place["classes"] == ["ball", "background"]
    assert np.linalg.norm(np.array(place["position"]) - (-3, -3, 3)) < 4
    doubt = voxels(tmp_path / "audit" / "case5_doubt.nii.gz")
    assert doubt[2:5, 2:5, 2:5].mean() > 0.5 and set(np.unique(doubt)) <= {0, 1}
    assert np.array_equal(voxels(tmp_path / "audit" / "case5_annotation.nii.gz"), wrong)
    text = capsys.readouterr().out
    assert text.splitlines()[1].startswith("case5") and NOTE in text


def test_the_report_has_everything_and_needs_nothing_from_outside(trained, tmp_path):
    assert metassl("report", trained / "run", "--out", tmp_path / "report.html") == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for heading in ("Data", "Training", "Curves", "Cases", "Worst cases", "Annotations to look at", "All settings"):
        assert f"<h2>{heading}</h2>" in text
    assert all(name in text for name in ("case0", "case1", "case4", "case5", "case6", "mean-teacher"))
    assert re.search(r"<td>time</td><td>\d+ s|<td>time</td><td>\d+:\d\d min", text)
    assert text.count("data:image/png;base64,") == 3 and text.count("<svg") == 3
    assert "<script" not in text and not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)|url\((?!data:)|@import""", text)


def test_the_report_shows_what_more_labels_brought(trained, tmp_path):
    for name in ("run", "fewer"):
        shutil.copytree(trained / "run", tmp_path / name)
    file = tmp_path / "fewer" / "model" / "configs" / "metadata.json"
    metadata = read(file)
    provenance = metadata["metassl"]["provenance"]
    provenance["cases"]["labelled"], provenance["hold_out"]["mean_dice"] = ["case0"], 0.125
    file.write_text(json.dumps(metadata), encoding="utf-8")
    assert metassl("report", tmp_path / "run") == 0
    text = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    section = text.split("<h2>Is it worth annotating more?</h2>")[1].split("<h2>")[0]
    assert section.count("<svg") == 1 and "0.125" in section and "fewer" in section


def test_the_report_of_a_run_without_hold_out_cases(tmp_path):
    balls(tmp_path)
    options = ("--iterations", 2, "--patch", 8, 8, 8)
    assert metassl("train", tmp_path / "dataset.json", "--out", tmp_path / "run", *options) == 0
    assert metassl("report", tmp_path / "run") == 0
    text = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Dice of the hold-out cases" not in text
    assert "data:image/png;base64," in text


def test_what_cannot_be_used_is_refused_with_words(trained, tmp_path, capsys):
    dataset = Dataset.load(trained / "dataset.json")
    replace(dataset, classes=(BALL, RIM)).save(tmp_path / "rim.json")
    replace(dataset, cases=dataset.with_role("labelled")).save(tmp_path / "labelled.json")
    run, out = trained / "run", tmp_path / "out"
    for arguments, words in (
        (("rank", run, trained / "dataset.json", "--out", tmp_path / "rank.txt"), "neither a .json nor a .csv"),
        (("rank", run, tmp_path / "labelled.json"), "no unlabelled case"),
        (("audit", run, tmp_path / "rim.json", "--out", out), "does not know the class(es) rim"),
        (("audit", tmp_path, trained / "dataset.json", "--out", out), "is not a model folder"),
        (("report", trained / "run" / "model"), "not the model folder"),
    ):
        assert metassl(*arguments) == 2
        assert words in capsys.readouterr().err
    assert not out.exists()


def test_an_unreadable_case_is_named_and_left_out(trained, tmp_path, capsys):
    (tmp_path / "bad.nii.gz").write_bytes(b"junk")
    dataset = Dataset.load(trained / "dataset.json")
    dataset = replace(dataset, cases=(Case("bad", (str(tmp_path / "bad.nii.gz"),)), *dataset.cases))
    dataset.save(tmp_path / "dataset.json")
    assert metassl("rank", trained / "run", tmp_path / "dataset.json", "--out", tmp_path / "rank.json") == 0
    ranking = read(tmp_path / "rank.json")
    assert ranking["failed"] == ["bad"] and len(ranking["cases"]) == 2
    assert "bad is left out" in capsys.readouterr().err
