"""Random small programs: the parser neither crashes nor hangs, and what it returns is legal. What runs is never guessed
wrongly: where a program can be run, the prompts that it sends fit the templates that were read."""

from __future__ import annotations

import ast
import random
import re
import sys

import pytest
from parser_show import parse

from charter_compiler.ir.nodes import CallRef, Choice, Const, Param, Repeat, Segment, Unknown
from charter_compiler.parser.ast_parser import AgentASTParser

NAMES = ("a", "b", "c", "doc", "docs", "flag", "self.x", "A", "f", "g")
TEXTS = ("'x'", "'Sum up '", "f'{a} {b!r}'", "'{}, {a}'", "'%s'", "''", "'''{{ a }}'''")


class Program:
    """A random program from a seed: functions, classes, branches, loops and calls, most of it senseless."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def pick(self, *options: str) -> str:
        return self.random.choice(options)

    def expression(self, depth: int = 3) -> str:
        if depth == 0:
            return self.pick(*NAMES, *TEXTS, "(1)", "None", "True")
        one, two = (self.expression(depth - 1) for _ in range(2))
        name = self.pick("a", "b", "doc", "x")
        return self.pick(
            f"({one} + {two})",
            f"({one} % {two})",
            f"({one} if {two} else {one})",
            f"({one} or {two})",
            f"[{one}, {two}]",
            f"[{one}, *{two}]",
            f"({one}, {two})",
            f"{{{one}: {two}}}",
            f"{{**{one}, 'k': {two}}}",
            f"{one}[{two}]",
            f"{one}[1:]",
            f"{one}.format({two}, {name}={one})",
            f"{one}.format_map({two})",
            f"{one}.join({two})",
            f"{one}.replace({two}, 'y')",
            f"{one}.strip().split({two})",
            f"{one}.append({two})",
            f"{one}.{name}",
            f"{one}({two}, {name}={one})",
            f"{one}(*{two}, **{one})",
            f"[{one} for {name} in {two}]",
            f"''.join({one} for {name} in {two} if {name})",
            f"{{{name}: {one} for {name} in {two}}}",
            f"(lambda {name}, *r: {one})({two})",
            f"({name} := {one})",
            f"f({one}, {two})",
            f"g({one})",
            f"A({one}).run({two})",
            f"llm.generate({one})",
            f"llm.chat([{{'role': 'user', 'content': {one}}}, *{two}])",
            f"json.dumps({one})",
            f"str({one})",
            f"Template({one}).substitute({name}={two})",
            f"partial(f, {one})",
            f"super().run({one})",
            f"dataclasses.replace({one}, {name}={two})",
        )

    def block(self, depth: int, indent: str) -> list[str]:
        return [line for _ in range(self.random.randint(1, 3)) for line in self.statement(depth, indent)]

    def statement(self, depth: int, indent: str) -> list[str]:
        value = self.expression(self.random.randint(0, 2))
        name = self.pick("a", "b", "c", "docs", "a, b", "self.x", "docs['k']", "a.y")
        inner = indent + "    "
        simple = [
            f"{indent}{name} = {value}",
            f"{indent}{self.pick('a', 'b', 'self.x')} += {value}",
            f"{indent}{value}",
            f"{indent}return {value}",
            f"{indent}del a",
            f"{indent}global c",
            f"{indent}llm.generate({value})",
            f"{indent}from helpers import *" if not indent else f"{indent}pass",
        ]
        if depth == 0 or self.random.random() < 0.5:
            return [self.random.choice(simple)]
        body = self.block(depth - 1, inner)
        other = self.block(depth - 1, inner)
        target = self.pick("a", "doc", "a, b", "(a, *b)")
        forms = [
            [f"{indent}if {value}:", *body, f"{indent}else:", *other],
            [f"{indent}for {target} in {value}:", *body, f"{inner}{self.pick('break', 'continue', 'pass')}"],
            [f"{indent}while {value}:", *body, f"{indent}else:", *other],
            [f"{indent}try:", *body, f"{indent}except E as a:", *other, f"{indent}finally:", *body],
            [f"{indent}with {value} as {self.pick('a', 'b')}:", *body],
            [f"{indent}match {value}:", f"{inner}case {{'k': a}}:", *("    " + line for line in body)],
            [f"{indent}def {self.pick('f', 'g', 'h')}(a, b={value}, *c, doc=None, **d):", *body],
            [f"{indent}async def {self.pick('f', 'g')}(self, a):", *body, f"{inner}yield a"],
            [
                f"{indent}class {self.pick('A', 'B')}({self.pick('A', 'B', 'object', 'g')}):",
                f"{inner}x = {value}",
                f"{inner}def __init__(self, llm, x={value}):",
                f"{inner}    self.x = x",
                f"{inner}def run(self, a):",
                *("    " + line for line in body),
            ],
        ]
        return self.random.choice(forms)

    def source(self) -> str:
        lines = [line for _ in range(self.random.randint(2, 5)) for line in self.statement(3, "")]
        lines.append("def main(self, llm, a, doc, docs, flag=None):")
        lines += [line for _ in range(self.random.randint(2, 5)) for line in self.statement(3, "    ")]
        head = "import json, dataclasses\nfrom functools import partial\nfrom string import Template\n"
        return head + "\n".join(lines) + "\n"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("start", range(0, 300, 50))
def test_senseless_programs_are_read(start: int) -> None:
    read = 0
    for seed in range(start, start + 50):
        source = Program(seed).source()
        try:
            ast.parse(source)
        except SyntaxError:
            continue
        read += len(parse(source).calls)
    assert read > 25  # the programs hold calls at all


def pattern(segments: tuple[Segment, ...]) -> str:
    """A regular expression for the texts that a template allows."""
    written = ""
    for segment in segments:
        match segment:
            case Const(text=text):
                written += re.escape(text)
            case Choice(options=options):
                written += f"(?:{'|'.join(pattern(option) for option in options)})"
            case Repeat(segments=inner):
                # A separator is counted after each item: the last, or a part of the text with it, may be left out.
                last = inner[-1].text if inner and isinstance(inner[-1], Const) else ""
                ends = "|".join(re.escape(last[:length]) for length in range(len(last)))
                written += f"(?:{pattern(inner)})*(?:{pattern(inner[:-1])}(?:{ends}))?"
            case Param() | CallRef() | Unknown():
                written += "(?:.|\n)*"
    return written


class Sensible(Program):
    """A random program that runs: every value is a text or a list of texts."""

    def text(self, depth: int = 2) -> str:
        if depth == 0:
            return self.pick("a", "b", "doc", "RULES", "'x '", "'{a}; '", "box.head", "box.tail")
        one, two = self.text(depth - 1), self.text(depth - 1)
        return self.pick(
            f"({one} + {two})",
            f"('%s|%s' % ({one}, {two}))",
            f"'<{{}} {{z}}>'.format({one}, z={two})",
            f"({one} if flag else {two})",
            f"' '.join([{one}, {two}])",
            f"'; '.join(i + {one} for i in docs)",
            "', '.join(parts)",
            f"wrap({one})",
            f"wrap({one}, end={two})",
            f"pick({one}, {two})",
            f"box.show({one})",
            f"Box({one}).show({two})",
            f"str({one})",
            f"TABLE['k'] + {one}",
            f"({one} or {two})",
            "f'{a}-{doc}'",
            "'\\n'.join(f'{n}: {i}' for n, i in enumerate(docs))",
        )

    def lines(self, indent: str, depth: int) -> list[str]:
        found: list[str] = []
        for _ in range(self.random.randint(1, 4)):
            value = self.text(self.random.randint(0, 2))
            name = self.pick("a", "b")
            body = [] if depth == 0 else self.lines(indent + "    ", depth - 1)
            found += self.random.choice(
                [
                    [f"{indent}{name} = {value}"],
                    [f"{indent}{name} += {value}"],
                    [f"{indent}parts.append({value})"],
                    [f"{indent}parts = [{value}, *parts]"],
                    [f"{indent}box.head = {value}"],
                    [f"{indent}box.set({value})"],
                    [f"{indent}{name} = llm.generate({value})"],
                    [f"{indent}llm.generate({value})"],
                    *(
                        [[f"{indent}if flag:", *body, f"{indent}else:", f"{indent}    {name} = {value}"]]
                        if body
                        else []
                    ),
                    *([[f"{indent}for i in docs:", *body]] if body else []),
                ]
            )
        return found

    def source(self) -> str:
        return "\n".join(
            [
                "RULES = 'Be kind. '",
                "TABLE = {'k': 'Kay ', 'l': 'Ell '}",
                "class Box:",
                "    tail = 'T '",
                "    def __init__(self, head):",
                "        self.head = head",
                "    def set(self, head):",
                "        self.head = head + self.tail",
                "    def show(self, text):",
                "        return self.head + '=' + text",
                "def wrap(text, end='!'):",
                "    return f'({text}{end})'",
                "def pick(one, two):",
                "    if len(one) > 9:",
                "        return one",
                "    return two + '.'",
                "def run(llm, doc, docs, flag):",
                "    a, b, parts, box = 'A', 'B', ['p'], Box('H')",
                *self.lines("    ", 2),
                "    llm.generate(a + b)",
            ]
        )


class Recorder:
    """A client that keeps what it is asked, with the line of the call."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, str]] = []

    def generate(self, prompt: str) -> str:
        self.seen.append((sys._getframe(1).f_lineno, prompt))
        return f"answer {len(self.seen)}"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("start", range(0, 200, 50))
def test_what_runs_is_what_was_read(start: int) -> None:
    for seed in range(start, start + 50):
        source = Sensible(seed).source()
        templates: dict[int, list[str]] = {}
        for call in AgentASTParser().parse_source(source, "agent.py").calls:
            templates.setdefault(call.span.line, []).append(pattern(call.messages[0].segments))
        for docs, flag in ((["d1", "d2"], True), ([], False), (["d"], False)):
            names: dict[str, object] = {}
            exec(compile(source, "agent.py", "exec"), names)
            recorder = Recorder()
            names["run"](recorder, "DOC", docs, flag)  # type: ignore[operator]
            for line, prompt in recorder.seen:
                assert any(re.fullmatch(each, prompt) for each in templates.get(line, [])), (seed, line, prompt, source)
