"""What the checks say of IR that is written down: the facts of a call, one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charter_compiler.analysis.checks import check
from charter_compiler.diagnostics.errors import TokenizerError
from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Agent, Call, CallRef, Choice, Const, Message, Param, Repeat, Segment, Unknown
from charter_compiler.tokens.tokenizer import Tokenizer, default_tokenizer

RULES = "Answer from the handbook only, name the chapter, and never promise a date. " * 20


def at(line: int) -> Span:
    return Span("a.py", line, 5, line, 20)


def const(text: str = RULES, line: int = 1) -> Const:
    return Const(text, at(line))


def param(name: str = "question", scope: str = "item", line: int = 1) -> Param:
    return Param(name, at(line), scope)  # type: ignore[arg-type]


def call(*segments: Segment, **changes: object) -> Call:
    made = Call("a.py:run#1", at(9), "run", "root", "injected", "llm.generate", (Message("raw", segments),))
    return replace(made, **changes)  # type: ignore[arg-type]


def codes(*calls: Call, sources: dict[str, str] | None = None) -> list[str]:
    return [each.code for each in check(Agent("a.py", calls), sources or {})]


LOOP = {"loops": (at(8),), "loop_depth": 1}
VOLATILE = Unknown("the value of time.time() is not in this project", at(1), "volatile")
UNORDERED = Unknown("a set has no fixed order", at(1), "unordered")

FOUND = {
    "what varies before constant text": (call(param(), const()), ["CH101"]),
    "constant text first": (call(const(), param()), []),
    "too little constant text": (call(param(), const("Answer in one sentence.")), []),
    "little pieces between values": (call(*[param(), const("Name of it: ")] * 200), []),
    "a value of the whole run": (call(param(scope="agent"), const()), []),
    "a value that may be anything": (call(param(scope="call"), const()), []),
    "a setting": (call(param("language"), const()), []),
    "a setting of several words": (call(param("max_words"), const()), []),
    "an unknown part": (call(Unknown("from elsewhere", at(1)), const()), []),
    "an unknown part before the value": (call(Unknown("from elsewhere", at(1)), param(), const()), ["CH101"]),
    "an alternative": (call(Choice(((param(),), ()), at(1)), const()), []),
    "a list of values": (call(Repeat((param("d", "loop"), const("\n")), at(1)), const()), ["CH101"]),
    "a forward": (call(param(), const(), forward=True), []),
    "the result of a call": (
        call(CallRef("a.py:run#2", at(1)), const(), depends_on=("a.py:run#2",)),
        ["CH101"],
    ),
    "an API that orders for itself": (call(param(), const(), api="crewai.Crew"), []),
    "a value of the loop": (call(param("doc", "loop"), const(), **LOOP), ["CH102"]),
    "a value that the loop does not change": (call(param("doc"), const(), param("q", "loop"), **LOOP), []),
    "a long value behind the loop's": (call(param("q", "loop"), param("report"), **LOOP), ["CH102"]),
    "a value that may be short behind the loop's": (call(param("doc", "loop"), param("topic"), **LOOP), []),
    "a result behind the loop's value": (
        call(param("q", "loop"), CallRef("a.py:run#2", at(1)), depends_on=("a.py:run#2",), **LOOP),
        ["CH102"],
    ),
    "examples": (call(param(), const("Input: it is broken\nOutput: bad\n" * 30)), ["CH103"]),
    "examples by name": (call(param("doc", "loop"), param("examples", "agent"), const(), **LOOP), ["CH103"]),
    "a volatile value": (call(VOLATILE, const()), ["CH104"]),
    "a volatile value at the end": (call(const(), VOLATILE), []),
    "a volatile value after one that varies": (call(param(), VOLATILE, const()), ["CH101"]),
    "an identifier by name": (call(param("request_id"), const()), ["CH104"]),
    "a counter by name": (call(param("i", "loop"), const(), **LOOP), ["CH104"]),
    "a set": (call(UNORDERED, const()), ["CH105"]),
    "a set at the end": (call(const(), UNORDERED), []),
    "an unordered dump": (call(param("json.dumps(config)"), const()), ["CH105"]),
    "an ordered dump": (call(param("json.dumps(config, sort_keys=True)"), const()), []),
    "a dump of what varies": (call(param("json.dumps(record)"), const()), ["CH101"]),
    "effects": (call(const("Tidy up."), effects=("runs programs",)), ["CH301"]),
    "effects behind a wrapper": (call(const("Tidy up."), effects=("runs programs",), kind="wrapper"), []),
    "nothing known": (call(Unknown("the value of hub.pull() is not in this project", at(1))), ["CH001"]),
    "something converted": (call(Unknown("the value of x.convert() is not in this project", at(1))), []),
    "nothing known in a wrapper": (call(Unknown("from elsewhere", at(1)), kind="wrapper"), []),
    "a bare parameter": (call(param(), forward=True), []),
}


@pytest.mark.parametrize("title", FOUND)
def test_findings(title: str) -> None:
    made, expected = FOUND[title]
    other = call(const("Sum up."), id="a.py:run#2", span=at(3))
    needed = (other,) if made.depends_on else ()
    assert codes(*needed, made) == expected


def test_the_order_of_a_wrapper_s_arguments_is_its_own_affair() -> None:
    messages = (Message("user", (param(),)), Message("user", (const(),)))
    assert codes(call(messages=messages)) == ["CH101"]
    assert codes(call(messages=messages, kind="wrapper", api="project")) == []
    assert codes(call(param(), const(), kind="wrapper", api="project")) == ["CH101"]


def test_what_two_calls_begin_with_stands_early_on_purpose() -> None:
    one = call(param("document"), const("Sum up. " + RULES))
    other = call(param("document"), const("Criticize. " + RULES), id="a.py:run#2", span=at(12))
    assert codes(one, other) == []
    assert codes(one) == ["CH101"]


def test_text_behind_an_answer_goes_on_with_the_conversation() -> None:
    first = call(param(), const("Answer."), id="a.py:run#1", span=at(2))
    answer = Message("assistant", (CallRef("a.py:run#1", at(3)),))
    messages = (*first.messages[:0], Message("user", (param(),)), answer, Message("user", (const(),)))
    second = call(id="a.py:run#2", messages=messages, depends_on=("a.py:run#1",))
    assert codes(first, second) == []


def test_one_template_is_reported_once() -> None:
    one = call(param(line=4), const())
    other = call(param(line=7), const(), id="a.py:run#2", span=at(12))
    assert codes(one, other) == ["CH101"]


def cached(tokens: int, model: str | None = None) -> Call:
    messages = (Message("system", (const("word " * tokens),), cached=True), Message("user", (param(),)))
    return call(messages=messages, model=model, span=Span("a.py", 1, 1, 1, 14))


@pytest.mark.parametrize(
    ("tokens", "model", "expected"),
    [
        (20, None, ["CH107"]),
        (1000, None, []),
        (1500, None, []),
        (1200, "claude-3-5-haiku-latest", ["CH107"]),
        (2000, "claude-opus-4-5", ["CH107"]),
        (2000, "claude-sonnet-4-5", []),
    ],
)
def test_a_marked_prefix(tokens: int, model: str | None, expected: list[str]) -> None:
    assert codes(cached(tokens, model), sources={"a.py": "ask(prompt=1)\n"}) == expected


def test_tools_stand_before_a_marked_prefix() -> None:
    marked = replace(cached(20), span=Span("a.py", 1, 1, 1, 16))
    assert codes(marked, sources={"a.py": "ask(p, tools=1)\n"}) == []


def test_tokens_are_counted_with_the_tokenizer() -> None:
    agent = Agent("a.py", (call(param(), const()),))
    (without,) = check(agent, {})
    assert without.tokens is None
    assert f"{len(RULES)} characters" in without.message
    (counted,) = check(agent, {}, default_tokenizer())
    assert counted.tokens == len(default_tokenizer().encode(RULES))
    assert f"{counted.tokens} tokens" in counted.message


def test_a_tokenizer_that_cannot_be_loaded_is_done_without() -> None:
    asked = []

    def load() -> Tokenizer:
        asked.append(1)
        raise TokenizerError("no such file")

    (found,) = check(Agent("a.py", (call(param(), const()),)), {}, load)
    assert found.tokens is None
    assert asked == [1]


def test_findings_come_in_the_order_of_the_source() -> None:
    late = call(param(line=30), const(RULES + "1"), id="a.py:run#2", span=at(30))
    early = call(param(line=2), const(RULES + "2"), span=at(2))
    found = check(Agent("a.py", (late, early)), {})
    assert [each.span.line for each in found] == [2, 30]


@pytest.mark.parametrize(
    ("comment", "line", "expected"),
    [
        ("# charter: ignore[CH101]", 4, []),
        ("# charter: ignore[CH101]", 9, []),
        ("# charter: ignore[CH101]", 5, ["CH101"]),
        ("# charter: ignore[CH102]", 4, ["CH101"]),
        ("# charter: ignore[CH102, CH101]", 4, []),
        ("# why  # charter: ignore[CH101]", 4, []),
        ("# charter: ignore-file[CH101]", 1, []),
        ("# charter: ignore-file[CH102]", 1, ["CH101"]),
        ("x = '# charter: ignore[CH101]'", 4, ["CH101"]),
    ],
)
def test_comments_that_silence(comment: str, line: int, expected: list[str]) -> None:
    lines = ["", "", "", "", "", "", "", "", ""]
    lines[line - 1] = comment
    assert codes(call(param(line=4), const()), sources={"a.py": "\n".join(lines)}) == expected


STAMPS = {
    "the time": ("now = datetime.now().isoformat()", "{now}", ["CH104"]),
    "the time to the minute": ("now = datetime.now().strftime('%Y-%m-%d %H:%M')", "{now}", ["CH104"]),
    "a date": ("now = datetime.now().strftime('%A, %d %B %Y')", "{now}", []),
    "a date in place": ("pass", "{datetime.now().strftime('%d/%m/%Y')}", []),
    "a date by its format": ("pass", "{datetime.now():%d %B %Y}", []),
    "today": ("now = date.today()", "{now}", []),
    "the date of a time": ("now = datetime.now().date().isoformat()", "{now}", []),
    "the year": ("pass", "{datetime.now().year}", []),
    "a date from a function": ("now = day()", "{now}", []),
    "the time from a function": ("now = clock()", "{now}", ["CH104"]),
}


@pytest.mark.parametrize("title", STAMPS)
def test_how_often_a_volatile_value_changes(title: str) -> None:
    before, field, expected = STAMPS[title]
    source = (
        f'def run(llm):\n    {before}\n    return llm.generate(f"{field}" + RULES)\n\n\n'
        "def day():\n    return datetime.now().strftime('%d/%m/%Y')\n\n\n"
        "def clock():\n    return datetime.now().strftime('%H:%M:%S')\n"
    )
    start = source.split("\n")[2].index(field) + 1
    stamp = Unknown("the value of x is not in this project", Span("a.py", 3, start, 3, start + len(field)), "volatile")
    made = call(stamp, const(), span=Span("a.py", 3, 12, 3, 12 + len(f'llm.generate(f"{field}" + RULES)')))
    assert codes(made, sources={"a.py": source}) == expected


@pytest.mark.parametrize(
    ("line", "function", "when"),
    [
        (1, "Desk.reply", "in each process"),
        (6, "Desk.reply", "in each object"),
        (9, "Desk.reply", "at each call"),
        (1, "<module>", "at each call"),
    ],
)
def test_for_what_a_volatile_value_is_new(line: int, function: str, when: str) -> None:
    source = (
        "STAMP = time.time()\n\n\nclass Desk:\n    def __init__(self):\n        self.stamp = time.time()\n\n"
        "    def reply(self, llm):\n        return llm.generate(f'{time.time()}')\n"
    )
    stamp = Unknown("the value of time.time() is not in this project", Span("a.py", line, 1, line, 40), "volatile")
    made = call(stamp, const(), id=f"a.py:{function}#1", function=function)
    (found,) = check(Agent("a.py", (made,)), {"a.py": source})
    assert f"is new {when} and parts" in found.message
