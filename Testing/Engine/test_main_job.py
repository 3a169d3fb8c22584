"""The whole way from a folder to results on data as untidy as real ones, through the command line."""

import json
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from metassl.cli.main import main
from volumes import segments, write, write_dicom

OBLIQUE = ((0.8, -0.6, 0), (0.6, 0.8, 0), (0, 0, -1))


def metassl(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "metassl", *map(str, arguments)], capture_output=True, encoding="utf-8"
    )


def body(size, seed):
    """Intensities with a bright block, and the block."""
    random = np.random.default_rng(seed)
    label = np.zeros(size, np.uint8)
    label[tuple(slice(n // 3, 2 * n // 3) for n in size)] = 1
    return (label * 60 + random.normal(100, 10, size)).astype(np.float32), label


def run_here(*arguments):
    """The command in this process, which saves seconds of imports."""
    assert main([*map(str, arguments)]) == 0


def run_as_a_user(*arguments):
    result = metassl(*arguments)
    assert result.returncode == 0, result.stderr


def train_and_predict(source, tmp_path, *inputs, run_command=run_here):
    """prepare, check, train three steps, predict; returns the results' folder."""
    dataset, run, out = tmp_path / "dataset.json", tmp_path / "run", tmp_path / "out"
    for arguments in (
        ("prepare", source, "--out", dataset),
        ("check", dataset),
        ("train", dataset, "--out", run, "--iterations", 3, "--patch", 16, 16, 16, "--threads", 1, "--device", "cpu"),
        ("predict", run, *inputs, "--out", out, "--threads", 1, "--device", "cpu"),
    ):
        run_command(*arguments)
    return out


def test_two_channels_with_every_fixable_problem(tmp_path):
    source = tmp_path / "Daten mit Raum"
    for number, (name, size, spacing) in enumerate(
        [
            ("a", (12, 14, 16), (1, 1, 1)),
            ("b", (20, 10, 9), (2, 0.7, 1)),
            ("c", (9, 30, 12), (1, 1, 3)),
            ("ü", (16, 16, 16), (1, 1, 1)),
        ]
    ):
        image, label = body(size, number)
        direction = OBLIQUE if number == 1 else None
        geometry = {"spacing": spacing, "origin": (number, 5, -9), "direction": direction}
        for channel in range(2):
            write(source / "images" / f"{name}_000{channel}.nii.gz", image * (channel + 1), **geometry)
        if name == "a":
            write(source / "labels" / f"{name}.nii.gz", label.astype(np.float64), **geometry)  # floats
        if name == "b":
            finer = label.repeat(2, 2)  # on a finer grid that covers the image
            fine = {**geometry, "spacing": (1, 0.7, 1)}
            first = sitk.ReadImage(str(source / "images" / "b_0000.nii.gz"))
            fine["origin"] = first.TransformContinuousIndexToPhysicalPoint((-0.25, 0, 0))
            write(source / "labels" / f"{name}.nii.gz", finer, **fine)
    images = [source / "images" / f"ü_000{channel}.nii.gz" for channel in range(2)]
    out = train_and_predict(source, tmp_path, *images, run_command=run_as_a_user)
    label = sitk.ReadImage(str(out / "ü_seg.nii.gz"))
    original = sitk.ReadImage(str(images[0]))
    assert label.GetSize() == original.GetSize() and label.GetOrigin() == original.GetOrigin()
    report = json.loads((tmp_path / "out" / "ü.json").read_text(encoding="utf-8"))
    assert len(report["images"]) == 2
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    codes = {e["code"] for e in events if e["event"] == "problem"}
    assert {"label-float", "label-resampled"} <= codes


def test_slicer_segmentations_and_dicom(tmp_path):
    source = tmp_path / "dicom"
    for number in range(3):
        image, label = body((12, 14, 16), number)
        folder = write_dicom(source / f"patient {number}", image, series=f"1.2.{number + 1}")
        if number < 2:
            reference = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
            geometry = {"spacing": reference.GetSpacing(), "origin": reference.GetOrigin()}
            write(source / f"patient {number}.seg.nrrd", label, metadata=segments(("Tumor", 1)), **geometry)
    out = train_and_predict(source, tmp_path, source / "patient 2")
    dataset = json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))
    assert [c["name"] for c in dataset["classes"]] == ["Tumor"]
    assert (out / "patient 2_seg.nii.gz").exists()


@pytest.mark.parametrize("values", [(255,), (1, 4)])
def test_label_values_come_back(tmp_path, values):
    source = tmp_path / "flat"
    for number in range(3):
        image, label = body((16, 16, 16), number)
        write(source / f"{number}.nrrd", image)
        if number < 2:
            annotation = label * np.uint8(values[0])
            if len(values) > 1:
                annotation[8:] = (label * np.uint8(values[1]))[8:]
            write(source / f"{number}_seg.nrrd", annotation)
    out = train_and_predict(source, tmp_path, source / "2.nrrd")
    found = set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(out / "2_seg.nii.gz")))))
    assert found <= {0, *values}
    assert [c["value"] for c in json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))["classes"]] == list(
        values
    )
