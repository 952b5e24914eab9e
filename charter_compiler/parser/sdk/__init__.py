"""Which calls are model calls, and what carries prompt text: one small file an SDK; ``SDKS`` lists them all.

To add an SDK, write ``<name>.py`` with a constant ``SDK`` and add it to ``SDKS``; docs/adding-an-sdk.md says how.
The look-ups take the path of a called callee, such as ``openai.OpenAI().chat.completions.create``; where several
entries of a kind match, the first in the order of ``SDKS`` and of the tables counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Generic, TypeVar

from charter_compiler.parser.sdk import (
    agents,
    anthropic,
    autogen,
    bedrock,
    crewai,
    dspy,
    google,
    haystack,
    hosted,
    http,
    instructor,
    langchain,
    langgraph,
    litellm,
    llama_index,
    local,
    openai,
    openai_agents,
    outlines,
    pydantic_ai,
    semantic_kernel,
    smolagents,
    transformers,
)
from charter_compiler.parser.sdk.signature import Carrier, Role, Sdk, Signature, Template, Transparent, compiled

SDKS: tuple[Sdk, ...] = (
    openai.SDK,
    anthropic.SDK,
    litellm.SDK,
    google.SDK,
    langchain.SDK,
    langgraph.SDK,
    llama_index.SDK,
    dspy.SDK,
    openai_agents.SDK,
    crewai.SDK,
    autogen.SDK,
    smolagents.SDK,
    transformers.SDK,
    pydantic_ai.SDK,
    semantic_kernel.SDK,
    haystack.SDK,
    agents.SDK,
    hosted.SDK,
    local.SDK,
    bedrock.SDK,
    instructor.SDK,
    outlines.SDK,
    http.SDK,
)

T = TypeVar("T")


class _Table(Generic[T]):
    """Entries by pattern. A path is looked up among the patterns that end alike, and of these only such patterns are
    compiled and tried as begin alike."""

    def __init__(self, entries: Iterable[tuple[Iterable[str], T]]) -> None:
        self._exact: dict[str, list[tuple[int, T]]] = {}
        self._patterns: dict[str, list[tuple[int, str, str, T]]] = {}
        for order, (patterns, entry) in enumerate(entries):
            for pattern in patterns:
                start, star, _ = pattern.partition("*")
                if not star:
                    self._exact.setdefault(pattern, []).append((order, entry))
                    continue
                last = pattern.rpartition(".")[2]
                key = last if "*" not in last else _any(last)
                self._patterns.setdefault(key, []).append((order, start, pattern, entry))

    def all(self, path: str) -> tuple[T, ...]:
        """The entries that match, each once, in their order."""
        last = path.rpartition(".")[2]
        found = dict(self._exact.get(path, ()))
        for key in (last, _any(last)):
            for order, start, pattern, entry in self._patterns.get(key, ()):
                if order not in found and path.startswith(start) and compiled(pattern).fullmatch(path):
                    found[order] = entry
        return tuple(found[order] for order in sorted(found))

    def first(self, path: str) -> T | None:
        """The first entry that matches."""
        return next(iter(self.all(path)), None)


def _any(last: str) -> str:
    """The key of patterns whose last name is not constant: calls of objects, and others."""
    return "()" if last.endswith("()") else ""


_SIGNATURES = _Table((entry.callees, entry) for sdk in SDKS for entry in sdk.signatures)
_CARRIERS = _Table((entry.callees, entry) for sdk in SDKS for entry in sdk.carriers)
_TRANSPARENT = _Table((entry.callees, entry) for sdk in SDKS for entry in sdk.transparent)
_TEMPLATES = _Table((entry.callees, entry) for sdk in SDKS for entry in sdk.templates)
_MODELS = _Table((sdk.models, True) for sdk in SDKS)
_MESSAGES: _Table[Role] = _Table(((pattern,), role) for sdk in SDKS for pattern, role in sdk.messages)
_TAILS = sorted(
    ((tail, entry) for sdk in SDKS for entry in sdk.signatures for tail in entry.tails), key=lambda each: -len(each[0])
)

MODULES: frozenset[str] = langchain.PACKAGES | {
    pattern.partition(".")[0].partition("*")[0].partition("(")[0].rstrip("_")
    for sdk in SDKS
    for entry in sdk.signatures
    for pattern in entry.callees
}
"""Top-level import names of the SDKs. ``langchain`` stands for all whose names begin so; see ``is_module``."""


def _methods() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for sdk in SDKS:
        for entry in sdk.signatures:
            for pattern in (*entry.callees, *entry.tails):
                name = pattern.rpartition(".")[2]
                if not name.endswith("()"):
                    module = pattern.partition(".")[0].partition("*")[0].partition("(")[0].rstrip("_")
                    found.setdefault(name, set()).add(module)
    return {name: frozenset(modules) for name, modules in found.items()}


METHODS: dict[str, frozenset[str]] = _methods()
"""The last names of all callees and tails, with the import names of the SDKs that have them. Calls of an object itself
have none."""

CALLED: frozenset[str] = frozenset(
    name
    for sdk in SDKS
    for entry in sdk.signatures
    for pattern in entry.callees
    if pattern.endswith("()") and (name := pattern.removesuffix("()").rpartition(".")[2]) and "*" not in name
)
"""Names of the classes whose objects are called themselves."""


@cache
def is_module(name: str) -> bool:
    """Whether a top-level import name is that of an SDK."""
    return name in MODULES or name.startswith("langchain_")


_DISTRIBUTIONS = {
    "openai-agents": "agents",
    "llama-index-core": "llama_index",
    "pyautogen": "autogen",
    "ag2": "autogen",
}
"""Names of distributions whose import names are others."""

_COMMON_NAMES = frozenset({"agents", "azure", "google", "guidance", "phi", "requests", "swarm"})
"""Import names of SDKs that the programs of others are called, too."""


def module_of(distribution: str) -> str | None:
    """The import name of an SDK by the name of its distribution; ``None`` where that is no SDK of the tables."""
    if distribution in _DISTRIBUTIONS:
        return _DISTRIBUTIONS[distribution]
    name = distribution.replace("-", "_")
    return name if name in MODULES and name not in _COMMON_NAMES else None


@lru_cache(maxsize=1 << 16)
def signature(path: str) -> tuple[Signature, ...]:
    """The signatures of a call, which differ in ``where`` and ``made``; none where it is no model call."""
    return _SIGNATURES.all(path)


@lru_cache(maxsize=1 << 16)
def by_tail(path: str) -> Signature | None:
    """The signature that an unmistakable ending gives a method of a client of unknown class: the longest counts."""
    return next((entry for tail, entry in _TAILS if path.endswith(tail)), None)


@lru_cache(maxsize=1 << 16)
def carrier(path: str) -> Carrier | None:
    """What the call makes an object carry into later calls."""
    return _CARRIERS.first(path)


@lru_cache(maxsize=1 << 16)
def transparent(path: str) -> Transparent | None:
    """Which object or argument the call returns, as far as prompts go."""
    return _TRANSPARENT.first(path)


@lru_cache(maxsize=1 << 16)
def template(path: str) -> Template | None:
    """The prompt template that the call makes."""
    return _TEMPLATES.first(path)


@lru_cache(maxsize=1 << 16)
def is_model(path: str) -> bool:
    """Whether calling ``path`` (``openai.OpenAI``) makes a model, a client or an agent."""
    return _MODELS.first(path) is not None and message_role(path) is None


@lru_cache(maxsize=1 << 16)
def message_role(path: str) -> Role | None:
    """The role of the message that the call makes; ``raw`` where an argument decides it."""
    return _MESSAGES.first(path)
