"""Awaited calls that wait for each other without need, written with ``asyncio.gather``: statements of one block.

What each statement is, decides: a model call that is awaited, a computation that can be done before the calls or after
them, or anything else, which ends a group. Comments go with their statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from charter_compiler.ir.nodes import Call
from charter_compiler.passes.statements import attributes, computes, consumes, is_still, reads

INDENT = "    "


@dataclass(frozen=True, slots=True)
class Step:
    """One simple statement: ``target`` is the name that it binds, ``value`` what is computed, or the model call that is
    awaited (``call``)."""

    statement: Any
    target: str
    value: Any
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Calls that can be asked at once, with what is done before and after them. ``size``: statements in all."""

    calls: tuple[Step, ...]
    before: tuple[Step, ...]
    after: tuple[Step, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Source:
    """A module as LibCST reads it, its model calls by their nodes, and what ``statements`` finds of it: the names that
    other code may change while a function waits, the built-in functions that are other functions there, and the names
    that nothing changes but the statements of the function that is read (``local``)."""

    cst: Any
    module: Any
    calls: Mapping[Any, Call]
    changing: frozenset[str]
    shadowed: frozenset[str]
    local: frozenset[str] = frozenset()

    def step(self, statement: Any) -> Step | None:
        """A statement that binds one name to what is computed or to what a model call returns; ``None`` for others."""
        cst = self.cst
        if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1:
            return None
        match statement.body[0]:
            case cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=target))], value=value):
                if isinstance(value, cst.Await):
                    call = self.model_call(value.expression)
                    return None if call is None else Step(statement, target, value.expression, call)
                movable = self.computes(value) and self.is_still(value) and not consumes(cst, value)
                return Step(statement, target, value) if movable else None
        return None

    def computes(self, node: Any) -> bool:
        """Whether an expression only computes."""
        return computes(self.cst, node) and not reads(self.cst, node) & self.shadowed

    def is_still(self, *nodes: Any, more: Iterable[str] = ()) -> bool:
        """Whether expressions that compute come to the same whenever they do; ``more``: further names of that kind."""
        known = self.local.union(more) - self.changing
        return all(is_still(self.cst, node, known) for node in nodes)

    def has_still_arguments(self, node: Any, more: Iterable[str] = ()) -> bool:
        """Whether a call sends the same whenever it is made."""
        return self.is_still(*(arg.value for arg in node.args), more=more)

    def model_call(self, node: Any) -> Call | None:
        """The model call that a node is, if it does nothing else and its arguments only compute; one that gives the
        model tools may do more."""
        call = self.calls.get(node)
        if call is None or call.kind != "root" or call.effects or any(map(_gives_tools, call.settings)):
            return None
        parts = [node.func, *(arg.value for arg in node.args)]
        return call if all(map(self.computes, parts)) else None

    def uses(self, node: Any) -> set[str]:
        """Names that an expression reads, and its attributes with a dot."""
        return reads(self.cst, node) | {f".{name}" for name in attributes(self.cst, node)}

    def parsed(self, code: str) -> Any:
        """A statement from its source."""
        return self.cst.parse_statement(code, config=self.module.config_for_parsing)

    def code(self, node: Any, depth: int) -> str:
        """The source of an expression, its further lines indented so much deeper; text in quotes stays as it is."""
        cst: Any = self.cst
        more = INDENT * depth

        class Deeper(cst.CSTTransformer):  # type: ignore[misc]  # LibCST is not known to the type checker
            def on_leave(self, original_node: Any, updated_node: Any) -> Any:
                if not isinstance(original_node, cst.ParenthesizedWhitespace):
                    return updated_node
                lines = [
                    line.with_changes(whitespace=cst.SimpleWhitespace(line.whitespace.value + more))
                    if line.comment is not None
                    else line
                    for line in updated_node.empty_lines
                ]
                last = cst.SimpleWhitespace(updated_node.last_line.value + more)
                return updated_node.with_changes(empty_lines=lines, last_line=last)

        return str(self.module.code_for_node(node.visit(Deeper())))


def _gives_tools(setting: str) -> bool:
    return setting.partition("=")[0] in ("tools", "functions", "**")


def find_group(source: Source, statements: Sequence[Any]) -> Group | None:
    """The longest group that begins with the first of the statements; ``None`` where it would have one call."""
    calls: list[Step] = []
    before: list[Step] = []
    after: list[Step] = []
    best: Group | None = None
    for size, statement in enumerate(statements, start=1):
        step = source.step(statement)
        if step is None or (not calls and step.call is None):
            break
        uses, late = source.uses(step.value), {each.target for each in (*calls, *after)}
        bound = any(step.target in source.uses(each.value) for each in (*calls, *after))
        if bound or step.target in late or step.target in source.changing or (calls and uses & source.changing):
            break
        if step.call is None:
            (after if uses & late else before).append(step)
            continue
        asked = {each.call.id for each in calls if each.call is not None}
        if uses & late or asked & {*step.call.depends_on} or (calls and not source.has_still_arguments(step.value)):
            break
        calls.append(step)
        if len(calls) > 1:
            best = Group(tuple(calls), tuple(before), tuple(after), size)
    return best


def written(source: Source, group: Group) -> list[Any]:
    """The statements of a group anew."""
    first = group.calls[0].statement
    lines = [f"{', '.join(step.target for step in group.calls)} = await asyncio.gather("]
    for step in group.calls:
        above = step.statement.leading_lines if step.statement is not first else ()
        lines += [INDENT + line.comment.value for line in above if line.comment is not None]
        behind = step.statement.trailing_whitespace.comment
        lines.append(f"{INDENT}{source.code(step.value, 1)},{f'  {behind.value}' if behind is not None else ''}")
    gathered = source.parsed("\n".join([*lines, ")"])).with_changes(leading_lines=first.leading_lines)
    return [*(step.statement for step in group.before), gathered, *(step.statement for step in group.after)]
