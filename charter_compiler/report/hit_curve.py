"""Hit rate against capacity, as one SVG picture or an HTML page around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup, escape

from charter_compiler.report.html import write_page
from charter_compiler.report.metrics import count, percent

WIDTH, HEIGHT = 860, 460
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 44, 64
COLORS = ("#2f6fde", "#c2590c", "#12805c", "#9a3fb5", "#b3274e", "#0b7a99")
DASHES = ("", "7 4", "2 4", "9 3 2 3", "4 2", "1 3")
"""Lines differ in pattern too, for those who do not tell the colours apart."""
_STYLE = (
    "svg{background:#fbfbfa;color:#1d2127;font:13px system-ui,sans-serif}"
    ".grid{stroke:#e1e4e8}.axis{stroke:#5c6570}.soft{fill:#5c6570}"
    "@media(prefers-color-scheme:dark){svg{background:#14171c;color:#e6e9ee}.grid{stroke:#2d343e}"
    ".axis{stroke:#9aa5b1}.soft{fill:#9aa5b1}}"
)


@dataclass(frozen=True, slots=True)
class Curve:
    """``points``: capacity in blocks, ascending, and hit rate from 0 to 1."""

    label: str
    points: tuple[tuple[int, float], ...]


def write_hit_curves(
    path: Path, title: str, curves: Sequence[Curve], *, attainable: float | None, block_size: int
) -> None:
    """Write ``path``: a page if it ends in ``.html``, else a picture.

    Raises:
        OutputError: the file cannot be written.
    """
    picture = hit_curves_svg(title, curves, attainable=attainable, block_size=block_size)
    write_page(_page(title, curves, picture) if path.suffix == ".html" else picture, path)


def hit_curves_svg(title: str, curves: Sequence[Curve], *, attainable: float | None, block_size: int) -> str:
    """The picture; the same data give the same text. Capacity is on a logarithmic axis."""
    capacities = [capacity for curve in curves for capacity, _ in curve.points]
    low, high = max(1, min(capacities, default=1)), max([2, *capacities])
    top = max((rate for curve in curves for _, rate in curve.points), default=0.0)
    ceiling = min(1.0, math.ceil(max(top, attainable or 0.0, 0.05) * 10) / 10)
    span = math.log2(high / low) or 1.0

    def x(capacity: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * math.log2(max(capacity, low) / low) / span, 1)

    def y(rate: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - rate / ceiling), 1)

    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<text x="{LEFT}" y="24" font-size="16" fill="currentColor">{escape(title)}</text>',
    ]
    for step in range(round(ceiling * 10) + 1):
        rate = step / 10
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y(rate)}" y2="{y(rate)}"/>')
        parts.append(f'<text class="soft" x="{LEFT - 8}" y="{y(rate) + 4}" text-anchor="end">{rate:.0%}</text>')
    for capacity in _ticks(low, high):
        parts.append(f'<line class="axis" x1="{x(capacity)}" x2="{x(capacity)}" y1="{bottom}" y2="{bottom + 5}"/>')
        parts.append(
            f'<text class="soft" x="{x(capacity)}" y="{bottom + 20}" text-anchor="middle">{count(capacity)}</text>'
        )
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    parts.append(
        f'<text class="soft" x="{(LEFT + right) // 2}" y="{bottom + 44}" text-anchor="middle">'
        f"capacity in blocks of {block_size} tokens (each step doubles)</text>"
    )
    if attainable is not None:
        parts.append(
            f'<line x1="{LEFT}" x2="{right}" y1="{y(attainable)}" y2="{y(attainable)}" stroke="currentColor" '
            f'stroke-dasharray="1 3"><title>attainable: {percent(attainable)}</title></line>'
        )
    for index, curve in enumerate(curves):
        color, dash = COLORS[index % len(COLORS)], DASHES[index % len(DASHES)]
        line = " ".join(f"{x(capacity)},{y(rate)}" for capacity, rate in curve.points)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2.5" stroke-dasharray="{dash}">'
            f"<title>{escape(curve.label)}</title></polyline>"
        )
        key = TOP + 22 * index + 8
        parts.append(
            f'<line x1="{right + 16}" x2="{right + 46}" y1="{key}" y2="{key}" stroke="{color}" stroke-width="2.5" '
            f'stroke-dasharray="{dash}"/>'
            f'<text x="{right + 54}" y="{key + 4}" fill="currentColor">{escape(curve.label)}</text>'
        )
    if attainable is not None:
        key = TOP + 22 * len(curves) + 8
        parts.append(
            f'<line x1="{right + 16}" x2="{right + 46}" y1="{key}" y2="{key}" stroke="currentColor" '
            f'stroke-dasharray="1 3"/>'
            f'<text x="{right + 54}" y="{key + 4}" fill="currentColor">attainable {percent(attainable)}</text>'
        )
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _ticks(low: int, high: int) -> list[int]:
    """Powers of two between the ends, about eight of them."""
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    step = max(1, (last - first + 1) // 8 + 1)
    return [2**power for power in range(first, last + 1, step)]


def _page(title: str, curves: Sequence[Curve], picture: str) -> str:
    heads = Markup("").join(Markup("<th>{}</th>").format(curve.label) for curve in curves)
    rows = []
    rates = [dict(curve.points) for curve in curves]
    for capacity in sorted({capacity for one in rates for capacity in one}):
        cells = Markup("").join(
            Markup("<td>{}</td>").format(percent(one[capacity]) if capacity in one else "") for one in rates
        )
        rows.append(Markup("<tr><th>{}</th>{}</tr>").format(count(capacity), cells))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n"
        "<style>body{font:15px system-ui,sans-serif;margin:32px;color-scheme:light dark}td,th{padding:3px 12px;"
        "text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}</style>\n"
        f"</head>\n<body>\n<h1>{escape(title)}</h1>\n{picture}"
        f"<table>\n<tr><th>capacity (blocks)</th>{heads}</tr>\n" + "\n".join(rows) + "\n</table>\n</body>\n</html>\n"
    )
