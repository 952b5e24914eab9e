"""A diagnostic as text for a terminal: place, message, the source line with a caret, and the remedy."""

from __future__ import annotations

import re

from charter_compiler.diagnostics.diagnostic import Diagnostic
from charter_compiler.diagnostics.span import Span

_LINE_END = re.compile(r"\r\n|\r|\n")
LINE_LIMIT = 160
"""Characters of a source line that are shown; longer lines are cut around the caret."""


def render(diagnostic: Diagnostic, source: str | None) -> str:
    """The diagnostic as several lines; ``source`` is the text of its file, ``None`` if that is not at hand."""
    lines = [f"{diagnostic.span}: {diagnostic.severity}[{diagnostic.code}]: {diagnostic.message}"]
    if diagnostic.tokens is not None:
        lines[0] += f" ({diagnostic.tokens} tokens a call)"
    if source is not None:
        lines.extend(excerpt(diagnostic.span, source))
    lines.append(f"  help: {diagnostic.help}")
    return "\n".join(lines)


def excerpt(span: Span, source: str) -> list[str]:
    """The first line of the span and carets below it; nothing where the source has no such line."""
    lines = _LINE_END.split(source)
    if not 0 < span.line <= len(lines):
        return []
    text = lines[span.line - 1]
    start = min(span.column - 1, len(text))
    end = min(span.end_column - 1, len(text)) if span.end_line == span.line else len(text)
    width = max(end - start, 1)
    if len(text) > LINE_LIMIT:
        cut = max(0, min(start - LINE_LIMIT // 4, len(text) - LINE_LIMIT))
        text, start = text[cut : cut + LINE_LIMIT], start - cut
        width = max(1, min(width, len(text) - start))
    # Tabs stay tabs below the line, so that the caret stands where the terminal puts the character.
    before = "".join("\t" if character == "\t" else " " for character in text[:start])
    number = str(span.line)
    return [f"  {number} | {text}", f"  {' ' * len(number)} | {before}{'^' * width}"]
