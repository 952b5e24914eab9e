"""Reads the templates of ``layout_templates``: agents, and the prompts that a person would make of theirs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from charter_compiler.ir.nodes import Agent, Call, CallRef, Const, Param
from charter_compiler.parser.ast_parser import AgentASTParser

FOLDER = Path(__file__).parent / "layout_templates"
_CASE = re.compile(r"^=== ", re.MULTILINE)
_EXPECTED = re.compile(r"^--- (?:expected|unchanged)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Case:
    """``expected`` is ``None`` where a person leaves the prompts as they are."""

    shape: str
    title: str
    code: str
    expected: tuple[str, ...] | None

    def agent(self, folder: Path) -> Agent:
        path = folder / "agent.py"
        path.write_text(self.code, encoding="utf-8")
        return Agent("agent.py", AgentASTParser().parse_file(path).require().calls)

    def wanted(self, agent: Agent) -> list[str]:
        if self.expected is None:
            return [shown(call, agent.calls) for call in agent.calls]
        return [text.rstrip("\n") for text in self.expected]


def cases(part: str = "") -> list[Case]:
    """The templates of the first set, or of a later one (``second``)."""
    found = []
    for path in sorted((FOLDER / part).glob("*.txt")):
        for text in _CASE.split(path.read_text(encoding="utf-8"))[1:]:
            title, _, rest = text.partition("\n")
            code, *expected = _EXPECTED.split(rest)
            unchanged = "\n--- unchanged" in rest
            found.append(Case(path.stem, title, code, None if unchanged else tuple(expected)))
    return found


def shown(call: Call, calls: Sequence[Call]) -> str:
    """The prompts of a call as ``layout_templates/README.md`` writes them."""
    numbers = {each.id: number for number, each in enumerate(calls, start=1)}
    text = ""
    for message in call.messages:
        text += "" if message.role == "raw" else f"[{message.role}]\n"
        for segment in message.segments:
            match segment:
                case Const(text=words):
                    text += words
                case Param(name=name) if name.isidentifier():
                    text += f"{{{name}}}"
                case CallRef(id=name):
                    text += f"{{call {numbers[name]}}}"
                case _:
                    text += "{*}"
        text += "" if message.role == "raw" else "\n"
    return text.rstrip("\n")
