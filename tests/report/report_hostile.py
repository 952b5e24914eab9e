"""Puts markup into every string of a report, as a hostile agent or document would."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any

PAYLOAD = "\"'><script>alert(1)</script><img src=x onerror=alert(1)></pre></details></svg></title>{{ 7 * 7 }}\x00\ud800"
FIXED = {"kind", "api", "role", "scope"}
"""Fields that hold one of a few words of ours, never text from outside."""


def poisoned(value: Any) -> Any:
    """The same value with the payload after every string in it; ids stay equal to each other."""
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return value + PAYLOAD
    if isinstance(value, tuple):
        return tuple(poisoned(item) for item in value)
    if isinstance(value, dict):
        return {poisoned(key): poisoned(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.name not in FIXED]
        return dataclasses.replace(value, **{name: poisoned(getattr(value, name)) for name in names})
    return value
