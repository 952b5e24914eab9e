"""What must be the same for a run to be resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from charter_compiler.executor.inputs import file_sha256
from charter_compiler.executor.journal import JournalState
from charter_compiler.executor.targets import OpenTarget
from charter_compiler.passes.template import PlannedLayout
from charter_compiler.plan.codec import encode

if TYPE_CHECKING:
    from charter_compiler.api.measured_run import RunRequest


def run_identity(request: RunRequest) -> dict[str, object]:
    """What must be the same for a run to be resumed, as far as it is known before the target is opened."""
    return {
        "entry": request.entry,
        "source": file_sha256(Path(request.entry.rpartition(":")[0])),
        "inputs": file_sha256(request.inputs),
        "limit": request.limit,
        "target": request.target,
        "mode": str(request.options.mode),
        "max_tokens": request.options.max_tokens,
        "merges": [request.options.merges, request.options.merge_sampling],
    }


def target_identity(target: OpenTarget, warm_ups: Sequence[str], layouts: Sequence[PlannedLayout]) -> dict[str, object]:
    """The rest of it: what the target serves, and the plan's warm-ups and layouts. ``None`` for what the target
    does not state."""
    return {
        "model": target.facts.model,
        "tokenizer": None if target.tokenizer is None else target.tokenizer.fingerprint,
        "warm_ups": hashlib.sha256(json.dumps(warm_ups).encode()).hexdigest(),
        "layouts": hashlib.sha256(json.dumps(encode(tuple(layouts))).encode()).hexdigest(),
    }


def is_cold(target: OpenTarget, state: JournalState, items: int) -> bool:
    """Whether the warm-ups are to be sent: items are left, and no earlier run has warmed this very server."""
    return len(state.items) < items and (target.server is not None or not state.warm_ups)
