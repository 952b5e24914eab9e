"""The kinds of reuse that the analyses look for, and the form in which they are reported."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from charter_compiler.diagnostics.span import Span


class PatternKind(StrEnum):
    """Where the same tokens would be computed again."""

    SHARED_PREFIX = "shared_prefix"
    """Two call sites or more begin alike."""
    SEQUENTIAL_CHAIN = "sequential_chain"
    """Each call's output flows into the next."""
    BRANCHING = "branching"
    """One result feeds several independent calls."""
    LOOP_INVARIANT = "loop_invariant"
    """A call, or a leading part of its prompt, does not change in the loop."""
    DELTA_MATCHING = "delta_matching"
    """One call site whose prompts differ only in small parts from item to item or from run to run."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One finding: the calls it is about (ids, in source order unless the kind gives an order) and why it holds.

    ``evidence`` are the places in the source that show it: the shared text, the results that flow, the parts that vary.
    """

    kind: PatternKind
    nodes: tuple[str, ...]
    description: str
    evidence: tuple[Span, ...] = ()
