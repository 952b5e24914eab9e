"""Hit rates from templates alone, for an agent without inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.analysis.prefix_analyzer import PrefixOpportunity
from charter_compiler.ir.nodes import Call, Const
from charter_compiler.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class TemplateRates:
    """``hit_rate``: of the constant tokens of all prompts, those in full blocks that every use but the first finds in
    the cache; ``None`` where there is no constant text. What the inputs add to the prompts is not known and not
    counted, so this is a property of the templates, not a forecast of a run."""

    constant_tokens: int
    hit_rate: float | None


def template_rates(
    calls: Sequence[Call], opportunities: Sequence[PrefixOpportunity], tokenizer: Tokenizer
) -> TemplateRates:
    """Constant tokens of the calls' own text, and the part of them that leads shared prefixes without parameters."""
    constant = {call.id: _constant_tokens(call, tokenizer) for call in calls}
    shared = dict.fromkeys(constant, 0)
    for opportunity in opportunities:
        if opportunity.template is None:
            for node in opportunity.nodes:
                shared[node] = max(shared[node], opportunity.aligned_length)
    total = sum(constant.values())
    # A shared prefix may include the chat template's own tokens, which are not the prompt's text.
    cached = sum(min(shared[call], constant[call]) for call in constant)
    return TemplateRates(total, cached / total if total else None)


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
