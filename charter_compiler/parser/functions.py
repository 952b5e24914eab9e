"""Functions of Python and its library whose effect on the values is known, and what an unknown one may do to them."""

from __future__ import annotations

import inspect
import json
import os
import textwrap
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Const, Segment
from charter_compiler.parser import sdk
from charter_compiler.parser.definitions import MUTATORS
from charter_compiler.parser.joins import join
from charter_compiler.parser.scope import Environment, Frame
from charter_compiler.parser.strings import Arguments, constant_of, constant_text
from charter_compiler.parser.texts import cause_of, concat, normal, text_of
from charter_compiler.parser.values import (
    Either,
    External,
    FilePath,
    Input,
    Instance,
    Item,
    Opaque,
    Plain,
    Record,
    Repeated,
    Result,
    Series,
    Text,
    Value,
    deps_of,
    item_of,
    repeated,
    results_of,
)

MUTABLE = (Series, Record)

READERS = frozenset(
    {
        "json.loads", "json.dumps", "builtins.repr", "builtins.len", "builtins.list", "builtins.tuple",
        "builtins.sorted", "builtins.int", "builtins.float", "ast.literal_eval",
        "textwrap.dedent", "inspect.cleandoc", "html.escape",
    }
)  # fmt: skip
"""Functions whose outcome depends on their one argument and nothing else."""

TEXT_FUNCTIONS: dict[str, Callable[[str], str]] = {
    "textwrap.dedent": textwrap.dedent,
    "inspect.cleandoc": inspect.cleandoc,
}
"""Functions of a text that are applied here, to its constant parts where values are filled in."""

SAME = frozenset(
    {
        "builtins.list", "builtins.tuple", "builtins.reversed", "builtins.sorted", "builtins.iter", "copy.copy",
        "copy.deepcopy", "asyncio.create_task", "asyncio.ensure_future", "asyncio.run", "asyncio.wait_for",
        "asyncio.shield", "typing.cast", "anyio.run", "nest_asyncio.apply", "tqdm.tqdm", "tqdm", "tqdm.asyncio.tqdm",
        "tqdm.auto.tqdm", "rich.progress.track", "builtins.next", "builtins.set", "builtins.frozenset",
    }
)  # fmt: skip
"""Functions that give, as far as prompts go, what they are given."""

GATHERING = frozenset(
    {"asyncio.gather", "asyncio.tasks.gather", "tqdm.asyncio.tqdm.gather", "tqdm.asyncio.tqdm_asyncio.gather"}
)

_KEEPING = frozenset(
    {
        "builtins.str", "builtins.int", "builtins.float", "builtins.round", "builtins.repr", "builtins.list",
        "builtins.tuple", "builtins.hex", "json.dumps",
    }
)  # fmt: skip
"""Functions of what is made anew, or has no order, that leave it so."""

HARMLESS = ("builtins.", "json.", "logging.", "math.", "re.", "time.", "copy.", "asyncio.", "os.", "pathlib.", "tqdm")
"""Modules whose functions do not change the lists and dictionaries they are given."""

_CHANGING_BUILTINS = frozenset({"builtins.setattr", "builtins.exec", "builtins.eval"})

LOOK_UP_WORDS = frozenset(
    {
        "get", "load", "read", "open", "find", "search", "fetch", "query", "retrieve", "lookup", "exists", "select",
        "len", "count", "listdir", "glob", "path", "file", "isinstance", "hasattr", "random", "range",
    }
)  # fmt: skip
"""Words in the name of a function that say: the argument decides what is looked up, but is not part of it."""

TYPE_ANNOTATIONS = ("typing.Optional", "typing.Annotated")


def library_call(path: str, arguments: Arguments, span: Span) -> Value | None:
    """What a function of the library gives; ``None`` for one that is not known."""
    positional, keywords = arguments.positional, arguments.keywords
    sole = positional[0] if len(positional) == 1 and not keywords else None
    first = positional[0] if positional else None
    if path == "builtins.str" and sole is not None and not cause_of(sole):
        return text_of(sole, span)
    if path in TEXT_FUNCTIONS and isinstance(first, Text):
        return _on_text(TEXT_FUNCTIONS[path], first, span)
    if path == "textwrap.indent" and isinstance(first, Text) and len(positional) > 1:
        prefix = constant_text(positional[1])
        if prefix is not None:
            return _on_text(lambda text: textwrap.indent(text, prefix), first, span)
    if path in SAME and first is not None and isinstance(first, Series | Record | Either | Instance | External):
        return first
    if path in SAME and isinstance(first, Text | Result | Opaque) and not path.startswith("builtins."):
        return first
    if path in ("builtins.set", "builtins.frozenset") and first is not None:
        return Opaque("a set, whose order is not fixed", deps_of(first), "unordered")
    if path in _KEEPING and sole is not None and cause_of(sole):
        return Opaque(f"what {path.removeprefix('builtins.')}() makes of it", deps_of(sole), cause_of(sole))
    if path in GATHERING:
        gathered: list[Item] = []
        for value in positional:
            gathered.extend(value.items if arguments.open and isinstance(value, Series) else [value])
        return Series(tuple(gathered))
    match path:
        case "builtins.enumerate" if first is not None:
            items = item_of(first.items) if isinstance(first, Series) else []
            values = items or [_item(first)]
            return Series((Repeated(tuple(Series((Opaque("the number of a turn"), value)) for value in values)),))
        case "builtins.zip" if positional and all(isinstance(value, Series) for value in positional):
            columns = [
                join(item_of(value.items), span) for value in positional if isinstance(value, Series) and value.items
            ]
            return Series((Repeated((Series(tuple(columns)),)),)) if len(columns) == len(positional) else None
        case "builtins.dict":
            return _dictionary(arguments)
        case "random.choice" | "random.sample" | "builtins.next" if isinstance(first, Series) and first.items:
            return join(item_of(first.items), span)
        case "json.dumps" if first is not None:
            return _dumped(first, arguments, span)
        case "os.path.join" if positional:
            return _joined_path(positional)
        case "os.path.dirname" if isinstance(first, FilePath):
            return FilePath(os.path.dirname(first.path))
        case "os.path.abspath" | "os.path.realpath" | "builtins.str" | "os.fspath" | "os.path.normpath" if isinstance(
            first, FilePath
        ):
            return first
        case "pathlib.Path" | "pathlib.PurePath" | "pathlib.PosixPath" if positional:
            return _joined_path(positional)
        case "importlib.resources.files" | "importlib_resources.files" if (package := _path(first)) is not None:
            return FilePath(package.replace(".", "/"))  # below a folder on Python's path, as prompt files are found
        case "builtins.open" | "io.open" | "codecs.open" if (name := _path(first)) is not None:
            return FilePath(name, opened=True)
    return None


def _on_text(function: Callable[[str], str], text: Text, span: Span) -> Text:
    """A function of a text applied to one with holes: they keep their places."""
    holes: list[Segment] = []
    written = ""
    for segment in text.segments:
        if isinstance(segment, Const):
            written += segment.text
        else:
            written += f"\ue000{len(holes)}\ue001"
            holes.append(segment)
    consts = [segment for segment in text.segments if isinstance(segment, Const)]
    place = consts[0].span if len(consts) == 1 else span
    first, *others = function(written).split("\ue000")
    parts: list[Segment] = [Const(first, place)]
    for other in others:
        number, _, rest = other.partition("\ue001")
        parts.extend((holes[int(number)], Const(rest, place)))
    return Text(normal(parts), text.deps)


def _item(value: Value) -> Value:
    return value.shown("item", "loop") if isinstance(value, Input) else Opaque("an element", deps_of(value))


def _path(value: Value | None) -> str | None:
    if isinstance(value, FilePath):
        return value.path
    return constant_text(value) if value is not None else None


def _joined_path(values: list[Value]) -> Value | None:
    parts = [_path(value) for value in values]
    known = [part for part in parts if part is not None]
    return FilePath(os.path.join(*known)) if len(known) == len(parts) else None


def _dictionary(arguments: Arguments) -> Value | None:
    entries: list[tuple[str, Value]] = []
    for value in arguments.positional:
        if not isinstance(value, Record) or value.rest is not None:
            return None
        entries.extend(value.entries)
    return Record((*entries, *arguments.keywords.items()), arguments.rest)


def _dumped(value: Value, arguments: Arguments, span: Span) -> Value | None:
    """``json.dumps`` of constants, written out; of others, a value of its own."""
    known, data = _data(value)
    options: dict[str, Any] = {}
    for name, option in arguments.keywords.items():
        found, options[name] = constant_of(option)
        known = known and found
    if known:
        try:
            return Text(normal((Const(json.dumps(data, **options), span),)))
        except (TypeError, ValueError, RecursionError):
            return None
    fixed = all(found for found, _ in map(constant_of, arguments.keywords.values()))
    if isinstance(value, Record) and value.rest is None and fixed and not options.get("sort_keys"):
        return _dumped_record(value, options, span)
    if isinstance(value, Input) and fixed:
        ordered = ", sort_keys=True" if options.get("sort_keys") else ""
        return value.shown(f"json.dumps({value.name}{ordered})")
    return None


def _dumped_record(value: Record, options: dict[str, Any], span: Span) -> Text | None:
    """A dictionary of which not all is constant, as JSON: what is not stands where its value would."""
    holes: list[Value] = []

    def plain(each: Value) -> object:
        known, data = _data(each)
        if known:
            return data
        if isinstance(each, Record) and each.rest is None:
            return {key: plain(inner) for key, inner in each.entries}
        holes.append(each)
        return f"\ue000{len(holes) - 1}\ue001"

    try:
        written = json.dumps(plain(value), **{**options, "ensure_ascii": False})
    except (TypeError, ValueError, RecursionError):
        return None
    first, *others = written.split('"\ue000')
    parts: list[Text] = [Text(normal((Const(first, span),)))]
    for other in others:
        number, _, rest = other.partition('\ue001"')
        unknown = Opaque("a value written as JSON", deps_of(holes[int(number)]))
        parts.extend((text_of(unknown, span), Text(normal((Const(rest, span),)))))
    return concat(parts, span)


def _data(value: Value) -> tuple[bool, object]:
    """(whether all of the value is constant, the value)."""
    match value:
        case Record(entries=entries, rest=None):
            pairs = [(key, _data(item)) for key, item in entries]
            return all(known for _, (known, _) in pairs), {key: data for key, (_, data) in pairs}
        case Series(items=items) if not any(isinstance(item, Repeated) for item in items):
            data = [_data(item) for item in items if not isinstance(item, Repeated)]
            return all(known for known, _ in data), [each for _, each in data]
    return constant_of(value)


def external_call(
    env: Environment,
    frame: Frame,
    callee: Value,
    receiver: Value | None,
    arguments: Arguments,
    written: str,
    span: Span,
) -> Value:
    """The result of a call of nothing in the project. Binds to ``Opaque`` in ``env`` whatever the callee may change."""
    path = callee.path if isinstance(callee, External) else ""
    known = library_call(path, arguments, span) if path else None
    if known is not None:
        return known
    sole = arguments.positional[0] if len(arguments.positional) == 1 and not arguments.keywords else None
    name = path.removeprefix("builtins.")
    if path in READERS and isinstance(sole, Input):
        return sole.shown(f"{name}({sole.name})")
    if path in READERS and isinstance(sole, Result):
        return Result(sole.call, f"{name}({sole.path})", sole.texts)
    deps = _content(written, callee, receiver, arguments)
    if not path.startswith(HARMLESS) or path in _CHANGING_BUILTINS:
        _escape(env, frame, written, receiver, arguments)
    if path and not path.startswith("builtins."):
        if sdk.is_module(path.partition(".")[0]) or path.startswith(_KEPT):
            given: list[tuple[str | int, Value]] = [*enumerate(arguments.positional), *arguments.keywords.items()]
            kept = callee.given if isinstance(callee, External) else ()
            return External.made(f"{path}()", (*given, *kept))
        if not deps:
            return External(f"{path}()")
    shown = written if len(written) <= 60 else written[:57] + "..."
    return Opaque(f"what {shown}() returns is not known here", deps)


_KEPT = ("string.", "jinja2.", "dataclasses.", "pydantic.")
"""What else keeps the arguments it was given, besides the SDKs: templates, and the defaults of fields."""


def _content(written: str, callee: Value, receiver: Value | None, arguments: Arguments) -> frozenset[str]:
    """What flows into the result of an unknown function."""
    words = set(written.rpartition(".")[2].lower().strip("_").split("_"))
    given = results_of if words & LOOK_UP_WORDS else deps_of
    return deps_of(callee, receiver) | given(*arguments.values())


def _escape(env: Environment, frame: Frame, written: str, receiver: Value | None, arguments: Arguments) -> None:
    """Forget lists and dictionaries that an unknown function is given, and what this method has set on ``self``."""
    for value in arguments.values():
        if isinstance(value, MUTABLE):
            env.replace(value, _changed_by(value, f"{written}() may have changed it"), frame.base)
        elif isinstance(value, Input):
            env.replace(value, replace(value, touched=True), frame.base)
    if isinstance(receiver, Instance) or any(isinstance(value, Instance) for value in arguments.values()):
        for name, value in env.since(frame.base.parent).items():
            if name.startswith("self.") and isinstance(value, MUTABLE):
                env.set(name, Opaque(f"{written}() may have changed {name}", deps_of(value)))


def _changed_by(value: Value, reason: str) -> Value:
    return Opaque(reason, deps_of(value))


def mutate(
    env: Environment, frame: Frame, receiver: Value, method: str, arguments: Arguments, span: Span
) -> Value | None:
    """A method of a list or dictionary; ``None`` if it changes nothing and returns something unknown."""
    deps = deps_of(receiver, *arguments.values())
    if method in MUTATORS:
        changed = _changed(receiver, method, arguments)
        env.replace(receiver, changed or Opaque(f".{method}() changes it at run time", deps), frame.base)
        if method in ("pop", "popleft", "setdefault") and isinstance(receiver, Series) and receiver.items:
            return join(item_of(receiver.items), span)
        return Opaque(f"what .{method}() returns is not known here", deps)
    match receiver, method:
        case Record(), "get" if arguments.positional:
            key = constant_text(arguments.positional[0])
            if key is not None and receiver.rest is None:
                default = arguments.positional[1] if len(arguments.positional) > 1 else None
                return receiver.get(key) or default
            if key is None and receiver.entries and receiver.rest is None:
                return join([value for _, value in receiver.entries], span)
        case Series(items=items), "copy":
            return Series(items)
        case Record(entries=entries, rest=rest), "copy":
            return Record(entries, rest)
        case Record(entries=entries, rest=None), "values":
            return Series(tuple(value for _, value in entries))
        case Record(entries=entries, rest=None), "keys":
            return Series(tuple(Text(normal((Const(key, span),))) for key, _ in entries))
        case Record(entries=entries, rest=None), "items":
            return Series(tuple(Series((Text(normal((Const(key, span),))), value)) for key, value in entries))
        case Series() | Record(), "model_dump" | "dict":
            return receiver
    return None


def _changed(receiver: Value, method: str, arguments: Arguments) -> Value | None:
    """The list or dictionary after the method; ``None`` where that is not known."""
    items: tuple[Item, ...]
    match receiver:
        case Series(items=known):
            items = known
        case Input() | Opaque() | Result():
            # A list from elsewhere that grows here: what it held before, then this.
            items = (Repeated((receiver,)),)
        case Either(options=options) if any(isinstance(option, Series) for option in options):
            items = (
                Repeated(
                    tuple(item_of(item for o in options for item in (o.items if isinstance(o, Series) else (o,))))
                ),
            )
        case _:
            items = ()
    match receiver, method, arguments.positional:
        case Record(entries=entries, rest=None), "update", [Record(entries=more_entries, rest=None)]:
            return Record((*entries, *more_entries))
        case Record(entries=entries, rest=rest), "update", positional if len(positional) <= 1:
            unknown = [value for value in (rest, *positional, arguments.rest) if value is not None]
            merged = unknown[0] if len(unknown) == 1 else Opaque("several dictionaries are merged", deps_of(*unknown))
            return Record((*entries, *arguments.keywords.items()), merged if unknown else None)
        case Series() | Input() | Opaque() | Result() | Either(), "append" | "add", [value] if (
            items or receiver == Series(())
        ):
            return Series((*items, value))
        case Series() | Input() | Opaque() | Result() | Either(), "extend", [Series(items=more)] if (
            items or receiver == Series(())
        ):
            return Series((*items, *more))
        case Series() | Input() | Opaque() | Result() | Either(), "extend", [value] if items or receiver == Series(()):
            return Series((*items, Repeated((value,))))
        case Series(), "insert", [Plain(value=0), value]:
            return Series((value, *items))
        case Series(), "insert" | "appendleft", [*_, value]:
            return Series((*items, Repeated((value,))))
        case Series(), "pop" | "remove" | "popleft" | "sort" | "reverse" | "discard", _ if items:
            return Series((repeated(item_of(items)),))
        case Series(), "clear", _:
            return Series(())
    return None
