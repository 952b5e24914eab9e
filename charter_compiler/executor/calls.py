"""One call of an agent on its way: who made it, where in the source, and what became of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from charter_compiler.executor.types import GenerationRequest, GenerationResult
from charter_compiler.ir.nodes import Call

_RUN_TIME = Path(__file__).parent
"""Charter's own frames, which lie below the agent's root when somebody runs an agent inside Charter's checkout."""


@dataclass(frozen=True, slots=True)
class CallSite:
    """A place in the agent's code. ``id`` is the id of the call site in the IR, ``None`` where no call of the IR spans
    that line."""

    file: str
    line: int
    id: str | None = None

    @property
    def label(self) -> str:
        return self.id or f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class AgentCall:
    """``ordinal`` counts the calls of one item from 0, in the order in which the agent made them. ``rank``: gives it
    its place in line when it goes to the scheduler, where that is not its item's."""

    item: int
    ordinal: int
    site: CallSite | None
    request: GenerationRequest
    rank: Callable[[], float] | None = None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call that was answered. ``item`` is ``None`` for a warm-up.

    Times are seconds since the run began: ``submitted`` when the agent asked, ``sent`` when the scheduler let the
    request go; ``first_token`` is ``None`` where no token came. ``attainable_tokens`` are the prompt tokens that an
    unbounded cache would have held when the call was sent; ``None`` where blocks are not known. ``memoized``: not sent;
    the answer came from the memo store, or is that of an equal request of this run. ``endpoint``: which of several
    answered; ``None`` where there is one, or where it was not sent.
    """

    item: int | None
    ordinal: int
    site: CallSite | None
    request: GenerationRequest
    result: GenerationResult
    submitted: float
    sent: float
    first_token: float | None
    done: float
    attainable_tokens: int | None
    memoized: bool = False
    endpoint: str | None = None

    @property
    def latency(self) -> float:
        """Seconds that the agent waited, in Charter's queue and at the target."""
        return self.done - self.submitted

    @property
    def ttft(self) -> float | None:
        """Seconds until the first token, counted like ``latency``."""
        return None if self.first_token is None else self.first_token - self.submitted


class CallSites:
    """Finds the call site from the running stack.

    Args:
        root: the folder of the agent's code; frames of files outside it are not the agent's.
        calls: the calls of the IR, for their ids.
    """

    def __init__(self, root: Path, calls: Iterable[Call] = ()) -> None:
        self._root = root.resolve()
        self.calls = tuple(calls)
        self._own: dict[str, bool] = {}
        self._found: dict[tuple[str, int], CallSite] = {}

    def here(self) -> CallSite | None:
        """The innermost frame of the agent's code on the caller's stack."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            name = frame.f_code.co_filename
            if self._is_own(name):
                key = (name, frame.f_lineno)
                if key not in self._found:
                    self._found[key] = CallSite(name, frame.f_lineno, self._id_at(*key))
                return self._found[key]
            frame = frame.f_back
        return None

    def _is_own(self, name: str) -> bool:
        if name not in self._own:
            path = Path(name)
            foreign = path.is_relative_to(_RUN_TIME) or "site-packages" in path.parts
            self._own[name] = path.is_relative_to(self._root) and not foreign
        return self._own[name]

    def _id_at(self, file: str, line: int) -> str | None:
        """The call that spans the line: the smallest one, should they be nested."""
        spanning = [c for c in self.calls if Path(c.span.file).resolve() == Path(file) and _spans(c, line)]
        return min(spanning, key=lambda c: c.span.end_line - c.span.line).id if spanning else None


def _spans(call: Call, line: int) -> bool:
    return call.span.line <= line <= call.span.end_line
