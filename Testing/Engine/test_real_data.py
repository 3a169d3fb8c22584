"""The main job on real MR volumes that lie beside the checkout; skipped where they are absent."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "hippocampus"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.exists(), reason="needs the hippocampus volumes in shared/data"),
]


def metassl(*arguments):
    result = subprocess.run(
        [sys.executable, "-m", "metassl", *map(str, arguments)], capture_output=True, encoding="utf-8"
    )
    assert result.returncode == 0, result.stderr
    return result


def test_a_minute_of_training_segments_the_hippocampus(tmp_path):
    split = DATA / "split.json"
    dataset, run, results = tmp_path / "dataset.json", tmp_path / "run", tmp_path / "results"
    roles = ["--unlabelled", f"@{split}:pool", "--labelled", f"@{split}:labelled_4", "--ignored", f"@{split}:test"]
    metassl("prepare", DATA, "--out", dataset, *roles)
    assert metassl("check", dataset).stdout.strip() == "Checked: 200. Usable: 200. Found: no problems."
    metassl("train", dataset, "--out", run, "--iterations", 100, "--patch", 32, 40, 32)
    plan = json.loads((run / "plan.json").read_text(encoding="utf-8"))
    assert plan["spacing"] == [1, 1, 1] and plan["network"]["filters"] == [16, 32, 64, 128]
    tests = [DATA / "images" / f"{case}.nii.gz" for case in json.loads(split.read_text(encoding="utf-8"))["test"][:6]]
    metassl("predict", run, *tests, "--out", results)
    for test in tests:
        image = sitk.ReadImage(str(test))
        label = sitk.ReadImage(str(results / f"{test.name.removesuffix('.nii.gz')}_seg.nii.gz"))
        assert label.GetSize() == image.GetSize() and label.GetDirection() == image.GetDirection()
    metassl("evaluate", results, dataset, "--out", tmp_path / "metrics")
    summary = json.loads((tmp_path / "metrics" / "metrics.json").read_text(encoding="utf-8"))["summary"]
    # 100 small steps reach about 0.78; untrained networks and unaligned results stay far below 0.6
    assert summary["mean"]["dice"]["mean"] > 0.6
