"""Requests told apart by their text: which call site wrote a prompt, where neither stack nor header says it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from charter_compiler.executor.calls import CallSite
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.ir.nodes import Call, Const, Message

LEAST = 8
"""Characters of constant text that a template needs: with fewer it would match nearly everything."""
_MESSAGE, _CONTENT = "\x1e", "\x1f"
"""Before a message's role and before its content, where a request is one text."""


@dataclass(frozen=True, slots=True)
class Template:
    """What a call site sends: constant ``texts`` with anything between each and the next. ``messages``: how many there
    are; ``None`` where the program decides it as it runs."""

    site: CallSite
    texts: tuple[str, ...]
    messages: int | None

    @property
    def constant(self) -> int:
        """Characters that are written in the source."""
        return sum(len(text) for text in self.texts)

    def matches(self, text: str, messages: int) -> bool:
        """Whether the call site can have written it. Leftmost places decide that: whatever follows a text that is found
        further left has more room."""
        if self.messages not in (None, messages):
            return False
        if len(self.texts) == 1:
            return text == self.texts[0]
        first, *inner, last = self.texts
        place, end = len(first), len(text) - len(last)
        if place > end or not text.startswith(first) or not text.endswith(last):
            return False
        for piece in inner:
            found = text.find(piece, place, end)
            if found < 0:
                return False
            place = found + len(piece)
        return True


class SiteTemplates:
    """Names the call site of a request.

    Where several match, it is the one with the most constant text: a prompt that holds all of a longer template has
    hardly come from a shorter one. Where two are equally long, or none matches, it is unknown.
    """

    def __init__(self, calls: Iterable[Call]) -> None:
        found = [template for call in calls if (template := template_of(call)) is not None]
        self._templates = sorted(found, key=lambda template: -template.constant)

    def __len__(self) -> int:
        return len(self._templates)

    def site_of(self, request: GenerationRequest) -> CallSite | None:
        """``None`` where it is unknown."""
        text, messages = _text_of(request)
        matching = [template for template in self._templates if template.matches(text, messages)][:2]
        if not matching or (len(matching) == 2 and matching[0].constant == matching[1].constant):
            return None
        return matching[0].site


def template_of(call: Call) -> Template | None:
    """``None`` for a prompt with less than ``LEAST`` constant characters, as that of a forwarding function."""
    texts = [""]
    for message in call.messages:
        for piece in _pieces(message):
            if isinstance(piece, str):
                texts[-1] += piece
            elif texts[-1] or len(texts) == 1:
                texts.append("")
    known = all(message.role != "unknown" for message in call.messages)
    segments = [segment for message in call.messages for segment in message.segments]
    written = sum(len(segment.text) for segment in segments if isinstance(segment, Const))
    if written < LEAST:
        return None
    site = CallSite(call.span.file, call.span.line, call.id)
    return Template(site, tuple(texts), len(call.messages) if known else None)


def _pieces(message: Message) -> Iterator[str | None]:
    """Texts, and ``None`` for what the source does not say."""
    if message.role == "unknown":
        yield None
        return
    yield _opening(message.role)
    for segment in message.segments:
        yield segment.text if isinstance(segment, Const) else None


def _text_of(request: GenerationRequest) -> tuple[str, int]:
    if request.prompt is not None:
        return _opening("raw") + request.prompt, 1
    messages = request.messages or ()
    return "".join(_opening(str(m.get("role"))) + str(m.get("content")) for m in messages), len(messages)


def _opening(role: str) -> str:
    return "" if role == "raw" else f"{_MESSAGE}{role}{_CONTENT}"
