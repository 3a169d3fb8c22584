import numpy as np
import pytest
from figures import (
    BACKGROUND,
    GAP,
    HEADER,
    PANEL,
    SIDE,
    TITLE,
    case_figure,
    confidence_colour,
    write_case_figure,
)
from metassl.data.dataset import SegmentClass
from metassl.regions import REGIONS
from PIL import Image

CLASSES = (SegmentClass("red", 4, (255, 0, 0)),)


def layers():
    image = np.zeros((10, 20, 20), np.float32)
    image[:, 5:15, 5:15] = 100
    label = np.zeros(image.shape, np.uint8)
    label[6, 2:6, 12:18] = 4  # left of the patient, anterior
    return image, label


def panel(sheet, row, column):
    """Pixels of one panel."""
    left, top = SIDE + column * (PANEL + GAP), TITLE + HEADER + row * (PANEL + GAP)
    return np.asarray(sheet)[top : top + PANEL, left : left + PANEL].astype(int)


def test_left_is_on_the_right_and_anterior_on_top():
    image, label = layers()
    sheet = case_figure(image, label=label, classes=CLASSES, spacing=(1, 1, 1))
    axial = panel(sheet, 0, 1)
    red = np.argwhere(axial[..., 0] > axial[..., 1] + 60)
    row, column = red.mean(0) / PANEL
    assert row < 0.3 and column > 0.6  # j 2 to 6 and i 12 to 18 of 20


def test_superior_is_on_top():
    image, label = layers()
    coronal = panel(case_figure(image, label=label, classes=CLASSES, spacing=(2, 1, 1)), 1, 1)
    red = np.argwhere(coronal[..., 0] > coronal[..., 1] + 60)
    assert red.mean(0)[0] / PANEL == pytest.approx(1 - 6.5 / 10, abs=0.02)


def test_thick_slices_keep_their_proportions():
    _, label = layers()
    sheet = case_figure(
        np.random.default_rng(0).random((10, 20, 20)), label=label, classes=CLASSES, spacing=(0.5, 1, 1)
    )
    coronal = panel(sheet, 1, 1)
    rows = np.flatnonzero(coronal.sum((1, 2)) > 0)
    assert (rows[-1] - rows[0] + 1) / PANEL == pytest.approx(5 / 20, abs=0.02)


def test_every_region_and_the_legend_have_their_colours():
    image, label = layers()
    regions = np.ones(image.shape, np.uint8)
    regions[6, 2:6, 12:18] = np.arange(24).reshape(4, 6) % 4 + 1
    sheet = case_figure(
        image, label=label, regions=regions, confidence=image / 100, classes=CLASSES, spacing=(1, 1, 1), title="case"
    )
    assert sheet.size[0] == SIDE + 4 * (PANEL + GAP) + GAP
    legend = np.asarray(sheet)[TITLE + HEADER + 3 * (PANEL + GAP) :].reshape(-1, 3)
    for colour in [CLASSES[0].colour, *(r.colour for r in REGIONS)]:
        assert (legend == colour).all(1).sum() >= 100
    shown = panel(sheet, 0, 2).reshape(-1, 3)
    for region in REGIONS:
        assert (shown == (np.array(region.colour) / 2).astype(int)).all(1).any(), region.code  # half over black


def test_nothing_is_drawn_at_the_edges():
    image, label = layers()
    sheet = np.asarray(
        case_figure(
            image,
            label=label,
            prediction=label,
            regions=label // 4,
            confidence=image / 100,
            classes=CLASSES,
            spacing=(1, 1, 1),
            title="a long title of a case",
        )
    )
    assert (sheet[-3:] == BACKGROUND).all() and (sheet[:, -3:] == BACKGROUND).all() and (sheet[:3] == BACKGROUND).all()
    assert sheet.shape[1] <= 1600


def test_long_names_and_many_classes_fit():
    image, label = layers()
    many = [SegmentClass(f"vertebra number {k} of the spine", k, (10 * k, 250 - 10 * k, 90)) for k in range(1, 21)]
    for confidence in (None, image / 100):
        sheet = np.asarray(
            case_figure(image, label=label, confidence=confidence, classes=many, spacing=(1, 1, 1), title="case" * 90)
        )
        assert (sheet[-3:] == BACKGROUND).all() and (sheet[:, -3:] == BACKGROUND).all()
        for segment in many:
            assert (sheet == segment.colour).all(2).sum() >= 16 * 16, segment.name  # a whole legend square


def test_regions_alone_have_a_whole_legend():
    image, label = layers()
    sheet = np.asarray(case_figure(image, regions=label // 4, classes=CLASSES, spacing=(1, 1, 1)))
    assert (sheet[:, -3:] == BACKGROUND).all()
    legend = sheet[TITLE + HEADER + 3 * (PANEL + GAP) :].reshape(-1, 3)
    assert [(legend == r.colour).all(1).sum() for r in REGIONS] == [256] * 4
    assert not (legend == CLASSES[0].colour).all(1).any()


def test_confidence_scale_is_monotonous_in_brightness():
    brightness = confidence_colour(np.linspace(0, 1, 9)).sum(-1).astype(int)
    assert (np.diff(brightness) > 0).all()


def test_file_is_written(tmp_path):
    image, label = layers()
    write_case_figure(tmp_path / "a.png", image, label=label, classes=CLASSES, spacing=(1, 1, 1))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG" and picture.size[0] > 2 * PANEL
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
