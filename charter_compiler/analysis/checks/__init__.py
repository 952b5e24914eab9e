"""What is wrong with an agent's model calls: one check a file, each a pure function of the IR and its context.

Findings cost something real, or are not made: a check is silent about what the source does not show.
"""

from __future__ import annotations

from collections.abc import Mapping

from charter_compiler.analysis.checks.context import Context, TokenizerSource
from charter_compiler.analysis.checks.examples_after_query import examples_after_query
from charter_compiler.analysis.checks.finding import Check, Finding
from charter_compiler.analysis.checks.invariant_call import invariant_call
from charter_compiler.analysis.checks.item_before_invariant import item_before_invariant
from charter_compiler.analysis.checks.near_identical import near_identical
from charter_compiler.analysis.checks.outside_effects import outside_effects
from charter_compiler.analysis.checks.repeated_call import repeated_call
from charter_compiler.analysis.checks.rewritten_history import rewritten_history
from charter_compiler.analysis.checks.sequential_awaits import sequential_awaits
from charter_compiler.analysis.checks.short_cached_prefix import short_cached_prefix
from charter_compiler.analysis.checks.silence import Silence, silence_of
from charter_compiler.analysis.checks.unknown_prompt import unknown_prompt
from charter_compiler.analysis.checks.unordered import unordered
from charter_compiler.analysis.checks.unused_result import unused_result
from charter_compiler.analysis.checks.varying_before_constant import varying_before_constant
from charter_compiler.analysis.checks.volatile_early import volatile_early
from charter_compiler.diagnostics.diagnostic import Diagnostic
from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Agent

__all__ = ["CHECKS", "check"]

CHECKS: tuple[Check, ...] = (
    unknown_prompt,  # CH001: what every other check is silent about, so that silence is not taken for praise
    varying_before_constant,  # CH101: the most common loss, and the costliest: the question before the rules
    item_before_invariant,  # CH102: the same inside a loop, where every turn pays for it
    examples_after_query,  # CH103: the same where the text behind are examples, which are long and never change
    volatile_early,  # CH104: one time stamp at the top makes the whole prompt new
    unordered,  # CH105: equal content in another order is another prefix, and looks like bad luck
    near_identical,  # CH106: a space or a comma keeps two call sites from sharing what both were meant to share
    short_cached_prefix,  # CH107: a mark below the provider's minimum is ignored without a word
    rewritten_history,  # CH108: a conversation that is cut in front loses all that was computed of it
    invariant_call,  # CH201: a call that gives the same in every turn of its loop
    repeated_call,  # CH202: a call whose answer is at hand already
    sequential_awaits,  # CH203: waiting for one answer before the next, unrelated question is asked
    unused_result,  # CH204: an answer that nobody reads
    outside_effects,  # CH301: the run time asks for consent by it
)
"""In the order of their codes. A loss of prefix (CH101 to CH105) is found once and reported by one of them."""


def check(agent: Agent, sources: Mapping[str, str], tokenizer: TokenizerSource = None) -> tuple[Diagnostic, ...]:
    """What the checks say, in source order, without what comments silence.

    ``sources`` are the texts of the files by their labels; ``tokenizer`` counts what findings cost. A function that
    loads one is called only when there is something to count.

    ``# charter: ignore[CH101]`` silences on its own line: a line of the finding, or the first or last of the call.
    ``# charter: ignore-file[CH101]`` silences in its file.
    """
    context = Context(agent, sources, tokenizer)
    silences: dict[str, Silence] = {}
    found: dict[tuple[str, Span], Diagnostic] = {}
    for each in (finding for one in CHECKS for finding in one(context)):
        if not _is_silenced(each, context, silences):
            found.setdefault((each.diagnostic.code, each.diagnostic.span), each.diagnostic)
    return tuple(sorted(found.values(), key=lambda diagnostic: (diagnostic.span, diagnostic.code)))


def _is_silenced(finding: Finding, context: Context, silences: dict[str, Silence]) -> bool:
    code = finding.diagnostic.code
    for span in (finding.diagnostic.span, finding.call.span):
        if span.file not in silences:
            silences[span.file] = silence_of(context.sources.get(span.file, ""))
        if silences[span.file].covers(code, span.line, span.end_line):
            return True
    return False
