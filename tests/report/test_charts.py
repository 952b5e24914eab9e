"""Charts: well-formed, escaped, and drawn only where a value is known."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from charter_compiler.report.charts import Series, bars, lines

SERIES = (Series("<b>", (1.0, None, 3.0)), Series("two", (0.5, 2.0, None)))


@pytest.mark.parametrize(("draw", "drawn"), [(bars, "rect"), (lines, "circle")])
def test_a_value_that_is_not_known_is_left_out(draw: object, drawn: str) -> None:
    assert callable(draw)
    picture = ET.fromstring(str(draw("T & <i>", ["a", "b<", "c"], SERIES, lambda value: f"{value:g}")))
    keys = len(SERIES) if drawn == "rect" else 0
    assert len(picture.findall(drawn)) == 4 + keys
    texts = [element.text for element in picture.findall("text")]
    assert {"T & <i>", "b<", "<b>"} <= set(texts)


def test_the_key_shows_what_is_drawn() -> None:
    picture = ET.fromstring(str(lines("t", ["a", "b"], [Series("x", (1.0, 2.0)), Series("y", (2.0, 2.0))], str)))
    *drawn, first, second = picture.findall("polyline")
    assert [(line.get("stroke-dasharray"), line.get("style")) for line in drawn] == [
        (key.get("stroke-dasharray"), key.get("style")) for key in (first, second)
    ]
    assert picture.findall("rect") == []


def test_lines_that_coincide_are_all_seen() -> None:
    same = (1.0, 2.0)
    series = [Series("as written", same), Series("planned", same), Series("attainable", same, bound=True)]
    picture = ET.fromstring(str(lines("t", ["a", "b"], series, str)))
    bound, *others = picture.findall("polyline")[:3]
    assert "stroke-width:9" in str(bound.get("style")), "beneath, and seen on both sides of what lies on it"
    assert [line.get("stroke-dasharray") for line in others] == ["none", "7 4"], "the later one has gaps"
    radii = [float(str(dot.get("r"))) for dot in picture.findall("circle")]
    assert radii[0] == radii[1] > radii[2] == radii[3]


@pytest.mark.parametrize("values", [(), (0.0,), (None,), (1e-9,), (1e12,)])
def test_any_values_make_a_picture(values: tuple[float | None, ...]) -> None:
    for draw in (bars, lines):
        text = str(draw("t", [str(n) for n in range(len(values))], [Series("s", values)], str))
        assert "nan" not in text
        assert "inf" not in text
        ET.fromstring(text)
