"""Whether a channel is CT: by what is said of it, by DICOM, by the voxels of most cases; and what check says of it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from metassl.data.checking import check_dataset
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.data.facts import looks_like_ct
from metassl.errors import InputError
from metassl.job import Job
from metassl.planning.planner import make_plan
from volumes import write, write_dicom

SIZE = (12, 12, 12)


def mr(seed=0):
    """Tissue in the dark, none of it negative."""
    array = np.random.default_rng(seed).integers(0, 20, SIZE)
    array[2:10, 2:10, 2:10] += 300
    return array.astype(np.int16)


def overshooting_mr(seed=0):
    array = mr(seed)
    array[0, 0, :6] = -250
    return array


def phase(seed=0):
    return np.random.default_rng(seed).integers(-1000, 1000, SIZE).astype(np.int16)


def ct(seed=0, outside=-1000):
    """A body of soft tissue with some bone and air in it."""
    array = np.full(SIZE, outside, np.int16)
    array[1:11, 1:11, 1:11] = np.random.default_rng(seed).integers(-80, 120, (10, 10, 10))
    array[4:6, 4:6, 4:8] = 700
    array[8, 8, 3:9] = -950
    return array


def windowed(seed=0):
    return np.clip(ct(seed), -160, 240)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (ct(), True),
        (ct(outside=-2048), True),  # what no ray has passed is filled
        (mr(), False),
        (overshooting_mr(), False),
        (phase(), False),
        (windowed(), False),
        (np.full(SIZE, -3000), False),
        (ct() + 1024, False),  # numbers as scanners store them
    ],
)
def test_air_and_tissue_make_ct(array, expected):
    assert looks_like_ct(array.ravel()) is expected


def dataset_of(folder, arrays, channel="image", intensities=()):
    cases = []
    for number, array in enumerate(arrays):
        image = str(write(folder / f"{number}.nrrd", array))
        label = np.zeros(SIZE, np.uint8)
        label[4:7, 4:7, 4:7] = 1
        annotation = str(write(folder / f"{number}-label.nrrd", label))
        cases.append(Case(str(number), (image,), annotation, "labelled"))
    return Dataset("d", (channel,), (SegmentClass("a", 1, (1, 1, 1)),), tuple(cases), intensities=intensities)


def scheme(dataset):
    return make_plan(dataset, Job()).intensities[0].scheme


def remarks(dataset):
    """Severity and sentence of what check says about the intensities."""
    report = check_dataset(dataset)
    report.usable_dataset()  # never a reason to stop
    return [(p.severity, p.message) for p in report.problems if p.code == "intensities"]


def test_a_few_negative_voxels_make_no_ct(tmp_path):
    dataset = dataset_of(tmp_path, [overshooting_mr(n) for n in range(3)])
    assert scheme(dataset) == "zscore" and remarks(dataset) == []


def test_ct_that_nothing_states_is_found_and_said(tmp_path):
    dataset = dataset_of(tmp_path, [ct(n) for n in range(3)])
    assert scheme(dataset) == "ct"
    assert remarks(dataset) == [
        ("fixed", "The channel 'image' is taken for CT (Hounsfield units): all cases look like CT.")
    ]


def test_most_cases_decide_and_a_mixture_is_warned_of(tmp_path):
    dataset = dataset_of(tmp_path, [ct(0), ct(1), ct(2), mr(3)])
    assert scheme(dataset) == "ct"
    assert remarks(dataset) == [
        ("warning", "The channel 'image' is taken for CT (Hounsfield units): 75% of the cases look like CT.")
    ]
    other = dataset_of(tmp_path / "other", [ct(0), mr(1), mr(2), mr(3)])
    assert scheme(other) == "zscore" and "taken for other than CT: 25% of the cases" in remarks(other)[0][1]


@pytest.mark.parametrize(("channel", "expected"), [("CT", "ct"), ("MR", "zscore"), ("T1ce", "zscore")])
def test_a_name_decides_and_nothing_is_said(tmp_path, channel, expected):
    dataset = dataset_of(tmp_path, [ct(0)], channel)
    assert scheme(dataset) == expected and remarks(dataset) == []


@pytest.mark.parametrize(("setting", "expected"), [("ct", "ct"), ("other", "zscore"), ("auto", "ct")])
def test_a_setting_counts_more_than_a_name(tmp_path, setting, expected):
    channel = "MR" if setting == "ct" else "CT"
    assert scheme(dataset_of(tmp_path, [ct(0)], channel, (setting,))) == expected


def test_the_modality_of_series_counts_more_than_their_voxels(tmp_path):
    dataset = dataset_of(tmp_path, [ct(0)])
    series = write_dicom(tmp_path / "series", ct(1))  # of the modality MR
    cases = (Case("0", (str(series),), dataset.cases[0].label, "labelled"), Case("1", (str(series),)))
    dataset = Dataset("d", ("image",), dataset.classes, cases)
    # the label lies on another grid; unlabelled series decide as well
    cases = (Case("a", dataset_of(tmp_path, [ct(0)]).cases[0].images, dataset.cases[0].label, "labelled"), cases[1])
    assert scheme(Dataset("d", ("image",), dataset.classes, cases)) == "zscore"


def test_settings_that_fit_no_channel_are_refused():
    classes = (SegmentClass("a", 1, (1, 1, 1)),)
    for wrong in (("ct", "other"), ("pet",)):
        with pytest.raises(InputError, match="has the intensities") as error:
            Dataset("d", ("image",), classes, (), intensities=wrong)
        assert "auto, ct, other" in error.value.hint


def test_prepare_writes_the_setting(tmp_path):
    for number in range(2):
        write(tmp_path / "images" / f"{number}.nrrd", mr(number))
    write(tmp_path / "labels" / "0.nrrd", (mr(0) > 100).astype(np.uint8))
    words = ["prepare", str(tmp_path), "--out", str(tmp_path / "d.json"), "--intensities", "ct"]
    run = subprocess.run([sys.executable, "-m", "metassl", *words], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert json.loads((tmp_path / "d.json").read_text())["intensities"] == ["ct"]
    assert Dataset.load(tmp_path / "d.json").intensities == ("ct",)
