"""One picture per case: image, label, prediction, regions and confidence beside each other, with a legend.

Drawn with Pillow, which comes with scikit-image. Arrays are (k, j, i) in LPS orientation; slices are shown as
radiologists look at them: the patient's left on the right of the picture, anterior and superior on top.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from metassl.data.dataset import SegmentClass
from metassl.files import replacing
from metassl.regions import REGIONS
from PIL import Image, ImageDraw, ImageFont

PANEL = 250
"""Width and height of a panel in pixels; slices are scaled to fit."""
GAP = 8
HEADER = 30
TITLE = 36
LINE = 28
"""Height of a line of the legend."""
SIDE = 34
BACKGROUND, TEXT, FAINT = (18, 18, 20), (235, 235, 235), (150, 150, 155)
OPACITY = 0.5
VIEWS = ("axial", "coronal", "sagittal")
CONFIDENCE_COLOURS = np.array([(60, 20, 110), (190, 55, 90), (250, 160, 50), (250, 250, 190)], float)
"""Colours of the confidence scale from 0 to 1."""


def write_case_figure(path: Path | str, image: np.ndarray, **layers) -> None:
    """Write ``case_figure`` as a PNG, replacing the file in one step."""
    with replacing(path) as temporary:
        case_figure(image, **layers).save(temporary, format="PNG")


def case_figure(
    image: np.ndarray,
    *,
    classes: Sequence[SegmentClass],
    spacing: Sequence[float],
    label: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
    regions: np.ndarray | None = None,
    confidence: np.ndarray | None = None,
    title: str = "",
) -> Image.Image:
    """Three rows (axial, coronal, sagittal slice with most foreground), one column per given layer.

    Args:
        image: (k, j, i) intensities.
        classes: names, values and colours of the label values.
        spacing: mm, (k, j, i).
        label, prediction: (k, j, i) class values.
        regions: (k, j, i) 1 UC, 2 US, 3 DC, 4 DS.
        confidence: (k, j, i) 0-1.
        title: heading.
    """
    grey = _grey(image)
    class_colours = {c.value: c.colour for c in classes}
    region_colours = {r.value: r.colour for r in REGIONS}
    columns = [("image", lambda cut: grey[cut])]
    for name, array, colours in (
        ("label", label, class_colours),
        ("prediction", prediction, class_colours),
        ("regions", regions, region_colours),
    ):
        if array is not None:
            columns.append((name, lambda cut, a=array, c=colours: _overlay(grey[cut], a[cut], c)))
    if confidence is not None:
        columns.append(("confidence", lambda cut: confidence_colour(confidence[cut])))
    foreground = next((a for a in (label, prediction) if a is not None and a.any()), image > image.mean())
    width = SIDE + len(columns) * (PANEL + GAP) + GAP
    legend = _legend([name for name, _ in columns], classes, width - SIDE - GAP)
    bottom = TITLE + HEADER + len(VIEWS) * (PANEL + GAP)
    sheet = Image.new("RGB", (width, bottom + legend.height + GAP), BACKGROUND)
    sheet.paste(legend, (SIDE, bottom + 6))
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 8), _fitted(title, 20, width - 2 * GAP), TEXT, _font(20))
    for column, (name, _) in enumerate(columns):
        draw.text((SIDE + column * (PANEL + GAP) + PANEL / 2, TITLE + 6), name, TEXT, _font(16), anchor="ma")
    for row, view in enumerate(VIEWS):
        top = TITLE + HEADER + row * (PANEL + GAP)
        sheet.paste(_sideways(view), (6, top + PANEL // 2 - 60))
        axis = row
        cut = tuple(_fullest(foreground, axis) if a == axis else slice(None) for a in range(3))
        shown = [s for a, s in enumerate(spacing) if a != axis]
        for column, (_, layer) in enumerate(columns):
            panel = _panel(layer(cut), shown, flip=view != "axial")
            sheet.paste(panel, (SIDE + column * (PANEL + GAP), top))
    return sheet


def confidence_colour(values: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 colours of confidences from 0 to 1."""
    steps = np.linspace(0, 1, len(CONFIDENCE_COLOURS))
    return np.stack([np.interp(values, steps, channel) for channel in CONFIDENCE_COLOURS.T], -1).astype(np.uint8)


def _grey(image: np.ndarray) -> np.ndarray:
    """(k, j, i, 3) uint8 between the 1st and 99.5th percentile."""
    low, high = np.percentile(image, (1, 99.5))
    scaled = ((image - low) / max(high - low, 1e-6)).clip(0, 1) * 255
    return np.repeat(scaled.astype(np.uint8)[..., None], 3, -1)


def _overlay(grey: np.ndarray, values: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> np.ndarray:
    result = grey.astype(float)
    for value, colour in colours.items():
        inside = values == value
        result[inside] = (1 - OPACITY) * result[inside] + OPACITY * np.array(colour)
    return result.astype(np.uint8)


def _fullest(mask: np.ndarray, axis: int) -> int:
    """Index of the slice with most foreground."""
    return int((mask > 0).sum(tuple(a for a in range(3) if a != axis)).argmax())


def _panel(pixels: np.ndarray, spacing: Sequence[float], flip: bool) -> Image.Image:
    """A slice scaled to fit a panel in its true proportions; ``flip`` brings the superior end to the top."""
    if flip:
        pixels = pixels[::-1]
    height, width = pixels.shape[0] * spacing[0], pixels.shape[1] * spacing[1]
    scale = PANEL / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    panel = Image.new("RGB", (PANEL, PANEL), (0, 0, 0))
    panel.paste(
        Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.NEAREST),
        ((PANEL - size[0]) // 2, (PANEL - size[1]) // 2),
    )
    return panel


def _sideways(text: str) -> Image.Image:
    label = Image.new("RGB", (120, 24), BACKGROUND)
    ImageDraw.Draw(label).text((60, 2), text, FAINT, _font(15), anchor="ma")
    return label.rotate(90, expand=True)


def _legend(columns: Sequence[str], classes: Sequence[SegmentClass], width: int) -> Image.Image:
    """Classes and confidence scale, then regions, on as many lines as the width needs."""
    first, second = [], []
    if {"label", "prediction"} & set(columns):
        first += [(c.name, Image.new("RGB", (16, 16), c.colour)) for c in classes]
    if "confidence" in columns:
        first.append(("confidence", _confidence_bar()))
    if "regions" in columns:
        second += [(f"{r.code} {r.name}", Image.new("RGB", (16, 16), r.colour)) for r in REGIONS]
    placed, x, line = [], 0, -1
    for group in (first, second):
        for n, (name, swatch) in enumerate(group):
            name = _fitted(name, 15, width - swatch.width - 6)
            needed = swatch.width + 6 + round(_font(15).getlength(name))
            if n == 0 or x + needed > width:
                x, line = 0, line + 1
            placed.append((x, line * LINE, name, swatch))
            x += needed + 22
    legend = Image.new("RGB", (width, (line + 1) * LINE), BACKGROUND)
    draw = ImageDraw.Draw(legend)
    for x, y, name, swatch in placed:
        legend.paste(swatch, (x, y + 3))
        draw.text((x + swatch.width + 6, y), name, TEXT, _font(15))
    return legend


def _confidence_bar() -> Image.Image:
    """The confidence scale with 0 and 1 at its ends."""
    scale = Image.fromarray(np.repeat(confidence_colour(np.linspace(0, 1, 120))[None], 16, 0))
    bar = Image.new("RGB", (152, 16), BACKGROUND)
    bar.paste(scale, (16, 0))
    draw = ImageDraw.Draw(bar)
    draw.text((5, 8), "0", TEXT, _font(15), anchor="mm")
    draw.text((146, 8), "1", TEXT, _font(15), anchor="mm")
    return bar


def _fitted(text: str, size: int, width: int) -> str:
    """The text, shortened with dots when it is wider than ``width`` pixels."""
    if _font(size).getlength(text) <= width:
        return text
    while text and _font(size).getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
