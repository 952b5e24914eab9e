"""The hit rate from templates alone, for an agent without inputs."""

from __future__ import annotations

from collections.abc import Sequence

from charter_compiler.analysis.prefix_analyzer import PrefixOpportunity
from charter_compiler.ir.nodes import Call, Const
from charter_compiler.tokens.tokenizer import Tokenizer


def template_hit_rate(
    calls: Sequence[Call], opportunities: Sequence[PrefixOpportunity], tokenizer: Tokenizer
) -> float | None:
    """Of the constant tokens of all calls' prompts, those in full blocks of shared constant prefixes.

    It is a property of the templates, not a forecast of a run: what the inputs add to the prompts is not known and not
    counted, nor is the first computation of a prefix. ``None`` where there is no constant text.
    """
    constant = {call.id: _constant_tokens(call, tokenizer) for call in calls}
    shared = dict.fromkeys(constant, 0)
    for opportunity in opportunities:
        if opportunity.template is None:
            for node in opportunity.nodes:
                shared[node] = max(shared[node], opportunity.aligned_length)
    total = sum(constant.values())
    # A shared prefix may include the chat template's own tokens, which are not the prompt's text.
    cached = sum(min(shared[call], constant[call]) for call in constant)
    return cached / total if total else None


def _constant_tokens(call: Call, tokenizer: Tokenizer) -> int:
    """Tokens of the constant segments between which nothing stands, counted together."""
    total, text = 0, ""
    for message in call.messages:
        for segment in (*message.segments, None):
            if isinstance(segment, Const):
                text += segment.text
            else:
                total += len(tokenizer.encode(text))
                text = ""
    return total
