"""What a check yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from charter_compiler.analysis.checks.context import Context
from charter_compiler.diagnostics.diagnostic import Diagnostic, Severity
from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Call


@dataclass(frozen=True, slots=True)
class Finding:
    """A diagnostic and the call that it is about: a comment on the lines of either silences it."""

    diagnostic: Diagnostic
    call: Call


Check: TypeAlias = Callable[[Context], Iterator[Finding]]
"""One check over all calls of an agent. It has no state, and reads nothing but what the context gives it."""


def warning(code: str, call: Call, span: Span, message: str, help_: str, tokens: int | None = None) -> Finding:
    """A finding that costs tokens or time."""
    return Finding(Diagnostic(code, Severity.WARNING, span, message, help_, tokens), call)


def note(code: str, call: Call, span: Span, message: str, help_: str, tokens: int | None = None) -> Finding:
    """A finding that is worth knowing."""
    return Finding(Diagnostic(code, Severity.NOTE, span, message, help_, tokens), call)
