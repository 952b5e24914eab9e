"""What an engine reports of reuse, in tokens where it counts them, else in KV blocks.

The llmapi profile reports reused and missed blocks of each call and no prompt tokens. A rate over blocks is then the
one that can be had without a guess; it is named so wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from charter_compiler.executor.recording import read_recording
from charter_compiler.executor.types import GenerationResult

REUSED, MISSED = "kv_cache_reused_block", "kv_cache_missed_block"
"""As the llmapi profile spells them."""


def reused(result: GenerationResult) -> int | None:
    """Cached tokens of a call; where they are not known, reused blocks; ``None`` where neither is reported."""
    if result.cached_tokens is not None:
        return result.cached_tokens
    blocks = result.details.get(REUSED)
    return None if blocks is None else int(blocks)


def block_rate(calls: Iterable[Mapping[str, Any]]) -> float | None:
    """Reused over all prompt blocks of the calls together; ``None`` where one does not report both."""
    hits = total = 0
    for call in calls:
        hit, missed = call.get(REUSED), call.get(MISSED)
        if hit is None or missed is None:
            return None
        hits += int(hit)
        total += int(hit) + int(missed)
    return hits / total if total else None


def recorded_block_rate(recording: Path) -> float | None:
    """``block_rate`` of a recorded run."""
    return block_rate(call["kv_cache"] for call in read_recording(recording) if not call["memoized"])
