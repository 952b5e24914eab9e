"""The picture of hit rate against capacity: escaped, and whole where there is little to draw."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from charter_compiler.report.hit_curve import Curve, hit_curves_svg, write_hit_curves


def test_labels_are_escaped(tmp_path: Path) -> None:
    curves = [Curve("<script>&", ((1, 0.0), (8, 0.5)))]
    for suffix in (".svg", ".html"):
        path = tmp_path / f"curve{suffix}"
        write_hit_curves(path, "<b>", curves, attainable=0.5, block_size=16)
        text = path.read_text(encoding="utf-8")
        assert "<script>" not in text
        assert "<b>" not in text


@pytest.mark.parametrize("points", [(), ((1, 0.0),), ((7, 1.0),), ((1, 0.0), (10**12, 1.0))])
def test_any_points_make_a_picture(points: tuple[tuple[int, float], ...]) -> None:
    text = hit_curves_svg("title", [Curve("one", points)], attainable=None, block_size=1)
    assert "nan" not in text
    assert ET.fromstring(text).attrib["aria-label"] == "title"


def test_the_same_data_give_the_same_text() -> None:
    made = [hit_curves_svg("t", [Curve("a", ((1, 0.1), (2, 0.2)))], attainable=0.3, block_size=2) for _ in range(2)]
    assert made[0] == made[1]
    assert "attainable 30.0%" in made[0]
