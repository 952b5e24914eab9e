"""Which leading tokens several model calls share: between call sites, between turns of a loop, between items.

Only what is certain counts. Texts are compared as tokens of the target's tokenizer, and a token that what follows could
extend belongs to no prefix; a choice, a repetition and whatever is unknown end the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from charter_compiler.analysis.patterns import PatternKind
from charter_compiler.analysis.prompt_text import engine_calls, prompt_pieces
from charter_compiler.analysis.shared_symbols import (
    SharedHole,
    Symbol,
    SymbolPrompt,
    Token,
    across_items,
    across_turns,
    groups,
    symbol_prompt,
    within_item,
)
from charter_compiler.ir.nodes import Call, Const, Param, Segment
from charter_compiler.tokens.blocks import cache_id
from charter_compiler.tokens.chat import ChatTemplate
from charter_compiler.tokens.tokenizer import Tokenizer, load_tokenizer

DEFAULT_BLOCK_SIZE = 32
"""Tokens of a KV block: TensorRT-LLM's default, and the embedded engine's."""
DEFAULT_MIN_TOKENS = 16
"""The smallest block of the engines in use; a shorter prefix saves nothing on any of them."""
HALF_PRIORITY_TOKENS = 32
"""A prefix that saves so many tokens an item has priority 50."""
LOOP_TURNS = 2
"""Uses that a call in a loop is counted for. The number of turns is not known before the run; two is the smallest
number for which anything repeats."""


class CallsById(Protocol):
    """What the analyzer needs of a call graph (``dag.builder.CallGraph``): its calls, by id."""

    @property
    def calls(self) -> Mapping[str, Call]: ...


@dataclass(frozen=True, slots=True)
class PrefixOpportunity:
    """Leading text that several prompts have in common.

    ``prefix`` is constant text; ``tokens`` are its ids and ``cache_id`` its name. Without a ``template`` it is all that
    is shared. With one, ``template`` is what is shared, parameters included. Their values are known at run time only:
    ``shared_prefix_length`` then counts the constant tokens (at least so many are shared), ``prefix`` is the leading
    constant text, possibly empty, and the whole is warmed when the values are there.

    ``nodes``: ids of the calls, in source order. Lengths are in tokens; ``aligned_length`` is the part in full blocks.

    ``saved_tokens``: tokens of full blocks that one item of the inputs need not compute once the constant prefix is
    warm: ``aligned_length`` times the uses that an item makes of it; one use less where the shared part holds a value
    of the item, which the first use computes. An item is taken to use each call once, in a loop ``LOOP_TURNS`` times.
    Nested prefixes each count from the start of the prompt, so that their savings do not add up.

    ``priority``, 0 to 100, is ``100 * s / (s + HALF_PRIORITY_TOKENS)`` rounded, with ``s = saved_tokens``: it grows
    with the length and with the number of calls, and is 0 for what fills no block.
    """

    pattern: PatternKind
    prefix: str
    priority: int
    cache_id: int
    nodes: tuple[str, ...]
    shared_prefix_length: int
    aligned_length: int
    saved_tokens: int
    tokens: tuple[int, ...]
    template: tuple[Segment, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Calls whose prompts begin with the same ``symbols``; ``whole``: one of them has nothing after these."""

    pattern: PatternKind
    calls: tuple[Call, ...]
    symbols: tuple[Symbol, ...]
    whole: bool

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(call.id for call in self.calls)

    @property
    def holes(self) -> int:
        return sum(isinstance(symbol, SharedHole) for symbol in self.symbols)

    @property
    def certain_tokens(self) -> int:
        return sum(isinstance(symbol, Token) and symbol.certain for symbol in self.symbols)

    def constant_part(self) -> _Candidate:
        """The same, up to the first hole."""
        end = next((i for i, symbol in enumerate(self.symbols) if isinstance(symbol, SharedHole)), len(self.symbols))
        return _Candidate(self.pattern, self.calls, self.symbols[:end], self.whole and end == len(self.symbols))

    def covers(self, other: _Candidate, min_tokens: int) -> bool:
        """Whether ``other`` adds too little to this one, for calls that this one serves too."""
        return (
            self.holes == other.holes
            and set(self.nodes) >= set(other.nodes)
            and other.certain_tokens < self.certain_tokens + min_tokens
        )


class PrefixAnalyzer:
    """Finds shared prefixes in a call graph.

    Without a tokenizer the default model's is used, which ships with the package. ``chat_template`` overrides the
    tokenizer's own; only calls that send chat messages need one. ``block_size`` is the engine's KV block in tokens;
    prefixes of fewer than ``min_tokens`` constant tokens are not reported, nor those that extend a reported one of the
    same calls by less.
    """

    def __init__(
        self,
        tokenizer: Tokenizer | None = None,
        chat_template: ChatTemplate | None = None,
        block_size: int = DEFAULT_BLOCK_SIZE,
        min_tokens: int = DEFAULT_MIN_TOKENS,
    ) -> None:
        self._tokenizer = tokenizer or load_tokenizer()
        self._chat_template = chat_template or self._tokenizer.chat_template
        self._block_size = block_size
        self._min_tokens = min_tokens

    def find_shared_prefixes(self, dag: CallsById) -> list[PrefixOpportunity]:
        """The opportunities, best first: by priority and saved tokens.

        Of two alike, one that also shares values of the run comes first, then the longer, then the earlier one.

        Raises:
            TokenizerError: a call sends chat messages, and there is no chat template or it refuses them.
        """
        accepted: list[_Candidate] = []
        for found in self._candidates(dag.calls):
            for candidate in (found.constant_part(), found) if found.holes else (found,):
                long_enough = candidate.holes or candidate.certain_tokens >= self._min_tokens
                if long_enough and not any(one.covers(candidate, self._min_tokens) for one in accepted):
                    accepted.append(candidate)
        position = {call_id: index for index, call_id in enumerate(dag.calls)}
        opportunities = [self._opportunity(candidate) for candidate in accepted]
        return sorted(
            opportunities,
            key=lambda o: (
                -o.saved_tokens,  # the priority grows with it
                o.template is None,
                -o.shared_prefix_length,
                [position[node] for node in o.nodes],
            ),
        )

    def _candidates(self, calls: Mapping[str, Call]) -> Iterator[_Candidate]:
        """Larger groups before the smaller ones in them, call sites that stand alone last."""
        by_id = dict(calls)
        sites = engine_calls(calls.values())
        pieces = {call.id: prompt_pieces(call, self._chat_template) for call in sites}

        def prompt(call: Call, key: Callable[..., object]) -> SymbolPrompt:
            return symbol_prompt(call, pieces[call.id], self._tokenizer, key)

        if len(sites) > 1:
            for members, depth in groups([prompt(call, within_item(call, by_id)) for call in sites]):
                whole = any(member.complete and len(member.symbols) == depth for member in members)
                sharing = tuple(member.call for member in members)
                yield _Candidate(PatternKind.SHARED_PREFIX, sharing, members[0].symbols[:depth], whole)
        for call in sites:
            if call.in_loop:
                alone, pattern = prompt(call, across_turns(call, by_id)), PatternKind.LOOP_INVARIANT
            else:
                alone, pattern = prompt(call, across_items), PatternKind.DELTA_MATCHING
            if alone.symbols:
                yield _Candidate(pattern, (call,), alone.symbols, alone.complete)

    def _opportunity(self, candidate: _Candidate) -> PrefixOpportunity:
        tokens, text = self._text_of(candidate.constant_part().symbols)
        length = candidate.certain_tokens if candidate.holes else len(tokens)
        # The last token of a prompt is always computed: its logits give the first token of the answer.
        usable = length - 1 if candidate.whole else length
        aligned = usable // self._block_size * self._block_size
        uses = sum(LOOP_TURNS if call.in_loop else 1 for call in candidate.calls)
        holds_value_of_item = any(
            isinstance(symbol, SharedHole) and not (isinstance(symbol.hole, Param) and symbol.hole.scope == "agent")
            for symbol in candidate.symbols
        )
        saved = aligned * (uses - 1 if holds_value_of_item else uses)
        return PrefixOpportunity(
            pattern=candidate.pattern,
            prefix=text,
            priority=round(100 * saved / (saved + HALF_PRIORITY_TOKENS)),
            cache_id=cache_id(text),
            nodes=candidate.nodes,
            shared_prefix_length=length,
            aligned_length=aligned,
            saved_tokens=saved,
            tokens=tuple(tokens),
            template=self._template(candidate) if candidate.holes else None,
        )

    def _text_of(self, symbols: Sequence[Symbol]) -> tuple[list[int], str]:
        """The tokens and their text, cut back to where the text alone gives these very tokens.

        A prefix is warmed by its text: where the shared tokens end inside a word, or inside a character, the text could
        be split otherwise than the prompt is.
        """
        tokens = [symbol.id for symbol in symbols if isinstance(symbol, Token)]
        while tokens:
            text = self._tokenizer.decode(tokens)
            if self._tokenizer.encode(text) == tokens:
                return tokens, text
            tokens.pop()
        return [], ""

    def _template(self, candidate: _Candidate) -> tuple[Segment, ...]:
        """The shared part as segments; text that comes from the chat template has the span of the call."""
        span = candidate.calls[0].span
        segments: list[Segment] = []
        after_last_hole: list[Token] = []
        for symbol in candidate.symbols:
            if isinstance(symbol, Token):
                after_last_hole.append(symbol)
                continue
            if symbol.text:
                segments.append(Const(symbol.text, span))
            segments.append(symbol.hole)
            after_last_hole = []
        _, rest = self._text_of(after_last_hole)
        return (*segments, Const(rest, span)) if rest else tuple(segments)
