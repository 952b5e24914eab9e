"""Phrases that several checks use."""

from __future__ import annotations

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.layout import Loss
from charter_compiler.ir.nodes import Call, Const, Param
from charter_compiler.ir.prompts import segments_of

EXCERPT = 40
"""Characters of a text that a message quotes."""


def amount(text: str, context: Context) -> tuple[str, int | None]:
    """``340 tokens``, or characters where there is no tokenizer; and the number of tokens."""
    tokens = context.tokens(text)
    return (f"{len(text)} characters" if tokens is None else f"{tokens} tokens"), tokens


def where(loss: Loss) -> str:
    """Where the prompts part: ``at the start of the prompt``, or ``after "... Question: "``."""
    text = " ".join(loss.before.split())
    if not text:
        return "at the start of the prompt" if loss.before == "" else "before anything else"
    return f'after "{text if len(text) <= EXCERPT else "…" + text[-EXCERPT:]}"'


def behind(loss: Loss, context: Context) -> tuple[str, int | None]:
    """What of the prompt is lost: ``340 tokens of constant text ("Follow these rules…") and `document` ``."""
    parts, tokens = [], None
    if loss.text:
        size, tokens = amount(loss.text, context)
        text = " ".join(loss.text.split())
        parts.append(f'{size} of constant text ("{text[:EXCERPT].rstrip()}…")')
    names = [f"`{each.name}`" if isinstance(each, Param) else f"the result of {short(each.id)}" for each in loss.values]
    parts.extend(dict.fromkeys(names))
    return " and ".join(parts), tokens


def short(call_id: str) -> str:
    """The id of a call without its file."""
    return call_id.rpartition(":")[2]


def constant_tokens(call: Call, context: Context) -> int | None:
    """Tokens of the constant text of a prompt: at least so many are sent."""
    return context.tokens("".join(segment.text for segment in segments_of(call) if isinstance(segment, Const)))
