"""Small charts as SVG: groups of bars, and lines over a few categories. No script; the same data give the same text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 72, 16, 44, 64
COLORS = 8
"""Colours of the style sheet (``report.css``): ``--c0`` to ``--c7``."""

DASHES = ("none", "7 4", "2 4", "9 3 2 3")
"""Lines differ in pattern too, for those who do not tell the colours apart."""
THIN, THICK = 2.5, 9.0
"""Widths of a line, and of one that bounds the others."""
KEY = 34
"""Width of what the key shows of a series: room enough for every pattern."""


@dataclass(frozen=True, slots=True)
class Series:
    """One value a category; ``None`` where it is not known: then nothing is drawn there. ``bound``: what the other
    lines can reach at most; it is drawn thick and beneath them, so that both are seen where they coincide."""

    label: str
    values: tuple[float | None, ...]
    bound: bool = False


def bars(title: str, categories: Sequence[str], series: Sequence[Series], show: Callable[[float], str]) -> Markup:
    """Bars side by side, a group a category, each with its value above."""
    top, width = _top(series), _width(categories)
    bar = 0.8 * width / max(1, len(series))
    parts = []
    for place in range(len(categories)):
        for index, one in enumerate(series):
            value = one.values[place]
            if value is None:
                continue
            x, y = LEFT + (place + 0.1) * width + index * bar, _y(value, top)
            parts.append(_box(x, y, 0.92 * bar, HEIGHT - BOTTOM - y, index))
            parts.append(_text(x + 0.46 * bar, y - 5, show(value), "middle"))
    return _picture(title, categories, series, show, parts, _key_box)


def lines(title: str, categories: Sequence[str], series: Sequence[Series], show: Callable[[float], str]) -> Markup:
    """A line a series, with a dot at each value that is known. Where two coincide both are seen: a later one has gaps
    and smaller dots."""
    top, width = _top(series), _width(categories)
    parts = []
    for index, one in sorted(enumerate(series), key=lambda pair: not pair[1].bound):
        known = [(place, value) for place, value in enumerate(one.values) if value is not None]
        points = [(LEFT + (place + 0.5) * width, _y(value, top)) for place, value in known]
        parts.append(_line(points, index, one))
        if not one.bound:
            radius = 3 + 1.5 * (len(series) - 1 - index)
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" style="fill:{_color(index)}"/>' for x, y in points
            ]
    return _picture(title, categories, series, show, parts, _key_line)


def _top(series: Sequence[Series]) -> float:
    """The end of the value axis: the largest value, rounded up to one, two or five times a power of ten."""
    most = max((value for one in series for value in one.values if value is not None), default=0.0)
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= most)


def _width(categories: Sequence[str]) -> float:
    """Of one category."""
    return (WIDTH - LEFT - RIGHT) / max(1, len(categories))


def _y(value: float, top: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - max(0.0, value) / top)


def _text(x: float, y: float, text: str, anchor: str, style: str = "dim") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _color(index: int) -> str:
    return f"var(--c{index % COLORS})"


def _box(x: float, y: float, width: float, height: float, index: int) -> str:
    style = f"fill:{_color(index)}"
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" style="{style}"/>'


def _line(points: Sequence[tuple[float, float]], index: int, one: Series) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    style = f"fill:none;stroke:{_color(index)};stroke-width:{THICK if one.bound else THIN:g}"
    return f'<polyline points="{path}" stroke-dasharray="{DASHES[index % len(DASHES)]}" style="{style}"/>'


def _key_box(x: float, y: float, index: int, one: Series) -> str:
    return _box(x, y - 6, KEY, 12, index)


def _key_line(x: float, y: float, index: int, one: Series) -> str:
    return _line([(x, y), (x + KEY, y)], index, one)


def _picture(
    title: str,
    categories: Sequence[str],
    series: Sequence[Series],
    show: Callable[[float], str],
    parts: Sequence[str],
    key: Callable[[float, float, int, Series], str],
) -> Markup:
    top, bottom, size = _top(series), HEIGHT - BOTTOM, f'width="{WIDTH}" height="{HEIGHT}"'
    text = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" {size} role="img" aria-label="{escape(title)}">',
        _text(LEFT, 22, title, "start", "strong"),
    ]
    for value in (top * step / 4 for step in range(5)):
        y = _y(value, top)
        text.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        text.append(_text(LEFT - 8, y + 4, show(value), "end"))
    text += parts
    for place, name in enumerate(categories):
        text.append(_text(LEFT + (place + 0.5) * _width(categories), bottom + 18, name, "middle"))
    x = float(LEFT)
    for index, one in enumerate(series):
        text += [key(x, bottom + 42, index, one), _text(x + KEY + 6, bottom + 47, one.label, "start")]
        x += KEY + 28 + 7.2 * len(one.label)
    return Markup("\n".join([*text, "</svg>"]))  # noqa: S704  # every text from outside is escaped above
