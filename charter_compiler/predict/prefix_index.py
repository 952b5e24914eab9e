"""How far a prompt equals what was sent before it, to the token, and which request that was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

SCANNED = 256
"""Continuations of one prefix that are compared token by token, the latest first: beyond that the first token that
differs may be named too early, never too late; no rate depends on it."""


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """``length`` leading tokens equal those of request ``nearest`` (``None``: none do), whose next token, where it has
    one, is ``other_token``. ``providers``: the request that first held each full block of ``tokens_per_block`` tokens.
    """

    length: int = 0
    nearest: int | None = None
    other_token: int | None = None
    providers: tuple[int, ...] = ()
    tokens_per_block: int = 1

    def provider(self, token: int) -> int | None:
        """The request that first held the block of the ``token``-th token; ``None`` if no request did."""
        block = token // self.tokens_per_block
        return self.providers[block] if block < len(self.providers) else None


NOTHING_SHARED = SharedPrefix()


@dataclass(slots=True)
class _Node:
    """What follows a prefix of full blocks: the tokens of each continuation, and the request that first had it."""

    first: int
    children: dict[tuple[int, ...], _Node] = field(default_factory=dict)


class PrefixIndex:
    """Token sequences in blocks of ``tokens_per_block``, as a tree; the last block of a sequence may be partial."""

    def __init__(self, tokens_per_block: int) -> None:
        self._size = tokens_per_block
        self._root = _Node(-1)

    def add(self, request: int, tokens: Sequence[int]) -> None:
        """Store a sequence under a request's number; what is there keeps its first one."""
        node = self._root
        for start in range(0, len(tokens), self._size):
            node = node.children.setdefault(tuple(tokens[start : start + self._size]), _Node(request))

    def match(self, tokens: Sequence[int]) -> SharedPrefix:
        """The longest prefix that is stored."""
        node, length, providers = self._root, 0, []
        while length + self._size <= len(tokens):
            child = node.children.get(tuple(tokens[length : length + self._size]))
            if child is None:
                break
            node = child
            length += self._size
            providers.append(child.first)
        rest = tokens[length : length + self._size]
        nearest, common, other = (node.first if length else None), 0, None
        for key in list(node.children)[: -SCANNED - 1 : -1]:
            equal = common_length(key, rest)
            if equal > common or (other is None and equal == common and equal < len(key) and length + equal):
                nearest, common = node.children[key].first, equal
                other = key[equal] if equal < len(key) else None
        return SharedPrefix(length + common, nearest, other, tuple(providers), self._size)


def common_length(first: Sequence[object], second: Sequence[object]) -> int:
    """How many leading elements are equal."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(first), len(second)))
