"""Wrappers: functions, methods and callables of the project whose argument travels to a model are calls themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from parser_show import listed, parse, project

CLIENT = "from openai import OpenAI\nclient = OpenAI()\n"
ROOT = "    return client.responses.create(input=prompt).output_text\n"
ASK = f"{CLIENT}def ask(prompt):\n{ROOT}"
"""A file with a wrapper."""

ONE_FILE = {
    "a function": (
        ASK + "def run(doc):\n    return ask('Sum up ' + doc)\n",
        ["ask root: user: {prompt}", "run wrapper: user: Sum up {doc}"],
    ),
    "a function defined behind its use": (
        "def run(doc):\n    return ask('Sum up ' + doc)\n" + ASK,
        ["run wrapper: user: Sum up {doc}", "ask root: user: {prompt}"],
    ),
    "through several functions": (
        ASK
        + "def outer(text, *, level=1):\n    return ask(f'Level {level}: {text}')\n"
        + "def run(doc):\n    return outer('Sum up ' + doc)\n",
        ["ask root: user: {prompt}", "outer wrapper: user: Level {level}: {text}", "run wrapper: user: Sum up {doc}"],
    ),
    "only what carries the prompt counts": (
        CLIENT
        + "def ask(prompt, retries=3, tag='x'):\n    log(tag, retries)\n"
        + ROOT
        + "def run(doc):\n    log(doc)\n    return ask('Sum up', 2, tag=doc)\n",
        ["ask root: user: {prompt}", "run wrapper: user: Sum up"],
    ),
    "a system prompt and a user prompt": (
        CLIENT
        + "def ask(question, system='Be brief.'):\n"
        + "    client.chat.completions.create(messages=[{'role': 'system', 'content': system},\n"
        + "        {'role': 'user', 'content': question}])\n"
        + "def run(doc):\n    ask(doc, system='Be kind.')\n",
        ["ask root: system: {system} / user: {question}", "run wrapper: system: Be kind. / user: {doc}"],
    ),
    "a list of messages": (
        CLIENT
        + "def ask(messages):\n    return client.chat.completions.create(messages=messages)\n"
        + "def run(doc):\n    ask([{'role': 'system', 'content': 'Be kind.'}, {'role': 'user', 'content': doc}])\n",
        ["ask root: unknown: {messages}", "run wrapper: system: Be kind. / user: {doc}"],
    ),
    "a method": (
        f"{CLIENT}class Bot:\n    def ask(self, prompt):\n        return client.responses.create(input=prompt)\n"
        "    def run(self, doc):\n        return self.ask(f'Sum up {doc}')\n"
        "def main(doc):\n    Bot().ask('Direct ' + doc)\n",
        [
            "Bot.ask root: user: {prompt}",
            "Bot.run wrapper: user: Sum up {doc}",
            "main wrapper: user: Direct {doc}",
        ],
    ),
    "an inherited method": (
        f"{CLIENT}class Base:\n    def ask(self, prompt):\n        return client.responses.create(input=prompt)\n"
        "class Bot(Base):\n    def run(self, doc):\n        return self.ask('Sum up ' + doc)\n"
        "class Other(Bot):\n    def go(self, doc):\n        return super().ask('Super ' + doc)\n",
        [
            "Base.ask root: user: {prompt}",
            "Bot.run wrapper: user: Sum up {doc}",
            "Other.go wrapper: user: Super {doc}",
        ],
    ),
    "an abstract method that subclasses fill in": (
        f"{CLIENT}class Base:\n    def ask(self, prompt):\n        raise NotImplementedError\n"
        "    def run(self, doc):\n        return self.ask('Sum up ' + doc)\n"
        "class Bot(Base):\n    def ask(self, prompt):\n        return client.responses.create(input=prompt)\n",
        ["Base.run wrapper: user: Sum up {doc}", "Bot.ask root: user: {prompt}"],
    ),
    "an override that calls no model": (
        f"{CLIENT}class Base:\n    def ask(self, prompt):\n        return client.responses.create(input=prompt)\n"
        "class Silent(Base):\n    def ask(self, prompt):\n        return ''\n"
        "def run(doc):\n    Silent().ask('Nothing ' + doc)\n",
        ["Base.ask root: user: {prompt}"],
    ),
    "a class method and a static method": (
        f"{CLIENT}class Bot:\n    @classmethod\n    def ask(cls, prompt):\n"
        "        return client.responses.create(input=prompt)\n"
        "    @staticmethod\n    def tell(prompt):\n        return Bot.ask('Tell ' + prompt)\n"
        "def run(doc):\n    Bot.tell(doc)\n",
        [
            "Bot.ask root: user: {prompt}",
            "Bot.tell wrapper: user: Tell {prompt}",
            "run wrapper: user: {doc}",
        ],
    ),
    "an object that is called": (
        f"{CLIENT}class Bot:\n    def __call__(self, prompt):\n        return client.responses.create(input=prompt)\n"
        "def run(doc):\n    bot = Bot()\n    return bot('Sum up ' + doc)\n",
        ["Bot.__call__ root: user: {prompt}", "run wrapper: user: Sum up {doc}"],
    ),
    "a callable attribute": (
        ASK + "class Bot:\n    def __init__(self):\n        self.tell = ask\n"
        "    def run(self, doc):\n        return self.tell('Sum up ' + doc)\n",
        ["ask root: user: {prompt}", "Bot.run wrapper: user: Sum up {doc}"],
    ),
    "a callable attribute that is handed in": (
        ASK + "class Bot:\n    def __init__(self, tell):\n        self.tell = tell\n"
        "    def run(self, doc):\n        return self.tell('Sum up ' + doc)\n"
        "bot = Bot(ask)\n",
        ["ask root: user: {prompt}", "Bot.run wrapper: user: Sum up {doc}"],
    ),
    "a callable parameter": (
        ASK + "def each(tell, docs):\n    return [tell('Sum up ' + doc) for doc in docs]\n"
        "def run(docs):\n    return each(ask, docs)\n",
        ["ask root: user: {prompt}", "each wrapper: user: Sum up {doc@loop}", "run wrapper: user: {docs}"],
    ),
    "a lambda": (
        ASK + "def run(doc):\n    tell = lambda text: ask('Sum up ' + text)\n    return tell(doc)\n",
        ["ask root: user: {prompt}", "run wrapper: user: Sum up {text@call}", "run wrapper: user: {doc}"],
    ),
    "partial application": (
        CLIENT
        + "from functools import partial\n"
        + "def ask(system, prompt):\n    return client.responses.create(instructions=system, input=prompt)\n"
        + "def run(doc):\n    kind = partial(ask, 'Be kind.')\n    return kind('Sum up ' + doc)\n",
        ["ask root: system: {system} / user: {prompt}", "run wrapper: system: Be kind. / user: Sum up {doc}"],
    ),
    "another name": (
        ASK + "tell = ask\ndef run(doc):\n    say = tell\n    say('Sum up ' + doc)\n",
        ["ask root: user: {prompt}", "run wrapper: user: Sum up {doc}"],
    ),
    "a table of functions": (
        ASK + "TOOLS = {'ask': ask}\ndef run(doc):\n    TOOLS['ask']('Sum up ' + doc)\n",
        ["ask root: user: {prompt}", "run wrapper: user: Sum up {doc}"],
    ),
    "a nested function": (
        f"{CLIENT}def run(doc):\n    def ask(prompt):\n        return client.responses.create(input=prompt)\n"
        "    return ask('Sum up ' + doc)\n",
        ["run.ask root: user: {prompt}", "run wrapper: user: Sum up {doc}"],
    ),
    "a decorated function": (
        "from tenacity import retry\nfrom functools import cache\n"
        f"{CLIENT}@retry(stop=3)\n@cache\ndef ask(prompt):\n{ROOT}"
        "def run(doc):\n    return ask('Sum up ' + doc)\n",
        ["ask root: user: {prompt}", "run wrapper: user: Sum up {doc}"],
    ),
    "a global client": (
        "from openai import OpenAI\nclient = None\ndef start():\n    global client\n    client = OpenAI()\n"
        f"def ask(prompt):\n{ROOT}def run(doc):\n    start()\n    return ask('Sum up ' + doc)\n",
        ["ask root: user: {prompt}", "run wrapper: user: Sum up {doc}"],
    ),
    "a client that the constructor is given": (
        "from openai import OpenAI\nclass Bot:\n    def __init__(self, backend):\n        self.backend = backend\n"
        "    def ask(self, prompt):\n        return self.backend.responses.create(input=prompt)\n"
        "def run(doc):\n    bot = Bot(OpenAI())\n    return bot.ask('Sum up ' + doc)\n",
        ["Bot.ask root: user: {prompt}", "run wrapper: user: Sum up {doc}"],
    ),
    "a function that builds everything inside is no call": (
        ASK + "def run():\n    return ask('Sum up')\ndef main():\n    run()\n",
        ["ask root: user: {prompt}", "run wrapper: user: Sum up"],
    ),
    "a loader is no wrapper": (
        ASK + "def load(path):\n    return ask('Sum up ' + open(path).read())\n",
        ["ask root: user: {prompt}", "load wrapper: user: Sum up ?"],
    ),
    "arguments by name, in a list and in a dictionary": (
        ASK + "def run(doc):\n    ask(prompt='One ' + doc)\n"
        "    ask(*['Two ' + doc])\n    ask(**{'prompt': 'Three ' + doc})\n",
        [
            "ask root: user: {prompt}",
            "run wrapper: user: One {doc}",
            "run wrapper: user: Two {doc}",
            "run wrapper: user: Three {doc}",
        ],
    ),
    "all arguments are handed on": (
        ASK
        + "def again(*args, **kwargs):\n    return ask(*args, **kwargs)\ndef run(doc):\n    again('Sum up ' + doc)\n",
        ["ask root: user: {prompt}", "again wrapper: user: {args}", "run wrapper: user: Sum up {doc}"],
    ),
    "a client that functions hand on, the last time by way of a library": (
        "import asyncio\nfrom openai import OpenAI\n"
        "def judge(backend, text):\n    return backend.responses.create(input='Judge ' + text)\n"
        "async def each(backend, text):\n    return await asyncio.to_thread(judge, backend, text)\n"
        "async def run(doc):\n    return await each(OpenAI(), doc)\n",
        ["judge root: user: Judge {text}", "run wrapper: user: {doc}"],
    ),
    "a property with a setter is still what its getter gives": (
        "from openai import OpenAI\nclass Bot:\n"
        "    @property\n    def backend(self):\n        return OpenAI()\n"
        "    @backend.setter\n    def backend(self, value):\n        self._backend = value\n"
        "    def ask(self, prompt):\n        return self.backend.responses.create(input=prompt)\n"
        "def run(doc):\n    return Bot().ask('Sum up ' + doc)\n",
        ["Bot.ask root: user: {prompt}", "run wrapper: user: Sum up {doc}"],
    ),
    "a method by its name, where the object is one of several that are not known": (
        "from openai import OpenAI\nclass Backend:\n    def ask(self, prompt):\n"
        "        return OpenAI().responses.create(input=prompt)\n"
        "def run(doc, config):\n    backend = config.get('a') if doc else make(config)\n"
        "    return backend.ask('Sum up ' + doc)\n",
        ["Backend.ask root: user: {prompt}", "run wrapper: user: Sum up {doc}"],
    ),
    "methods that call each other and change their object": (
        "from openai import OpenAI\nclass Bot:\n    def a(self, n):\n        if n:\n            self.b(n - 1)\n"
        "        self.tone = 'rude'\n    def b(self, n):\n        self.a(n)\n"
        "    def ask(self, doc):\n        self.tone = 'kind'\n        self.a(1)\n        self.tone = 'kind'\n"
        "        self.b(1)\n        return OpenAI().responses.create(input='Be ' + self.tone + doc)\n",
        ["Bot.ask root: user: Be rude{doc}"],
    ),
    "what a method reads of an object that its caller has changed": (
        "from openai import OpenAI\nclass Bot:\n    def __init__(self):\n        self.topic = ''\n"
        "    def ask(self):\n        return OpenAI().responses.create(input='Sum up ' + self.topic)\n"
        "    def run(self, doc):\n        self.topic = doc\n        return self.ask()\n"
        "def main(text):\n    return Bot().run(text)\n",
        ["Bot.ask root: user: Sum up [|?]", "main wrapper: user: {text}"],
    ),
}


@pytest.mark.parametrize("title", ONE_FILE)
def test_in_one_file(title: str) -> None:
    source, expected = ONE_FILE[title]
    assert [each.removeprefix("agent:") for each in listed(parse(source))] == expected


RUN = "def run(doc):\n    return ask('Sum up ' + doc)\n"
FOUND = ["llm:ask root: user: {prompt}", "run:run wrapper: user: Sum up {doc}"]
FILES = {
    "an import": ({"llm.py": ASK, "run.py": "from llm import ask\n" + RUN}, FOUND),
    "another name": ({"llm.py": ASK, "run.py": "from llm import ask as tell\n" + RUN.replace("ask", "tell")}, FOUND),
    "a module": ({"llm.py": ASK, "run.py": "import llm\n" + RUN.replace("ask", "llm.ask")}, FOUND),
    "a star import": ({"llm.py": ASK, "run.py": "from llm import *\n" + RUN}, FOUND),
    "an import within the function": (
        {"llm.py": ASK, "run.py": "def run(doc):\n    from llm import ask\n    return ask('Sum up ' + doc)\n"},
        FOUND,
    ),
    "a relative import": (
        {"pkg/__init__.py": "", "pkg/llm.py": ASK, "pkg/run.py": "from .llm import ask\n" + RUN},
        ["pkg/llm:ask root: user: {prompt}", "pkg/run:run wrapper: user: Sum up {doc}"],
    ),
    "a re-export": (
        {"pkg/__init__.py": "from .llm import ask\n", "pkg/llm.py": ASK, "run.py": "from pkg import ask\n" + RUN},
        ["pkg/llm:ask root: user: {prompt}", "run:run wrapper: user: Sum up {doc}"],
    ),
    "a re-export by star": (
        {
            "pkg/__init__.py": "from .llm import *\n",
            "pkg/llm.py": ASK,
            "run.py": "import pkg\n" + RUN.replace("ask", "pkg.ask"),
        },
        ["pkg/llm:ask root: user: {prompt}", "run:run wrapper: user: Sum up {doc}"],
    ),
    "a source folder": (
        {"src/pkg/__init__.py": "", "src/pkg/llm.py": ASK, "run.py": "from pkg.llm import ask\n" + RUN},
        ["run:run wrapper: user: Sum up {doc}", "src/pkg/llm:ask root: user: {prompt}"],
    ),
    "star imports in a circle": (
        {
            "llm.py": "from run import *\n" + ASK,
            "run.py": "from llm import *\n" + RUN,
        },
        FOUND,
    ),
    "a client of another file": (
        {"llm.py": CLIENT, "run.py": "from llm import client\ndef run(doc):\n    client.responses.create(input=doc)\n"},
        ["run:run root: user: {doc}"],
    ),
    "a base class of another file": (
        {
            "base.py": f"{CLIENT}class Base:\n    def ask(self, prompt):\n"
            f"        client.responses.create(input=prompt)\n",
            "bot.py": "from base import Base\nclass Bot(Base):\n"
            "    def run(self, doc):\n        self.ask('Sum up ' + doc)\n",
        },
        ["base:Base.ask root: user: {prompt}", "bot:Bot.run wrapper: user: Sum up {doc}"],
    ),
    "an object that is handed from file to file": (
        {
            "llm.py": f"{CLIENT}class Model:\n    def ask(self, prompt):\n"
            f"        client.responses.create(input=prompt)\n",
            "bot.py": "class Bot:\n    def __init__(self, model):\n        self.model = model\n"
            "    def run(self, doc):\n        self.model.ask('Sum up ' + doc)\n",
            "main.py": "from llm import Model\nfrom bot import Bot\nBot(Model()).run('x')\n",
        },
        [
            "bot:Bot.run wrapper: user: Sum up {doc}",
            "llm:Model.ask root: user: {prompt}",
            "main:<module> wrapper: user: x",
        ],
    ),
    "a function of the same name elsewhere": (
        {
            "llm.py": ASK,
            "other.py": "def ask(prompt):\n    return prompt\n",
            "run.py": "from other import ask\n" + RUN,
        },
        ["llm:ask root: user: {prompt}"],
    ),
    "constants and helpers of other files": (
        {
            "llm.py": ASK,
            "prompts.py": "RULES = 'Be kind. '\ndef build(doc):\n    return RULES + 'Sum up ' + doc\n",
            "run.py": "import prompts\nfrom prompts import RULES, build\nfrom llm import ask\n"
            "def run(doc):\n    ask(RULES + doc)\n    ask(prompts.build(doc))\n",
        },
        [
            "llm:ask root: user: {prompt}",
            "run:run wrapper: user: Be kind. {doc}",
            "run:run wrapper: user: Be kind. Sum up {doc}",
        ],
    ),
}


@pytest.mark.parametrize("title", FILES)
def test_across_files(title: str, tmp_path: Path) -> None:
    files, expected = FILES[title]
    assert listed(project(tmp_path, files)) == expected


ENDLESS = {
    "itself": "def ask(prompt, n):\n    client.responses.create(input=prompt)\n    return ask(prompt + '!', n - 1)\n",
    "one another": "def one(prompt):\n    return two('a' + prompt)\n"
    "def two(prompt):\n    client.responses.create(input=prompt)\n    return one('b' + prompt)\n",
    "through an attribute": "class A:\n    def run(self, prompt):\n        client.responses.create(input=prompt)\n"
    "        self.run(self.run(prompt))\n",
    "a function that is given itself": "def f(g, prompt):\n    client.responses.create(input=prompt)\n"
    "    return g(g, prompt)\n"
    "f(f, 'x')\n",
    "a function that makes functions": "def f(prompt):\n    def g(inner):\n"
    "        client.responses.create(input=prompt)\n"
    "        return f(inner + prompt)\n    return g\nf('a')('b')('c')\n",
    "an inheritance in a circle": "class A(B): ...\nclass B(A):\n    def run(self, prompt):\n"
    "        client.responses.create(input=prompt)\n        self.run(prompt)\n",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("title", ENDLESS)
def test_recursion_ends(title: str) -> None:
    found = parse(CLIENT + ENDLESS[title]).calls
    assert [call.api for call in found if call.kind == "root"] == ["openai.responses"]


def test_what_a_wrapper_returns_is_its_own_result() -> None:
    found = parse(
        ASK + "def run(doc):\n    notes = ask('Note ' + doc)\n    return ask('Judge ' + notes.strip())\n"
    ).calls
    assert [each.id for each in found] == ["agent.py:ask#1", "agent.py:run#1", "agent.py:run#2"]
    assert found[2].depends_on == ("agent.py:run#1",)


def test_wrappers_say_what_they_are() -> None:
    root, inner, outer = parse(
        ASK + "def tell(prompt):\n    return ask(prompt)\ndef run(doc):\n    return tell('Sum up ' + doc)\n"
    ).calls
    assert [(each.kind, each.api, each.callee) for each in (root, inner, outer)] == [
        ("root", "openai.responses", "client.responses.create"),
        ("wrapper", "project", "ask"),
        ("wrapper", "project", "tell"),
    ]
    assert [each.forward for each in (root, inner, outer)] == [True, True, False]
