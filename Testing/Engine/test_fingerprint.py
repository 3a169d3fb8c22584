"""What a model remembers of the data that it learnt from, and what predict says about a volume that is unlike them."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from metassl.data.checking import check_dataset
from metassl.data.dataset import Case, Dataset, SegmentClass
from metassl.errors import InputError
from metassl.files import read_json, write_json
from metassl.inference.model import load_model, save_model
from metassl.job import Job
from metassl.planning.fingerprint import ChannelFingerprint, Fingerprint, unusual
from metassl.planning.plan import Intensity
from metassl.prediction.predict import predict_files
from metassl.ssl.methods import build_method
from volumes import write

SIZE = (20, 30, 40)
ZSCORE = (Intensity("zscore"),)
CT = (Intensity("ct", -160.0, 240.0, 40.0, 60.0),)
CLASSES = (SegmentClass("a", 1, (1, 1, 1)), SegmentClass("b", 2, (2, 2, 2)))


def tissue(seed=0):
    return np.random.default_rng(seed).normal(300, 50, SIZE).astype(np.float32)


def body(seed=0):
    """CT: a body of soft tissue in air, one half each."""
    array = np.full(SIZE, -1000, np.float32)
    array[:, :15] = np.random.default_rng(seed).normal(40, 20, (20, 15, 40))
    return array


def fingerprint_of(folder, arrays, spacings=((1, 1, 2), (1.2, 1, 2.5))):
    cases = [
        Case(str(n), (str(write(folder / f"{n}.nrrd", array, spacings[n % len(spacings)])),))
        for n, array in enumerate(arrays)
    ]
    return Fingerprint.of(check_dataset(Dataset("d", ("image",), CLASSES, tuple(cases))).measured)


def labelled(folder, name: str, *parts: tuple[int, int, int]) -> Case:
    """A labelled case; a part is a class and where it begins and ends along i."""
    label = np.zeros(SIZE, np.uint8)
    for value, begin, end in parts:
        label[5:9, 5:9, begin:end] = value
    image, file = (
        write(folder / f"{name}.nrrd", tissue(), (1, 1, 1)),
        write(folder / f"{name}_l.nrrd", label, (1, 1, 1)),
    )
    return Case(name, (str(image),), str(file), "labelled")


@pytest.mark.parametrize(
    ("layouts", "connected"),
    [
        ([[(1, 2, 9)], [(1, 3, 9)], [(1, 2, 8)]], (1,)),
        ([[(1, 2, 9)], [(1, 3, 9)], [(1, 2, 8), (1, 20, 24)]], ()),  # a second part in one case
        ([[(1, 2, 9)], [(1, 3, 9)]], ()),  # too few cases to tell
        ([[(1, 2, 9), (2, 20, 30)], [(1, 3, 9)], [(1, 2, 8), (2, 21, 30)]], (1,)),  # class 2 in two cases only
    ],
)
def test_it_knows_the_classes_that_always_formed_one_part(tmp_path, layouts, connected):
    cases = tuple(labelled(tmp_path, f"case{n}", *parts) for n, parts in enumerate(layouts))
    classes = (SegmentClass("a", 1, (255, 0, 0)), SegmentClass("b", 2, (0, 255, 0)))
    found = Fingerprint.of(check_dataset(Dataset("d", ("image",), classes, cases)).measured)
    assert found.connected == connected and Fingerprint.from_dict(found.to_dict()) == found


def volume(array, spacing=(1.1, 1, 2.2)):
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing(spacing)
    return image


def test_it_holds_the_ranges_of_all_cases(tmp_path):
    first, second = tissue(0), tissue(1) + 100
    found = fingerprint_of(tmp_path, [first, second])
    assert found.spacing == ((2, 1, 1), (2.5, 1, 1.2))
    assert found.extent == ((40, 30, 40), (50, 30, 48))
    (channel,) = found.channels
    assert channel.lowest == pytest.approx(np.percentile(first, (0.5, 5, 25, 50, 75, 95, 99.5)))
    assert channel.highest == pytest.approx(np.percentile(second, (0.5, 5, 25, 50, 75, 95, 99.5)))
    assert channel.like_ct == 0
    assert Fingerprint.from_dict(found.to_dict()) == found


@pytest.mark.parametrize(
    ("array", "spacing", "rules", "what"),
    [
        (tissue(5), (1.1, 1, 2.2), ZSCORE, []),
        (3 * tissue(5) + 7, (1.1, 1, 2.2), ZSCORE, []),  # MR knows no unit
        (tissue(5), (5.5, 1, 2.2), ZSCORE, ["its voxels are 5.5 x 1 x 2.2 mm", "it is 220 x 30 x 44 mm large"]),
        (tissue(5)[:6], (1.1, 1, 2.2), ZSCORE, ["it is 44 x 30 x 13.2 mm large"]),
        (body(5), (1.1, 1, 2.2), ZSCORE, ["it looks like CT (Hounsfield units), and those did not."]),
        (body(5), (1.1, 1, 2.2), CT, []),
        (
            body(5) + 1024,
            (1.1, 1, 2.2),
            CT,
            ["it has 50% of its voxels above the CT window of the model (-160 to 240)"],
        ),
        (body(5) / 1000, (1.1, 1, 2.2), CT, ["it has intensities from -1 to 0.0"]),
        (body(5) - 3000, (1.1, 1, 2.2), CT, ["it has 100% of its voxels below the CT window of the model"]),
    ],
)
def test_what_is_unlike_the_training_is_said(tmp_path, array, spacing, rules, what):
    known = fingerprint_of(tmp_path, [body(n) if rules == CT else tissue(n) for n in range(3)])
    found = unusual([volume(array, spacing)], known, rules)
    assert len(found) == len(what)
    for sentence, expected in zip(found, what):
        assert sentence.startswith("This volume is unlike those that the model learnt from: " + expected)


@pytest.fixture
def model_folder(tmp_path, tiny_plan):
    torch.manual_seed(0)
    job = Job(method="mean-teacher", iterations=1, precision="fp32")
    save_model(
        tmp_path / "model",
        build_method(job.method, tiny_plan.network),
        plan=tiny_plan,
        job=job,
        dataset=Dataset("pair", ("MR",), CLASSES, ()),
        thresholds=torch.full((3,), 0.4),
        provenance={},
        fingerprint=fingerprint_of(tmp_path / "training", [tissue(0), tissue(1)]),
    )
    return tmp_path / "model"


def test_predict_warns_and_still_segments(model_folder, tmp_path):
    coarse = write(tmp_path / "coarse.nrrd", tissue(2)[:8, :8, :8], (6, 6, 6))
    usual = write(tmp_path / "usual.nrrd", tissue(3), (1, 1, 2))
    said = []
    results = predict_files(load_model(model_folder), [coarse, usual], tmp_path / "out", warn=said.append)
    assert len(results) == 2
    assert said and all(text.startswith("coarse: This volume is unlike") for text in said)
    assert any("its voxels are 6 x 6 x 6 mm" in text for text in said)


def test_a_model_without_a_fingerprint_says_nothing(model_folder):
    path = model_folder / "configs" / "metadata.json"
    content = read_json(path)
    del content["metassl"]["fingerprint"]
    write_json(path, content)
    assert load_model(model_folder).fingerprint is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: f.update(spacing=[[1, 1, 1]]),
        lambda f: f.update(extent=[[1, 1, 1], [1, 1, None]]),
        lambda f: f["channels"][0].update(lowest=[1.0]),
        lambda f: f["channels"][0].update(highest=[float("nan")] * 7),
        lambda f: f.update(channels=[]),
        lambda f: f.pop("channels"),
    ],
)
def test_a_damaged_fingerprint_makes_a_damaged_model(model_folder, damage):
    path = model_folder / "configs" / "metadata.json"
    content = read_json(path)
    damage(content["metassl"]["fingerprint"])
    write_json(path, content)
    with pytest.raises(InputError, match=r"is damaged|contradicts itself"):
        load_model(model_folder)


def test_the_channels_of_a_fingerprint_are_ranges():
    channel = ChannelFingerprint((0.0,) * 7, (1.0,) * 7, 0.0)
    known = Fingerprint(((1, 1, 1), (2, 2, 2)), ((10, 10, 10), (40, 40, 40)), (channel,))
    assert unusual([volume(np.zeros((10, 10, 10)), (2, 2, 2))], known, ZSCORE) == []
