"""CH108: a conversation is rewritten in front instead of extended."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.finding import Finding, warning
from charter_compiler.analysis.checks.syntax import FunctionNode, Syntax, dotted, own_nodes
from charter_compiler.ir.nodes import Call

_SLOTS = ("messages", "input", "contents", "history", "conversation", "prompt")
_GROWS = frozenset({"append", "extend"})
LOW_WATER = 0.75
"""A history that is cut to this part of its limit or less is cut seldom: the turns in between extend it."""


@dataclass(frozen=True, slots=True)
class _Rewrite:
    node: ast.expr | ast.stmt
    what: str


def rewritten_history(context: Context) -> Iterator[Finding]:
    """Lists of messages that grow, are sent, and lose or change what stands in front, each in the same function or
    class: a window (``history[-10:]``), ``pop(0)``, or a first message that is set anew for each turn."""
    reported = set()
    for call in context.calls:
        syntax = context.syntax(call.span.file) if call.messages else None
        node = None if syntax is None else syntax.call(call.span)
        if syntax is None or node is None:
            continue
        for rewrite in _rewrites(node, call, syntax):
            span = syntax.span(rewrite.node)
            if span not in reported:
                reported.add(span)
                yield warning(
                    "CH108",
                    call,
                    span,
                    f"{rewrite.what}: from there on nothing that was computed of the conversation can be reused",
                    "extend the messages only; where they get too long, cut or summarize many at once and seldom, "
                    "and leave the system message as it is",
                )


def _rewrites(node: ast.Call, call: Call, syntax: Syntax) -> Iterator[_Rewrite]:
    function = syntax.function(node)
    if function is None or isinstance(function, ast.Lambda):
        region: list[ast.stmt] = syntax.tree.body
        scope: list[ast.stmt] = region
    else:
        region = function.body
        owner = syntax.owner(function)
        scope = region if owner is None else owner.body
    for value in _sent(node):
        for part in _parts(value, region):
            name = dotted(part.value) if isinstance(part, ast.Subscript) else dotted(part)
            if not name:
                continue
            around = scope if name.startswith("self.") else region
            if not _grows(name, around):
                continue
            if isinstance(part, ast.Subscript):
                if _is_window(part):
                    yield _Rewrite(part, f"only the last part of {name} is sent")
                continue
            yield from _cuts(name, around, syntax)
            yield from _fronts(name, node, around, call, syntax)


def _sent(node: ast.Call) -> list[ast.expr]:
    """What the call sends as messages."""
    found = [keyword.value for keyword in node.keywords if keyword.arg in _SLOTS]
    return found or list(node.args[:1])


def _parts(
    value: ast.expr, region: Iterable[ast.stmt], depth: int = 3
) -> Iterator[ast.Name | ast.Attribute | ast.Subscript]:
    """The lists that a list of messages is put together from: ``[system, *history[-6:]]``."""
    match value:
        case ast.Subscript(slice=ast.Slice()):
            yield value
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            yield from _parts(left, region, depth)
            yield from _parts(right, region, depth)
        case ast.List(elts=elements):
            for each in elements:
                if isinstance(each, ast.Starred):
                    yield from _parts(each.value, region, depth)
        case ast.Name() | ast.Attribute():
            yield value
            if depth and isinstance(value, ast.Name):
                for statement in region:
                    for node in own_nodes(statement):
                        match node:
                            case ast.Assign(targets=[ast.Name(id=name)], value=bound) if name == value.id:
                                if isinstance(bound, ast.Subscript) and dotted(bound.value) == name:
                                    continue  # a cut in place, which is looked at where it stands
                                if not isinstance(bound, ast.Name | ast.Attribute):
                                    yield from _parts(bound, region, depth - 1)
                            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="extend"), args=[more]) if (
                                name == value.id and isinstance(more, ast.Subscript)
                            ):
                                yield from _parts(more, region, depth - 1)


def _is_window(part: ast.Subscript) -> bool:
    """``[-10:]``: the last so many."""
    match part.slice:
        case ast.Slice(lower=ast.UnaryOp(op=ast.USub()), upper=None, step=None):
            return True
    return False


def _grows(name: str, region: Iterable[ast.stmt]) -> bool:
    for root in region:
        for node in ast.walk(root):
            match node:
                case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in _GROWS and dotted(value) == name:
                    return True
                case ast.AugAssign(target=target, op=ast.Add()) if dotted(target) == name:
                    return True
    return False


def _cuts(name: str, region: Iterable[ast.stmt], syntax: Syntax) -> Iterator[_Rewrite]:
    """Where messages are taken away in front."""
    for root in region:
        for node in ast.walk(root):
            found: ast.expr | ast.stmt | None = None
            kept: int | None = None
            match node:
                case ast.Call(func=ast.Attribute(value=value, attr="pop"), args=[ast.Constant(value=0 | 1)]):
                    found = node if dotted(value) == name else None
                case ast.Call(func=ast.Attribute(value=value, attr="popleft")):
                    found = node if dotted(value) == name else None
                case ast.Delete(targets=[ast.Subscript(value=value, slice=index)]) if dotted(value) == name:
                    found = node if _is_front(index) else None
                case ast.Assign(targets=[target], value=value) if _is_list(target, name):
                    window = next(
                        (part for part in _slices(value) if dotted(part.value) == name and _is_window(part)), None
                    )
                    if window is not None:
                        found, kept = node, _size(window)
            if found is not None and not _is_cut_seldom(found, kept, syntax):
                yield _Rewrite(found, f"{name} is cut in front, one turn after the other")


def _is_list(target: ast.expr, name: str) -> bool:
    """``history`` or ``history[:]``."""
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Slice):
        target = target.value
    return dotted(target) == name


def _slices(value: ast.expr) -> Iterator[ast.Subscript]:
    for each in ast.walk(value):
        if isinstance(each, ast.Subscript) and isinstance(each.slice, ast.Slice):
            yield each


def _size(part: ast.Subscript) -> int | None:
    match part.slice:
        case ast.Slice(lower=ast.UnaryOp(operand=ast.Constant(value=int(size)))):
            return size
    return None


def _is_front(index: ast.expr) -> bool:
    match index:
        case ast.Constant(value=0 | 1):
            return True
        case ast.Slice(lower=None | ast.Constant(value=0 | 1), upper=upper) if upper is not None:
            return True
    return False


def _is_cut_seldom(node: ast.AST, kept: int | None, syntax: Syntax) -> bool:
    """Whether the cut leaves room: ``if len(history) > 40: history = history[-20:]``; or it is made where something
    failed (the context was too long)."""
    for each in syntax.ancestors(node):
        if isinstance(each, ast.ExceptHandler):
            return True
        if isinstance(each, FunctionNode):
            return False
        if isinstance(each, ast.If) and kept is not None:
            limits = [
                side.value
                for test in ast.walk(each.test)
                if isinstance(test, ast.Compare)
                for side in (test.left, *test.comparators)
                if isinstance(side, ast.Constant) and isinstance(side.value, int)
            ]
            return any(kept <= limit * LOW_WATER for limit in limits)
    return False


def _fronts(name: str, node: ast.Call, region: Iterable[ast.stmt], call: Call, syntax: Syntax) -> Iterator[_Rewrite]:
    """Where the first message is set anew, again and again: in the loop of the call, or in a method beside it."""
    for root in region:
        for each in ast.walk(root):
            found: ast.expr | ast.stmt | None = None
            match each:
                case ast.Assign(targets=[target]) if _is_first(target, name):
                    found = each
                case ast.Call(func=ast.Attribute(value=value, attr="insert"), args=[ast.Constant(value=0), *_]):
                    found = each if dotted(value) == name else None
            if found is None:
                continue
            function, caller = syntax.function(found), syntax.function(node)
            loop = syntax.loop(node)
            if function is caller:
                repeated = loop is not None and any(above is loop for above in syntax.ancestors(found))
                repeated = repeated or (name.startswith("self.") and not isinstance(each, ast.Call))
            else:
                repeated = False
            if repeated and not _is_once(found, syntax):
                yield _Rewrite(found, f"the first message of {name} is set anew in every turn")


def _is_first(target: ast.expr, name: str) -> bool:
    """``messages[0]`` or ``messages[0]["content"]``."""
    match target:
        case ast.Subscript(value=value, slice=ast.Constant(value=0)):
            return dotted(value) == name
        case (
            ast.Subscript(value=inner, slice=ast.Constant(value="content")) | ast.Attribute(value=inner, attr="content")
        ):
            return _is_first(inner, name)
    return False


def _is_once(node: ast.AST, syntax: Syntax) -> bool:
    """Whether a condition lets the statement run once only: ``if not messages:`` or ``if first:``."""
    for each in syntax.ancestors(node):
        if isinstance(each, FunctionNode):
            return False
        if isinstance(each, ast.If | ast.ExceptHandler):
            return True
    return False
