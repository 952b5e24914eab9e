"""Does a configuration serve a plan? Rules over what a folder or a server says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from charter_compiler.plan.execution_plan import ExecutionPlan


@dataclass(frozen=True, slots=True)
class Served:
    """What is known of one deployment; ``None`` is not known, and then nothing is said of it.

    Args:
        place: the file or address that tells it.
        reuse: KV blocks of earlier requests are reused.
        capacity_tokens: of the KV cache.
        max_sequence: prompt and output of one request, in tokens.
        decoupled: by Triton model, whether it may answer a request many times.
        tokenizer: its fingerprint.
        prefix_tokens: by cache id, how many tokens the deployment itself makes of a prefix of the plan.
        faults: what is wrong in itself, whatever the plan.
    """

    place: str
    reuse: bool | None = None
    tokens_per_block: int | None = None
    capacity_tokens: int | None = None
    max_sequence: int | None = None
    decoupled: Mapping[str, bool] = field(default_factory=dict)
    tokenizer: str | None = None
    prefix_tokens: Mapping[int, int] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that keeps a configuration from serving a plan, and how to mend it."""

    place: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message} ({self.remedy})"


def check(served: Served, plan: ExecutionPlan | None) -> tuple[Problem, ...]:
    """The problems, worst first. Without a plan only what is wrong in itself."""
    return tuple(Problem(served.place, message, remedy) for message, remedy in _problems(served, plan))


def _problems(served: Served, plan: ExecutionPlan | None) -> Iterator[tuple[str, str]]:
    if served.reuse is False:
        yield "KV reuse is off: every prompt is computed whole", "turn it on"
    for fault in served.faults:
        yield fault, "see docs/engine-config.md"
    yield from _decoupled(served)
    if plan is not None:
        yield from _tokenizer(served, plan)
        yield from _sizes(served, plan)


def _decoupled(served: Served) -> Iterator[tuple[str, str]]:
    if len(set(served.decoupled.values())) > 1:
        listed = ", ".join(f"{name} {str(value).lower()}" for name, value in sorted(served.decoupled.items()))
        yield f"the models disagree on decoupled transactions: {listed}", "set model_transaction_policy alike in all"
    elif served.decoupled and not any(served.decoupled.values()):
        yield "decoupled transactions are off: no answer can be streamed", "set decoupled: true"


def _tokenizer(served: Served, plan: ExecutionPlan) -> Iterator[tuple[str, str]]:
    if served.tokenizer is not None and served.tokenizer != plan.tokenizer:
        yield (
            f"its tokenizer is {served.tokenizer[:12]}, the plan counted with {plan.tokenizer[:12]}",
            "compile for the model that is served",
        )
    for prefix in plan.prefixes:
        counted = served.prefix_tokens.get(prefix.cache_id)
        if counted is not None and not prefix.parameters and counted != prefix.tokens:
            yield (
                f"its tokenizer makes {counted} tokens of the prefix {prefix.cache_id}, the plan's {prefix.tokens}",
                "compile for the model that is served",
            )


def _sizes(served: Served, plan: ExecutionPlan) -> Iterator[tuple[str, str]]:
    constant = [prefix.tokens for prefix in plan.prefixes if not prefix.parameters]
    longest = max((prefix.tokens for prefix in plan.prefixes), default=0)
    size = served.tokens_per_block
    if (
        size is not None
        and constant
        and not any(prefix.parameters for prefix in plan.prefixes)
        and size > max(constant)
    ):
        yield (
            f"a block has {size} tokens, and the longest shared prefix {max(constant)}: no block of it is ever full",
            "choose smaller blocks",
        )
    if served.capacity_tokens is not None and longest > served.capacity_tokens:
        yield (
            f"the cache holds {served.capacity_tokens} tokens, and one shared prefix alone has {longest}",
            "give the cache more memory",
        )
    needed = None if plan.capacity_blocks is None else plan.capacity_blocks * plan.block_size
    if served.capacity_tokens is not None and needed is not None and served.capacity_tokens < needed:
        yield (
            f"the cache holds {served.capacity_tokens} tokens, and the plan was made for {needed}",
            "give it more memory, or compile with --capacity-blocks",
        )
    if served.max_sequence is not None and longest >= served.max_sequence:
        yield (
            f"a sequence has at most {served.max_sequence} tokens, and one shared prefix alone {longest}",
            "raise the longest sequence",
        )
