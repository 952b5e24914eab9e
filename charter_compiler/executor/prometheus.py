"""The text format in which servers expose their metrics (Prometheus 0.0.4), read strictly."""

from __future__ import annotations

import re

from charter_compiler.diagnostics.errors import TargetProtocolError

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\\n]|\\["\\n])*)"\s*(,|$)')
SAMPLE = re.compile(rf'({NAME})\s*(?:\{{((?:[^"}}]|"(?:[^"\\]|\\.)*")*)\}})?\s+(\S+)(?:\s+(-?\d+))?\s*')


def parse_metrics(text: str, *, place: str) -> dict[str, float]:
    """``{name{label="value",...}: value}``, labels as the server ordered and escaped them.

    Args:
        place: where the text comes from, for errors.

    Raises:
        TargetProtocolError: a line is neither a comment nor a sample, or a sample comes twice; with its number.
    """
    samples: dict[str, float] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = SAMPLE.fullmatch(line.strip())
        value = _number(match.group(3)) if match else None
        labels = _labels(match.group(2)) if match else None
        if match is None or value is None or labels is None:
            raise TargetProtocolError(f"line {number} of the metrics is no sample: {line[:80]!r}", place=place)
        key = f"{match.group(1)}{labels}"
        if key in samples:
            raise TargetProtocolError(f"line {number} of the metrics repeats {key}", place=place)
        samples[key] = value
    return samples


def label_value(key: str, label: str) -> str | None:
    """The value of one label in a key of ``parse_metrics``; ``None`` where it has none."""
    inside = key.partition("{")[2].removesuffix("}")
    return next((found.group(2) for found in LABEL.finditer(inside) if found.group(1) == label), None)


def _number(text: str) -> float | None:
    try:
        return float(text)  # takes Prometheus' +Inf, -Inf and NaN too
    except ValueError:
        return None


def _labels(text: str | None) -> str | None:
    """Labels in canonical form with their braces, empty without any; ``None`` where they do not parse."""
    text = (text or "").strip()
    pairs = []
    position = 0
    while position < len(text):
        match = LABEL.match(text, position)
        if match is None:
            return None
        pairs.append(f'{match.group(1)}="{match.group(2)}"')
        position = match.end()
    return "{" + ",".join(pairs) + "}" if pairs else ""
