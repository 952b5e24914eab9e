"""Values as text: what stands in a prompt where a value is put into it, and texts put together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import CallRef, Cause, Choice, Const, Param, Repeat, Segment, Unknown, walk
from charter_compiler.parser.values import (
    ClassRef,
    Either,
    External,
    FilePath,
    FunctionRef,
    Input,
    Item,
    ModuleRef,
    Opaque,
    Plain,
    PromptTemplate,
    Record,
    Result,
    Series,
    Text,
    Value,
    deps_of,
    item_of,
)

SEGMENT_LIMIT = 2000
"""A text of more parts than this is ``Unknown``: such texts come from generated code, and joins would multiply them."""

TEXT_LIMIT = 1_000_000
"""Characters of constant text beyond which a text is not spelled out: a few lines can double it again and again."""


CUT_LIMIT = 64
"""Parts of a text that is cut, beyond which nothing of it is kept."""


def text_of(value: Value, span: Span) -> Text:
    """The value as ``str()`` gives it; ``span`` is where it is used, for parts that have no place of their own."""
    match value:
        case Text():
            return value
        case Plain(value=constant):
            return Text(normal((Const(str(constant), span),)))
        case Input(name=name, scope=scope, deps=deps):
            return Text((Param(name, span, scope),), deps)
        case Result(call=call, path=path, texts=texts):
            return Text((CallRef(call, span, derived=not is_text_path(path, texts)),), frozenset({call}))
        case Either(options=options):
            texts_ = [text_of(option, span) for option in options]
            return Text(choice([text.segments for text in texts_], span), deps_of(*texts_))
        case Opaque(reason=reason, deps=deps):
            return Text((Unknown(reason, span, value.cause),), deps)
        case External(path=path, deps=deps):
            return Text((Unknown(f"the value of {path} is not in this project", span, cause_of(value)),), deps)
        case PromptTemplate(messages=((_, text),)):
            return text_of(text, span)
        case Record(entries=entries) if entries:
            return _printed("a dictionary is printed here", [value for _, value in entries], value, span)
        case Series(items=items) if items:
            return _printed("a list is printed here", item_of(items), value, span)
    return Text((Unknown(f"{_KINDS.get(type(value), 'an object')} is printed here", span),), deps_of(value))


def _printed(reason: str, parts: Sequence[Value], value: Value, span: Span) -> Text:
    """A list or dictionary as ``str()`` gives it: its texts in order, and between them what is not spelled out."""
    segments: list[Segment] = [Unknown(reason, span)]
    for part in parts[:PRINTED_LIMIT]:
        if not isinstance(part, Plain):
            segments.extend((*text_of(part, span).segments, Unknown(reason, span)))
    return limited(normal(segments), deps_of(value), span)


PRINTED_LIMIT = 32
"""Parts of a list or dictionary that are shown where it is printed."""


VOLATILE = (
    "time.time", "time.strftime", "time.ctime", "time.localtime", "time.gmtime", "time.monotonic", "time.perf_counter",
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today", "uuid.uuid",
    "random.", "secrets.", "os.urandom", "os.getpid", "numpy.random.", "arrow.now", "arrow.utcnow", "pendulum.now",
    "django.utils.timezone.now", "shortuuid.", "ulid.",
)  # fmt: skip
"""What is made anew each time it is called, by the beginning of its path."""

UNORDERED = ("os.listdir", "os.scandir", "os.walk", "glob.glob", "glob.iglob")
"""What gives its items in no fixed order."""


def cause_of(value: Item | None) -> Cause:
    """Why text made of the value cannot be told, where a diagnostic needs to know it."""
    match value:
        case Opaque(cause=cause):
            return cause
        case External(path=path) if "()" in path:
            return "volatile" if path.startswith(VOLATILE) else "unordered" if path.startswith(UNORDERED) else ""
        case Text(segments=(Unknown(cause=cause),)):
            return cause
    return ""


def is_text_path(path: str, texts: tuple[str, ...]) -> bool:
    """Whether a part of a result is the generated text itself; ``*`` in ``texts`` stands for any name."""
    if path in texts:
        return True
    return any("*" in text and re.fullmatch(re.escape(text).replace(r"\*", r"\w*"), path) for text in texts)


_KINDS: dict[type, str] = {
    Series: "a list",
    Record: "a dictionary",
    ClassRef: "a class",
    FunctionRef: "a function",
    ModuleRef: "a module",
    PromptTemplate: "a list of messages",
    FilePath: "the path of a file",
}


def concat(texts: Iterable[Text], span: Span) -> Text:
    """The texts one after the other."""
    segments: list[Segment] = []
    deps: set[str] = set()
    for text in texts:
        segments.extend(text.segments)
        deps |= text.deps
    return limited(normal(segments), frozenset(deps), span)


def limited(segments: tuple[Segment, ...], deps: frozenset[str], span: Span) -> Text:
    """A text, or an unknown one where it has more than ``SEGMENT_LIMIT`` parts."""
    text = Text(segments, deps)
    if sum(len(segment.text) for segment in segments if isinstance(segment, Const)) > TEXT_LIMIT:
        return Text((Unknown(f"a text of more than {TEXT_LIMIT} characters", span),), deps_of(text))
    if next(islice(walk(segments), SEGMENT_LIMIT, None), None) is not None:
        return Text((Unknown(f"a text of more than {SEGMENT_LIMIT} parts", span),), deps_of(text))
    return text


def is_short(segments: tuple[Segment, ...]) -> bool:
    """Whether a text has few enough parts to be kept where it is cut: what is cut over and over would grow for ever."""
    return next(islice(walk(segments), CUT_LIMIT, None), None) is None


def normal(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Without empty constants, and with neighbouring constants of one place joined."""
    result: list[Segment] = []
    for segment in segments:
        if isinstance(segment, Const):
            if not segment.text:
                continue
            last = result[-1] if result else None
            if isinstance(last, Const) and last.span == segment.span:
                result[-1] = Const(last.text + segment.text, last.span)
                continue
        elif isinstance(segment, Unknown) and result and result[-1] == segment and segment.reason[0] != "\0":
            continue  # said once; but the marks of a loop (``loops``) are counted
        result.append(segment)
    return tuple(result)


def choice(options: Sequence[tuple[Segment, ...]], span: Span) -> tuple[Segment, ...]:
    """One of the sequences: what all begin and end with is said once, the rest becomes a ``Choice``."""
    distinct = list(dict.fromkeys(alternative for option in options for alternative in _alternatives(option)))
    if len(distinct) == 1:
        return distinct[0]
    shortest = min(len(option) for option in distinct)
    head = 0
    while head < shortest and len({option[head] for option in distinct}) == 1:
        head += 1
    tail = 0
    while tail < shortest - head and len({option[-1 - tail] for option in distinct}) == 1:
        tail += 1
    first = distinct[0]
    middle = tuple(option[head : len(option) - tail] for option in distinct)
    return (*first[:head], Choice(middle, span), *first[len(first) - tail :])


def _alternatives(option: tuple[Segment, ...]) -> tuple[tuple[Segment, ...], ...]:
    """An option that is itself nothing but a choice counts as the options of that."""
    match option:
        case (Choice(options=options),):
            return options
    return (option,)


def repeat(text: Text, span: Span) -> Text:
    """The text any number of times."""
    return Text((Repeat(text.segments, span),), text.deps) if text.segments else text
