"""``charter inspect`` for a terminal: calls with their prompts as blocks, the flow between them, patterns, findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from rich.console import Console, Group, RenderableType
from rich.text import Text

from charter_compiler.analysis.patterns import Pattern
from charter_compiler.dag.builder import CallGraph
from charter_compiler.diagnostics.diagnostic import Diagnostic, Severity
from charter_compiler.diagnostics.render import render
from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Call, CallRef, Choice, Const, Param, Repeat, Scope, Segment, Unknown
from charter_compiler.parser.ast_parser import ParsedAgent

PREVIEW = 3
"""Lines of a constant that are shown before the rest is counted."""

_STYLES = {Severity.NOTE: "cyan", Severity.WARNING: "yellow", Severity.ERROR: "red"}
_SCOPES: dict[Scope, str] = {
    "agent": "the same for the whole run",
    "item": "changes with each item",
    "loop": "changes with each turn of the loop",
    "call": "may change with each call",
}


def print_inspection(
    console: Console,
    parsed: ParsedAgent,
    graph: CallGraph,
    patterns: Iterable[Pattern],
    findings: Sequence[Diagnostic],
) -> None:
    """Write everything that was found."""
    for call in parsed.calls:
        console.print(_call(call, _place(call.span, parsed)), soft_wrap=True)
    listed = list(patterns)
    if listed:
        console.print(Text("Patterns", style="bold"))
        for pattern in listed:
            calls = ", ".join(short_name(graph.calls[node]) for node in pattern.nodes)
            label = Text(pattern.kind.replace("_", " "), style="magenta")
            console.print(_indented(Text.assemble(label, f": {pattern.description}\n  {calls}"), 2), soft_wrap=True)
        console.print()
    print_findings(console, parsed, findings)


def print_findings(console: Console, parsed: ParsedAgent, findings: Sequence[Diagnostic]) -> None:
    """Write the findings with their source lines, the files that could not be read, and one line of counts."""
    for diagnostic in findings:
        console.print(_finding(diagnostic, parsed), soft_wrap=True)
        console.print()
    for failed in parsed.failed:
        console.print(Text(f"{failed.place}: not read: {failed.message}", style="red"), soft_wrap=True)
    console.print(Text(summary(parsed, findings)))


def summary(parsed: ParsedAgent, findings: Sequence[Diagnostic]) -> str:
    """One line of counts."""
    parts = [
        _count(parsed.files, "file"),
        _count(len(parsed.calls), "model call"),
        _count(len(findings), "finding"),
    ]
    if parsed.failed:
        files = sum(each.cell is None for each in parsed.failed)
        cells = len(parsed.failed) - files
        counts = [_count(number, noun) for number, noun in ((files, "file"), (cells, "cell")) if number]
        parts.append(f"{' and '.join(counts)} not read")
    return ", ".join(parts)


def short_name(call: Call) -> str:
    """``Class.method#1``, which is unique within a file."""
    return f"{call.function}#{call.id.rpartition('#')[2]}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _place(span: Span, parsed: ParsedAgent) -> Span:
    """The span; in a notebook, that within its cell."""
    notebook = parsed.notebooks.get(span.file)
    return span if notebook is None else notebook.within(span)


def _call(call: Call, place: Span) -> RenderableType:
    facts = [call.api]
    if call.model is not None:
        facts.append(f"model {call.model}")
    if call.max_tokens is not None:
        facts.append(f"at most {call.max_tokens} tokens")
    if call.temperature is not None:
        facts.append(f"temperature {call.temperature:g}")
    if call.in_loop:
        facts.append("in a loop" if call.loop_depth == 1 else f"in {call.loop_depth} loops")
    if call.forward:
        facts.append("forwards its parameter")
    lines: list[RenderableType] = [
        Text.assemble((short_name(call), "bold"), f"  {place}  {call.callee}"),
        _indented(Text(", ".join(facts), style="dim"), 2),
    ]
    if call.depends_on:
        names = ", ".join(f"{each.rpartition(':')[2]}" for each in call.depends_on)
        lines.append(_indented(Text(f"needs {names}", style="dim"), 2))
    for message in call.messages:
        lines.append(_indented(Text(message.role, style="green"), 2))
        lines.extend(_blocks(message.segments, 4))
    return Group(*lines, Text(""))


def _blocks(segments: Iterable[Segment], indent: int) -> Iterator[RenderableType]:
    for segment in segments:
        yield _indented(_block(segment), indent)
        if isinstance(segment, Choice):
            for option in segment.options:
                yield _indented(Text("or" if option else "or nothing", style="dim"), indent + 2)
                yield from _blocks(option, indent + 4)
        elif isinstance(segment, Repeat):
            yield from _blocks(segment.segments, indent + 2)


def _indented(text: Text, columns: int) -> Text:
    """The text with spaces before each line, and none behind (which ``rich.padding`` would add)."""
    margin = Text(" " * columns)
    lines = text.blank_copy("\n").join(margin + line for line in text.split("\n"))
    lines.no_wrap, lines.overflow = text.no_wrap, text.overflow
    return lines


def _block(segment: Segment) -> Text:
    match segment:
        case Const(text=text):
            lines = text.strip("\n").split("\n")
            shown = "".join(f"│ {line}".rstrip() + "\n" for line in lines[:PREVIEW])
            rest = f"│ … {_count(len(lines) - PREVIEW, 'more line')}" if len(lines) > PREVIEW else ""
            block = Text.assemble(shown, (rest, "dim"))
            block.rstrip()
            # A long line is cut, not wrapped: the file has the rest.
            block.no_wrap, block.overflow = True, "ellipsis"
            return block
        case Param(name=name, scope=scope):
            return Text.assemble(("{" + name + "}", "bold yellow"), (f"  {_SCOPES[scope]}", "dim"))
        case CallRef(id=call_id, derived=derived):
            what = "computed from the result of" if derived else "result of"
            return Text(f"← {what} {call_id.rpartition(':')[2]}", style="bold blue")
        case Choice():
            return Text("one of", style="magenta")
        case Repeat():
            return Text("repeated", style="magenta")
        case Unknown(reason=reason):
            return Text(f"? {reason}", style="red")


def _finding(diagnostic: Diagnostic, parsed: ParsedAgent) -> Text:
    source = parsed.sources.get(diagnostic.span.file)
    notebook = parsed.notebooks.get(diagnostic.span.file)
    if notebook is not None:
        source = "\n".join(notebook.at(diagnostic.span.line).lines)
        diagnostic = replace(diagnostic, span=notebook.within(diagnostic.span))
    first, *rest = render(diagnostic, source).split("\n")
    return Text("\n").join([Text(first, style=_STYLES[diagnostic.severity]), *(Text(line) for line in rest)])
