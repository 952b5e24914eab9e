"""The ways in which a workload is run; a session runs them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.scheduler.mode import Mode


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to run a workload.

    ``reuse``: the engine's prefix cache is on. ``tuned``: as many items in flight as a search found to be fastest;
    otherwise as many as the case says. ``layout``: prompts in the order that the layout pass finds. ``warms``: the
    plan's constant prefixes are computed before the first item. ``prompts_of``: not the agent, but the prompts that
    the run of that arm has recorded, one output token each: what its prefill alone takes.
    """

    name: str
    label: str
    mode: Mode = Mode.BASELINE
    reuse: bool = True
    tuned: bool = False
    layout: bool = False
    warms: bool = True
    prompts_of: str | None = None

    @property
    def needs(self) -> str | None:
        """The arm whose run just before gives it prompts, or its plan."""
        return self.prompts_of or (None if self.warms else "exact")


NO_CACHE = Arm("no-cache", "engine cache off", reuse=False)
PREFILL = Arm("prefill", "prefill alone, cache off", reuse=False, prompts_of=NO_CACHE.name)
AS_WRITTEN = Arm("as-written", "cache on, as written")
TUNED = Arm("tuned", "as written, concurrency tuned", tuned=True)
EXACT = Arm("exact", "Charter, exact passes", Mode.OPTIMIZED)
UNWARMED = Arm("unwarmed", "Charter, nothing prepopulated", Mode.OPTIMIZED, warms=False)
LAYOUT = Arm("layout", "Charter with layout", Mode.OPTIMIZED, layout=True)

ALL_ARMS = (NO_CACHE, PREFILL, AS_WRITTEN, TUNED, EXACT, UNWARMED, LAYOUT)
ARMS = {arm.name: arm for arm in ALL_ARMS}
BOUND = (NO_CACHE, PREFILL)
"""With these the attainable bound is computed (``summary.bound_s``)."""
BASELINES = (*BOUND, AS_WRITTEN, TUNED, EXACT, LAYOUT)
"""What every comparison needs."""


def chosen_arms(names: Sequence[str]) -> tuple[Arm, ...]:
    """The arms of these names.

    Raises:
        UsageError: there is no such arm, or it needs another one that is not chosen.
    """
    for name in names:
        if name not in ARMS:
            raise UsageError(f"there is no arm '{name}'", remedy=f"arms are {', '.join(ARMS)}")
        needed = ARMS[name].needs
        if needed is not None and needed not in names:
            raise UsageError(f"the arm '{name}' follows a run of '{needed}'", remedy=f"choose {needed} too")
    return tuple(ARMS[name] for name in names)
