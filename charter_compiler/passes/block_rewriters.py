"""What LibCST does with the blocks of functions: statements of dead calls left out, independent ones put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Call
from charter_compiler.passes.gather import Source, find_group, written
from charter_compiler.passes.gather_loops import LeftError, check_names, comprehension, find_loop, written_loop
from charter_compiler.passes.pass_base import PassNote
from charter_compiler.passes.statements import local_names, names


@dataclass(slots=True)
class Frame:
    """The function, or class, whose statements are read. ``guards``: statements of it that are open and do something
    where others fail or end: ``try`` and ``with``."""

    node: Any
    asynchronous: bool
    guards: int = 0


def _visitor(
    cst: Any,
    block: Callable[[Frame, Any, list[Any]], list[Any]],
    listed: Callable[[Frame, Any], Any | None] = lambda frame, node: None,
) -> Any:
    """A transformer that gives each block of a function to ``block``: the function, the block as it was, and its
    statements as they are; and each list comprehension to ``listed``."""

    class Visitor(cst.CSTTransformer):  # type: ignore[misc]  # LibCST is not known to the type checker
        def __init__(self) -> None:
            super().__init__()
            self.frames: list[Frame] = []

        def on_visit(self, node: Any) -> bool:
            match node:
                case cst.FunctionDef():
                    self.frames.append(Frame(node, node.asynchronous is not None))
                case cst.ClassDef():
                    self.frames.append(Frame(node, asynchronous=False))
                case cst.Try() | cst.TryStar() | cst.With() if self.frames:
                    self.frames[-1].guards += 1
            return True

        def on_leave(self, original_node: Any, updated_node: Any) -> Any:
            match original_node:
                case cst.FunctionDef() | cst.ClassDef():
                    self.frames.pop()
                case cst.Try() | cst.TryStar() | cst.With() if self.frames:
                    self.frames[-1].guards -= 1
                case cst.IndentedBlock() if self.frames:
                    body = block(self.frames[-1], original_node, list(updated_node.body))
                    return updated_node.with_changes(body=body)
                case cst.ListComp() if self.frames:
                    made = listed(self.frames[-1], original_node)
                    return updated_node if made is None else made
            return updated_node

    return Visitor()


@dataclass(slots=True)
class Dropping:
    """Leaves out the statements of dead calls; ``gone``: the ids of those that are; ``guarded``: of those that stand in
    a ``try`` or ``with``, and may be there to see whether they fail."""

    source: Source
    dead: frozenset[str]
    gone: set[str] = field(default_factory=set)
    guarded: set[str] = field(default_factory=set)

    def visitor(self) -> Any:
        return _visitor(self.source.cst, self._block)

    def _block(self, frame: Frame, original: Any, body: list[Any]) -> list[Any]:
        kept: list[Any] = []
        above: list[Any] = []
        for was, now in zip(original.body, body, strict=True):
            if self._only_asks(frame, was):
                above += _apart(now.leading_lines)
                continue
            kept.append(now.with_changes(leading_lines=[*above, *now.leading_lines]) if above else now)
            above = []
        if above or not kept:
            kept.append(self.source.parsed("pass").with_changes(leading_lines=above))
        return kept

    def _only_asks(self, frame: Frame, statement: Any) -> bool:
        cst = self.source.cst
        bound = ""
        match statement:
            case cst.SimpleStatementLine(body=[cst.Expr(value=value)]):
                pass
            case cst.SimpleStatementLine(body=[cst.Assign(targets=[target], value=value)]):
                if not isinstance(target.target, cst.Name):
                    return False
                bound = target.target.value
            case _:
                return False
        call = self.source.model_call(value.expression if isinstance(value, cst.Await) else value)
        if call is None or call.id not in self.dead or bound in self.source.changing:
            return False
        if sum(each.value == bound for each in names(cst, frame.node)) > 1:
            return False
        (self.guarded if frame.guards else self.gone).add(call.id)
        return not frame.guards


def _apart(lines: Sequence[Any]) -> list[Any]:
    """Of the lines above a statement those of comments that a blank line parts from it."""
    blanks = [index for index, line in enumerate(lines) if line.comment is None]
    kept = list(lines[: blanks[-1] + 1]) if blanks else []
    return kept if any(line.comment is not None for line in kept) else []


@dataclass(slots=True)
class Gathering:
    """Puts calls together that may be asked at once; ``lists``: comprehensions too. ``notes``: by a call's place, what
    was done or why it was left."""

    source: Source
    lists: bool = True
    notes: dict[Span, PassNote] = field(default_factory=dict)
    _within: dict[int, Source] = field(default_factory=dict)

    def visitor(self) -> Any:
        return _visitor(self.source.cst, self._block, self._listed)

    def _note(self, call: Call, text: str, *, changed: bool = True) -> None:
        self.notes[call.span] = PassNote(call.span, text, changed)

    def _listed(self, frame: Frame, node: Any) -> Any | None:
        if frame.guards or not frame.asynchronous:
            return None
        try:
            found = comprehension(self._source_of(frame), node)
        except LeftError as left:
            self._note(left.call, f"left: {left}", changed=False)
            return None
        if found is None:
            return None
        made, call = found
        if not self.lists:
            self._note(call, "left: a list of the file stands right behind a word, as in return[...]", changed=False)
            return None
        self._note(call, "the calls of the list are asked at once")
        return made

    def _source_of(self, frame: Frame) -> Source:
        """The source with the local names of the function."""
        if id(frame.node) not in self._within:
            local = frozenset(local_names(self.source.cst, frame.node))
            self._within[id(frame.node)] = replace(self.source, local=self.source.local | local)
        return self._within[id(frame.node)]

    def _block(self, frame: Frame, original: Any, body: list[Any]) -> list[Any]:
        if not frame.asynchronous:
            return body
        source = self._source_of(frame)
        statements, made = original.body, []
        index = 0
        while index < len(statements):
            group = None if frame.guards else find_group(source, statements[index:])
            if group is not None:
                made += written(source, group)
                index += group.size
                first, *others = [step.call for step in group.calls if step.call is not None]
                for call in others:
                    self._note(call, f"asked at once with the call at line {first.span.line}")
                continue
            before = original.body[index - 1] if index and made and made[-1] is body[index - 1] else None
            made = self._loop(frame, original, index, [*made, body[index]], before)
            index += 1
        return made

    def _loop(self, frame: Frame, original: Any, index: int, made: list[Any], before: Any | None) -> list[Any]:
        """The statements up to that of ``index``, which may be a loop. ``before``: the one before, if it is kept."""
        loop, source = original.body[index], self._source_of(frame)
        try:
            found = find_loop(source, loop)
            if found is None:
                return made
            if frame.guards or original is not frame.node.body:
                raise LeftError("the loop stands in another statement", found.call)
            check_names(source, found, frame.node, index)
        except LeftError as left:
            self._note(left.call, f"left: {left}", changed=False)
            return made
        statement, starts = written_loop(source, found, loop, before)
        self._note(found.call, "the turns of the loop are asked at once")
        return [*made[: -2 if starts else -1], statement]
