"""Statements: what a name holds where paths meet, after loops, in classes and in functions around functions."""

from __future__ import annotations

import pytest
from parser_show import parse, prompt, prompts

PROMPTS = {
    "reassignment": (
        """
        def run(llm, doc):
            text = "a"
            text = text + doc
            llm.generate(text)
            text = "b"
            llm.generate(text)
        """,
        ["a{doc}", "b"],
    ),
    "branches meet": (
        """
        def run(llm, doc, formal):
            if formal:
                tone = "Sir"
            else:
                tone = "Hi"
            llm.generate(f"{tone}, {doc}")
        """,
        ["[Sir|Hi], {doc}"],
    ),
    "a branch that returns does not meet": (
        """
        def run(llm, doc):
            text = "a"
            if not doc:
                text = "b"
                return llm.generate(text)
            elif doc == 1:
                raise ValueError(text)
            return llm.generate(text)
        """,
        ["b", "a"],
    ),
    "a handler sees any part of the body": (
        """
        def run(llm, doc):
            text = "a"
            try:
                text = "b"
                doc.check()
                text = "c"
            except ValueError:
                llm.generate(text)
            llm.generate(text)
        """,
        ["?", "[c|?]"],
    ),
    "a handler of one assignment": (
        """
        def run(llm, doc):
            text = "a"
            try:
                text = doc.read()
                text_ = "b"
            except ValueError:
                text_ = "c"
                llm.generate(text)
            llm.generate(text_)
        """,
        ["[a|?]", "[b|c]"],
    ),
    "with and match": (
        """
        def run(llm, doc):
            with open(doc) as handle:
                text = "a"
            match doc:
                case "x":
                    text = "b"
                case _:
                    text = "c"
            llm.generate(text)
        """,
        ["[b|c]"],
    ),
    "a text that grows in a loop": (
        """
        def run(llm, docs):
            text = "Documents:"
            for doc in docs:
                text += f" {doc};"
                if doc.last:
                    text += "!"
            llm.generate(text + " Done.")
        """,
        ["Documents:( {doc@loop};[!|])* Done."],
    ),
    "a list that grows in a loop": (
        """
        def run(llm, docs):
            lines = ["head"]
            for doc in docs:
                lines.append(f"- {doc}")
            llm.generate("".join(lines))
        """,
        ["head(- {doc@loop})*"],
    ),
    "a list that grows in a straight line, under two names": (
        """
        def run(llm, doc):
            lines = ["a"]
            same = lines
            lines.append(doc)
            lines += ["c"]
            llm.generate("-".join(same))
        """,
        ["a-{doc}-c"],
    ),
    "a result that is replaced in a loop": (
        """
        def run(llm, topic):
            draft = llm.generate(f"Write about {topic}")
            for _ in range(3):
                notes = llm.generate(f"Criticise {draft}")
                draft = llm.generate(f"Improve {draft} with {notes}")
            return draft
        """,
        ["Write about {topic}", "Criticise [<1>|<3>]", "Improve [<1>|<3>] with <2>"],
    ),
    "text of the turn before": (
        """
        def run(llm, docs):
            last = "none"
            for doc in docs:
                llm.generate(f"{doc} after {last}")
                last = doc
        """,
        ["{doc@loop} after [none|?]"],
    ),
    "a text rewritten from itself is unknown": (
        """
        def run(llm, docs):
            text = "a"
            for doc in docs:
                text = doc + text
                llm.generate(text)
        """,
        ["?"],
    ),
    "break and continue": (
        """
        def run(llm, docs):
            text = "a"
            for doc in docs:
                if doc.skip:
                    continue
                if doc.stop:
                    text = "stopped"
                    break
            llm.generate(text)
        """,
        ["[stopped|a]"],
    ),
    "an endless loop is left by its breaks alone": (
        """
        def run(llm, doc):
            text = "a"
            while True:
                text = "b"
                if doc:
                    break
            llm.generate(text)
        """,
        ["b"],
    ),
    "after the loop its item may be any": (
        """
        def run(llm, docs, doc):
            for doc in docs:
                pass
            llm.generate(f"last: {doc}")
        """,
        ["last: [{doc}|{doc@call}]"],
    ),
    "known items": (
        """
        def run(llm, doc):
            for task in ["Translate", "Sum up"]:
                llm.generate(f"{task}: {doc}")
        """,
        ["[Translate|Sum up]: {doc}"],
    ),
    "class constants and constructor": (
        """
        class Base:
            RULES = "Be kind. "
            def __init__(self, llm, style, count=3):
                self.llm, self.style = llm, style
                self.prefix = f"{self.RULES}{style} "
                self.loaded = read(count)
                self.turns = []

        class Agent(Base):
            def run(self, doc):
                self.turns.append(doc)
                self.llm.generate(self.prefix + doc + self.loaded)
                self.llm.generate(f"{self.RULES}{Base.RULES}{self.turns}")
        """,
        ["Be kind. {style@agent} {doc}{self.loaded@agent}", "Be kind. Be kind. ???{doc}?"],
    ),
    "an attribute that another method changes": (
        """
        class Agent:
            def __init__(self, llm):
                self.llm = llm
                self.mood = "calm"
            def run(self, doc):
                self.llm.generate(self.mood)
                self.mood = "angry"
                self.llm.generate(self.mood)
                self.other()
                self.llm.generate(self.mood)
            def other(self):
                pass
        """,
        ["[calm|?]", "angry", "angry"],
    ),
    "a constant that a subclass overrides": (
        """
        class Agent:
            TASK = "a"
            def __init__(self, llm):
                self.llm = llm
            def run(self):
                self.llm.generate(self.TASK)
        class Other(Agent):
            TASK = "b"
        """,
        ["?"],
    ),
    "a dataclass field is set by the constructor": (
        """
        from dataclasses import dataclass
        from typing import ClassVar
        @dataclass
        class Agent:
            llm: object
            style: str = "plain"
            RULES: ClassVar[str] = "rules "
            def run(self, doc):
                self.llm.generate(f"{self.RULES}{self.style} {doc}")
        """,
        ["rules {self.style@agent} {doc}"],
    ),
    "module constants": (
        """
        RULES = "a"
        RULES += "b"
        COUNT = 0
        NOTES = ["x"]
        def run(llm):
            global COUNT
            COUNT = 1
            NOTES.append("y")
            llm.generate(RULES + str(COUNT) + "".join(NOTES))
        """,
        ["ab??"],
    ),
    "a function in a function": (
        """
        def outer(llm, doc):
            rules = "a"
            twice = "b"
            twice = "c"
            def inner(part):
                llm.generate(f"{rules}{twice}{part}{doc}")
            inner(doc)
        """,
        ["a?{part}{doc}", "{doc}"],
    ),
    "what an unknown function is given may change": (
        """
        def run(llm, row, helper):
            parts = ["a"]
            llm.generate("".join(parts) + row["x"])
            helper(parts, row)
            llm.generate("".join(parts) + row["x"])
            row["x"] = "new"
            llm.generate(f"{row['x']}")
        """,
        ["a{row['x']}", "?{row['x']@call}", "?"],
    ),
}


@pytest.mark.parametrize("title", PROMPTS)
def test_flow(title: str) -> None:
    source, expected = PROMPTS[title]
    assert prompts(source) == expected


def test_dependences_and_loops() -> None:
    parsed = parse(PROMPTS["a result that is replaced in a loop"][0])
    one, two, three = parsed.calls
    assert two.depends_on == (one.id, three.id)
    assert three.depends_on == (one.id, two.id, three.id)
    assert (one.loop_depth, two.loop_depth) == (0, 1)
    assert two.loops == three.loops
    assert two.loops[0].line == 4


def test_results_flow_through_parsing_lists_and_unknown_functions() -> None:
    parsed = parse(
        """
        import json
        from elsewhere import clean, gather
        async def run(llm, docs):
            first = await llm.generate("a long enough prompt")
            facts = json.loads(first.strip())["facts"]
            second = llm.generate(f"{facts} and {clean(first)}")
            many = await gather(*[llm.generate(f"{doc} {second}") for doc in docs])
            llm.generate("\\n".join(many))
            collected = []
            for doc in docs:
                collected.append(llm.generate(doc))
            for item in collected:
                llm.generate(f"Check {item}")
        """
    )
    numbers = {call.id: call.id.rpartition("#")[2] for call in parsed.calls}
    flows = [[numbers[each] for each in call.depends_on] for call in parsed.calls]
    assert flows == [[], ["1"], ["2"], ["3"], [], ["5"]]
    assert prompt(parsed.calls[1]) == "<1~> and ?"
    assert prompt(parsed.calls[2]) == "{doc@loop} <2>"
    assert prompt(parsed.calls[5]) == "Check <5>"
    assert parsed.calls[2].loop_depth == 1


def test_a_call_inside_an_argument_is_needed_by_the_outer_one() -> None:
    parsed = parse("def run(llm, doc):\n    llm.generate('Improve: ' + llm.generate(doc))\n")
    outer, inner = parsed.calls
    assert outer.depends_on == (inner.id,)
    assert inner.forward
    assert not outer.forward


@pytest.mark.parametrize("depth", [3, 8, 18])
def test_nested_loops_end(depth: int) -> None:
    lines = ["def run(llm, docs):", "    text = 'a'"]
    for level in range(1, depth + 1):
        lines.append("    " * level + f"for d{level} in docs:")
        lines.append("    " * (level + 1) + f"text += d{level}")
    lines.append("    " * (depth + 1) + "llm.generate(text)")
    (call,) = parse("\n".join(lines)).calls
    assert call.loop_depth == depth
