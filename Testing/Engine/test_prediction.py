import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.errors import InputError, Stopped
from metassl.inference.model import load_model, save_model
from metassl.inference.volume import VolumePrediction
from metassl.job import Job
from metassl.prediction.cases import find_cases
from metassl.prediction.measures import measure_prediction
from metassl.prediction.predict import predict_files
from metassl.ssl.methods import build_method
from volumes import write, write_dicom

CLASSES = (SegmentClass("left", 2, (255, 0, 0)), SegmentClass("right", 5, (0, 255, 0)))


@pytest.fixture
def model_folder(tmp_path, tiny_plan):
    torch.manual_seed(0)
    job = Job(method="mean-teacher", iterations=1, precision="fp32")
    dataset = Dataset("pair", ("MR",), CLASSES, ())
    save_model(
        tmp_path / "model",
        build_method(job.method, tiny_plan.network),
        plan=tiny_plan,
        job=job,
        dataset=dataset,
        thresholds=torch.full((3,), 0.4),
        provenance={},
    )
    return tmp_path / "model"


def image(path, size=(9, 10, 11), seed=0):
    values = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    return write(path, values, (0.7, 1.0, 1.3), (5, -6, 7), [[0, 1, 0], [-1, 0, 0], [0, 0, 1]])


def test_files_have_the_inputs_geometry_and_the_json_its_numbers(model_folder, tmp_path):
    source = image(tmp_path / "Fälle mit Raum" / "Pat 1ä.nii.gz")
    (result,) = predict_files(load_model(model_folder), [source], tmp_path / "out")
    original = sitk.ReadImage(str(source))
    for kind, pixel in (("seg", sitk.sitkUInt8), ("regions", sitk.sitkUInt8), ("confidence", sitk.sitkFloat32)):
        found = sitk.ReadImage(str(tmp_path / "out" / f"Pat 1ä_{kind}.nii.gz"))
        assert found.GetPixelID() == pixel and found.GetSize() == original.GetSize()
        for name in ("GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(found, name)() == getattr(original, name)()
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "Pat 1ä_seg.nii.gz")))
    assert set(np.unique(labels)) <= {0, 2, 5}
    stored = json.loads((tmp_path / "out" / "Pat 1ä.json").read_text(encoding="utf-8"))
    assert stored["volume_ml"]["left"] == pytest.approx((labels == 2).sum() * 0.7 * 1.0 * 1.3 / 1000, abs=1e-4)
    assert stored["volume_ml"] == result["volume_ml"]
    assert sum(r["share"] for r in stored["regions"]["all"].values()) == pytest.approx(1, abs=1e-4)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert [c["case"] for c in summary["cases"]] == ["Pat 1ä"] and summary["failed"] == []


def test_numbers_by_hand(model_folder):
    labels = np.array([[[0, 2], [2, 5]]], np.uint8)
    regions = np.array([[[1, 1], [3, 4]]], np.uint8)
    certainty = np.array([[[0.9, 0.8], [0.6, 0.5]]], np.float32)
    images = [sitk.GetImageFromArray(a) for a in (labels, regions, certainty)]
    for i in images:
        i.SetSpacing((10, 10, 10))
    found = measure_prediction(load_model(model_folder), VolumePrediction(*images))
    assert found["volume_ml"] == {"left": 2, "right": 1}
    assert found["mean_confidence"] == {"left": 0.7, "right": 0.5}
    assert found["regions"]["all"]["UC"] == {"share": 0.5, "volume_ml": 2}
    assert found["regions"]["left"]["DC"] == {"share": 0.5, "volume_ml": 1}
    assert found["regions"]["right"]["DS"]["share"] == 1


def test_one_bad_input_does_not_stop_the_others(model_folder, tmp_path):
    good = [image(tmp_path / f"{name}.nii.gz") for name in "ac"]
    bad = tmp_path / "b.nii.gz"
    bad.write_bytes(b"junk")
    said = []
    with pytest.raises(InputError, match="1 of 3 inputs could not be segmented: b") as caught:
        predict_files(load_model(model_folder), [good[0], bad, good[1]], tmp_path / "out", warn=said.append)
    assert caught.value.exit_code == 2
    assert any("b is left out" in text and "cannot be read" in text for text in said)
    assert {p.name for p in (tmp_path / "out").glob("*_seg.nii.gz")} == {"a_seg.nii.gz", "c_seg.nii.gz"}
    assert json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["failed"] == ["b"]


def test_outputs_can_be_left_out(model_folder, tmp_path):
    source = image(tmp_path / "a.nrrd")
    (result,) = predict_files(load_model(model_folder), [source], tmp_path / "out", regions=False, confidence=False)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a_seg.nii.gz", "a.json", "summary.json"}
    assert "regions" not in result and "mean_confidence" not in result


def test_progress_runs_over_all_cases(model_folder, tmp_path):
    sources = [image(tmp_path / f"{name}.nrrd", seed=n) for n, name in enumerate("ab")]
    seen = []
    predict_files(load_model(model_folder), sources, tmp_path / "out", progress=lambda *p: seen.append(p))
    done = [d for d, _, _ in seen]
    assert done == sorted(done) and done[-1] == 2 and {t for _, t, _ in seen} == {2}
    assert {n for _, _, n in seen} == {"a", "b"}


def test_stop_keeps_finished_cases(model_folder, tmp_path):
    sources = [image(tmp_path / f"{name}.nrrd") for name in "ab"]
    finished = tmp_path / "out" / "a.json"
    with pytest.raises(Stopped):
        predict_files(load_model(model_folder), sources, tmp_path / "out", should_stop=finished.exists)
    assert finished.exists() and not (tmp_path / "out" / "b_seg.nii.gz").exists()


def test_asking_for_mirrored_views_of_a_model_without_them_is_said(model_folder, tmp_path):
    said = []
    predict_files(
        load_model(model_folder), [image(tmp_path / "a.nrrd")], tmp_path / "out", mirror=True, warn=said.append
    )
    assert any("not trained with mirrored crops" in text for text in said)


def names(cases):
    return [(case.id, [Path(i).name for i in case.images]) for case in cases]


def test_folders_files_and_equal_names(tmp_path):
    for folder in ("one", "two"):
        image(tmp_path / folder / "a.nii.gz")
    image(tmp_path / "one" / "B.nrrd").rename(tmp_path / "one" / "B.NRRD")
    (tmp_path / "one" / "notes.txt").write_text("")
    found = names(find_cases([tmp_path / "one", tmp_path / "two" / "a.nii.gz"], 1))
    assert found == [("B", ["B.NRRD"]), ("a", ["a.nii.gz"]), ("a-2", ["a.nii.gz"])]


def test_every_case_has_a_name_of_its_own(tmp_path):
    files = [tmp_path / folder / f"{name}.nrrd" for folder, name in (("1", "a"), ("2", "a"), ("3", "A-2"))]
    odd = [tmp_path / f"{name}.nrrd" for name in ("10:30", "Summary", "b .")]
    found = find_cases([image(path) for path in files + odd], 1)
    assert [case.id for case in found] == ["a", "a-2", "A-2-2", "10_30", "Summary-2", "b"]


def test_a_long_name_stays_what_evaluate_looks_for(tmp_path):
    (case,) = find_cases([image(tmp_path / f"{'n' * 130}.nrrd")], 1)
    assert case.id == "n" * 130


def test_an_input_is_never_overwritten(model_folder, tmp_path):
    folder = tmp_path / "images"
    files = [image(folder / f"{name}.nii.gz") for name in ("a", "a_seg")]
    before = files[1].read_bytes()
    with pytest.raises(InputError, match=r"a_seg\.nii\.gz is an input and would be overwritten") as caught:
        predict_files(load_model(model_folder), [folder], folder)
    assert "another folder" in caught.value.hint
    assert files[1].read_bytes() == before


def test_earlier_results_are_replaced(model_folder, tmp_path):
    source, out = image(tmp_path / "a.nii.gz"), tmp_path / "out"
    out.mkdir()
    (out / "a_seg.nii.gz").write_bytes(b"old")
    predict_files(load_model(model_folder), [source], out)
    assert sitk.ReadImage(str(out / "a_seg.nii.gz")).GetSize() == (11, 10, 9)


def test_cases_of_a_data_set_by_role(tmp_path):
    cases = [Case(role, (str(tmp_path / "x.nrrd"),), role=role) for role in ("unlabelled", "ignored")]
    Dataset("d", ("MR",), CLASSES, tuple(cases)).save(tmp_path / "dataset.json")
    source = [tmp_path / "dataset.json"]
    assert [case.id for case in find_cases(source, 1)] == ["unlabelled", "ignored"]
    assert [case.id for case in find_cases(source, 1, ["unlabelled"])] == ["unlabelled"]
    with pytest.raises(InputError, match="nothing to segment") as caught:
        find_cases(source, 1, ["hold-out"])
    assert "No case has one of the roles hold-out" in caught.value.hint


def test_channels_belong_together(tmp_path):
    for name in ("a_0000", "a_0001", "b_0000", "b_0001"):
        image(tmp_path / f"{name}.nii.gz")
    assert names(find_cases([tmp_path], 2)) == [
        ("a", ["a_0000.nii.gz", "a_0001.nii.gz"]),
        ("b", ["b_0000.nii.gz", "b_0001.nii.gz"]),
    ]
    assert [n for n, _ in names(find_cases([tmp_path], 1))] == ["a_0000", "a_0001", "b_0000", "b_0001"]


def test_a_wrong_number_of_channels_is_said(model_folder, tmp_path):
    two = [image(tmp_path / "x" / f"a_000{n}.nrrd") for n in range(2)]
    dataset = Dataset("d", ("a", "b"), CLASSES, (Case("a", tuple(map(str, two))),))
    dataset.save(tmp_path / "dataset.json")
    said = []
    with pytest.raises(InputError, match="could not be segmented: a"):
        predict_files(load_model(model_folder), [tmp_path / "dataset.json"], tmp_path / "out", warn=said.append)
    assert any("needs 1 channel(s) (MR), this case has 2" in text for text in said)


def test_one_file_may_hold_all_channels(tmp_path):
    image(tmp_path / "a.nii.gz")
    assert names(find_cases([tmp_path / "a.nii.gz"], 2)) == [("a", ["a.nii.gz", "a.nii.gz"])]


def test_dicom_folders(tmp_path, model_folder, monkeypatch):
    for name in ("patient1", "patient2"):
        write_dicom(
            tmp_path / "dicom" / name, np.random.default_rng(0).integers(0, 99, (8, 8, 8)), series=f"1.2.{len(name)}"
        )
    assert names(find_cases([tmp_path / "dicom"], 1)) == [("patient1", ["patient1"]), ("patient2", ["patient2"])]
    assert names(find_cases([tmp_path / "dicom" / "patient2"], 1)) == [("patient2", ["patient2"])]
    monkeypatch.chdir(tmp_path / "dicom" / "patient1")
    assert [case.id for case in find_cases(["."], 1)] == ["patient1"]
    results = predict_files(load_model(model_folder), [tmp_path / "dicom"], tmp_path / "out")
    assert [r["case"] for r in results] == ["patient1", "patient2"]


@pytest.mark.parametrize("overlap", [1.0, -0.1])
def test_overlap_out_of_range(model_folder, tmp_path, overlap):
    with pytest.raises(InputError, match="it must be at least 0 and below 1"):
        predict_files(load_model(model_folder), [image(tmp_path / "a.nrrd")], tmp_path / "out", overlap=overlap)


def test_nothing_to_segment(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no volume"):
        find_cases([tmp_path / "empty"], 1)
    with pytest.raises(InputError, match="does not exist"):
        find_cases([tmp_path / "nothing"], 1)


def test_command_line(model_folder, tmp_path):
    source = image(tmp_path / "a.nrrd")
    command = [
        sys.executable,
        "-m",
        "metassl",
        "predict",
        model_folder,
        source,
        "--out",
        tmp_path / "out",
        "--device",
        "cpu",
    ]
    result = subprocess.run([str(c) for c in command], capture_output=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    assert "Wrote 1 result" in result.stderr and (tmp_path / "out" / "a_seg.nii.gz").exists()
    missing = subprocess.run(
        [str(c) for c in [*command[:5], tmp_path / "no.nrrd", *command[6:]]], capture_output=True, encoding="utf-8"
    )
    assert missing.returncode == 2 and "no.nrrd does not exist" in missing.stderr
