"""Defaults of requests that the command line states too; nothing that is slow to import stands here."""

from __future__ import annotations

from charter_compiler.api.layout_metrics import SIMILARITY

DEFAULT_METRIC = SIMILARITY
DEFAULT_THRESHOLD = 0.9
"""Of a layout's outputs beside those as written: the least mean of the metric."""
WINDOW = 96
"""Items of a stretch that ``charter plan`` simulates."""
