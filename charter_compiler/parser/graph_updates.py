"""What the function of a node returns to its state graph: keys of the state, and where the graph goes on."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace
from itertools import product

from charter_compiler.ir.nodes import Choice, Const
from charter_compiler.parser.definitions import FunctionInfo
from charter_compiler.parser.graph_flow import END, START, Targets
from charter_compiler.parser.loops import last_turn
from charter_compiler.parser.strings import constant_text
from charter_compiler.parser.values import (
    Either,
    External,
    Instance,
    Opaque,
    Plain,
    Record,
    Repeated,
    Series,
    Text,
    Value,
    item_of,
)

OPTION_LIMIT = 64
"""Different texts that a function may name its successor with."""


@dataclass(frozen=True, slots=True)
class Update:
    """What one way through a node's function does: the keys it returns, and where it goes on (``None``: as the edges
    say). ``whole``: it returns something that is not known, so that any key may change."""

    keys: dict[str, Value] = field(default_factory=dict)
    whole: bool = False
    goto: Targets | None = None


def read_updates(value: Value, state: Value) -> list[Update]:
    """The updates that a returned value is."""
    match value:
        case Plain(value=None):
            return [Update()]
        case Record(entries=entries, rest=rest):
            return [Update(_written(dict(entries), state), whole=rest is not None)]
        case Instance(attributes=attributes) if attributes is not None:
            return [Update(_written(dict(attributes), state))]
        case External(path=path) if path.endswith(".Command()"):
            given = value.argument("update")
            updates = [Update()] if given is None else read_updates(given, state)
            goto = value.argument("goto")
            if goto is None:
                return updates
            sent: list[tuple[str, Value]] = []
            names = node_names(goto, sent)
            if isinstance(goto, Series) and names:
                return [replace(each, goto=frozenset(names)) for each in updates]
            options = [frozenset({name}) for name in sorted(names)] if names else [frozenset[str]()]
            return [replace(each, goto=option) for each in updates for option in options]
        case Either(options=options_):
            return [update for option in options_ for update in read_updates(option, state)]
        case Series(items=items) if items and all(isinstance(each, External | Record) for each in items):
            return [update for each in items if not isinstance(each, Repeated) for update in read_updates(each, state)]
    return [Update(whole=True)]


def _written(keys: dict[str, Value], state: Value) -> dict[str, Value]:
    """Without what is the state as it was."""
    before = dict(
        state.entries if isinstance(state, Record) else (state.attributes or ()) if isinstance(state, Instance) else ()
    )
    return {key: value for key, value in keys.items() if before.get(key) != value}


def node_names(value: Value, sent: list[tuple[str, Value]]) -> set[str] | None:
    """The names of nodes that a value can be; ``None`` where that is not known. ``Send`` objects go to ``sent``."""
    match value:
        case Text():
            return _alternatives(value)
        case External(path=path) if path.rpartition(".")[2] in ("START", "END"):
            return {END} if path.endswith("END") else {START}
        case External(path=path) if path.endswith(".Send()"):
            name = value.argument("node", 0)
            payload = value.argument("arg", 1)
            text = constant_text(name) if name is not None else None
            if text is None:
                return None
            sent.append((text, last_turn(payload) if payload is not None else Opaque("nothing is sent")))
            return set()
        case Plain(value=None):
            return set()
        case Either() | Series():
            options = value.options if isinstance(value, Either) else item_of(value.items)
            found = [node_names(option, sent) for option in options]
            known = [each for each in found if each is not None]
            return set().union(*known) if len(known) == len(found) else None
    return None


def _alternatives(text: Text) -> set[str] | None:
    """The strings that a text can be, where it is put together from constants alone."""
    parts: list[list[str]] = []
    count = 1
    for segment in text.segments:
        match segment:
            case Const(text=constant):
                parts.append([constant])
            case Choice(options=options) if all(isinstance(each, Const) for option in options for each in option):
                parts.append(["".join(each.text for each in option if isinstance(each, Const)) for option in options])
                count *= len(options)
            case _:
                return None
    return {"".join(each) for each in product(*parts)} if count <= OPTION_LIMIT else None


def literal_names(info: FunctionInfo) -> set[str] | None:
    """The names in the ``Literal`` of a return annotation."""
    if isinstance(info.node, ast.Lambda) or info.node.returns is None:
        return None
    found: set[str] = set()
    for part in ast.walk(info.node.returns):
        if isinstance(part, ast.Subscript) and ast.unparse(part.value).rpartition(".")[2] == "Literal":
            for element in part.slice.elts if isinstance(part.slice, ast.Tuple) else [part.slice]:
                if isinstance(element, ast.Constant) and isinstance(element.value, str):
                    found.add(element.value)
                elif ast.unparse(element).rpartition(".")[2] == "END":
                    found.add(END)
                else:
                    return None
    return found or None
