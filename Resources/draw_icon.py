"""Draw the icon: a brain-like outline, divided into the four regions in their colours.

python Resources/draw_icon.py    writes the extension's icon and the module's, 128 x 128
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "MetaSSLSegment"))

from metassl.regions import REGIONS  # noqa: E402

ICONS = (ROOT / "Resources/MetaSSL.png", ROOT / "MetaSSLSegment/Resources/Icons/MetaSSLSegment.png")
SIZE = 128
OVERSAMPLING = 8
BACKGROUND = (33, 45, 58)
LINE = (255, 255, 255)


def draw() -> Image.Image:
    """The icon, RGBA."""
    centres = (np.arange(SIZE * OVERSAMPLING) + 0.5) / (SIZE * OVERSAMPLING) * 2 - 1
    x, y = np.meshgrid(centres, centres)

    corner = 0.3
    distance_in = np.maximum(np.abs(x), np.abs(y)) - 0.97
    round_corner = np.hypot(np.abs(x) - 0.97 + corner, np.abs(y) - 0.97 + corner) - corner
    in_corner = (np.abs(x) > 0.97 - corner) & (np.abs(y) > 0.97 - corner)
    square = np.where(in_corner, round_corner, distance_in) < 0

    angle, radius = np.arctan2(x, -y), np.hypot(x / 0.9, y)
    folds = 0.045 * np.abs(np.cos(5 * angle))
    fissure = 0.13 * np.exp(-((np.sin(angle) / 0.13) ** 2))
    outline = 0.76 + folds - fissure
    organ = radius < outline
    rim = radius < outline + 0.06

    upright = x - 0.05 * np.sin(4 * y)
    level = y - 0.07 * np.sin(5 * x)
    cut = (np.abs(upright) < 0.028) | (np.abs(level) < 0.028)
    uc, us, dc, ds = (region.colour for region in REGIONS)

    pixels = np.zeros((*x.shape, 4), np.uint8)
    pixels[square] = (*BACKGROUND, 255)
    pixels[rim & square] = (*LINE, 255)
    pixels[organ & (upright < 0) & (level < 0)] = (*uc, 255)
    pixels[organ & (upright >= 0) & (level < 0)] = (*us, 255)
    pixels[organ & (upright < 0) & (level >= 0)] = (*ds, 255)
    pixels[organ & (upright >= 0) & (level >= 0)] = (*dc, 255)
    pixels[organ & cut] = (*LINE, 255)
    return Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BOX)


if __name__ == "__main__":
    for path in ICONS:
        path.parent.mkdir(parents=True, exist_ok=True)
        draw().save(path, optimize=True)
