"""What the two predictions mean for a person, by hand on a few voxels."""

from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from metassl.data.dataset import Case, Dataset
from metassl.inference.volume import VolumePrediction
from metassl.review.agreement import agreement_of, class_agreement
from metassl.review.audit import audit_case, ignored_as, softmin_score
from metassl.review.charts import line_chart
from metassl.review.document import document, paragraph, table
from metassl.review.likeness import NEAR_DUPLICATE, cheap_features, distances_between, order_by_chance
from metassl.review.pictures import GAP, PANEL, case_picture
from metassl.review.places import doubt_of, find_places, places_of_prediction
from PIL import Image
from volumes import BALL, RIM, write


def prediction_of(label, other, regions, confidence):
    kinds = (np.uint8, np.uint8, np.float32, np.uint8)
    arrays = (np.asarray(a, k) for a, k in zip((label, regions, confidence, other), kinds))
    return VolumePrediction(*(sitk.GetImageFromArray(a.reshape(1, 1, -1) if a.ndim == 1 else a) for a in arrays))


def test_agreement_by_hand():
    prediction = prediction_of([1, 1, 1, 0], [1, 1, 0, 1], [1, 2, 3, 4], [0.9, 0.6, 0.8, 0.7])
    assert class_agreement(prediction, (BALL, RIM)) == {"ball": 1 / 4, "rim": None}, "one of four with confidence"


def test_a_class_that_only_the_other_prediction_has_is_contradicted_wholly():
    prediction = prediction_of([0, 0, 0], [0, 1, 1], [1, 4, 4], [0.9, 0.6, 0.6])
    assert class_agreement(prediction, (BALL,)) == {"ball": 0}


def test_agreement_is_compared_with_that_on_the_hold_out_cases():
    prediction = prediction_of([1, 1, 1, 0], [1, 1, 0, 1], [1, 2, 3, 4], [0.9, 0.6, 0.8, 0.7])
    known = {"mean": 0.25, "classes": {"ball": 0.25, "rim": None}}
    model = SimpleNamespace(classes=(BALL, RIM), hold_out_agreement=(0.1, 0.2, 0.9))
    assert agreement_of(model, prediction) == {**known, "hold_out_cases": 3, "agree_less": 2}
    model.hold_out_agreement = ()
    assert agreement_of(model, prediction) == {**known, "hold_out_cases": 0, "agree_less": None}


def scene(*spots):
    """(20, 20, 20) zeros with amounts in cubes of 3 voxels around (k, j, i)."""
    array = np.zeros((20, 20, 20), np.float32)
    for (k, j, i), amount in spots:
        array[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2] = amount
    return array


def test_places_are_where_most_doubt_is_in_ras():
    doubt = scene(((5, 6, 7), 0.5), ((14, 13, 12), 0.9))
    label = np.where(doubt > 0.8, 1, 0).astype(np.uint8)
    other = np.where(doubt > 0, 2, 0).astype(np.uint8)
    grid = sitk.Image(20, 20, 20, sitk.sitkUInt8)
    grid.SetOrigin((100, 10, -50))
    grid.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    first, second = find_places(doubt, label, other, {0: "background", 1: "ball", 2: "rim"}, grid)
    assert first.position == (-113, 2, -36) and second.position == (-106, -3, -45)  # LPS: x = 100 + j, y = 10 - i
    assert (first.classes, second.classes) == (("ball", "rim"), ("background", "rim"))
    assert first.volume_ml == pytest.approx(0.027) and first.certainty == pytest.approx(0.9)


def test_no_two_places_are_in_one_spot_and_no_doubt_has_no_place():
    grid, nothing = sitk.Image(20, 20, 20, sitk.sitkUInt8), np.zeros((20, 20, 20), np.uint8)
    names = {0: "background"}
    assert len(find_places(scene(((9, 9, 9), 0.9), ((11, 9, 9), 0.9)), nothing, nothing, names, grid)) == 1
    assert find_places(scene(), nothing, nothing, names, grid) == []
    assert len(find_places(np.full((20, 20, 20), 0.5, np.float32), nothing, nothing, names, grid, most=3)) == 3


def test_a_contradiction_is_in_doubt_however_sure_it_is():
    prediction = prediction_of([0, 0, 1, 1], [0, 0, 0, 0], [1, 2, 3, 4], [0.9, 0.6, 0.95, 0.4])
    assert doubt_of(prediction).ravel() == pytest.approx([0.1, 0.4, 0.5, 0.6])


def test_a_place_of_a_prediction_names_what_its_border_is_to():
    label = np.zeros((12, 12, 12), np.uint8)
    label[:, :, 6:] = 1
    confidence = np.ones(label.shape, np.float32)
    confidence[5:7, 5:7, 6:8] = 0.4
    place, *_ = places_of_prediction(prediction_of(label, label, np.ones_like(label), confidence), (BALL,))
    assert place.classes == ("ball", "background") and place.certainty == pytest.approx(0.6)


def test_one_certain_contradiction_decides_the_score():
    annotated = np.array([1, 1, 1, 1, 0])
    fine = softmin_score(annotated, np.array([1, 1, 1, 1, 0]), np.full(5, 0.95))
    unsure = softmin_score(annotated, np.array([1, 1, 1, 0, 0]), np.array([0.95, 0.95, 0.95, 0.5, 1]))
    sure = softmin_score(annotated, np.array([1, 1, 1, 0, 0]), np.array([0.95, 0.95, 0.95, 0.99, 1]))
    assert fine == pytest.approx(0.95) and 0.4 < unsure < 0.6 and sure < 0.05
    assert softmin_score(np.array([255, 0]), np.array([1, 0]), np.ones(2)) == 1  # ignored


def test_an_audit_marks_what_is_contradicted_for_certain_where_somebody_annotated(tmp_path):
    label = write(tmp_path / "l.nrrd", np.array([[[0, 1, 9, 9, 1, 1]]], np.uint8))
    case = Case("a", ("i.nrrd",), str(label), "labelled")
    dataset, model = Dataset("d", ("MR",), (BALL,), (case,), 9), SimpleNamespace(classes=(BALL,), metadata={})
    said = [1, 0, 1, 0, 0, 1]
    prediction = prediction_of(said, said, [1, 1, 1, 1, 2, 1], [0.95, 0.95, 0.95, 0.95, 0.6, 0.95])
    audit = audit_case(model, dataset, case, prediction.labelmap, prediction)
    assert sitk.GetArrayFromImage(audit.doubted).ravel().tolist() == [1, 1, 0, 0, 0, 0]
    assert audit.doubt_ml == pytest.approx(0.002) and not audit.trained_on
    assert sitk.GetArrayFromImage(audit.annotated).ravel().tolist() == [0, 1, 9, 9, 1, 1], "as it is"


@pytest.mark.parametrize(("ignored", "value", "stands"), [(9, 1, 9), (None, 1, 255), (None, 255, 254), (300, 1, 255)])
def test_ignored_voxels_of_an_audit_have_a_value_that_fits_into_a_byte(ignored, value, stands):
    case = Case("a", ("i.nrrd",))
    assert ignored_as(Dataset("d", ("MR",), (replace(BALL, value=value),), (case,), ignored)) == stands


def test_the_order_is_by_chance_and_stays_when_cases_come_or_go():
    ids = [f"case {n}" for n in range(40)]
    apart = np.ones((40, 40))
    order = [n for n, _ in order_by_chance(ids, apart, 4)]
    assert sorted(order) == list(range(4, 40)) and order != sorted(order)
    fewer = [ids[n] for n, _ in order_by_chance(ids[:20], apart[:20, :20], 4)]
    assert fewer == [ids[n] for n in order if n < 20]


def test_near_duplicates_wait_whether_their_like_is_annotated_or_comes_before():
    ids, apart = list("abcdef"), np.ones((6, 6)) - np.eye(6)
    for one, other in ((0, 3), (4, 5)):
        apart[one, other] = apart[other, one] = NEAR_DUPLICATE / 2
    apart[1, 2] = apart[2, 1] = NEAR_DUPLICATE * 2
    order = order_by_chance(ids, apart, 1)
    first, last = order[:3], dict(order[3:])
    assert {n for n, _ in first} in ({1, 2, 4}, {1, 2, 5}) and {twin for _, twin in first} == {None}
    assert last in ({3: 0, 4: 5}, {3: 0, 5: 4})


def test_cheap_features_of_any_size():
    random = np.random.default_rng(0)
    images = [sitk.GetImageFromArray(random.normal(size=s).astype(np.float32)) for s in ((3, 9, 20), (30, 8, 8))]
    apart = distances_between([cheap_features([image]) for image in (*images, images[0])])
    assert apart[0, 2] == pytest.approx(0) and apart[0, 1] > 0.5 and np.isfinite(apart).all()


def test_documents_escape_what_people_name():
    text = document(
        "<b>", [("A & B", paragraph("<script>x") + table(("x",), [("<i>",), (None,)])), ("Nothing here", "")]
    )
    assert "<script" not in text and "<i>" not in text and "A &amp; B" in text and "Nothing here" not in text


def test_a_chart_leaves_out_what_is_not_finite():
    chart = line_chart({"loss": [(0, 1.0), (1, float("nan")), (2, 0.5)], "without end": [(0, float("inf"))]}, "step")
    assert "nan" not in chart and "without end" not in chart and chart.count("<polyline") == 1
    assert 'stroke="rgb(1, 2, 3)"' in line_chart({"UC": [(0, 1), (1, 2)]}, "step", None, ["rgb(1, 2, 3)"])
    assert line_chart({}, "step") == "" and "<circle" in line_chart({"one": [(3, 0.5)]}, "step", (0, 1))


def test_a_picture_is_the_right_way_up():
    values = np.zeros((10, 10, 10), np.uint8)
    values[9, :, :] = 1  # superior
    png = case_picture(np.ones((10, 10, 10), np.float32), [(values, {1: (255, 0, 0)})], (1, 1, 1), (5, 5, 5))
    pixels = np.asarray(Image.open(BytesIO(png)))
    assert pixels.shape == (PANEL, 3 * PANEL + 2 * GAP, 3)
    coronal = pixels[:, PANEL + GAP : 2 * PANEL + GAP]
    assert coronal[5, 10, 0] > 100 and coronal[-5, 10, 0] < 100
