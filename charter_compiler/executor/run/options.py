"""How to run an agent."""

from __future__ import annotations

from dataclasses import dataclass, field

from charter_compiler.executor.budget import Budget
from charter_compiler.executor.defaults import DEFAULT_CONCURRENCY
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.plan.placement import Placement
from charter_compiler.plan.schedule import DEFAULT_SCHEDULE, Schedule


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run.

    ``concurrency``: items in flight at each endpoint; ``max_tokens``: caps every call's; ``max_failures``: the run
    ends when more items than that have failed, ``None`` for never; ``handle_interrupt``: Ctrl-C lets the running
    items finish, a second one stops them (only in the main thread). ``merge``: in optimized mode, equal requests
    are answered once; ``merge_sampling``: those with a temperature and no seed too. ``schedule`` is a plan's, for
    optimized mode; ``budget``: what the run may use up; ``placement``: of items on several endpoints, by prefix in
    optimized mode and calls in turn in baseline mode unless it is given.
    """

    mode: Mode = Mode.OPTIMIZED
    concurrency: int = DEFAULT_CONCURRENCY
    max_tokens: int | None = None
    max_failures: int | None = None
    handle_interrupt: bool = False
    merge: bool = True
    merge_sampling: bool = False
    schedule: Schedule = DEFAULT_SCHEDULE
    budget: Budget = field(default_factory=Budget)
    placement: Placement | None = None

    @property
    def placed(self) -> Placement:
        """How items are spread over several endpoints."""
        default = Placement.ROUND_ROBIN if self.mode is Mode.BASELINE else Placement.PREFIX
        return self.placement or default

    @property
    def scheduled(self) -> Mode:
        """What orders the calls of an endpoint: with calls sent in turn nothing is known of its cache."""
        return Mode.BASELINE if self.placed is Placement.ROUND_ROBIN else self.mode

    @property
    def merges(self) -> bool:
        """Whether equal requests of the run are answered once."""
        return self.merge and self.mode is Mode.OPTIMIZED
