"""Functions whose effect on the values is known, and what an unknown one may do to them."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import replace

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Const
from charter_compiler.parser.classes import MUTATORS
from charter_compiler.parser.scope import Environment, Frame
from charter_compiler.parser.strings import Arguments, constant_text
from charter_compiler.parser.values import (
    Either,
    External,
    Input,
    Instance,
    Opaque,
    Record,
    Repeated,
    Result,
    Series,
    Text,
    Value,
    deps_of,
    normal,
    text_of,
)

MUTABLE = (Series, Record)

READERS = frozenset(
    {
        "json.loads", "json.dumps", "builtins.repr", "builtins.len", "builtins.list", "builtins.tuple",
        "builtins.sorted", "builtins.int", "builtins.float", "ast.literal_eval",
        "textwrap.dedent", "inspect.cleandoc", "html.escape",
    }
)  # fmt: skip
"""Functions whose outcome depends on their one argument and nothing else."""

CONSTANT_FUNCTIONS: dict[str, Callable[[str], str]] = {
    "textwrap.dedent": textwrap.dedent,
    "inspect.cleandoc": inspect.cleandoc,
}
"""Functions that are applied to constant text here."""

HARMLESS = ("builtins.", "json.", "logging.", "math.", "re.", "time.", "copy.", "asyncio.")
"""Modules whose functions do not change the lists and dictionaries they are given."""

_CHANGING_BUILTINS = frozenset(
    {"builtins.setattr", "builtins.exec", "builtins.eval", "builtins.map", "builtins.filter"}
)


def call_function(
    env: Environment,
    frame: Frame,
    callee: Value,
    receiver: Value | None,
    arguments: Arguments,
    written: str,
    span: Span,
) -> Value:
    """The result of a call that is no model call. Binds to ``Opaque`` in ``env`` whatever the callee may change."""
    path = callee.path if isinstance(callee, External) else ""
    sole = arguments.positional[0] if len(arguments.positional) == 1 and not arguments.keywords else None
    if sole is not None and path == "builtins.str":
        return text_of(sole, span)
    if sole is not None and path in CONSTANT_FUNCTIONS and (constant := constant_text(sole)) is not None:
        return Text(normal((Const(CONSTANT_FUNCTIONS[path](constant), span),)))
    name = path.removeprefix("builtins.")
    if path in READERS and isinstance(sole, Input):
        return Input(f"{name}({sole.name})", sole.scope)
    if path in READERS and isinstance(sole, Result):
        return Result(sole.call, f"{name}({sole.path})", sole.texts)
    deps = deps_of(callee, receiver, *arguments.values())
    if not path.startswith(HARMLESS) or path in _CHANGING_BUILTINS:
        _escape(env, frame, written, receiver, arguments)
    if path and not path.startswith("builtins.") and not deps:
        return External(f"{path}()")
    shown = written if len(written) <= 60 else written[:57] + "..."
    return Opaque(f"what {shown}() returns is not known here", deps)


def _escape(env: Environment, frame: Frame, written: str, receiver: Value | None, arguments: Arguments) -> None:
    """Forget lists and dictionaries that an unknown function is given, and what this method has set on ``self``."""
    for value in arguments.values():
        if isinstance(value, MUTABLE):
            env.replace(value, Opaque(f"{written}() may have changed it", deps_of(value)), frame.base)
        elif isinstance(value, Input):
            env.replace(value, replace(value, touched=True), frame.base)
    if isinstance(receiver, Instance) or any(isinstance(value, Instance) for value in arguments.values()):
        for name, value in env.since(frame.base.parent).items():
            if name.startswith("self."):
                env.set(name, Opaque(f"{written}() may have changed {name}", deps_of(value)))


def mutate(
    env: Environment, frame: Frame, receiver: Series | Record | Either, method: str, arguments: Arguments
) -> Value | None:
    """A method of a list or dictionary of the source; ``None`` if it changes nothing and returns something unknown."""
    deps = deps_of(receiver, *arguments.values())
    if method in MUTATORS:
        changed = _changed(receiver, method, arguments)
        env.replace(receiver, changed or Opaque(f".{method}() changes it at run time", deps), frame.base)
        return Opaque(f"what .{method}() returns is not known here", deps)
    if isinstance(receiver, Record) and method == "get" and arguments.positional:
        key = constant_text(arguments.positional[0])
        return receiver.get(key) if key is not None and receiver.rest is None else None
    if isinstance(receiver, MUTABLE) and method == "copy":
        return Series(receiver.items) if isinstance(receiver, Series) else Record(receiver.entries, receiver.rest)
    return None


def _changed(receiver: Series | Record | Either, method: str, arguments: Arguments) -> Value | None:
    """The list or dictionary after the method; ``None`` where that is not known."""
    match receiver, method, arguments.positional:
        case Series(items=items), "append", [value]:
            return Series((*items, value))
        case Series(items=items), "extend", [Series(items=more)]:
            return Series((*items, *more))
        case Series(items=items), "extend", [value]:
            return Series((*items, Repeated((value,))))
        case Record(entries=entries, rest=None), "update", [Record(entries=more_entries, rest=None)]:
            return Record((*entries, *more_entries))
    return None
