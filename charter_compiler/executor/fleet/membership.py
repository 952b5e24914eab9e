"""Which endpoints a run has, from its beginning to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from charter_compiler.diagnostics.errors import TargetError
from charter_compiler.executor.fleet.fleet import Endpoint
from charter_compiler.executor.types import AsyncTarget, TargetFacts


class Membership(Protocol):
    """What a run asks about its endpoints. Owned by one event loop."""

    @property
    def first(self) -> Sequence[Endpoint]:
        """Those that it begins with, one at least."""

    def lost(self, name: str, why: TargetError) -> None:
        """An endpoint went away: ``joined`` is told when it answers again. One that is there and cannot be used (see
        ``lane.UNUSABLE``) is lost for good."""

    async def watch(self, joined: Callable[[Endpoint], None], left: Callable[[str], bool]) -> None:
        """Tell who joins and who leaves, until it is cancelled. ``left`` says whether the run can do without."""


class OneEndpoint:
    """The membership of a run on one target."""

    def __init__(self, target: AsyncTarget, facts: TargetFacts) -> None:
        self.first = (Endpoint(None, target, facts),)

    def lost(self, name: str, why: TargetError) -> None:
        """See ``Membership``; the only one is waited for by its lane."""

    async def watch(self, joined: Callable[[Endpoint], None], left: Callable[[str], bool]) -> None:
        """See ``Membership``."""
        await asyncio.Event().wait()
