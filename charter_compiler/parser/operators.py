"""Operators: sums, formatting with ``%``, repetitions, paths and pipes of known values."""

from __future__ import annotations

import ast
import os

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Const
from charter_compiler.parser import sdk
from charter_compiler.parser.strings import constant_text, percent_text
from charter_compiler.parser.texts import concat, normal, text_of
from charter_compiler.parser.values import (
    Chain,
    Either,
    External,
    FilePath,
    Item,
    Opaque,
    Plain,
    PromptTemplate,
    Record,
    Repeated,
    Series,
    Text,
    Value,
    deps_of,
    is_text,
)

REPETITION_LIMIT = 100_000
"""Characters of ``"-" * n`` beyond which the text is not spelled out."""


def operation(operator: ast.operator, values: list[Value], fields: dict[str, str], span: Span) -> Value:
    """The value of ``a + b`` and the like; ``fields`` are those of the frame."""
    if isinstance(operator, ast.Add):
        if any(is_text(value) for value in values):
            return concat([text_of(value, span) for value in values], span)
        if any(isinstance(value, Series) for value in values):
            # A list from elsewhere stands in the sum with whatever it holds.
            items: list[Item] = []
            for value in values:
                items.extend(value.items if isinstance(value, Series) else [Repeated((value,))])
            return Series(tuple(items))
        if any(isinstance(value, PromptTemplate) for value in values):
            return _template_sum(values)
        return Opaque("a sum is computed at run time", deps_of(*values))
    if isinstance(operator, ast.BitOr) and (found := _piped(values)) is not None:
        return found
    if isinstance(operator, ast.Div) and isinstance(values[0], FilePath):
        below = constant_text(values[1])
        if below is not None:
            return FilePath(os.path.join(values[0].path, below))
    if isinstance(operator, ast.Mod) and isinstance(values[0], Text):
        shown = percent_text(values[0], values[1], fields, span)
        if shown is not None:
            return shown
    if isinstance(operator, ast.Mult) and len(values) == 2:
        text = constant_text(values[0]) if constant_text(values[0]) is not None else constant_text(values[1])
        times = next((value.value for value in values if isinstance(value, Plain)), None)
        if text is not None and isinstance(times, int) and len(text) * times <= REPETITION_LIMIT:
            return Text(normal((Const(text * times, span),)))
    kind = "% formatting" if isinstance(operator, ast.Mod) and is_text(values[0]) else "a computation"
    return Opaque(f"{kind} is done at run time", deps_of(*values))


def _piped(values: list[Value]) -> Value | None:
    """``prompt | model``; ``None`` where neither side is part of a chain."""
    if all(isinstance(value, Record) for value in values):
        return Record(tuple(each for value in values if isinstance(value, Record) for each in value.entries))
    stages: list[Value] = []
    for value in values:
        stages.extend(value.stages if isinstance(value, Chain) else [value])
    if any(isinstance(value, Chain | PromptTemplate) or _is_runnable(value) for value in values):
        return Chain(tuple(stages))
    return None


def _template_sum(values: list[Value]) -> Value:
    messages: list[tuple[str, Value]] = []
    syntax = "format"
    for value in values:
        if isinstance(value, PromptTemplate):
            messages.extend(value.messages)
            syntax = value.syntax
        else:
            messages.append(("user", value))
    return PromptTemplate(tuple(messages), syntax, chat=True)


def _is_runnable(value: Value) -> bool:
    match value:
        case External(path=path):
            return path.endswith("()") and sdk.is_model(path[:-2])
        case Either(options=options):
            return any(_is_runnable(option) for option in options)
    return False
