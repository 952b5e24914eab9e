"""Which call's result reaches which prompt: ``a <- b`` says that call a (counted from 1) uses the result of call b."""

from __future__ import annotations

import pytest
from parser_show import parse, prompt

FLOWS = {
    "a variable": ("a = llm.generate('A ' + doc)\n    llm.generate(f'B {a}')", ["A {doc}", "B <1>"], ["2 <- 1"]),
    "nothing flows": ("a = llm.generate('A')\n    llm.generate('B')\n    print(a)", ["A", "B"], []),
    "a branch that it decides is no flow": (
        "a = llm.generate('A')\n    if a:\n        llm.generate('B')",
        ["A", "B"],
        [],
    ),
    "bound in a branch alone": (
        "if doc:\n        a = llm.generate('A')\n    llm.generate(f'B {a}')",
        ["A", "B <1>"],
        ["2 <- 1"],
    ),
    "bound in a loop alone": (
        "for d in docs:\n        a = llm.generate(d)\n    llm.generate(f'B {a}')",
        ["{d@loop}", "B <1>"],
        ["2 <- 1"],
    ),
    "bound where it may fail": (
        "try:\n        a = llm.generate('A')\n    except E:\n        a = 'none'\n    llm.generate(f'B {a}')",
        ["A", "B [<1>|none]"],
        ["2 <- 1"],
    ),
    "parsing": (
        "a = json.loads(llm.generate('A').strip())['x'][0]\n    llm.generate(f'B {a}')",
        ["A", "B <1~>"],
        ["2 <- 1"],
    ),
    "a regular expression": (
        "a = re.search('x', llm.generate('A')).group(1)\n    llm.generate(f'B {a}')",
        ["A", "B ?"],
        ["2 <- 1"],
    ),
    "a split": ("a, b = llm.generate('A').split('|')\n    llm.generate(f'B {b}')", ["A", "B <1~>"], ["2 <- 1"]),
    "a list": (
        "a = [llm.generate('A'), llm.generate('B')]\n    llm.generate(f'C {a[1]}')",
        ["A", "B", "C <2>"],
        ["3 <- 2"],
    ),
    "a dictionary": (
        "a = {'x': llm.generate('A')}\n    a['y'] = llm.generate('B')\n    llm.generate(f'C {a[\"x\"]}')",
        ["A", "B", "C <1>"],
        ["3 <- 1"],
    ),
    "a comprehension": (
        "a = [llm.generate(d) for d in docs]\n    llm.generate(' '.join(a))",
        ["{d@loop}", "(<1> )*"],
        ["2 <- 1"],
    ),
    "a dictionary of lists": (
        "a = {d: [llm.generate(f'{d} {e}') for e in docs] for d in docs}\n    llm.generate(f'B {a[doc]}')",
        ["{d@loop} {e@loop}", "B ?"],
        ["2 <- 1"],
    ),
    "a list that a loop fills": (
        "a = []\n    for d in docs:\n        a.append(llm.generate(d))\n"
        "    for b in a:\n        llm.generate('B ' + b)",
        ["{d@loop}", "B <1>"],
        ["2 <- 1"],
    ),
    "the turn before": (
        "a = ''\n    for d in docs:\n        a = llm.generate(d + a)",
        ["{d@loop}[|<1>]"],
        ["1 <- 1"],
    ),
    "gather": (
        "a, b = await asyncio.gather(llm.generate('A'), llm.generate('B'))\n    await llm.generate(f'C {b} {a}')",
        ["A", "B", "C <2> <1>"],
        ["3 <- 1", "3 <- 2"],
    ),
    "gather of a comprehension": (
        "a = await asyncio.gather(*(llm.generate(d) for d in docs))\n    await llm.generate(' '.join(a))",
        ["{d@loop}", "(<1> )*"],
        ["2 <- 1"],
    ),
    "tasks": (
        "a = [asyncio.create_task(llm.generate(d)) for d in docs]\n"
        "    for t in a:\n        await llm.generate(await t)",
        ["{d@loop}", "<1>"],
        ["2 <- 1"],
    ),
    "an attribute of the object": (
        "self.a = llm.generate('A')\n    llm.generate(f'B {self.a}')",
        ["A", "B <1>"],
        ["2 <- 1"],
    ),
    "an attribute of another object": (
        "box = Box('x')\n    box.a = llm.generate('A')\n    llm.generate(f'B {box.a}')",
        ["A", "B <1>"],
        ["2 <- 1"],
    ),
    "a helper function": (
        "a = clean(llm.generate('A'))\n    llm.generate(f'B {a}')",
        ["A", "B [<1>]"],
        ["2 <- 1"],
    ),
    "an unknown function": (
        "a = unknown(llm.generate('A'), doc)\n    llm.generate(f'B {a}')",
        ["A", "B ?"],
        ["2 <- 1"],
    ),
    "the history of a conversation": (
        "m = [{'role': 'user', 'content': doc}]\n"
        "    a = llm.chat(m)\n    m.append({'role': 'assistant', 'content': a})\n"
        "    llm.chat(m)",
        ["user: {doc}", "user: {doc} / assistant: <1>"],
        ["2 <- 1"],
    ),
    "replaced": ("a = llm.generate('A')\n    a = 'x'\n    llm.generate('B ' + a)", ["A", "B x"], []),
}
HEAD = """import asyncio, json, re
class Box:
    def __init__(self, a):
        self.a = a
def clean(text):
    return '[' + text + ']'
class A:
  async def run(self, llm, doc, docs):
    """


@pytest.mark.parametrize("title", FLOWS)
def test_flow_of_results(title: str) -> None:
    body, prompts, edges = FLOWS[title]
    calls = parse(f"{HEAD}{body}\n").calls
    assert [prompt(call) for call in calls] == prompts
    number = {call.id: index for index, call in enumerate(calls, start=1)}
    assert [f"{number[call.id]} <- {number[each]}" for call in calls for each in call.depends_on] == edges


LOOPS = {
    "none": ("llm.generate(doc)", 0),
    "for": ("for d in docs:\n        llm.generate(d)", 1),
    "while": ("while doc:\n        llm.generate(doc)", 1),
    "the end of a loop": ("for d in docs:\n        pass\n    else:\n        llm.generate(doc)", 0),
    "what a loop runs over": ("for d in llm.generate(doc):\n        pass", 0),
    "the condition of a loop": ("while llm.generate(doc):\n        pass", 1),
    "a comprehension": ("[llm.generate(d) for d in docs]", 1),
    "two in one": ("[llm.generate(d) for e in docs for d in e]", 2),
    "one in a loop": ("for e in docs:\n        [llm.generate(d) for d in e]", 2),
    "a function in a loop": ("for d in docs:\n        def inner(x):\n            return llm.generate(x)", 0),
}


@pytest.mark.parametrize("title", LOOPS)
def test_loops_around_a_call(title: str) -> None:
    body, depth = LOOPS[title]
    (call,) = parse(f"def run(llm, doc, docs):\n    {body}\n").calls
    assert call.loop_depth == depth


def test_awaited_used_and_branches() -> None:
    one, two, three, four, five = parse(
        """
        def helper(text):
            return "h " + text
        async def run(llm, doc):
            await llm.generate("one " + doc)
            task = llm.generate("two " + doc)
            if doc:
                return await llm.generate("three " + doc)
            else:
                await llm.generate(helper(doc))
            return [task, llm.generate("five")]
        """
    ).calls
    assert [call.awaited for call in (one, two, three, four, five)] == [True, False, True, True, False]
    assert [call.used for call in (one, two, three, four, five)] == [False, True, True, False, True]
    assert [len(call.arms) for call in (one, two, three, four, five)] == [0, 0, 1, 1, 0]
    assert three.arms != four.arms
