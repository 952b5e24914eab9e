"""The documents against the code: the table of layers, links, and paths that they name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "charter_compiler"
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
IDS = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def enforced_layers() -> list[str]:
    """The order in which `tests/test_layers.py` lets packages import each other, as far as they exist."""
    tree = ast.parse((ROOT / "tests" / "test_layers.py").read_text(encoding="utf-8"))
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "LAYERS"
    )
    entries = ast.literal_eval(value)
    names = [name for entry in entries for name in ([entry] if isinstance(entry, str) else entry)]
    return [name for name in names if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()]


def test_the_table_of_layers_is_the_enforced_order() -> None:
    assert re.findall(r"^\| `([a-z]+)` \|", ARCHITECTURE, re.M) == enforced_layers()


@pytest.mark.parametrize("name", enforced_layers())
def test_every_package_says_in_one_sentence_what_it_is(name: str) -> None:
    module = PACKAGE / name / "__init__.py"
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    assert docstring is not None
    assert re.match(r"[A-Z].{20,}[.:]", docstring.splitlines()[0])


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_the_readme_has_no_placeholders() -> None:
    """Names such as DEMO_TABLE hold the place of something that is measured and pasted in."""
    text = re.sub(r"\b[A-Z_]+\.md\b", "", (ROOT / "README.md").read_text(encoding="utf-8"))  # documents' names
    assert re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text) == []


def test_modules_named_in_the_architecture_exist() -> None:
    named = set(re.findall(r"`((?:\w+/)+\w+\.(?:py|json))`", ARCHITECTURE))
    assert len(named) >= 8
    missing = [name for name in named if not (PACKAGE / name).exists() and not (ROOT / name).exists()]
    assert missing == []


def test_the_example_data_carry_their_attribution() -> None:
    text = (ROOT / "examples" / "data" / "ATTRIBUTION.md").read_text(encoding="utf-8")
    files = sorted(path.name for path in (ROOT / "examples" / "data").iterdir() if path.suffix == ".jsonl")
    assert files
    assert all(f"`{name}`" in text for name in files)
    assert "CC BY 4.0" in text
