"""Repositories that are an SDK themselves. Its examples and tests use it as any program does: what they import from it
is the SDK of the tables, not the project's own classes, whose prompts travel in ways that no program shows."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from charter_compiler.parser import sdk


def own_modules(roots: Iterable[Path]) -> frozenset[str]:
    """The import names of the SDKs that are distributed from these folders, or from folders in them, as their
    ``pyproject.toml`` says."""
    names = (_name(path) for root in roots for path in _descriptions(root))
    return frozenset(module for name in names if name and (module := sdk.module_of(name)) is not None)


def _descriptions(root: Path) -> Iterator[Path]:
    for depth in ("", "*/", "*/*/"):
        yield from root.glob(f"{depth}pyproject.toml")


def _name(path: Path) -> str:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""  # no description of a project: then it is none of an SDK
    for section in (table.get("project"), table.get("tool", {}).get("poetry")):
        if isinstance(section, dict) and isinstance(section.get("name"), str):
            return str(section["name"]).lower()
    return ""
