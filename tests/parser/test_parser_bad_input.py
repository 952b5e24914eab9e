"""Source that nobody should write: never a crash, never a hang, never a guess. Timeouts are coarse guards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from parser_show import listed, parse, project, prompts

from charter_compiler.parser.ast_parser import AgentASTParser

CALL = "def run(llm, doc):\n    llm.generate('Sum up ' + doc)\n"
FOUND = "run root: Sum up {doc}"

pytestmark = pytest.mark.timeout(120)


def test_files_that_cannot_be_parsed_do_not_hide_others(tmp_path: Path) -> None:
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe\x00")
    files = {
        "good.py": CALL,
        "broken.py": "def (:\n",
        "old.py": "print 'x'\n",
        "user.py": "from broken import x\n" + CALL,
    }
    parsed = project(tmp_path, files)
    assert listed(parsed) == [f"good:{FOUND}", f"user:{FOUND}"]
    assert [failed.file for failed in parsed.failed] == ["broken.py", "bytes.py", "old.py"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8-sig", "shift_jis", "utf-7"])
def test_other_encodings(tmp_path: Path, encoding: str) -> None:
    declared = "utf-8" if encoding == "utf-8-sig" else encoding
    word = "日本" if encoding == "shift_jis" else "é"
    source = f"# coding: {declared}\ndef run(llm):\n    llm.generate('{word}')\n"
    (tmp_path / "a.py").write_bytes(source.encode(encoding))
    assert listed(AgentASTParser().parse_paths([tmp_path])) == [f"a:run root: {word}"]


def test_ten_thousand_lines_in_functions(tmp_path: Path) -> None:
    body = "".join(
        f"def run{n}(llm, doc, flag):\n    text = f'{{doc}} {n}'\n    if flag:\n        text += 'x'\n"
        f"    return llm.generate(text)\n"
        for n in range(2_000)
    )
    parsed = project(tmp_path, {"long.py": body})
    assert parsed.failed == ()
    assert len(parsed.calls) == 2_000


def test_a_dictionary_of_two_thousand_prompts() -> None:
    rows = "".join(f"    'key{n}': 'Prompt number {n}',\n" for n in range(2_000))
    source = (
        f"TABLE = {{\n{rows}}}\ndef run(llm, key):\n    llm.generate(TABLE['key9'])\n    llm.generate(TABLE[key])\n"
    )
    one, two = prompts(source)
    assert one == "Prompt number 9"
    assert two == "?" or two.startswith("[Prompt number 0|")


DEEP = {
    "brackets": "x = " + "(" * 150 + "'a'" + ")" * 150,
    "lists": "x = " + "[" * 80 + "'a'" + "]" * 80,
    "conditionals": "x = " + "'a' if y else " * 500 + "'b'",
    "a sum": "x = " + " + ".join(["'a'"] * 900),
    "attributes": "x = y" + ".z" * 2_000,
    "calls": "x = y" + "()" * 1_000,
    "methods": "x = 'a'" + ".strip()" * 1_000,
    "functions": "\n".join("    " * n + f"def f{n}():" for n in range(60)) + "\n" + "    " * 60 + "pass",
    "branches": "\n".join("    " * n + f"if x{n}:" for n in range(90)) + "\n" + "    " * 90 + "y = 'b'",
    "lambdas": "x = " + "lambda: " * 500 + "'a'",
    "operators": "x = " + "not " * 1_000 + "y",
    "subscripts": "x = y" + "[0]" * 1_000,
    "f-strings": "x = 'a'\n" + "x = f'{x}{x}'\n" * 20,
    "comprehensions": "x = " + "[" * 30 + "y" + " for y in y]" * 30,
    "decorators": "@d\n" * 1_000 + "def f(): ...",
    "classes": "".join(f"class C{n}(C{n - 1}): ...\n" if n else "class C0: ...\n" for n in range(1_000)),
}


@pytest.mark.parametrize("title", DEEP)
def test_deep_nesting(title: str, tmp_path: Path) -> None:
    """It is followed, or the function is listed as one that was given up; other functions are read all the same."""
    inner = "\n".join("    " + line for line in DEEP[title].split("\n"))
    files = {
        "deep.py": f"def deep(llm, x, y, d):\n{inner}\n    llm.generate(x)\n{CALL}",
        "module.py": f"{DEEP[title]}\n{CALL}",
    }
    parsed = project(tmp_path, files)
    assert f"deep:{FOUND}" in listed(parsed)
    assert f"module:{FOUND}" in listed(parsed)
    assert all("nested too deep" in failed.message for failed in parsed.failed)


CIRCLES = {
    "two modules": {"a.py": "import b\nfrom b import y\nx = y\n" + CALL, "b.py": "import a\nfrom a import x\ny = x\n"},
    "a module and itself": {"a.py": "import a\nfrom a import *\nfrom a import x\n" + CALL},
    "a package": {
        "pkg/__init__.py": "from pkg.a import run\n",
        "pkg/a.py": "from pkg import run as r\nimport pkg\n" + CALL,
    },
    "star imports": {
        "a.py": "from b import *\n" + CALL,
        "b.py": "from c import *\n",
        "c.py": "from a import *\nfrom b import *\n",
    },
    "classes": {"a.py": "from b import B\nclass A(B): ...\n" + CALL, "b.py": "from a import A\nclass B(A): ...\n"},
    "a relative import that leaves the folder": {
        "a.py": "from .... import x\nfrom . import *\nfrom .a import run as r\n" + CALL
    },
}


@pytest.mark.parametrize("title", CIRCLES)
def test_imports_in_circles(title: str, tmp_path: Path) -> None:
    parsed = project(tmp_path, CIRCLES[title])
    assert [each.partition(":")[2] for each in listed(parsed)] == [FOUND]


def test_links_in_circles(tmp_path: Path) -> None:
    project(tmp_path / "real", {"a.py": CALL, "sub/b.py": CALL})
    os.symlink(tmp_path / "real", tmp_path / "real" / "sub" / "up")
    os.symlink(tmp_path / "real" / "x", tmp_path / "real" / "y")
    os.symlink(tmp_path / "real" / "y", tmp_path / "real" / "x")
    parsed = AgentASTParser().parse_paths([tmp_path / "real"])
    assert [call.span.file for call in parsed.calls] == ["a.py", "sub/b.py"]


NO_GUESS = {
    "a client that is rebound": "def run(llm, doc):\n    llm = 'text'\n    llm.generate(doc)\n",
    "a module that is rebound": "import openai\nopenai = 3\ndef run(doc):\n    openai.responses.create(input=doc)\n",
    "an import that is shadowed": "from openai import OpenAI\ndef run(doc, OpenAI):\n    OpenAI.list(doc)\n",
    "a dynamic attribute": "def run(client, name, doc):\n    getattr(client, name)(doc)\n",
    "evaluated text": "def run(llm, doc):\n    eval(\"llm.generate('x')\")\n    exec(\"llm.generate('y')\")\n",
    "a method of the same name": "class Dog:\n    def generate(self, x):\n        return x\n"
    "def run(doc):\n    Dog().generate(doc)\n",
}


@pytest.mark.parametrize("title", NO_GUESS)
def test_nothing_is_guessed(title: str) -> None:
    assert prompts(NO_GUESS[title]) == []


UNKNOWN = {
    "str is a parameter": "def run(llm, doc, str):\n    llm.generate(str(doc))\n",
    "a builtin that the module rebinds": "def str(x):\n    return x.secret()\n"
    "def run(llm, doc):\n    llm.generate(str(doc))\n",
    "a name that a function rebinds": "T = 'a'\ndef f():\n    global T\n    T = g()\n"
    "def run(llm):\n    llm.generate(T)\n",
    "a name from nowhere": "def run(llm):\n    llm.generate(nowhere)\n",
    "names of the module's dictionary": "globals()['T'] = 'x'\ndef run(llm):\n    llm.generate(T)\n",
}


@pytest.mark.parametrize("title", UNKNOWN)
def test_what_is_not_known_is_unknown(title: str) -> None:
    assert prompts(UNKNOWN[title]) == ["?"]


GROWING = {
    "a text": "t = 'a'\n    for d in docs:\n        t = t + t + d\n        llm.generate(t)",
    "a list": "t = ['a']\n    while docs:\n        t = [t, t, *t]\n        llm.generate(str(t))",
    "a dictionary": "t = {}\n    for d in docs:\n        t = {'a': t, 'b': t, d: t}\n        llm.generate(str(t))",
    "a function": "t = lambda: 'a'\n    for d in docs:\n        t = lambda t=t: t() + t()\n        llm.generate(t())",
    "an object": "t = None\n    for d in docs:\n        t = Node(t, t)\n        llm.generate(t.text())",
    "messages": "t = []\n    for d in docs:\n        t = t + t + [{'role': 'user', 'content': d}]\n        llm.chat(t)",
    "branches": "t = 'a'\n"
    + "".join(f"    if docs == {n}:\n        t = t + '{n}' + t\n" for n in range(40))
    + "    llm.generate(t)",
    "a choice in a choice": "t = 'a'\n" + "    t = t + (t if docs else 'b')\n" * 40 + "    llm.generate(t)",
    "loops in loops": "t = 'a'\n"
    + "".join("    " * n + f"    for d{n} in docs:\n" + "    " * n + f"        t = d{n} + t\n" for n in range(15))
    + "    llm.generate(t)",
}


def test_a_constant_that_doubles_is_given_up() -> None:
    """24 times, so that a failure takes 16 million characters and not all of the memory."""
    doubling = "    x = f'{x}{x}'\n" * 24
    assert prompts(f"def run(llm):\n    x = 'a'\n{doubling}    llm.generate(x)\n") == ["?"]


NODE = "class Node:\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n"
"    def text(self):\n        return self.a.text() + self.b.text()\n"


@pytest.mark.parametrize("title", GROWING)
def test_values_that_grow_without_end(title: str) -> None:
    parsed = parse(f"{NODE}def run(llm, docs):\n    {GROWING[title]}\n")
    assert [call.function for call in parsed.calls] == ["run"]


FOR_EVER = {
    "a pair": "def a(x):\n    return b(x + '1')\ndef b(x):\n    return a(x + '2')\n",
    "two calls each": "def a(x):\n    return a(x + '1') + a(x + '2')\n",
    "many": "".join(f"def f{n}(x):\n    return f{(n + 1) % 60}(x) + f{(n + 7) % 60}(x)\n" for n in range(60))
    + "a = f0\n",
    "itself as an argument": "def a(x):\n    return a(a)(a(x))\n",
    "a generator": "def a(x):\n    yield from a(x)\n    yield x\n",
    "a class that makes itself": "class a:\n    def __init__(self, x):\n        self.next = a(x)\n",
    "a property of itself": "class P:\n    @property\n    def x(self):\n"
    "        return self.x + P().x\ndef a(x):\n    return P().x\n",
    "a default that calls": "def a(x, y=a('z')):\n    return y + a(x, a(x))\n",
    "a decorator of itself": "@a\ndef a(x):\n    return a(x)\n",
}


@pytest.mark.parametrize("title", FOR_EVER)
def test_functions_that_call_one_another_for_ever(title: str) -> None:
    parsed = parse(f"{FOR_EVER[title]}def run(llm, doc):\n    llm.generate(f'Sum up {{doc}} {{a(doc)}}')\n")
    assert [call.function for call in parsed.calls] == ["run"]
    assert prompts(f"{FOR_EVER[title]}{CALL}") == ["Sum up {doc}"]
