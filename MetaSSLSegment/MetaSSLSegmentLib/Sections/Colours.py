"""Colours of texts that can be read on any background, in light and dark themes alike."""

import qt

LEAST_CONTRAST = 4.5
"""Of text, as the Web Content Accessibility Guidelines (level AA) ask for."""
WRONG, ODD, QUIET = (192, 48, 32), (170, 110, 0), (110, 110, 110)
"""RGB, 0-255, of texts about errors, about what needs a look, and about what does not matter much."""


def contrast(one, other):
    """Contrast ratio of two colours (RGB, 0-255): 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def readable(colour, *backgrounds):
    """The colour, lightened or darkened until it can be read on all backgrounds; all RGB, 0-255."""
    target = 255 if max(_luminance(background) for background in backgrounds) < 0.18 else 0
    for share in (n / 20 for n in range(21)):
        mixed = tuple(round(part + share * (target - part)) for part in colour)
        if all(contrast(mixed, background) >= LEAST_CONTRAST for background in backgrounds):
            return mixed
    return (target,) * 3


def onWidget(colour, widget, *roles):
    """A QColor near the given one (RGB, 0-255) that can be read on a widget's backgrounds.

    Args:
        colour: what the text means.
        widget: where it is shown.
        roles: of QPalette; the window's background when there are none.
    """
    backgrounds = [widget.palette.color(role) for role in roles or (qt.QPalette.Window,)]
    return qt.QColor(*readable(colour, *((c.red(), c.green(), c.blue()) for c in backgrounds)))


def _luminance(colour):
    parts = [part / 255 for part in colour]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
