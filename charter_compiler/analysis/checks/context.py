"""What a check may ask besides the calls: token counts, the syntax around a call, what a wrapper reaches."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from charter_compiler.analysis.checks.syntax import Syntax
from charter_compiler.diagnostics.errors import TokenizerError
from charter_compiler.ir.nodes import Agent, Call
from charter_compiler.tokens.codec import Tokenizer

TokenizerSource: TypeAlias = Tokenizer | Callable[[], Tokenizer] | None
"""A tokenizer, or what loads one: it is called once something is to be counted, and not without."""

CHARACTERS_PER_TOKEN = 4
"""Of English text, about; only for deciding whether to speak where there is no tokenizer. Never shown."""

MIN_TOKENS = 100
"""Reusable text of fewer tokens than this is not worth a finding."""
MIN_CHARACTERS = MIN_TOKENS * 3
"""No English text of fewer characters has so many tokens: nothing is tokenized below it."""


_TEST = re.compile(r"(?:^|/)(?:tests?/|test_[^/]*$|[^/]*_test\.py$|conftest\.py$)")


def is_test(file: str) -> bool:
    """Whether a file is a test by its name or its folder's."""
    return _TEST.search(file) is not None


class Context:
    """Facts about one agent, found when they are first asked for. One for each run of the checks; not thread-safe."""

    def __init__(self, agent: Agent, sources: Mapping[str, str], tokenizer: TokenizerSource = None) -> None:
        self.agent = agent
        self.sources = sources
        self._load = tokenizer
        self._tokenizer: Tokenizer | None = tokenizer if isinstance(tokenizer, Tokenizer) else None
        self._syntax: dict[str, Syntax | None] = {}
        self._by_function: dict[tuple[str, str], list[Call]] = defaultdict(list)
        self._by_name: dict[str, list[Call]] = defaultdict(list)
        for call in agent.calls:
            self._by_function[call.span.file, call.function].append(call)
            self._by_name[call.function.rpartition(".")[2]].append(call)
        given = set(agent.name.split(" "))
        self.calls = tuple(call for call in agent.calls if call.span.file in given or not is_test(call.span.file))
        """The calls that findings are about: those of tests are left out, where requests are made to be observed."""
        self.memory: dict[str, Any] = {}
        """What a module of this package found and other checks need as well, by the name of the module."""
        self.by_id = {call.id: call for call in agent.calls}

    def tokens(self, text: str) -> int | None:
        """Tokens of a text; ``None`` without a tokenizer."""
        if self._tokenizer is None:
            if self._load is None or isinstance(self._load, Tokenizer):
                return None
            try:
                self._tokenizer = self._load()
            except TokenizerError:
                self._load = None
                return None
        try:
            return len(self._tokenizer.encode(text))
        except TokenizerError:
            return None

    def is_long(self, text: str, least: int = MIN_TOKENS) -> bool:
        """Whether a text has so many tokens; without a tokenizer its characters decide."""
        if len(text) < least * 3:
            return False
        counted = self.tokens(text)
        return len(text) >= least * CHARACTERS_PER_TOKEN if counted is None else counted >= least

    def syntax(self, file: str) -> Syntax | None:
        """The syntax of a file; ``None`` where its text is not at hand or cannot be parsed."""
        if file not in self._syntax:
            source = self.sources.get(file)
            self._syntax[file] = None if source is None else Syntax.of(file, source)
        return self._syntax[file]

    def beside(self, call: Call) -> tuple[Call, ...]:
        """The calls of the same function, ``call`` among them, in source order."""
        return tuple(self._by_function[call.span.file, call.function])

    def reached(self, call: Call) -> tuple[Call, ...]:
        """The calls in the functions that a wrapper's callee may be: every function of that name."""
        name = call.callee.removesuffix("()").rpartition(".")[2]
        found = self._by_name.get(name, [])
        owner = call.function.rpartition(".")[0]
        if call.callee == f"self.{name}" and owner:
            own = [each for each in found if each.function == f"{owner}.{name}" and each.span.file == call.span.file]
            return tuple(own or found)
        same_file = [each for each in found if each.span.file == call.span.file and each.function == name]
        return tuple(same_file or found)
