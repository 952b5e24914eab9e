"""What an embedded server counted since its start, warm-ups included: exact, where a client only sees a part."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SAMPLE = re.compile(r'^(\w+)\{[^}]*\bkind="(\w+)"[^}]*\} (\S+)$', re.M)


@dataclass(frozen=True, slots=True)
class Served:
    """``peak_blocks``: the most KV blocks that running requests held at once, blocks that they share counted once."""

    prompt_tokens: int
    cached_tokens: int
    peak_blocks: int

    @property
    def hit_rate(self) -> float | None:
        """Cached over prompt tokens; with partial reuse too, of which clients know whole blocks alone."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else None


def read_served(metrics: str) -> Served | None:
    """Of the text of its Prometheus endpoint (``serve/model_repository/metrics.py``); ``None`` where it is another
    server's."""
    values = {(name, kind): round(float(value)) for name, kind, value in _SAMPLE.findall(metrics)}
    wanted = (
        ("charter_tokens_total", "prompt"),
        ("charter_tokens_total", "cached"),
        ("charter_blocks_used_peak", "used"),
    )
    if not all(each in values for each in wanted):
        return None
    return Served(*(values[each] for each in wanted))
