"""The forms of an SDK's entries: what is a model call, which objects carry prompt text, which calls change nothing.

Paths are dotted names from the import on, and ``()`` stands for a call: ``openai.OpenAI().chat.completions.create`` is
a method of what ``openai.OpenAI(...)`` returned, and ``openai.OpenAI()`` as a callee a plain call of that object. In a
pattern ``*`` is any part of one name, and ``**.`` any number of names, none included, without calls between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

Slot: TypeAlias = str | int
"""An argument: a keyword, or a position counted from 0."""

Role: TypeAlias = Literal["system", "user", "assistant", "raw"]


@dataclass(frozen=True, slots=True)
class Signature:
    """A call that makes a model generate text.

    ``callees`` are path patterns. ``tails`` are endings that are unmistakable on a client whose class is not known,
    such as ``.chat.completions.create``; they count only where a prompt argument is given. ``prompt`` are the arguments
    that hold the prompt; the first given one counts, and without any the prompt is what the object carries. ``many``:
    the argument may also be a list of prompts. ``within`` are the keys that hold the prompt where the argument is a
    dictionary or the JSON of one (``json={"messages": ...}``): all that are given count, in this order, and the whole
    argument where none is.

    ``form``: a list of messages, a text, either, or ``fields`` where after ``prompt`` every keyword argument is a part
    of the prompt (DSPy) save those of ``options``. ``system`` is the argument of a system prompt that is sent before
    the rest. ``also`` are arguments that hold objects whose text is sent too: the agent in ``Runner.run(agent, ...)``.

    ``where`` pairs an argument with a regular expression that must be found in its text, such as the URL of an HTTP
    post; ``made`` does so for the call that made the object (``pipeline("text-generation")``). What is not given or not
    constant counts as an empty text. ``body`` are groups of keys: the prompt argument, a dictionary, must have one of
    each. ``texts`` are the paths of the result that hold the generated text; ``*`` stands for any name there too.
    """

    api: str
    callees: tuple[str, ...]
    prompt: tuple[Slot, ...]
    form: Literal["messages", "text", "either", "fields"]
    tails: tuple[str, ...] = ()
    system: Slot | None = None
    also: tuple[Slot, ...] = ()
    where: tuple[tuple[Slot, str], ...] = ()
    made: tuple[tuple[Slot, str], ...] = ()
    within: tuple[str, ...] = ()
    body: tuple[tuple[str, ...], ...] = ()
    many: bool = False
    options: tuple[str, ...] = ()
    max_tokens: tuple[str, ...] = ("max_tokens",)
    texts: tuple[str, ...] = ("",)


@dataclass(frozen=True, slots=True)
class Carrier:
    """Making an object whose arguments are sent with every later call on it: an agent with its instructions.

    ``text`` are the arguments that are sent, all that are given, in their order: texts, lists of messages, templates,
    other carriers or lists of them, or classes whose docstring is the instruction (DSPy's signatures). ``role`` is that
    of a plain text among them. A method that makes a carrier (``start_chat``) adds to what its object carries.
    """

    callees: tuple[str, ...]
    text: tuple[Slot, ...]
    role: Role = "system"


@dataclass(frozen=True, slots=True)
class Transparent:
    """A call that returns what it was given, as far as prompts go: ``ChatOpenAI().bind_tools(...)`` is that model, and
    ``instructor.from_openai(client)`` that client. ``of`` is the argument, the first given one; empty: the object that
    the method is of."""

    callees: tuple[str, ...]
    of: tuple[Slot, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """Making a prompt template. ``text`` is its argument, the first given one: a text, or a list of messages where
    ``chat``; ``syntax`` how its fields are written."""

    callees: tuple[str, ...]
    text: tuple[Slot, ...]
    syntax: Literal["format", "jinja", "dollar"] = "format"
    chat: bool = False
    role: Role = "raw"


@dataclass(frozen=True, slots=True)
class Sdk:
    """All entries of one SDK. ``models`` are patterns of what makes a model or client: a parameter annotated with one
    is known to be one, and in ``prompt | model`` it is what generates. ``messages`` pairs patterns of what makes one
    message with its role; the role is ``raw`` where the argument ``role`` decides it."""

    signatures: tuple[Signature, ...] = ()
    carriers: tuple[Carrier, ...] = ()
    transparent: tuple[Transparent, ...] = ()
    templates: tuple[Template, ...] = ()
    models: tuple[str, ...] = ()
    messages: tuple[tuple[str, Role], ...] = ()


def methods(clients: Iterable[str], *names: str) -> tuple[str, ...]:
    """The callees of methods of client objects: ``openai.OpenAI().chat.completions.create``."""
    return tuple(f"{client}(){name}" for client in clients for name in names)


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A path pattern as a regular expression."""
    meaning = {"**.": r"(?:\w+\.)*", "*": r"\w*"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in re.split(r"(\*\*\.|\*)", pattern)))
