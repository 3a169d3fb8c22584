import hashlib
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from metassl.data.checking import check_dataset
from metassl.data.dataset import Dataset
from metassl.data.images import same_geometry
from metassl.data.sample import CLASSES, make_case, make_sample
from metassl.errors import InputError


@pytest.fixture(scope="module")
def cases():
    return [make_case(0, number) for number in range(4)]


def voxels(image):
    return sitk.GetArrayFromImage(image)


def test_the_same_seed_gives_the_same_volumes(cases):
    again, other = make_case(0, 1), make_case(1, 1)
    for a, b in zip(cases[1], again):
        assert hashlib.sha256(voxels(a).tobytes()).digest() == hashlib.sha256(voxels(b).tobytes()).digest()
        assert a.GetOrigin() == b.GetOrigin()
    assert voxels(other[0]).shape != voxels(again[0]).shape or (voxels(other[0]) != voxels(again[0])).any()


def test_every_case_has_all_classes_touching_each_other(cases):
    for image, label in cases:
        array = voxels(label)
        counts = np.bincount(array.ravel(), minlength=4)
        assert len(counts) == 4 and counts.min() > 50 and counts[0] > 0.8 * array.size
        assert same_geometry(image, label)
        nucleus = np.pad(array == 1, 1)
        grown = sum(np.roll(nucleus, s, a) for a in range(3) for s in (-1, 1))[1:-1, 1:-1, 1:-1] > 0
        assert (grown & (array == 2)).any()


def test_cases_differ_in_grid_and_shape(cases):
    assert len({image.GetSpacing() for image, _ in cases}) == 4
    assert len({image.GetDirection() for image, _ in cases}) == 4
    volumes = [(voxels(label) == 1).sum() * np.prod(label.GetSpacing()) for _, label in cases]
    assert max(volumes) > 1.2 * min(volumes)


def test_no_threshold_finds_a_class(cases):
    for image, label in cases:
        intensity, array = voxels(image), voxels(label)
        for k in (1, 2, 3):
            low, high = np.percentile(intensity[array == k], (10, 90))
            found = (intensity > low) & (intensity < high)
            dice = 2 * (found & (array == k)).sum() / (found.sum() + (array == k).sum())
            assert dice < 0.6


def test_dataset_has_the_roles_and_passes_the_checks(tmp_path):
    progress = []
    path = make_sample(tmp_path, labelled=1, unlabelled=1, test=1, progress=lambda *p: progress.append(p))
    dataset = Dataset.load(path)
    assert [c.role for c in dataset.cases] == ["labelled", "unlabelled", "ignored"]
    assert dataset.cases[1].label is None and dataset.cases[2].label is not None
    assert dataset.classes == CLASSES
    assert check_dataset(dataset).problems == ()
    assert [p[:2] for p in progress] == [(1, 3), (2, 3), (3, 3)]


def test_bad_numbers_and_foreign_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="Cannot make 0 labelled"):
        make_sample(tmp_path, labelled=0)
    (tmp_path / "thesis.docx").write_text("")
    result = subprocess.run(
        [sys.executable, "-m", "metassl", "sample", "--out", str(tmp_path)], capture_output=True, encoding="utf-8"
    )
    assert result.returncode == 2 and "holds other files" in result.stderr
