"""The passes in their order, each verified after it ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.diagnostics.errors import VerificationError
from charter_compiler.ir.nodes import Agent
from charter_compiler.ir.text import print_agent
from charter_compiler.ir.verify import verify
from charter_compiler.passes.common_calls import CommonCalls
from charter_compiler.passes.dead_calls import DeadCalls
from charter_compiler.passes.independent_calls import IndependentCalls
from charter_compiler.passes.invariant_calls import InvariantCalls
from charter_compiler.passes.pass_base import Pass, PassResult

DEFAULT_PASSES: tuple[Pass, ...] = (
    InvariantCalls(),  # first: a call that left its loop may be the same as one outside it
    CommonCalls(),  # before what looks for readers: a merged call's readers are then the first one's
    DeadCalls(),  # after merging, or the first of two equal calls could seem unread
    IndependentCalls(),  # last of the calls' passes: only what is still sent can be sent at once
)
"""The exact passes. They only report; ``layout``, when it is asked for, works on the agent as written. Order,
admission, warm-up and retention are the plan's and the scheduler's, which work on requests."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A pass that ran, and its result."""

    name: str
    result: PassResult


def run_passes(agent: Agent, passes: Sequence[Pass] = DEFAULT_PASSES) -> tuple[Ran, ...]:
    """Run the passes one after the other; the agent of the last result is the outcome.

    Raises:
        VerificationError: a pass made illegal IR, a defect of Charter; the message names it, and the IR is attached.
    """
    ran: list[Ran] = []
    for each in passes:
        result = each.run(agent)
        try:
            verify(result.agent)
        except VerificationError as error:
            error.add_note(print_agent(result.agent))
            raise VerificationError(f"after the pass {each.name}: {error.message}", place=error.place) from error
        ran.append(Ran(each.name, result))
        agent = result.agent
    return tuple(ran)
