from __future__ import annotations

from pathlib import Path

import pytest
from run_doubles import write_agent

from charter_compiler.diagnostics.errors import EntryError
from charter_compiler.executor.entry import load_entry

AGENT = """
class Agent:
    def __init__(self, llm_client=None, style="plain"):
        self.llm = llm_client

    def process(self, text, note="none"):
        return [self.llm, text, note]

    @staticmethod
    def fixed(text, client):
        return [client, text]

    class Inner:
        def __init__(self, client):
            self.client = client

        def go(self, **values):
            return [self.client, values]


class Needy:
    def __init__(self, llm, database):
        pass

    def process(self, text):
        pass


class Deaf:
    def process(self, text):
        pass


def plain(text, /, *, llm):
    return [llm, text]


async def later(text, client):
    return [client, text]


def deaf(text):
    pass


number = 3
"""


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    return write_agent(tmp_path, AGENT)


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("Agent.process", {"text": "t", "other": 1}, ["CLIENT", "t", "none"]),
        ("Agent.process", {"text": "t", "note": "n"}, ["CLIENT", "t", "n"]),
        ("Agent.fixed", {"text": "t"}, ["CLIENT", "t"]),
        ("Agent.Inner.go", {"a": 1, "b": 2}, ["CLIENT", {"a": 1, "b": 2}]),
        ("plain", {"text": "t"}, ["CLIENT", "t"]),
    ],
)
def test_the_entry_is_called_with_the_client_and_what_it_takes_of_the_row(
    agent: Path, name: str, row: dict[str, object], expected: object
) -> None:
    entry = load_entry(f"{agent}:{name}")
    assert not entry.is_async
    assert entry.call("CLIENT", entry.bind(row, "line 1")) == expected


async def test_an_async_entry_gives_a_coroutine(agent: Path) -> None:
    entry = load_entry(f"{agent}:later")
    assert entry.is_async
    assert await entry.call("CLIENT", entry.bind({"text": "t"}, "line 1")) == ["CLIENT", "t"]


def test_each_item_has_an_instance_of_its_own(agent: Path) -> None:
    entry = load_entry(f"{agent}:Agent.process")
    assert entry.call("one", {"text": "t"})[0] == "one"
    assert entry.call("two", {"text": "t"})[0] == "two"


def test_a_missing_argument_names_the_line_and_the_key(agent: Path) -> None:
    with pytest.raises(EntryError, match=r"inputs.jsonl:7: Agent.process needs text, .* \(it has other\)"):
        load_entry(f"{agent}:Agent.process").bind({"other": 1}, "inputs.jsonl:7")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Agent.proces", r"there is no Agent.proces \(did you mean Agent.process"),
        ("Agnet.process", r"there is no Agnet.process \(did you mean Agent"),
        ("Agent", r"Agent is a class \(name one of its methods: Agent.process or Agent.fixed"),
        ("number", "number is not a function"),
        ("Needy.process", r"agent.py:\d+: Needy\(\) needs database; Charter passes only the client"),
        ("Deaf.process", r"agent.py:\d+: neither Deaf\(\) nor Deaf.process has a parameter for the model client"),
        ("deaf", r"agent.py:\d+: deaf has no parameter for the model client \(name one llm_client, llm or client\)"),
    ],
)
def test_what_cannot_be_an_entry_is_refused_in_one_line(agent: Path, name: str, message: str) -> None:
    with pytest.raises(EntryError, match=message) as caught:
        load_entry(f"{agent}:{name}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_suggests_those_beside_it(agent: Path) -> None:
    with pytest.raises(EntryError, match=r"agnt.py: there is no such file \(did you mean .*agent.py"):
        load_entry(f"{agent.with_name('agnt.py')}:plain")


@pytest.mark.parametrize("text", ["agent.py", ":name", "agent.py:"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(EntryError, match="is not an entry"):
        load_entry(text)


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    path = write_agent(tmp_path, "x = 1\ndef broken(:\n")
    with pytest.raises(EntryError, match=r"agent.py:2: syntax error"):
        load_entry(f"{path}:broken")


def test_a_module_that_raises_names_the_line(tmp_path: Path) -> None:
    path = write_agent(tmp_path, "\n\nimport there_is_no_such_module\n")
    with pytest.raises(EntryError, match=r"agent.py:3: the module raised ModuleNotFoundError"):
        load_entry(f"{path}:anything")


def test_a_file_in_a_package_is_imported_as_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "run_entry_package"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "parts.py").write_text("GREETING = 'hello'\n", encoding="utf-8")
    path = write_agent(package, "from .parts import GREETING\ndef go(client):\n    return GREETING\n")
    entry = load_entry(f"{path}:go")
    assert entry.call(None, {}) == "hello"
    assert entry.root == tmp_path
