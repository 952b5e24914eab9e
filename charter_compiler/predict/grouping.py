"""Which fields of the inputs say that two items share the start of a prompt, and how heavy an item is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from charter_compiler.analysis.prompt_text import engine_calls
from charter_compiler.ir.nodes import Call, CallRef, Const, Param, walk

CHARACTERS_A_TOKEN = 4
"""For weights, which are compared with each other alone: to count the tokens of every row would cost too much."""
UNKNOWN_OUTPUT = 64
"""Tokens of an answer whose length the code does not limit by a constant."""


def shared_fields(call: Call, rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The fields in the order in which the call's prompt holds them, up to the last one of which two rows have the same
    value, those before it included: items that are alike in these share the start of that prompt. What stands after
    another call's answer is not looked at: answers differ. Empty where no two rows share a value.
    """
    names = [name for name in dict.fromkeys(_leading_fields(call)) if all(name in row for row in rows)]
    while names:
        if len({_key(row, names) for row in rows}) < len(rows):
            return tuple(names)
        names.pop()
    return ()


def group_fields(calls: Iterable[Call], rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The ``shared_fields`` of the call whose items share the most characters; ``()`` where none do.

    ``calls`` are as they are sent. Items that are equal in the first field share least, those equal in all share most.
    """
    found = {shared_fields(call, rows) for call in engine_calls(calls)}
    return max(sorted(found), key=lambda fields: _shared_characters(fields, rows), default=())


def _leading_fields(call: Call) -> Iterator[str]:
    for part in (part for message in call.messages for part in walk(message.segments)):
        if isinstance(part, CallRef):
            return
        if isinstance(part, Param) and part.scope == "item":
            yield part.name


def _key(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return json.dumps([row[name] for name in names], sort_keys=True, default=str)


def _shared_characters(fields: tuple[str, ...], rows: Sequence[Mapping[str, Any]]) -> int:
    """Characters of the fields' values that an earlier row had in the same place."""
    total = 0
    for depth in range(1, len(fields) + 1):
        seen: set[str] = set()
        for row in rows:
            key = _key(row, fields[:depth])
            total += len(str(row[fields[depth - 1]])) * (key in seen)
            seen.add(key)
    return total


class ItemWeights:
    """About how many tokens an item makes an endpoint process, prompts and answers: what load is balanced by. Each call
    site counts once.

    Args:
        calls: as they are sent.
        max_tokens: caps every answer.
    """

    def __init__(self, calls: Iterable[Call], max_tokens: int | None = None) -> None:
        self._fixed = 0.0
        self._fields: list[str] = []
        for call in engine_calls(calls):
            for part in (part for message in call.messages for part in walk(message.segments)):
                if isinstance(part, Const):
                    self._fixed += len(part.text) / CHARACTERS_A_TOKEN
                elif isinstance(part, Param):
                    self._fields.append(part.name)
            output = UNKNOWN_OUTPUT if call.max_tokens is None else call.max_tokens
            self._fixed += output if max_tokens is None else min(output, max_tokens)

    def __call__(self, values: Mapping[str, Any]) -> float:
        """The weight of a row of the inputs, above 0."""
        return 1 + self._fixed + sum(len(str(values.get(name, ""))) for name in self._fields) / CHARACTERS_A_TOKEN
