"""Prompts as sequences of symbols that can be compared: certain tokens, and holes whose value two prompts share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from charter_compiler.analysis.prompt_text import Hole, Piece
from charter_compiler.ir.nodes import Call, CallRef, Param
from charter_compiler.tokens.stable import stable_prefix
from charter_compiler.tokens.tokenizer import Tokenizer

UNSURE_WORDS = 2
"""After a hole, so many pre-tokens may come out otherwise, depending on how the hole's text ends."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token of constant text. ``certain``: it is in every prompt, whatever the holes hold."""

    id: int
    certain: bool


@dataclass(frozen=True, slots=True)
class SharedHole:
    """A hole with the constant text since the hole before it; equal ``key`` means equal text at run time."""

    key: Hashable
    text: str
    hole: Hole = field(compare=False)


Symbol: TypeAlias = Token | SharedHole
HoleKey: TypeAlias = Callable[[Hole], Hashable]
"""What identifies the value of a hole among the prompts compared; ``None``: nothing can be said."""


@dataclass(frozen=True, slots=True)
class SymbolPrompt:
    """The comparable beginning of a call's prompt. ``complete``: there is nothing after it, in any run."""

    call: Call
    symbols: tuple[Symbol, ...]
    complete: bool


def symbol_prompt(call: Call, pieces: Sequence[Piece], tokenizer: Tokenizer, key: HoleKey) -> SymbolPrompt:
    """The prompt up to the first hole that ``key`` does not know."""
    symbols: list[Symbol] = []
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text = piece
            continue
        symbols += _tokens(text, tokenizer, first=not symbols, last=False)
        name = key(piece)
        if name is None:
            return SymbolPrompt(call, tuple(symbols), complete=False)
        symbols.append(SharedHole(name, text, piece))
        text = ""
    symbols += _tokens(text, tokenizer, first=not symbols, last=True)
    return SymbolPrompt(call, tuple(symbols), complete=True)


def _tokens(text: str, tokenizer: Tokenizer, *, first: bool, last: bool) -> list[Token]:
    """Tokens of one stretch of constant text; ``first``: no hole before it, ``last``: none after it."""
    ids, words = tokenizer.encode_words(text)
    kept = len(ids) if last else len(stable_prefix(tokenizer, text))
    unsure = [] if first else list(dict.fromkeys(words))[:UNSURE_WORDS]
    return [Token(ids[index], certain=words[index] not in unsure) for index in range(kept)]


def within_item(call: Call, order: dict[str, Call]) -> HoleKey:
    """Keys among the calls of one item: what has the same name in the same function, and results of earlier calls."""
    file = call.span.file

    def key(hole: Hole) -> Hashable:
        if isinstance(hole, Param):
            if hole.scope == "agent":
                return ("agent", file, call.function.rpartition(".")[0], hole.name)
            if hole.scope == "item":
                return ("item", file, call.function, hole.name)
            if hole.scope == "loop":
                return ("loop", file, call.function, call.loops, hole.name)
            return None
        if isinstance(hole, CallRef) and not hole.derived:
            source = order.get(hole.id)
            if source is None:
                return None
            if not source.loops:
                return ("call", hole.id)
            # In a loop a result is the same for two readers only if both read it later in the same turn.
            if source.loops == call.loops and source.span < call.span:
                return ("call", hole.id, call.loops)
        return None

    return key


def across_turns(call: Call, order: dict[str, Call]) -> HoleKey:
    """Keys among the turns of the loop around one call: what does not change in that loop."""

    def key(hole: Hole) -> Hashable:
        if isinstance(hole, Param) and hole.scope in ("agent", "item"):
            return (hole.scope, hole.name)
        if isinstance(hole, CallRef) and not hole.derived:
            source = order.get(hole.id)
            if source is not None and len(source.loops) < len(call.loops) and source.span < call.span:
                return ("call", hole.id)
        return None

    return key


def across_items(hole: Hole) -> Hashable:
    """Keys among the items of a run: what the agent was built with."""
    return ("agent", hole.name) if isinstance(hole, Param) and hole.scope == "agent" else None


def shared_length(prompts: Sequence[SymbolPrompt]) -> int:
    """How many leading symbols all of them have in common."""
    shortest = min(len(prompt.symbols) for prompt in prompts)
    first = prompts[0].symbols
    for index in range(shortest):
        if any(prompt.symbols[index] != first[index] for prompt in prompts[1:]):
            return index
    return shortest


def groups(prompts: Sequence[SymbolPrompt]) -> Iterator[tuple[tuple[SymbolPrompt, ...], int]]:
    """The branching nodes of the trie of the prompts: those that pass it (two or more) and its depth in symbols.

    A node comes before the nodes below it.
    """
    depth = shared_length(prompts)
    if depth:
        yield tuple(prompts), depth
    branches: dict[Symbol, list[SymbolPrompt]] = {}
    for prompt in prompts:
        if len(prompt.symbols) > depth:
            branches.setdefault(prompt.symbols[depth], []).append(prompt)
    for branch in branches.values():
        if len(branch) > 1:
            yield from groups(branch)
