"""Each package imports only packages above it in the list of docs/architecture.md; nobody imports the root."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

LAYERS = (
    "diagnostics",
    "ir",
    "parser",
    "dag",
    "tokens",
    "cache",
    "analysis",
    "passes",
    "plan",
    "config",
    "serve",
    "executor",
    "predict",
    "report",
    "api",
    "bench",
    "deploy",
    "cli",
)
PACKAGE = Path(__file__).parent.parent / "charter_compiler"
RANK = {name: rank for rank, name in enumerate(LAYERS)}


def imported_layers(source: str) -> list[tuple[int, str]]:
    """(line, first name below ``charter_compiler``) of every import in a module; the root itself is the empty name."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            names = [node.module or ""]
        for name in names:
            parts = name.split(".")
            if parts[0] == "charter_compiler":
                found.append((node.lineno, parts[1] if len(parts) > 1 else ""))
    return found


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(PACKAGE)) for path in MODULES])
def test_module_imports_only_layers_above_its_own(path: Path) -> None:
    parts = path.relative_to(PACKAGE).parts
    own = parts[0].removesuffix(".py")
    for line, layer in imported_layers(path.read_text(encoding="utf-8")):
        assert layer, f"{path}:{line} imports the package root"
        assert layer in RANK, f"{path}:{line} imports {layer}, which no layer lists"
        if own != "__init__":
            assert RANK[layer] <= RANK[own], f"{path}:{line}: {own} must not import {layer}, which stands below it"


def test_every_package_is_in_the_list() -> None:
    present = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert present <= set(RANK), present - set(RANK)


def test_a_wrong_import_is_seen() -> None:
    assert imported_layers("from charter_compiler.serve import x\nimport charter_compiler") == [(1, "serve"), (2, "")]
