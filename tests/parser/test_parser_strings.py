"""Every string construct that the interpreter understands, and what it makes of those it does not."""

from __future__ import annotations

import pytest
from parser_show import prompts, reasons

FUNCTION = """
import json
from textwrap import dedent
from elsewhere import helper

GREETING = "Hello"
TEMPLATE = "Name: {name}, age: {age}."
PLACE = "City: {city}, country: {country}."

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
