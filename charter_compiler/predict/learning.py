"""Which shape of output an agent's code can parse, found by running it and watching what it does with an output.

An item is run with outputs that watch themselves. Text that reaches ``json``'s decoder makes its call a JSON call; keys
that the agent asks of the parsed value, loops over it, and arithmetic with it refine the shape, and the item is run
again until nothing new is learned. Only what passes through Python's ``json`` module, ``int()`` or ``float()`` can be
seen; an agent that reads its outputs otherwise gets plain text.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from charter_compiler.predict.shapes import ANYTHING, Items, Number, Object, Shape, Text

MAX_RUNS = 24
"""Runs of one item; each but the last learned something."""
Path: TypeAlias = tuple[str | int, ...]
"""Keys from the top of a parsed value to a part of it; a list's elements all have the key 0."""

_NUMERAL = re.compile(
    r"(?:invalid literal for int\(\) with base 10|could not convert string to float): (.*)", re.DOTALL
)
_OBJECT_METHODS = frozenset({"get", "items", "keys", "values", "setdefault", "update"})
_LIST_METHODS = frozenset({"append", "extend", "sort"})


@dataclass(slots=True)
class Learner:
    """What has been learned so far. ``shapes`` by the label of the call site; ``outputs`` are those of the present run,
    with their site."""

    shapes: dict[str, Shape] = field(default_factory=dict)
    outputs: list[tuple[str, str]] = field(default_factory=list)
    changed: bool = False

    def begin(self) -> None:
        """A run of an item begins."""
        self.outputs.clear()
        self.changed = False

    def watch(self, site: str, output: str) -> str:
        """The output as the agent gets it."""
        self.outputs.append((site, output))
        return output if self.shapes.get(site) is not None else _Text(output, self, site, ())

    def failed(self, error: BaseException) -> None:
        """The run ended with this error: a numeral that an output was taken for is learned too."""
        found = _NUMERAL.match(str(error))
        if found is None:
            return
        for site, output in reversed(self.outputs):
            if found[1].strip("'\"")[:40] in output:
                self.learn(site, (), Number())
                return

    def learn(self, site: str, path: Path, shape: Shape) -> None:
        """The part of a site's output at ``path`` has this shape; a more special one that is known stays."""
        before = self.shapes.get(site)
        after = _put(before, path, shape)
        if after != before:
            self.shapes[site] = after
            self.changed = True

    def parsed(self, text: str, decode: Callable[[], Any]) -> Any:
        """``decode()``, the value of ``text``; watched if the text is, or is part of, an output of this run."""
        site = next((site for site, output in reversed(self.outputs) if text.strip() and text.strip() in output), None)
        if site is None:
            return decode()
        if self.shapes.get(site) is None:
            self.learn(site, (), Object())
        return _watched(decode(), self, site, ())


@contextlib.contextmanager
def watching(learner: Learner) -> Iterator[None]:
    """While this is open, ``json``'s decoder tells the learner what it decodes, in every thread of this process; other
    texts than outputs are decoded as always."""
    original = json.JSONDecoder.decode

    def decode(self: json.JSONDecoder, s: str, *args: Any, **options: Any) -> Any:
        return learner.parsed(s, lambda: original(self, s, *args, **options))

    json.JSONDecoder.decode = decode  # type: ignore[method-assign]
    try:
        yield
    finally:
        json.JSONDecoder.decode = original  # type: ignore[method-assign]


def finished(shapes: dict[str, Shape]) -> dict[str, Shape]:
    """The shapes with something in every object of which no key was asked for."""
    return {site: _filled(shape) for site, shape in shapes.items()}


def _filled(shape: Shape) -> Shape:
    match shape:
        case Object(fields):
            return Object(tuple((name, _filled(each)) for name, each in fields)) if fields else ANYTHING
        case Items(each, count):
            return Items(_filled(each), count)
    return shape


def _put(shape: Shape | None, path: Path, new: Shape) -> Shape:
    if path:
        key, rest = path[0], path[1:]
        if isinstance(key, int):
            return Items(_put(shape.each if isinstance(shape, Items) else None, rest, new))
        fields = dict(shape.fields) if isinstance(shape, Object) else {}
        fields[key] = _put(fields.get(key), rest, new)
        return Object(tuple(fields.items()))
    if isinstance(new, Text) and isinstance(shape, Text):
        return Text(tuple(dict.fromkeys((*shape.choices, *new.choices))))
    if shape is None or isinstance(shape, Text) or (shape == Object() and not isinstance(new, Text)):
        return new
    return shape


def _watched(value: Any, learner: Learner, site: str, path: Path) -> Any:
    if isinstance(value, dict):
        return _Object(value, learner, site, path)
    if isinstance(value, list):
        return [_watched(each, learner, site, (*path, 0)) for each in value]
    return _Text(value, learner, site, path) if isinstance(value, str) else value


class _Object(dict[str, Any]):
    """A parsed object that notes the keys it is asked for; otherwise it behaves as one without them."""

    def __init__(self, value: dict[str, Any], learner: Learner, site: str, path: Path) -> None:
        super().__init__({key: _watched(each, learner, site, (*path, key)) for key, each in value.items()})
        self._note = (learner, site, path)

    def _asked(self, key: object) -> None:
        learner, site, path = self._note
        if isinstance(key, int | slice):
            learner.learn(site, path, Items(Text()))
        elif isinstance(key, str) and key not in self.keys():
            learner.learn(site, (*path, key), Text())

    def __getitem__(self, key: str) -> Any:
        self._asked(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._asked(key)
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._asked(key)
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        self._asked(key)
        return super().pop(key, *default)

    def __iter__(self) -> Iterator[str]:
        learner, site, path = self._note
        if not len(self):  # a loop over what has no keys: the agent means a list
            learner.learn(site, path, Items(Text()))
        return super().__iter__()


class _Text(str):
    """A text that notes when it is used as something else; then it fails as a text does."""

    _note: tuple[Learner, str, Path]

    def __new__(cls, text: str, learner: Learner, site: str, path: Path) -> _Text:
        self = super().__new__(cls, text)
        self._note = (learner, site, path)
        return self

    def _used_as(self, shape: Shape) -> None:
        learner, site, path = self._note
        if path or isinstance(shape, Number):  # the output itself is a text, unless it is parsed
            learner.learn(site, path, shape)

    def __getattr__(self, name: str) -> Any:
        if name in _OBJECT_METHODS:
            self._used_as(Object())
        elif name in _LIST_METHODS:
            self._used_as(Items(Text()))
        raise AttributeError(f"'str' object has no attribute '{name}'")

    def __getitem__(self, key: Any) -> str:
        if isinstance(key, str):
            learner, site, path = self._note
            learner.learn(site, (*path, key), Text())
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:
        self._used_as(Items(Text()))
        return super().__iter__()

    def __eq__(self, other: object) -> bool:
        if type(other) is str:
            self._used_as(Text((other,)))
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __int__(self) -> int:
        self._used_as(Number())
        return int(str(self))

    def __float__(self) -> float:
        self._used_as(Number(0, 1, whole=False))
        return float(str(self))

    def _number(self, other: Any) -> Any:
        if isinstance(other, int | float):
            self._used_as(Number() if isinstance(other, int) else Number(0, 2 * other, whole=False))
        return NotImplemented

    __radd__ = __sub__ = __rsub__ = __truediv__ = __rtruediv__ = __pow__ = _number

    def __add__(self, other: Any) -> str:
        self._number(other)
        return super().__add__(other)

    def __lt__(self, other: Any) -> bool:
        self._number(other)
        return super().__lt__(other)

    def __le__(self, other: Any) -> bool:
        self._number(other)
        return super().__le__(other)

    def __gt__(self, other: Any) -> bool:
        self._number(other)
        return super().__gt__(other)

    def __ge__(self, other: Any) -> bool:
        self._number(other)
        return super().__ge__(other)
