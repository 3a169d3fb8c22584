"""Whatever a valid folder looks like, prepare, predict and evaluate agree on its cases, their names and labels."""

import json
import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from metassl.data.checking import check_dataset
from metassl.data.dataset import Dataset
from metassl.data.images import read_image
from metassl.data.labels import read_label
from metassl.data.reading import read_images
from metassl.evaluation.evaluate import evaluate_folder
from metassl.evaluation.matching import find_labels
from metassl.layouts.prepare import prepare
from metassl.prediction.cases import find_cases
from volumes import segments, write, write_dicom

CLASSES = ("liver", "11")
WORDS = ("con", "Summary", "case_1", "Ärzte", "u\u0308", "a.b", "x y", "7", "v-2", "N" * 90, "ü" * 100, "image")


@dataclass(frozen=True)
class Drawn:
    """One case: its name, its grid, and where class 1 and 2 begin along k; labelled with files of some kind, or not."""

    name: str
    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    angles: tuple[float, float, float]
    kind: str
    swapped: bool

    @property
    def geometry(self):
        turn = sitk.Euler3DTransform((0, 0, 0), *self.angles)
        return {"spacing": self.spacing, "origin": self.origin, "direction": turn.GetMatrix()}

    def image(self, seed):
        return np.random.default_rng(seed).integers(-50, 900, self.size).astype(np.int16)

    def truth(self):
        """Class 1 in the second k slice, class 2 in the third, background around."""
        array = np.zeros(self.size, np.uint8)
        array[1, 1:-1, 1:-1], array[2, 1:-1, 1:-1] = 1, 2
        return array


def word():
    letters = st.text("aBc9_ äß", min_size=1, max_size=6).map(lambda text: text.strip("_ ") or "z")
    return st.one_of(st.sampled_from(WORDS), letters)


def number(low, high):
    return st.floats(low, high).map(lambda value: round(value, 3))


CASES = st.lists(
    st.builds(
        Drawn,
        name=word(),
        size=st.tuples(*[st.integers(4, 9)] * 3),
        spacing=st.tuples(*[number(0.3, 4)] * 3),
        origin=st.tuples(*[number(-300, 300)] * 3),
        angles=st.tuples(*[number(-math.pi, math.pi)] * 3),
        kind=st.sampled_from(("plain", "float", "cropped", "none")),
        swapped=st.booleans(),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda case: case.name.casefold(),
)


def write_label(case, path):
    """Write the label of a case as its kind says; returns its path, or None."""
    truth = case.truth()
    if case.kind == "none":
        return None
    if case.kind != "cropped":
        array = truth.astype(np.float32) + 5e-4 if case.kind == "float" else truth
        return write(path, array, **case.geometry)
    stored = np.array([0, 2, 1], np.uint8)[truth] if case.swapped else truth
    names = [(name, value) for name, value in zip(CLASSES, (2, 1) if case.swapped else (1, 2))]
    grid = sitk.GetImageFromArray(truth)
    grid.SetSpacing(case.spacing)
    grid.SetOrigin(case.origin)
    grid.SetDirection(case.geometry["direction"])
    geometry = {**case.geometry, "origin": grid.TransformIndexToPhysicalPoint((1, 1, 1))}
    path = path.with_name(path.name.removesuffix("_seg.nrrd").removesuffix(".nrrd") + ".seg.nrrd")
    return write(path, stored[1:-1, 1:-1, 1:-1], metadata=segments(*names), **geometry)


def describe(folder, **content):
    labels = {"background": 0, **{name: value for value, name in enumerate(CLASSES, 1)}}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels, **content}), encoding="utf-8")


def write_images(case, folder, channels, ending, suffixed):
    """Write the channels of a case; returns their paths."""
    names = [f"{case.name}_000{c}" if suffixed else case.name for c in range(channels)]
    return [write(folder / f"{n}{ending}", case.image(c), **case.geometry) for c, n in enumerate(names)]


def flat(folder, cases, channels, ending):
    rows = []
    for case in cases:
        images = write_images(case, folder, channels, ending, suffixed=channels > 1)
        rows.append((case, images, write_label(case, folder / f"{case.name}_seg.nrrd")))
    return rows


def patients(folder, cases, channels, ending):
    return [row for case in cases for row in flat(folder / f"patient {case.name}", [case], channels, ending)]


def apart(folder, cases, channels, ending, images="images", labels="labels", parts=("", ""), suffixed=False):
    """Images and labels in folders of their own, the cases in turn in those of two parts."""
    rows = []
    for n, case in enumerate(cases):
        where = folder / f"{images}{parts[n % 2]}", folder / f"{labels}{parts[n % 2]}"
        written = write_images(case, where[0], channels, ending, suffixed or channels > 1)
        rows.append((case, written, write_label(case, where[1] / f"{case.name}.nrrd")))
    return rows


def nnunet(folder, cases, channels, ending):
    rows = apart(folder, cases, channels, ending, parts=("Tr", "Ts"), suffixed=True)
    describe(folder, channel_names={str(c): f"MR {c}" for c in range(channels)}, file_ending=ending)
    return rows


def listed(folder, cases, channels, ending):
    rows = apart(folder, cases, channels, ending, images="scans", labels="drawn")
    entries = [
        {"image": [f"scans/{image.name}" for image in images], **({"label": f"drawn/{label.name}"} if label else {})}
        for _, images, label in rows
    ]
    describe(folder, modality={str(c): "MR" for c in range(channels)}, training=entries[::2], validation=entries[1::2])
    return rows


def own(folder, cases, channels, ending):
    rows = apart(folder, cases, channels, ending)
    if any(label for _, _, label in rows):
        prepare(folder)[0].save(folder / "dataset.json")
    return rows


def dicom(folder, cases, channels, ending):
    rows = []
    for n, case in enumerate(cases):
        array = case.image(0)
        series = write_dicom(folder / f"p{n}" / case.name.strip(". "), array, f"1.2.{n}")
        plain = Drawn(case.name, case.size, (1, 1, 2), (0, 0, 0), (0, 0, 0), case.kind, case.swapped)
        rows.append((plain, [series], write_label(plain, series.with_name(f"{series.name}_seg.nrrd"))))
    return rows


@pytest.mark.parametrize("layout", [flat, patients, apart, nnunet, listed, own, dicom], ids=lambda f: f.__name__)
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.generate],  # shrinking takes minutes
)
@given(cases=CASES, two=st.booleans(), ending=st.sampled_from((".nii.gz", ".nrrd", ".mha")))
def test_prepare_predict_and_evaluate_agree(layout, cases, two, ending):
    channels = 2 if two and layout is not dicom else 1
    if layout not in (nnunet, listed) and any(case.kind in ("plain", "float") for case in cases):
        cases = [replace(case, swapped=False) for case in cases]  # nothing would say what the plain values mean
    with tempfile.TemporaryDirectory() as temporary:
        folder, results = Path(temporary, "data"), Path(temporary, "results")
        folder.mkdir()
        rows = layout(folder, cases, channels, ending)
        expected = {tuple(map(str, images)): (case, label) for case, images, label in rows}
        found = find_cases([folder], channels)
        assert {case.images for case in found} == set(expected) and len(found) == len(rows)
        if all(label is None for _, label in expected.values()):
            return
        dataset, notes = prepare(folder)
        assert [(c.id, c.images, c.label) for c in dataset.cases] == [(c.id, c.images, c.label) for c in found]
        assert {c.images: c.label for c in found} == {i: label and str(label) for i, (_, label) in expected.items()}
        assert not any("not used" in note or "left out" in note for note in notes), notes
        assert check_dataset(dataset).excluded == []
        assert find_labels(folder).labels == {c.id: Path(c.label) for c in found if c.label}
        meaning = {c.name: k for k, c in enumerate(dataset.classes, 1)}
        for case in dataset.cases:
            truth = expected[case.images][0].truth()
            values = [0, *(by_name(dataset, name, n) for n, name in enumerate(CLASSES, 1))]
            grid = read_image(case.images[0])
            write(results / f"{case.id}_seg.nii.gz", np.array(values, np.uint8)[truth], **geometry_of(grid))
            if case.label:
                read = read_label(case.label, dataset, read_images(case)[0])
                indices = [0, *(meaning.get(name, meaning.get(f"class {n}")) for n, name in enumerate(CLASSES, 1))]
                assert np.array_equal(read, np.array(indices, np.uint8)[truth])
        dataset.save(Path(temporary, "dataset.json"))
        for labels in (folder, Path(temporary, "dataset.json")):
            evaluation = evaluate_folder(results, labels)
            assert evaluation.failed == {} and {row.dice for row in evaluation.rows} == {1}
            assert {row.case for row in evaluation.rows} == {case.id for case in dataset.cases if case.label}


def by_name(dataset: Dataset, name, n):
    """The value of a class, whose name plain labels do not tell."""
    return next(c.value for c in dataset.classes if c.name in (name, f"class {n}"))


def geometry_of(image):
    return {"spacing": image.GetSpacing(), "origin": image.GetOrigin(), "direction": image.GetDirection()}
