"""One finding about a user's source."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from charter_compiler.diagnostics.span import Span


class Severity(IntEnum):
    """Ordered, so that ``--fail-on warning`` is a comparison."""

    NOTE = 0
    WARNING = 1
    ERROR = 2

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """``code`` is stable (``CH101``); ``message`` is the cause and ``help`` the remedy, one line each.

    ``tokens`` is what the finding costs per call, in tokens of the target's tokenizer; ``None`` where not counted.
    """

    code: str
    severity: Severity
    span: Span
    message: str
    help: str
    tokens: int | None = None
