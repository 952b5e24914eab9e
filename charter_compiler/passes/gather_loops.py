"""Loops that append what a model call returns, and comprehensions of such calls, written with ``asyncio.gather``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from charter_compiler.ir.nodes import Call
from charter_compiler.passes.gather import INDENT, Source
from charter_compiler.passes.statements import first_use, inner_names, names, plain_targets, reads, walk

WIDTH = 88
"""Characters of a line beyond which what is written anew is parted, as common formatters do."""


class LeftError(Exception):
    """Why a call is left to wait for others."""

    def __init__(self, reason: str, call: Call) -> None:
        super().__init__(reason)
        self.call = call


@dataclass(frozen=True, slots=True)
class Asking:
    """A loop that asks once a turn: the list that it fills, the call's node, and the names that it binds."""

    filled: str
    node: Any
    call: Call
    bound: frozenset[str]


def find_loop(source: Source, statement: Any) -> Asking | None:
    """The loop, if it appends what a model call returns; ``None`` for another statement.

    Raises:
        LeftError: it does, and yet its turns may not be asked at once.
    """
    cst = source.cst
    if not isinstance(statement, cst.For) or not isinstance(statement.body, cst.IndentedBlock):
        return None
    *body, last = statement.body.body
    filled, value = _appended(cst, last)
    steps = [source.step(each) for each in body]
    bound = plain_targets(cst, statement.target)
    if isinstance(value, cst.Await):
        node = value.expression
    elif steps and steps[-1] is not None and isinstance(value, cst.Name) and value.value == steps[-1].target:
        node = steps[-1].value
        steps.pop()
    else:
        return None
    call = source.model_call(node)
    if call is None:
        return None
    if statement.orelse is not None or statement.asynchronous is not None:
        raise LeftError("the loop has an else, or is asynchronous", call)
    for step in reversed(steps):
        if step is None or step.call is not None:
            raise LeftError("the loop does more than to ask and to append", call)
        whole = _place(cst, node, step.target)
        if whole is None:
            raise LeftError(f"{step.target} does not stand in one argument alone", call)
        node = node.deep_replace(whole, step.value)
    uses = source.uses(node)
    if filled in uses | reads(cst, statement.iter) or call.id in call.depends_on:
        raise LeftError("a turn uses what an earlier one was answered", call)
    targets = {step.target for step in map(source.step, body) if step is not None}
    made = {name for step in steps if step is not None for name in reads(cst, step.value)}
    if (uses | made | reads(cst, statement.iter)) & targets:
        raise LeftError("a turn uses a name that an earlier one bound", call)
    if bound is None:
        raise LeftError("the loop sets more than names", call)
    if not source.computes(statement.iter):
        raise LeftError("what the loop goes over is not only computed", call)
    still = source.is_still(statement.iter) and source.has_still_arguments(node, bound)
    if not still or (uses | {filled}) & source.changing:
        raise LeftError("other code may change what the prompts are made from between two turns", call)
    return Asking(filled, node, call, frozenset(bound | targets))


def check_names(source: Source, found: Asking, function: Any, index: int) -> None:
    """Raises LeftError where the loop, the statement of that index of the function, and what stands around it share
    more than the list, which must be a new one that nobody else has seen."""
    cst, body = source.cst, function.body.body
    inner = inner_names(cst, function)
    for name in sorted(found.bound):
        if name in inner or first_use(cst, body[index + 1 :], name) == "read":
            raise LeftError(f"{name} may be read behind the loop, or in a function within", found.call)
    places = [each for each in body[: index + 1] for name in names(cst, each) if name.value == found.filled]
    if len(places) != 2 or not _creates(cst, places[0], found.filled):
        text = f"{found.filled} is not a list that is made new in the same block, and not touched until the loop"
        raise LeftError(text, found.call)


def _appended(cst: Any, statement: Any) -> tuple[str, Any]:
    """The list and the value of ``answers.append(value)``; nothing for another statement."""
    match statement:
        case cst.SimpleStatementLine(
            body=[cst.Expr(value=cst.Call(func=cst.Attribute(value=cst.Name(value=name), attr=attr), args=[arg]))]
        ) if attr.value == "append" and not arg.star and arg.keyword is None:
            return name, arg.value
    return "", None


def _place(cst: Any, node: Any, name: str) -> Any | None:
    """The one place of a name in an expression, where it is a whole argument or element."""
    places = [each for each in names(cst, node) if each.value == name]
    whole = [each.value for each in walk(node) if isinstance(each, cst.Arg | cst.Element | cst.DictElement)]
    return places[0] if len(places) == 1 and any(places[0] is each for each in whole) else None


def written_loop(source: Source, found: Asking, loop: Any, before: Any | None) -> tuple[Any, bool]:
    """The statement that takes the loop's place, and whether also that of the statement ``before`` (``answers = []``).
    Comments of the loop stand above it."""
    starts = before is not None and _is_empty_list(source.cst, before, found.filled)
    head = f"for {source.code(loop.target, 0)} in {source.code(loop.iter, 0)}"
    opened, closed = (f"{found.filled} = list(", ")") if starts else (f"{found.filled}.extend(", ")")
    replaced = [before] if before is not None and starts else []
    above = [line for each in (*replaced, loop) for line in each.leading_lines]
    behind = [*(each.trailing_whitespace.comment for each in replaced), loop.body.header.comment]
    for each in loop.body.body:
        behind += [*(line.comment for line in each.leading_lines), each.trailing_whitespace.comment]
    behind += [line.comment for line in loop.body.footer]
    above += [source.cst.EmptyLine(comment=comment) for comment in behind if comment is not None]
    made = source.parsed(_gathered(source, opened, closed, found.node, head))
    return made.with_changes(leading_lines=above), starts


def _gathered(source: Source, opened: str, closed: str, node: Any, head: str) -> str:
    one, two, three = (INDENT * depth for depth in (1, 2, 3))
    asked = f"{source.code(node, 0)} {head}"
    forms = [
        [f"{opened}await asyncio.gather(*({asked})){closed}"],
        [opened, f"{one}await asyncio.gather(*({asked}))", closed],
        [opened, f"{one}await asyncio.gather(", f"{two}*({asked})", f"{one})", closed],
    ]
    short = (form for form in forms if "\n" not in asked and max(map(len, form)) <= WIDTH - 2 * len(INDENT))
    parted = [f"{two}*(", f"{three}{source.code(node, 3)}", f"{three}{head}", f"{two})"]
    return "\n".join(next(short, [opened, f"{one}await asyncio.gather(", *parted, f"{one})", closed]))


def _creates(cst: Any, statement: Any, name: str) -> bool:
    """Whether a statement makes the list, with or without its type."""
    match statement:
        case cst.SimpleStatementLine(body=[cst.AnnAssign(target=cst.Name(value=target), value=cst.List(elements=[]))]):
            return bool(target == name)
    return _is_empty_list(cst, statement, name)


def _is_empty_list(cst: Any, statement: Any, name: str) -> bool:
    match statement:
        case cst.SimpleStatementLine(
            body=[cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=target))], value=cst.List(elements=[]))]
        ):
            return bool(target == name)
    return False


def comprehension(source: Source, node: Any) -> tuple[Any, Call] | None:
    """``[await ask(part) for part in parts]`` without a wait between the calls; ``None`` for another expression.

    Raises:
        LeftError: it is such a list, and yet its calls may not be asked at once.
    """
    cst = source.cst
    match node:
        case cst.ListComp(elt=cst.Await(expression=asked), for_in=cst.CompFor(inner_for_in=None, asynchronous=None)):
            call = source.model_call(asked)
        case _:
            return None
    if call is None:
        return None
    bound, tests = plain_targets(cst, node.for_in.target), [each.test for each in node.for_in.ifs]
    if any(isinstance(each, cst.Comment) for each in walk(node)):
        raise LeftError("comments stand in the list", call)
    if bound is None or not all(map(source.computes, [node.for_in.iter, *tests])):
        raise LeftError("what the list goes over is not only computed", call)
    still = source.is_still(node.for_in.iter) and source.is_still(*tests, more=bound)
    if not (still and source.has_still_arguments(asked, bound)) or source.uses(asked) & source.changing:
        raise LeftError("other code may change what the prompts are made from between two of the calls", call)
    text = _gathered(source, "list(", ")", asked, source.code(node.for_in, 0).strip())
    made = cst.parse_expression(text, config=source.module.config_for_parsing)
    return made.with_changes(lpar=node.lpar, rpar=node.rpar), call
