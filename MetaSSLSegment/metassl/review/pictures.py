"""Slices of a case as PNG, drawn with Pillow, which comes with scikit-image."""

from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

PANEL = 200
"""Width and height of a slice in pixels."""
GAP = 4
OPACITY = 0.5
VIEWS = ("axial", "coronal", "sagittal")

Colours = Mapping[int, tuple[int, int, int]]


def case_picture(
    image: np.ndarray,
    layers: Sequence[tuple[np.ndarray, Colours]],
    spacing: Sequence[float],
    centre: Sequence[int],
) -> bytes:
    """A row per layer over the image, with the axial, coronal and sagittal slice through one voxel, which is marked.

    The patient's left is on the right, anterior and superior are on top.

    Args:
        image: (k, j, i) intensities in LPS orientation.
        layers: (k, j, i) values and their colours (RGB, 0-255); values without a colour are not drawn.
        spacing: mm, (k, j, i).
        centre: the voxel, (k, j, i).

    Returns:
        PNG.
    """
    low, high = np.percentile(image, (1, 99.5))
    side = PANEL + GAP
    sheet = Image.new("RGB", (len(VIEWS) * side - GAP, max(len(layers), 1) * side - GAP), (18, 18, 20))
    for row, (values, colours) in enumerate(layers or [(np.zeros_like(image, dtype=np.uint8), {})]):
        for axis in range(len(VIEWS)):
            cut = tuple(int(centre[axis]) if a == axis else slice(None) for a in range(3))
            grey = ((image[cut] - low) / max(high - low, 1e-6)).clip(0, 1) * 255
            pixels = np.repeat(grey[..., None], 3, -1)
            for value, colour in colours.items():
                inside = values[cut] == value
                pixels[inside] = (1 - OPACITY) * pixels[inside] + OPACITY * np.array(colour, float)
            others = [a for a in range(3) if a != axis]
            panel = _panel(
                pixels.astype(np.uint8),
                [spacing[a] for a in others],
                [centre[a] for a in others],
                upside_down=VIEWS[axis] != "axial",
            )
            sheet.paste(panel, (axis * side, row * side))
    file = BytesIO()
    sheet.save(file, format="PNG", optimize=True)
    return file.getvalue()


def _panel(pixels: np.ndarray, spacing: Sequence[float], mark: Sequence[int], upside_down: bool) -> Image.Image:
    """A slice in its true proportions; four short lines point at the marked pixel (row, column)."""
    rows, columns = pixels.shape[:2]
    row, column = mark
    if upside_down:  # superior is last in the array and belongs on top
        pixels, row = pixels[::-1], rows - 1 - row
    height, width = rows * spacing[0], columns * spacing[1]
    scale = PANEL / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (PANEL - size[0]) // 2, (PANEL - size[1]) // 2
    panel = Image.new("RGB", (PANEL, PANEL), (0, 0, 0))
    panel.paste(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.NEAREST), (left, top))
    x, y = left + (column + 0.5) * size[0] / columns, top + (row + 0.5) * size[1] / rows
    draw = ImageDraw.Draw(panel)
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        draw.line((x + 9 * dx, y + 9 * dy, x + 20 * dx, y + 20 * dy), fill=(255, 255, 255))
    return panel
