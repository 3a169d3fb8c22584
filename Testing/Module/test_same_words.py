"""The panel says the same words as the command line for the same files; with the real engine."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from metassl.cli.main import main


def written(path, voxels, spacing=(1, 1, 1)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
    return path


def oneLine(text):
    return " ".join(text.split())


def badFolder(folder):
    """Cases of which each is wrong in another way."""
    voxels = np.random.default_rng(0).integers(0, 100, (12, 14, 16)).astype(np.int16)
    label = np.zeros((12, 14, 16), np.uint8)
    label[4:8, 4:8, 4:8] = 1
    for name in ("good", "cut", "text", "thin", "moved", "plain"):
        written(folder / "images" / f"{name}.nii.gz", voxels + len(name))
    for name in ("good", "cut", "text", "thin"):
        written(folder / "labels" / f"{name}.nii.gz", label)
    written(folder / "labels" / "moved.nii.gz", label[:, :, :9])
    content = (folder / "images" / "cut.nii.gz").read_bytes()
    (folder / "images" / "cut.nii.gz").write_bytes(content[: len(content) // 2])
    (folder / "images" / "text.nii.gz").write_text("no volume")
    written(folder / "images" / "thin.nii.gz", voxels[:1])
    return folder


def test_a_bad_file_is_described_in_the_words_of_the_command_line(user, tmp_path, capsys):
    folder = badFolder(tmp_path / "bad")
    user.addFolder(folder)
    rows = {row.id: row for row in user.cases.rows}
    capsys.readouterr()
    main(["prepare", str(folder), "--out", str(tmp_path / "d.json")])
    main(["check", str(tmp_path / "d.json")])
    told = capsys.readouterr()
    told = oneLine(told.out + told.err)
    for name in ("cut", "text", "thin", "moved"):
        assert rows[name].severity in ("excluded", "warning"), (name, rows[name])
        assert f"{name}.nii.gz" in rows[name].status
        for line in rows[name].status.split("\n"):
            assert oneLine(line) in told, f"{line!r} is not in {told!r}"
    assert rows["good"].status == "ready"


@pytest.fixture
def model(user, trained):
    user.widget.segmentSection.chooseModel(trained)
    return user.ui.modelBox.currentData


def test_what_predict_warns_of_is_shown_beside_the_result(user, sample, model, tmp_path, capsys):
    case = json.loads(sample.read_text())["cases"][-1]
    image = sitk.ReadImage(str(sample.parent / case["images"][0]))
    image.SetSpacing([length / 6 for length in image.GetSpacing()])  # coarser ones take long
    (tmp_path / "in").mkdir()
    sitk.WriteImage(image, str(tmp_path / "in" / "fine.nrrd"))
    capsys.readouterr()
    main(["predict", model, str(tmp_path / "in" / "fine.nrrd"), "--out", str(tmp_path / "out")])
    told = oneLine(capsys.readouterr().err)
    user.segment(slicer.util.loadVolume(str(tmp_path / "in" / "fine.nrrd")))
    done, *warnings = user.ui.segmentStatus.text.split("\n")
    assert done.startswith("Done") and any("its voxels are" in warning for warning in warnings), warnings
    for warning in warnings:
        assert f"fine: {oneLine(warning)}" in told

    user.ui.inputFolderPath.currentPath = str(tmp_path / "in")
    user.ui.outputFolderPath.currentPath = str(tmp_path / "results")
    user.click("batchButton")
    user.waitUntilIdle(120)
    assert f"fine: {warnings[0]}" in user.ui.segmentStatus.text


def test_a_file_that_cannot_be_segmented_is_named_with_the_reason(user, sample, model, tmp_path, capsys):
    badFolder(tmp_path / "bad")
    user.ui.inputFolderPath.currentPath = str(tmp_path / "bad" / "images")
    user.ui.outputFolderPath.currentPath = str(tmp_path / "results")
    user.click("batchButton")
    user.waitUntilIdle(120)
    shown = oneLine(user.ui.segmentStatus.text)
    capsys.readouterr()
    main(["predict", model, str(tmp_path / "bad" / "images"), "--out", str(tmp_path / "out")])
    warned = [line for line in capsys.readouterr().err.splitlines() if "is left out" in line]
    assert len(warned) >= 3
    for line in warned:
        assert oneLine(line.removeprefix("Warning: ")) in shown
