"""The two numbers of a router that follows prefixes: how much must match, and how uneven queues may become.

SGLang's router and Ray Serve's ``PrefixCacheAffinityRouter`` keep a tree of the prompts that each replica has seen. A
request goes to the replica that has seen most of it, if that is more than a given share of it; where queues differ by
more than a given number, load alone counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.config.settings import Setting
from charter_compiler.plan.execution_plan import ExecutionPlan

MARGIN = 0.05
"""Above the share that all prompts have in common."""
LARGEST = 0.9
DEFAULT_SHARE = 0.3
"""SGLang's router's own, where nothing is known of the prompts."""


@dataclass(frozen=True, slots=True)
class Affinity:
    """``share``: of a prompt, from 0 to 1; ``queue_difference``: in requests."""

    share: Setting
    queue_difference: Setting


def compute_affinity(plan: ExecutionPlan, prompt_lengths: Sequence[int], concurrency: int) -> Affinity:
    """What the plan's prefixes mean for a router.

    Args:
        prompt_lengths: in tokens, of the predicted requests; empty without inputs.
        concurrency: items in flight at each replica.
    """
    constant = max((prefix.tokens for prefix in plan.prefixes if not prefix.parameters), default=0)
    if prompt_lengths:
        mean = sum(prompt_lengths) / len(prompt_lengths)
        share = min(LARGEST, round(constant / mean + MARGIN, 2))
        why = (
            f"Prompts have {mean:.0f} tokens on average, and every replica soon has seen the {constant} that are "
            "constant: only a longer match says that a replica holds the item's own prefix."
        )
    else:
        share, why = DEFAULT_SHARE, "The router's default: there were no inputs to compute it from."
    difference = max(2, concurrency)
    return Affinity(
        Setting("share", share, why),
        Setting(
            "queue_difference",
            difference,
            f"With {concurrency} items in flight at each replica: a smaller difference is the pause between two "
            "calls of an item, and would take an item from the replica that holds its prefix.",
        ),
    )
