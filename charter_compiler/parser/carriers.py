"""Objects whose text is sent with the calls on them: agents with instructions, DSPy signatures, LangChain chains."""

from __future__ import annotations

import ast

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Const, Message, Role
from charter_compiler.parser import sdk
from charter_compiler.parser.messages import messages_of
from charter_compiler.parser.strings import Arguments, constant_text
from charter_compiler.parser.templates import filled
from charter_compiler.parser.values import (
    Chain,
    ClassRef,
    Either,
    External,
    FunctionRef,
    Input,
    Instance,
    Opaque,
    Plain,
    PromptTemplate,
    Record,
    Repeated,
    Result,
    Series,
    Text,
    Value,
)

CHAIN = "langchain_core.runnables.RunnableSequence()"
"""The path of what ``prompt | model`` makes."""

DEPTH_LIMIT = 4
"""Objects that hold objects: a crew its tasks, a task its agent."""


def carried(value: Value, span: Span, depth: int = 0) -> tuple[Message, ...]:
    """The messages that an object brings into each call on it, in the order in which they are sent."""
    if depth > DEPTH_LIMIT:
        return ()
    match value:
        case External(path=path):
            made = path[: path.rfind("()")] if "()" in path else None
            carrier = sdk.carrier(made) if made is not None else None
            if carrier is None:
                return ()
            messages: tuple[Message, ...] = ()
            for slot in carrier.text:
                given = value.argument(slot)
                if given is not None:
                    messages += _text(given, span, depth + 1, carrier.role)
            return messages
        case Either(options=options):
            # Which of them it is decides the prompt; the first that says anything stands for all.
            return next((found for option in options if (found := carried(option, span, depth + 1))), ())
    return ()


def _text(value: Value, span: Span, depth: int, role: Role) -> tuple[Message, ...]:
    match value:
        case Text():
            return (Message(role, value.segments),) if value.segments else ()
        case Input() | Result():
            return tuple(Message(role, each.segments) for each in messages_of(value, span, listed=False))
        case ClassRef():
            return _documented(value, span)
        case Series(items=items):
            if any(isinstance(item, Record) for item in items):
                return messages_of(value, span, listed=True)
            return tuple(
                message
                for item in items
                for inner in (item.items if isinstance(item, Repeated) else (item,))
                if not isinstance(inner, Repeated)
                for message in _text(inner, span, depth, role)
            )
        case Record(entries=entries):
            return tuple(message for _, item in entries for message in _text(item, span, depth, role))
        case PromptTemplate():
            return messages_of(filled(value, Arguments(rest=Opaque("filled in later")), span), span, listed=False)
        case Plain() | Opaque() | FunctionRef() | Instance():
            return ()
    return carried(value, span, depth)


def _documented(value: ClassRef, span: Span) -> tuple[Message, ...]:
    """The docstring of a class and the descriptions of its fields: a DSPy signature."""
    cls = value.cls
    messages: list[Message] = []
    first = cls.node.body[0] if cls.node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        place = cls.module.positions.of(first.value)
        text = ast.get_docstring(cls.node)
        if text:
            messages.append(Message("system", (Const(text, place),)))
    for each in reversed(list(cls.lineage())):
        for constant in each.constants.values():
            if isinstance(constant, External):
                described = constant.argument("desc", "description", "prefix")
                if isinstance(described, Text) and described.segments:
                    messages.append(Message("system", described.segments))
    return tuple(messages)


def is_model_chain(chain: Chain) -> bool:
    """Whether running the chain calls a model: a stage is one, or it fills a prompt for something that is passed in."""
    stages = list(chain.stages)
    if any(_is_model(stage) for stage in stages):
        return True
    return any(isinstance(stage, PromptTemplate) for stage in stages) and any(
        isinstance(stage, Input | Opaque | Instance) for stage in stages
    )


def _is_model(value: Value) -> bool:
    match value:
        case External(path=path):
            return path.endswith("()") and sdk.is_model(path[:-2])
        case Either(options=options):
            return any(_is_model(option) for option in options)
        case Chain():
            return is_model_chain(value)
    return False


def chain_messages(chain: Chain, given: Value | None, span: Span) -> tuple[tuple[Message, ...], list[Value]]:
    """The messages that a chain sends, given its input, and the values that they are made from."""
    values: list[Value] = [] if given is None else [given]
    current: Value = given if given is not None else Opaque("the chain is given no input")
    for stage in chain.stages:
        if isinstance(stage, Record):
            entries = tuple((name, current if isinstance(item, External) else item) for name, item in stage.entries)
            current = Record(entries)
            values.extend(item for _, item in entries)
        elif isinstance(stage, PromptTemplate):
            current = filled(stage, Arguments(rest=current, rest_span=span), span)
        elif isinstance(stage, Chain):
            inner, more = chain_messages(stage, current, span)
            if is_model_chain(stage):
                return inner, [*values, *more]
        elif _is_model(stage):
            break
    if isinstance(current, Record):
        text = next((constant for _, item in current.entries if (constant := constant_text(item))), None)
        if text is None and len(current.entries) == 1:
            current = current.entries[0][1]
    return messages_of(current, span, listed=False), values
