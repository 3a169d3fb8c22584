import gzip
import json
import re
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.data.images import same_geometry
from metassl.errors import DiskError, InputError, OutOfMemoryError, Stopped
from metassl.inference.model import load_model, save_model
from metassl.inference.volume import VolumePrediction
from metassl.job import Job
from metassl.prediction import predict
from metassl.prediction.cases import find_cases
from metassl.prediction.measures import measure_prediction
from metassl.prediction.predict import predict_files
from metassl.prediction.writing import STEP, write_volumes
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


def test_shares_are_of_the_voxels_that_have_a_region(model_folder):
    arrays = np.array([[[2, 2, 0, 5]]]), np.array([[[0, 1, 1, 3]]]), np.full((1, 1, 4), 0.9)
    kinds = np.uint8, np.uint8, np.float32
    images = [sitk.GetImageFromArray(array.astype(kind)) for array, kind in zip(arrays, kinds)]
    found = measure_prediction(load_model(model_folder), VolumePrediction(*images))["regions"]
    assert found["all"]["UC"]["share"] == pytest.approx(2 / 3, abs=1e-5) and found["left"]["UC"]["share"] == 1


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


def header(path):
    """Bits per voxel and slope of a .nii.gz file."""
    content = gzip.decompress(path.read_bytes())
    return struct.unpack("=h", content[72:74])[0], struct.unpack("=f", content[112:116])[0]


def test_confidence_is_read_as_0_to_1_from_a_byte_per_voxel(model_folder, tmp_path):
    source = image(tmp_path / "a.nii.gz")
    model = load_model(model_folder)
    found = {}
    for exact in (False, True):
        predict_files(model, [source], tmp_path / f"{exact}", exact_confidence=exact)
        found[exact] = sitk.ReadImage(str(tmp_path / f"{exact}" / "a_confidence.nii.gz"))
        assert found[exact].GetPixelID() == sitk.sitkFloat32
        assert same_geometry(found[exact], sitk.ReadImage(str(source)), 1e-6)
    assert header(tmp_path / "True" / "a_confidence.nii.gz")[0] == 32
    assert header(tmp_path / "False" / "a_confidence.nii.gz") == (8, np.float32(STEP))
    steps, exact = (sitk.GetArrayFromImage(found[key]) for key in (False, True))
    assert len(np.unique(exact)) > 300  # so there was something to round
    assert steps * 255 == pytest.approx(np.round(exact * 255), abs=1e-3)
    whole = {p.name for folder in ("True", "False") for p in (tmp_path / folder).iterdir()}
    assert whole == {"a_seg.nii.gz", "a_regions.nii.gz", "a_confidence.nii.gz", "a.json", "summary.json"}


def test_steps_of_confidence_end_at_1_and_no_number_is_0(tmp_path):
    image = sitk.GetImageFromArray(np.array([[[0, 0.5, 1], [0.0019, 0.002, np.nan]]], np.float32))
    write_volumes(VolumePrediction(sitk.Cast(image, sitk.sitkUInt8), None, image), tmp_path, "a")
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a_confidence.nii.gz")))
    assert found.max() <= 1
    assert found.ravel() == pytest.approx([0, 128 / 255, 1, 0, 1 / 255, 0], abs=1e-6)


def test_a_case_is_written_while_the_next_one_is_segmented(model_folder, tmp_path, monkeypatch):
    sources = [image(tmp_path / f"{name}.nrrd") for name in "ab"]
    second, together = threading.Event(), []

    def write(prediction, out, name, *options):
        if name == "a":
            together.append(second.wait(30))
        write_volumes(prediction, out, name, *options)

    monkeypatch.setattr("metassl.prediction.predict.write_volumes", write)
    results = predict_files(
        load_model(model_folder),
        sources,
        tmp_path / "out",
        progress=lambda done, total, name: second.set() if name == "b" else None,
    )
    assert together == [True]
    assert [result["case"] for result in results] == ["a", "b"]


def test_a_file_that_cannot_be_written_ends_the_work_on_the_next_case(model_folder, tmp_path):
    sources = [image(tmp_path / f"{name}.nrrd", size=(40, 40, 40) if name == "c" else (9, 10, 11)) for name in "abc"]
    out = tmp_path / "out"
    (out / "b_regions.nii.gz").mkdir(parents=True)
    done = []

    def progress(*counts):
        done.append(counts)
        time.sleep(0.1 * (counts[0] > 2))  # writing the second case fails while the third is segmented

    with pytest.raises(DiskError, match=r"Cannot write .*b_regions\.nii\.gz"):
        predict_files(load_model(model_folder), sources, out, progress=progress)
    assert done[-1][0] < 3  # the last case was given up
    assert {p.name for p in out.glob("*.json")} == {"a.json"}
    assert not list(out.glob("c_*")) and not list(out.glob(".partial*"))


def test_cases_that_do_not_fit_into_memory_do_not_stop_the_others(model_folder, tmp_path, monkeypatch):
    sources = [image(tmp_path / f"{name}.nii.gz") for name in "abc"]
    segment = predict.predict_volume

    def refuse(model, images, **options):
        if images[0].GetPixel(0, 0, 0) == large:
            raise RuntimeError("itk::ERROR: Failed to allocate memory for image.")
        return segment(model, images, **options)

    image(sources[1], seed=1)
    large = sitk.ReadImage(str(sources[1])).GetPixel(0, 0, 0)
    monkeypatch.setattr(predict, "predict_volume", refuse)
    said, out = [], tmp_path / "out"
    with pytest.raises(
        OutOfMemoryError, match=f"1 of 3 inputs .*: b. Not enough memory to segment {sources[1]}"
    ) as caught:
        predict_files(load_model(model_folder), sources, out, warn=said.append)
    assert caught.value.exit_code == 3 and "crop or downsample" in caught.value.hint
    assert any("b is left out: Not enough memory" in text and str(sources[1]) in text for text in said)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert [case["case"] for case in summary["cases"]] == ["a", "c"] and summary["failed"] == ["b"]
    assert {p.name for p in out.glob("*_seg.nii.gz")} == {"a_seg.nii.gz", "c_seg.nii.gz"}


def test_too_little_memory_to_read_a_file_is_not_called_damage(model_folder, tmp_path, monkeypatch):
    source = image(tmp_path / "a.nii.gz")

    def refuse(reader):
        raise RuntimeError("itk::ERROR: Image(0x1): Failed to allocate memory for image.")

    monkeypatch.setattr(sitk.ImageFileReader, "Execute", refuse)
    with pytest.raises(OutOfMemoryError, match=re.escape(str(source))):
        predict_files(load_model(model_folder), [source], tmp_path / "out")


def test_what_does_not_fit_beside_the_writing_of_another_case_is_tried_again_alone(model_folder, tmp_path, monkeypatch):
    sources = [image(tmp_path / f"{name}.nii.gz") for name in "ab"]
    segment, calls = predict.predict_volume, []

    def tight(*arguments, **options):
        calls.append((tmp_path / "out" / "a.json").exists())
        if len(calls) == 2:
            raise MemoryError
        return segment(*arguments, **options)

    monkeypatch.setattr(predict, "predict_volume", tight)
    results = predict_files(load_model(model_folder), sources, tmp_path / "out")
    assert len(calls) == 3 and calls[2]  # a was written before b was tried again
    assert [result["case"] for result in results] == ["a", "b"]


@pytest.mark.parametrize("refusals", [1, 2])
def test_what_cannot_be_written_for_lack_of_memory_is_tried_again_and_then_left_out(
    model_folder, tmp_path, monkeypatch, refusals
):
    sources = [image(tmp_path / f"{name}.nii.gz") for name in "ab"]
    tried = []

    def tight(prediction, out, name, *options):
        tried.append(name)
        if name == "a" and len(tried) <= refusals:
            raise MemoryError
        write_volumes(prediction, out, name, *options)

    monkeypatch.setattr(predict, "write_volumes", tight)
    out, model = tmp_path / "out", load_model(model_folder)
    if refusals == 1:
        predict_files(model, sources, out)
    else:
        with pytest.raises(OutOfMemoryError, match=re.escape(str(sources[0]))):
            predict_files(model, sources, out)
    assert tried == ["a", "a", "b"]
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert [case["case"] for case in summary["cases"]] == (["a", "b"] if refusals == 1 else ["b"])


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
    at_hand = []
    with pytest.raises(Stopped):
        predict_files(
            load_model(model_folder),
            sources,
            tmp_path / "out",
            progress=lambda done, total, name: at_hand.append(name),
            should_stop=lambda: "b" in at_hand,
        )
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
