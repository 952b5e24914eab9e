"""Which entries a file has, judged without running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from charter_compiler.diagnostics.errors import EntryError
from charter_compiler.predict.entry_source import check_entry
from charter_compiler.predict.planning import calls_of_entry

SOURCE = """
from elsewhere import Base, imported
import package.module

LIMIT = 3
LABEL: str = "x"
assigned = decorate(imported)
first, second = 1, imported

class Plain:
    def __init__(self, llm):
        self.llm = llm

    def process(self, text):
        return self.llm.generate(f"Summarize {text}")

    async def later(self, text):
        return text

class Child(Plain):
    class Inner:
        def deep(self): ...

class Foreign(Base): ...

class Loop(Loop): ...

try:
    def guarded(llm): ...
except ImportError:
    def fallback(llm): ...

def helper(text, llm):
    def inside(): ...
    return Plain(llm).process(text)

raise SystemExit("this file must not be run")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "agent.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "name",
    [
        "Plain.process",
        "Plain.later",
        "Child.process",
        "Child.Inner.deep",
        "Foreign.anything",
        "Loop.anything",
        "guarded",
        "fallback",
        "helper",
        "imported",
        "assigned",
        "second",
        "package.module",
    ],
)
def test_what_is_there_or_may_be_is_accepted(path: Path, name: str) -> None:
    check_entry(path, name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Nope.nothing", r"there is no Nope\.nothing \(did you mean guarded, fallback, "),
        ("Plain.proces", r"there is no Plain\.proces \(did you mean Plain\.process"),
        ("helpers", r"there is no helpers \(did you mean helper\?\)"),
        ("helper.inside", r"agent\.py:33: there is no helper\.inside: helper is a function"),
        ("Plain", r"agent\.py:10: Plain is a class \(name one of its methods: Plain\.process or Plain\.later\)"),
        ("Child", r"Child is a class \(name one of its methods: Child\.process or Child\.later\)"),
        ("LIMIT", r"agent\.py:5: LIMIT is not a function"),
        ("LABEL", r"agent\.py:6: LABEL is not a function"),
    ],
)
def test_what_is_not_there_is_refused(path: Path, name: str, message: str) -> None:
    with pytest.raises(EntryError, match=message) as caught:
        check_entry(path, name)
    assert "\n" not in str(caught.value)


def test_an_empty_file_and_a_star_import(tmp_path: Path) -> None:
    path = tmp_path / "agent.py"
    path.touch()
    with pytest.raises(EntryError, match=r"there is no process \(an entry is "):
        check_entry(path, "process")
    path.write_text("from elsewhere import *\n", encoding="utf-8")
    check_entry(path, "process")


def test_an_entry_without_calls_of_its_own_has_those_of_its_file(path: Path) -> None:
    own = calls_of_entry(f"{path}:Plain.process")
    assert [call.function for call in own] == ["Plain.process"]
    assert calls_of_entry(f"{path}:helper") == own
    with pytest.raises(EntryError, match="there is no helpr"):
        calls_of_entry(f"{path}:helpr")
