"""The form of an SDK's entry in the table of model calls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Signature:
    """How one function of an SDK is recognised and where it takes its prompt.

    ``callees`` are dotted paths from the import on; ``()`` stands for constructing a class, as in
    ``openai.OpenAI().chat.completions.create``. ``tails`` are the endings that are unmistakable on a client whose class
    is not known, such as ``.chat.completions.create``. ``prompt`` are the keywords that hold the prompt, the first
    given one counts; ``position`` is where it stands as a positional argument. ``form``: a list of messages, a text, or
    either. ``system`` is the keyword of a system prompt that is sent before the rest. ``texts`` are the paths of the
    result that hold the generated text.
    """

    api: str
    callees: tuple[str, ...]
    prompt: tuple[str, ...]
    form: Literal["messages", "text", "either"]
    tails: tuple[str, ...] = ()
    position: int | None = None
    system: str | None = None
    max_tokens: tuple[str, ...] = ("max_tokens",)
    texts: tuple[str, ...] = ("",)


def methods(clients: Iterable[str], *names: str) -> tuple[str, ...]:
    """The callees of methods of client objects: ``openai.OpenAI().chat.completions.create``."""
    return tuple(f"{client}(){name}" for client in clients for name in names)
