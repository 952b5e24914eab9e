"""CH107: a prefix that is marked for the provider's cache is too short for it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from charter_compiler.analysis.checks.context import Context
from charter_compiler.analysis.checks.finding import Finding, warning
from charter_compiler.ir.nodes import Call, Const

DEFAULT_MINIMUM = 1024
MINIMA = (
    # Anthropic: https://docs.claude.com/en/docs/build-with-claude/prompt-caching
    (re.compile(r"claude-(?:opus-4-[5-9]|haiku-4-5)|claude-.*mythos"), 4096),
    (re.compile(r"claude-(?:3-5-haiku|3-haiku|haiku-3)"), 2048),
)
"""Tokens that a prefix must have at least, by the name of the model; ``DEFAULT_MINIMUM`` for others."""
MARGIN = 0.75
"""Another model's tokenizer counts otherwise: only a prefix of fewer than this part of the minimum is reported."""


def short_cached_prefix(context: Context) -> Iterator[Finding]:
    """Prompts with a mark (Anthropic's ``cache_control``) whose text up to the last mark is all constant.

    Tools stand before the prompt and count; with tools nothing is said.
    """
    for call in context.calls:
        marked = [index for index, message in enumerate(call.messages) if message.cached]
        if not marked or _has_tools(call, context):
            continue
        segments = [segment for message in call.messages[: marked[-1] + 1] for segment in message.segments]
        if not all(isinstance(segment, Const) for segment in segments):
            continue
        text = "".join(segment.text for segment in segments if isinstance(segment, Const))
        tokens = context.tokens(text)
        least = minimum(call.model)
        about = len(text) / 4 if tokens is None else tokens
        if about >= least * MARGIN:
            continue
        size = f"{len(text)} characters" if tokens is None else f"{tokens} tokens"
        yield warning(
            "CH107",
            call,
            call.span,
            f"the prefix that is marked for the provider's cache has {size}, and the cache takes none below {least} "
            "tokens: the mark does nothing",
            "mark a longer prefix (tools, rules, documents and examples before the mark), or take the mark away",
            tokens,
        )


def minimum(model: str | None) -> int:
    """Tokens of the shortest prefix that the provider of a model caches; the lowest known one for unknown models."""
    return next((least for pattern, least in MINIMA if model and pattern.search(model)), DEFAULT_MINIMUM)


def _has_tools(call: Call, context: Context) -> bool:
    syntax = context.syntax(call.span.file)
    node = None if syntax is None else syntax.call(call.span)
    if node is None:
        return True
    return any(keyword.arg in ("tools", "functions", None) for keyword in node.keywords)
