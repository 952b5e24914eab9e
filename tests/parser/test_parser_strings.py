"""Every string construct that the interpreter understands, and what it makes of those it does not."""

from __future__ import annotations

import pytest
from parser_show import prompts, reasons

FUNCTION = """
import json
import string
from string import Template
from textwrap import dedent, indent
import jinja2
from elsewhere import helper

GREETING = "Hello"
TEMPLATE = "Name: {name}, age: {age}."
PLACE = "City: {city}, country: {country}."
PARTS = ["a", "b"]
ROWS = {"x": "one", "y": "two"}

def wrap(text, end="!"):
    return f"<{text}{end}>"

def either(text):
    if text:
        return "yes"
    return "no " + text

def run(llm, name, age, row, names, flag, mystery):
    llm.generate(EXPRESSION)
"""

UNDERSTOOD = [
    ('"plain"', "plain"),
    ('"implicit " "concatenation"', "implicit concatenation"),
    ("GREETING", "Hello"),
    ("name", "{name}"),
    ('f"Dear {name}!"', "Dear {name}!"),
    ('f"{GREETING} {name}"', "Hello {name}"),
    ('f"{{literal}} {name}"', "{literal} {name}"),
    ('f"{name!s}"', "{name}"),
    ('f"{name!r}"', "{name!r}"),
    ('f"{age:>10}"', "{age:>10}"),
    ('f"{1.5:.2f} {True} {None} {GREETING!r:>9}"', "1.50 True None   'Hello'"),
    ('f"{name=}"', "name={name!r}"),
    ("f\"a{f'b{name}c'}d\"", "ab{name}cd"),
    ('GREETING + ", " + name + "."', "Hello, {name}."),
    ('name + "!"', "{name}!"),
    ('"-" * 5 + name', "-----{name}"),
    ("TEMPLATE.format(name=name, age=age)", "Name: {name}, age: {age}."),
    ("TEMPLATE.format(age=3, name='Bo')", "Name: Bo, age: 3."),
    ("TEMPLATE.format(**{'name': name, 'age': 7})", "Name: {name}, age: 7."),
    ("PLACE.format(**row)", "City: {city}, country: {country}."),
    ("PLACE.format(**{**row, 'city': name})", "City: ?, country: {country}."),
    ("PLACE.format(city=GREETING, **row)", "City: Hello, country: {country}."),
    ("PLACE.format_map(row)", "City: {city}, country: {country}."),
    ("TEMPLATE.format(name=name, **row)", "Name: {name}, age: {row['age']}."),
    ('"{} and {}".format(name, age)', "{name} and {age}"),
    ('"{1} and {0}".format(name, age)', "{age} and {name}"),
    ('"{{}} {}".format(name)', "{} {name}"),
    ('"{0.title} {1[key]}".format(name, row)', "{name.title} {row['key']}"),
    ('"{:>8}|{!r}".format(age, name)', "{age:>8}|{name!r}"),
    ('"{:.1f}".format(2.25)', "2.2"),
    ("row['title']", "{row['title']}"),
    ("name.first", "{name.first}"),
    ("name[:500]", "{name[:500]}"),
    ("name.strip().lower()", "{name.strip().lower()}"),
    ("json.dumps(row)", "{json.dumps(row)}"),
    ("str(age)", "{age}"),
    ('"  x ".strip().upper()', "X"),
    ('dedent("""\n        a\n          b""").strip()', "a\n  b"),
    ('"one" if flag else "two"', "[one|two]"),
    ("f\"start {'one' if flag else name} end\"", "start [one|{name}] end"),
    ('name or "nobody"', "[{name}|nobody]"),
    ('", ".join(["a", name, "b"])', "a, {name}, b"),
    ('"\\n".join(f"- {n}" for n in names)', "(- {n@loop}\n)*"),
    ('", ".join(names)', "{', '.join(names)}"),
    ('"a" "b" + ("c" + name) + f"{age}"', "abc{name}{age}"),
    ('("x", "y")[1]', "y"),
    ('{"a": "one", "b": name}["b"]', "{name}"),
    ('"%s" % name', "{name}"),
    ('"%s is %d: %r, 100%%" % (name, age, name)', "{name} is {age}: {name!r}, 100%"),
    ('"%(a)s and %(b)s" % {"a": name, "b": "x"}', "{name} and x"),
    ('"%s" % GREETING', "Hello"),
    ('TEMPLATE.replace("{name}", name).replace("{age}", "7")', "Name: {name}, age: 7."),
    ('"a b a".replace("a", "c", 1)', "c b a"),
    ('dedent(f"""\n    a {name}\n      b""")', "\na {name}\n  b"),
    ('indent("a\\nb", "> ")', "> a\n> b"),
    ('Template("Dear $name, ${age} $$").substitute(name=name, age=age)', "Dear {name}, {age} $"),
    ('string.Template("Dear $name").safe_substitute(row)', "Dear {row['name']}"),
    ('jinja2.Template("Hi {{ name }}!").render(name=name)', "Hi {name}!"),
    ('jinja2.Template("A{% if flag %}B{% else %}C{% endif %}").render(flag=flag)', "A[B|C]"),
    ('jinja2.Template("A{% for n in names %}B{% endfor %}").render(names=names)', "A(B)*"),
    ("jinja2.Template(\"{{ 'text' }} {{ 3 }}\").render()", "text 3"),
    ('json.dumps({"a": "b"}, indent=2)', '{\n  "a": "b"\n}'),
    ('json.dumps({"task": "sum up", "n": [1, True, None]})', '{"task": "sum up", "n": [1, true, null]}'),
    ('json.dumps({"task": "sum up", "doc": name})', '{"task": "sum up", "doc": ?}'),
    ('" ".join(["a", name] + ["b"])', "a {name} b"),
    ('", ".join(PARTS)', "a, b"),
    ('"\\n".join(["# Head", *[f"- {n}" for n in names]])', "# Head\n(- {n@loop}\n)*"),
    ('"\\n".join(f"{i}. {n}" for i, n in enumerate(names))', "({i@loop}. {n@loop}\n)*"),
    ('"".join(f"{k}={v};" for k, v in row.items())', "({k@loop}={v@loop};)*"),
    ("wrap(name)", "<{name}!>"),
    ('wrap(end="?", text="x") + wrap(name, ".")', "<x?><{name}.>"),
    ("either(name)", "[yes|no {name}]"),
    ('(lambda text: f"L{text}")(name)', "L{name}"),
    ('ROWS["x"] + ROWS.get("y") + ROWS.get("z", "other")', "onetwoother"),
    ("ROWS[name]", "[one|two]"),
    ("PARTS[0] + PARTS[-1]", "ab"),
    ('dict(a="x", b=name)["b"]', "{name}"),
    ('{**ROWS, "x": name}["x"]', "{name}"),
    ('name.upper() if name else "NONE"', "[{name.upper()}|NONE]"),
    ('("x" if flag else "y") + name', "[x|y]{name}"),
    ('" ".join("a b".split()) + "a,b".split(",")[1]', "a bb"),
    ('getattr(row, "city")', "{row.city}"),
    ('f"{[1, name]}"', "?{name}?"),
]


@pytest.mark.parametrize(("expression", "expected"), UNDERSTOOD, ids=[expression for expression, _ in UNDERSTOOD])
def test_understood(expression: str, expected: str) -> None:
    assert prompts(FUNCTION.replace("EXPRESSION", expression)) == [expected]


NOT_UNDERSTOOD = [
    ('f"x {helper(name)} y"', "x ? y", "what helper() returns is not known here"),
    ('f"{name:{age}}"', "?", "format specification"),
    ('"{name}".format()', "?", "no value for {name}"),
    ('"{a".format(a=1)', "?", "format() cannot read"),
    ('"{}".format(*names)', "?", "no constant number of values"),
    ('f"{name} {{x}}".format(x=1)', "? 1", "reads braces in it"),
    ("name + age", "?", "a sum"),
    ('"%5.1f" % age', "?", "%5.1f"),
    ('"%s %s" % name', "?", "%"),
    ("json.dumps(row, indent=age)", "?", "json.dumps"),
    ('eval("name")', "?", "eval() returns is not known"),
    ("getattr(row, mystery)", "?", "getattr() returns is not known"),
    ("mystery()", "?", "mystery() returns is not known"),
    ("unbound_name", "?", "unbound_name is not bound"),
    ('f"{lambda_ if (lambda_ := helper()) else 1}"', "[?|1]", None),
    ("helper", "?", "elsewhere.helper is not in this project"),
]


@pytest.mark.parametrize(("expression", "expected", "reason"), NOT_UNDERSTOOD, ids=[row[0] for row in NOT_UNDERSTOOD])
def test_not_understood_is_unknown_with_a_reason(expression: str, expected: str, reason: str | None) -> None:
    source = FUNCTION.replace("EXPRESSION", expression)
    assert prompts(source) == [expected]
    if reason is not None:
        assert reason in reasons(source)[0]


def test_the_same_key_of_two_mappings_is_not_one_parameter() -> None:
    source = """
    def run(llm, left, right, name):
        llm.generate("{city} {name}".format(**left))
        llm.generate("{city} {name}".format(**right))
    """
    assert prompts(source) == ["{city} {left['name']}", "{right['city']} {right['name']}"]


STATEMENTS = {
    "a text that grows": ("text = 'a'\ntext += name\ntext = text + 'b'", "a{name}b"),
    "a conditional end": ("text = 'a'\nif flag:\n    text += name", "a[{name}|]"),
    "a list that is built": (
        "parts = ['b']\nparts += ['c']\nparts.extend(['d', name])\nparts.insert(0, 'a')\ntext = ' '.join(parts)",
        "a b c d {name}",
    ),
    "a dictionary that is built": (
        "row = {}\nrow['a'] = 'Hi '\nrow.update(b=name)\ntext = row['a'] + row['b']",
        "Hi {name}",
    ),
    "keys in a loop": ("text = ''\nfor key in ('a', 'b'):\n    text += key + ';'", "([a|b];)*"),
    "an assignment in an expression": ("if (text := name + '!'):\n    pass", "{name}!"),
    "several targets": ("text, other = 'a', 'b'\ntext = other + text", "ba"),
    "a match": (
        "match flag:\n    case 1:\n        text = 'a'\n    case _:\n        text = 'b'",
        "[a|b]",
    ),
}


@pytest.mark.parametrize("title", STATEMENTS)
def test_statements_that_build_a_text(title: str) -> None:
    statements, expected = STATEMENTS[title]
    body = statements.replace("\n", "\n    ")
    assert prompts(f"def run(llm, name, flag):\n    {body}\n    llm.generate(text)\n") == [expected]


CLASSES = {
    "a class constant": ("class P:\n    TASK = 'Sum up '\n", "P.TASK + doc", "Sum up {doc}"),
    "a constant of a base class": ("class B:\n    TASK = 'Sum up '\nclass P(B): ...\n", "P.TASK + doc", "Sum up {doc}"),
    "a constant that another makes": (
        "RULES = 'Be kind. '\nclass P:\n    TASK = RULES + 'Sum up '\n",
        "P.TASK + doc",
        "Be kind. Sum up {doc}",
    ),
    "an enumeration": (
        "from enum import Enum\nclass P(Enum):\n    SUM = 'Sum up '\n",
        "P.SUM.value + doc",
        "Sum up {doc}",
    ),
    "a dataclass with its default": (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    task: str = 'Sum up '\n",
        "P().task + doc",
        "Sum up {doc}",
    ),
    "a dataclass with a value": (
        "from dataclasses import dataclass, field\n@dataclass\nclass P:\n    task: str = 'Sum up '\n"
        "    end: str = field(default='.')\n",
        "P('Judge ').task + doc + P(end='!').end + P().end",
        "Judge {doc}!.",
    ),
    "a method that builds the prompt": (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    task: str = 'Sum up '\n"
        "    def render(self, text):\n        return self.task + text\n",
        "P().render(doc) + P('Judge ').render(doc)",
        "Sum up {doc}Judge {doc}",
    ),
    "a property": (
        "class P:\n    def __init__(self, task):\n        self._task = task\n"
        "    @property\n    def task(self):\n        return self._task + ': '\n",
        "P('Judge').task + doc",
        "Judge: {doc}",
    ),
    "a named tuple": (
        "from typing import NamedTuple\nclass P(NamedTuple):\n    task: str = 'Sum up '\n",
        "P().task + doc",
        "Sum up {doc}",
    ),
}


@pytest.mark.parametrize("title", CLASSES)
def test_texts_of_classes(title: str) -> None:
    definitions, expression, expected = CLASSES[title]
    assert prompts(f"{definitions}def run(llm, doc):\n    llm.generate({expression})\n") == [expected]


def test_a_long_sum_does_not_exhaust_the_stack() -> None:
    total = " + ".join(['"ab"'] * 700 + ["name"])
    assert prompts(FUNCTION.replace("EXPRESSION", total)) == ["ab" * 700 + "{name}"]


def test_a_text_that_doubles_is_given_up() -> None:
    doubling = "\n".join("    text = text + name + text" for _ in range(60))
    source = f"def run(llm, name):\n    text = name + 'x'\n{doubling}\n    llm.generate(text)\n"
    assert prompts(source) == ["?"]


def test_branches_that_append_do_not_multiply() -> None:
    branches = "\n".join(f"    if flag == {n}:\n        text += ' {n}'" for n in range(60))
    source = f"def run(llm, flag):\n    text = 'start'\n{branches}\n    llm.generate(text)\n"
    assert prompts(source) == ["start" + "".join(f"[ {n}|]" for n in range(60))]
