"""The state that a node of a state graph is given: its class, its keys, and which of them nodes add to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from charter_compiler.parser.definitions import ClassInfo, FunctionInfo
from charter_compiler.parser.graph_edges import Graph
from charter_compiler.parser.graph_flow import BEFORE
from charter_compiler.parser.joins import join
from charter_compiler.parser.texts import concat, repeat, text_of
from charter_compiler.parser.values import (
    Either,
    FunctionRef,
    Input,
    Instance,
    Item,
    Record,
    Repeated,
    Series,
    Text,
    Value,
    item_of,
)

MESSAGE_STATES = ("MessagesState", "AgentState", "MessageGraph")


def state_parameter(ref: FunctionRef) -> str | None:
    """The parameter that LangGraph gives the state to: the first that is not given already."""
    arguments = ref.function.node.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    names = names[(ref.bound is not None) + len(ref.positional) :]
    taken = {name for name, _ in ref.keywords}
    return next((name for name in names if name not in taken), None)


def read_keys(info: FunctionInfo, name: str) -> Iterator[str]:
    """The keys that a function takes from its state."""
    for node in info.parts:
        match node:
            case ast.Subscript(value=ast.Name(id=owner), slice=ast.Constant(value=str(key))) if owner == name:
                yield key
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=owner), attr="get"), args=[ast.Constant(value=str(key)), *_]
            ) if owner == name:
                yield key


def annotated(cls: ClassInfo) -> Iterator[tuple[str, ast.expr]]:
    for statement in cls.node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement.annotation


def is_appending(node: ast.expr) -> bool:
    """Whether ``Annotated`` names a function that adds what a node returns to what is there."""
    match node:
        case ast.Subscript(value=owner, slice=ast.Tuple(elts=[_, *more])) if ast.unparse(owner).endswith("Annotated"):
            return any(isinstance(each, ast.Name | ast.Attribute | ast.Call | ast.Lambda) for each in more)
    return False


def is_mapping(cls: ClassInfo) -> bool:
    paths = {path.rpartition(".")[2] for path in cls.ancestors()}
    return bool(paths & {"TypedDict", *MESSAGE_STATES}) or not cls.generated


def appended(options: list[tuple[str, list[Value]]], graph: Graph) -> Value:
    """What a key holds to which each node adds."""
    values = [value for _, written in options for value in written]
    if any(isinstance(value, Text) for value in values) and not any(isinstance(value, Series) for value in values):
        parts: list[Text] = []
        for name, written in options:
            text = text_of(join(written, graph.span), graph.span)
            parts.append(repeat(text, graph.span) if name in graph.cyclic else text)
        return concat(parts, graph.span)
    items: list[Item] = []
    several = graph.cyclic | graph.payloads.keys()
    for name, written in options:
        whole = written[0] if len(written) == 1 else None
        if name == BEFORE:
            items.append(Repeated(tuple(written)))
        elif isinstance(whole, Series) and name not in several:
            items.extend(whole.items)
        elif whole is not None and name not in several:
            items.append(whole)
        else:
            flat = [
                each for value in written for each in (item_of(value.items) if isinstance(value, Series) else [value])
            ]
            items.append(Repeated(tuple(dict.fromkeys(flat))))
    return Series(tuple(items))


def with_flow(value: Value, flow_: frozenset[str]) -> Value:
    """The state with its values from outside marked as those of the function's parameter."""

    def marked(each: Value) -> Value:
        match each:
            case Input(origin=""):
                return replace(each, deps=each.deps | flow_)
            case Either(options=options):
                return Either(tuple(marked(option) for option in options))
            case Series(items=items):
                return Series(tuple(_item(item) for item in items))
        return each

    def _item(item: Item) -> Item:
        return Repeated(tuple(_item(each) for each in item.items)) if isinstance(item, Repeated) else marked(item)

    match value:
        case Record(entries=entries):
            return Record(tuple((key, marked(each)) for key, each in entries))
        case Instance(attributes=attributes) if attributes:
            return Instance(value.cls, tuple((key, marked(each)) for key, each in attributes))
        case Either(options=options):
            return Either(tuple(with_flow(option, flow_) for option in options))
    return value
