"""Line charts as SVG, for documents that open anywhere without a script."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 34
COLOURS = ("#1f77b4", "#d66e14", "#2c8c2c", "#9450bd", "#8c564b", "#e377c2", "#7f7f7f", "#17becf")
MOST_POINTS = 300
"""A line of more is thinned out; the first and the last point stay."""


def line_chart(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    x_title: str,
    limits: tuple[float, float] | None = None,
    colours: Sequence[str] = COLOURS,
) -> str:
    """A chart with a legend below.

    Args:
        lines: name -> points (x, y), in order; what is not finite is left out.
        x_title: what x is.
        limits: least and most y; None: 0, or what is lower, to what there is.
        colours: of the lines, in their order.

    Returns:
        An SVG element and a legend; "" when there is nothing to draw.
    """
    finite = {n: [p for p in points if math.isfinite(p[0]) and math.isfinite(p[1])] for n, points in lines.items()}
    finite = {name: points for name, points in finite.items() if points}
    if not finite:
        return ""
    every = [point for points in finite.values() for point in points]
    xs, ys = ([point[axis] for point in every] for axis in (0, 1))
    low, high = limits or (min(0.0, *ys), max(ys))
    scale_x, scale_y = _scale(min(xs), max(xs), LEFT, WIDTH - RIGHT), _scale(low, high, HEIGHT - BOTTOM, TOP)
    parts = []
    for value in _ticks(low, high):
        y = scale_y(value)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in _ticks(min(xs), max(xs)):
        parts.append(f'<text x="{scale_x(value):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{value:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_title)}</text>')
    legend = []
    for number, (name, points) in enumerate(finite.items()):
        colour = colours[number % len(colours)]
        places = [f"{scale_x(x):.1f},{scale_y(min(max(y, low), high)):.1f}" for x, y in _thinned(points)]
        if len(places) == 1:
            x, y = places[0].split(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>')
        else:
            line = " ".join(places)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        legend.append(f'<span><i style="background:{colour}"></i>{escape(name)}</span>')
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img"'
    return f'<svg {box}>{"".join(parts)}</svg><div class="legend">{"".join(legend)}</div>'


def _scale(low: float, high: float, start: float, end: float):
    """From low..high to start..end; the middle when there is no range."""
    if high <= low:
        return lambda value: (start + end) / 2
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers within a range, some four of them."""
    if high <= low:
        return [low]
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    step = -(-len(points) // MOST_POINTS)
    return [*points[:-1:step], points[-1]]
