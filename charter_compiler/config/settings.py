"""A value of a configuration and why it is what it is; values that a person decided instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from charter_compiler.cache.retention import MAX_PRIORITY
from charter_compiler.config.yaml_file import read_mapping
from charter_compiler.diagnostics.errors import ConfigError

Scalar: TypeAlias = str | int | float | bool
ScalarT = TypeVar("ScalarT", bound=Scalar)

OVERRIDES_FILE = "overrides.yaml"
_MAY_BE_ZERO = frozenset({"host_memory_bytes"})
PRIORITY = "priority."
"""Before a prefix's cache id: the priority of its hints, from 0 to 100."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value and why it is what it is. ``name`` is dotted where the file nests."""

    name: str
    value: Scalar
    reason: str


@dataclass(frozen=True, slots=True)
class Overrides:
    """Values decided by hand, by the names of ``Sizes``' fields, and priorities by cache id."""

    values: Mapping[str, Scalar] = field(default_factory=dict)

    def decide(self, name: str, computed: ScalarT, reason: str) -> Setting:
        """The value of ``name``: the one given by hand, else the computed one."""
        if name not in self.values:
            return Setting(name, computed, reason)
        return Setting(name, self.values[name], f"Set by hand in {OVERRIDES_FILE}; computed: {computed}. {reason}")

    def priority(self, cache_id: int, computed: int) -> int:
        return int(self.values.get(f"{PRIORITY}{cache_id}", computed))


def read_overrides(folder: Path, known: Mapping[str, type]) -> Overrides:
    """What stands in ``folder/overrides.yaml``; nothing if there is no such file.

    Args:
        known: the names that may stand there, and their types.

    Raises:
        ConfigError: the file cannot be read, or a name or a value is wrong.
    """
    path = folder / OVERRIDES_FILE
    try:
        values = read_mapping(path)
    except FileNotFoundError:
        return Overrides()
    return Overrides({str(name): _checked(str(name), value, known, path) for name, value in values.items()})


def _checked(name: str, value: Any, known: Mapping[str, type], path: Path) -> Scalar:
    of_prefix = name.startswith(PRIORITY) and name.removeprefix(PRIORITY).isdigit()
    kind: Any = int if of_prefix else known.get(name)
    if kind is None:
        raise ConfigError(
            f"there is no setting {name!r}",
            place=str(path),
            remedy=f"one of {', '.join(sorted(known))}, or {PRIORITY}CACHE_ID",
        )
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigError(f"{name} is not of type {kind.__name__}", place=str(path))
    if name.startswith(PRIORITY) and not 0 <= value <= MAX_PRIORITY:
        raise ConfigError(f"{name} is not from 0 to {MAX_PRIORITY}", place=str(path))
    if not isinstance(value, str) and value < 0:
        raise ConfigError(f"{name} is below 0", place=str(path))
    if kind is int and not of_prefix and value == 0 and name not in _MAY_BE_ZERO:
        raise ConfigError(f"{name} is 0", place=str(path), remedy="give a number from 1 on")
    if name == "memory_fraction" and not 0 < value <= 1:
        raise ConfigError(f"{name} is not above 0 and at most 1", place=str(path))
    checked: Scalar = value
    return checked
