"""The nodes of the IR: frozen, slotted, made of tuples. Passes are pure functions of them.

A prompt is a sequence of *segments*, the symbolic value of the string expression that the agent hands to a model. A
*call* is one call site with the messages it sends; an *agent* is the calls of one source tree in source order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from charter_compiler.diagnostics.span import Span


@dataclass(frozen=True, slots=True)
class Const:
    """Text that stands in the source."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Param:
    """A value from outside: a parameter of the entry, a field of an input row, a loop's item.

    ``name`` is the name the agent's author gave it (``document``); ``scope`` says how long it stays the same: for the
    whole run (``agent``), for one item of the inputs (``item``), for one turn of the innermost loop (``loop``), or not
    even that (``call``).
    """

    name: str
    span: Span
    scope: Scope = "item"


@dataclass(frozen=True, slots=True)
class CallRef:
    """The text that another call of the same agent returned.

    ``derived``: not that text itself but something computed from it alone (stripped, parsed, cut). Inside a loop the
    reference may name a later call or the call itself: then it is the text of the previous turn.
    """

    id: str
    span: Span
    derived: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several sequences, decided at run time (a conditional)."""

    options: tuple[tuple[Segment, ...], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Repeat:
    """A sequence repeated any number of times (a join, a loop that appends)."""

    segments: tuple[Segment, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Unknown:
    """Text that cannot be known without running the program; ``reason`` says why. Never a guess.

    ``cause`` is what a diagnostic needs to know of it: ``volatile`` is made anew at each run or call (the time, an
    identifier, a random number), ``unordered`` has parts whose order is not fixed (a set, a folder's files).
    """

    reason: str
    span: Span
    cause: Cause = ""


Cause: TypeAlias = Literal["", "volatile", "unordered"]
Scope: TypeAlias = Literal["agent", "item", "loop", "call"]
Segment: TypeAlias = Const | Param | CallRef | Choice | Repeat | Unknown
Role: TypeAlias = Literal["system", "user", "assistant", "tool", "raw", "unknown"]
"""``raw`` is a prompt for a completion: no chat template is put around it. ``unknown``: the role, or the number of
messages that stand here, is decided at run time."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a call; the segments in the order in which they are sent. ``cached``: the program marks the end of
    this message as one that the provider's cache should keep (Anthropic's ``cache_control``)."""

    role: Role
    segments: tuple[Segment, ...]
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One call site.

    ``id`` is ``file:Qualified.function#n``, n counting the calls of that function in source order from 1.
    ``kind`` is ``root`` (the callee is a model library, an endpoint or an injected client) or ``wrapper`` (the
    project's own function that carries the prompt to a root). ``api`` is the SDK's dotted name, ``injected`` for a
    callable that is passed in, ``project`` for a wrapper. ``forward``: the whole prompt is a parameter of the enclosing
    function. ``depends_on`` lists ids of calls whose text flows into this prompt. ``model``, ``max_tokens`` and
    ``temperature`` are ``None`` where they are not constants. ``loops`` are the loops of the same function around the
    call, outermost first (the span of a loop's target and iterable, or of its condition), so that two calls can be seen
    to stand in the same loop; ``loop_depth`` is their number. ``arms`` are the branches of conditionals around it, in
    the same way. ``awaited``: the program waits for the result where it makes the call. ``used``: something reads the
    result. ``effects`` are what the tools that the model is given may do to the outside. ``again``: the function is run
    again with what it returned before: that of a node in a cycle of a state graph. ``arrives`` are calls whose text the
    callers of the function give for parameters in the prompt, ``returns`` those in a wrapper whose text it returns.
    ``settings`` are the other arguments of a ``root`` as they are written (``stop=["."]``), sorted.
    """

    id: str
    span: Span
    function: str
    kind: Literal["root", "wrapper"]
    api: str
    callee: str
    messages: tuple[Message, ...]
    forward: bool = False
    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    loop_depth: int = 0
    depends_on: tuple[str, ...] = ()
    loops: tuple[Span, ...] = ()
    arms: tuple[Span, ...] = ()
    awaited: bool = False
    used: bool = True
    effects: tuple[str, ...] = ()
    again: bool = False
    arrives: tuple[str, ...] = ()
    returns: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def in_loop(self) -> bool:
        return self.loop_depth > 0


@dataclass(frozen=True, slots=True)
class Agent:
    """The calls of one source tree, in source order. ``name`` is the path that was inspected."""

    name: str
    calls: tuple[Call, ...]

    def call(self, call_id: str) -> Call:
        """The call with that id.

        Raises:
            KeyError: there is none.
        """
        for call in self.calls:
            if call.id == call_id:
                return call
        raise KeyError(call_id)


def walk(segments: tuple[Segment, ...]) -> Iterator[Segment]:
    """Every segment, outer before inner, in order."""
    for segment in segments:
        yield segment
        if isinstance(segment, Choice):
            for option in segment.options:
                yield from walk(option)
        elif isinstance(segment, Repeat):
            yield from walk(segment.segments)
