"""Opens the endpoints of a run, opens again those that went away, and reads their file anew while the run goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from charter_compiler.diagnostics.errors import (
    AuthenticationError,
    CharterError,
    TargetError,
    TargetUnavailableError,
    UsageError,
)
from charter_compiler.executor.defaults import LOCAL
from charter_compiler.executor.fleet.addresses import Address, Addresses, parse_targets, read_targets
from charter_compiler.executor.fleet.fleet import Endpoint
from charter_compiler.executor.targets import OpenTarget, TargetOptions, open_target

PROBE = 1.0
"""Seconds between two tries to open an endpoint that is away, and between two looks at the file."""
OPENING = 10.0
"""Seconds that opening an endpoint may take in mid-run; then it is tried again. A server that is started has the time
that it takes."""


class OpenEndpoints:
    """The open targets of a run, and a ``Membership``. Owned by one event loop.

    An endpoint that is named later, or that answers again, must serve the model that the run began with, with the same
    blocks and hints. A server that the run started itself and that ended is not started again. ``notes`` are lines for
    the user: who came and went. ``on_stranger`` is told, before it joins, of an endpoint whose identity for the memo
    store is none of those that the run began with.
    """

    def __init__(self, addresses: Addresses, options: TargetOptions, stack: AsyncExitStack) -> None:
        self._addresses = addresses
        self._options = options
        self._stack = stack
        self._wanted = {address.name: address for address in addresses.endpoints}
        self._opened: dict[str, OpenTarget] = {}
        self._begun: tuple[OpenTarget, ...] = ()
        self._away: set[Address] = set()
        self._lost = asyncio.Event()
        self._read = _stamp(addresses.file)
        self.notes: list[str] = []
        self.on_stranger: Callable[[str], None] = lambda name: None

    async def open_first(self) -> None:
        """Raises what ``open_target`` does; of several, some may be away as long as one answers."""
        addresses = self._addresses.endpoints
        results = await asyncio.gather(*map(self._open, addresses), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        for failure in failures:
            if len(failures) == len(results) or not isinstance(failure, TargetUnavailableError):
                raise failure
        for address, result in zip(addresses, results, strict=True):
            if isinstance(result, OpenTarget):
                self._opened[address.name] = result
                check_same_model(self.targets[0], result)
            else:
                self._away.add(address)
                self._note(f"endpoint {address.name} does not answer ({result}); it joins when it does")
        self._begun = self.targets

    @property
    def targets(self) -> tuple[OpenTarget, ...]:
        """Those that were opened, each as it was opened last."""
        return tuple(self._opened.values())

    @property
    def common(self) -> OpenTarget:
        """The first one, with what the run may take for true of all: the hints that each of them takes, and an identity
        for the memo store under which only these endpoints' answers lie, unless they are the same as far as can be
        seen."""
        first, identities = self.targets[0], {json.dumps(each.identity, sort_keys=True) for each in self.targets}
        taken = [set(each.facts.kv_hint_actions) for each in self.targets]
        actions = tuple(each for each in first.facts.kv_hint_actions if all(each in one for one in taken))
        identity = first.identity if len(identities) == 1 else {"endpoints": sorted(identities)}
        return replace(first, identity=identity, facts=replace(first.facts, kv_hint_actions=actions))

    @property
    def by_name(self) -> Mapping[str, OpenTarget]:
        """The same by their endpoints' names."""
        return dict(self._opened)

    def explain(self, error: CharterError) -> CharterError:
        """The error; or, where it says that a server is away that was started for the run, why that has ended. Looks at
        processes."""
        explained = (target.explain(error) for target in self._opened.values())
        return next((other for other in explained if other is not error), error)

    @property
    def several(self) -> bool:
        """Whether the run may have more than one endpoint."""
        return self._addresses.several

    @property
    def first(self) -> Sequence[Endpoint]:
        """See ``Membership``."""
        return [self._endpoint(name, target) for name, target in self._opened.items()]

    def lost(self, name: str, why: TargetError) -> None:
        """See ``Membership``."""
        if not isinstance(why, TargetUnavailableError):
            self._note(f"endpoint {name} cannot be used any more: {why}; its items moved to the others")
            return
        self._note(f"endpoint {name} went away in mid-run; its items moved to the others")
        if name in self._wanted and self._opened[name].server is None:
            self._away.add(self._wanted[name])
            self._lost.set()

    async def watch(self, joined: Callable[[Endpoint], None], left: Callable[[str], bool]) -> None:
        """See ``Membership``."""
        trying: set[Address] = set()

        async def attempt(address: Address) -> None:
            try:
                await self._try(address, joined)
            finally:
                trying.discard(address)

        async with asyncio.TaskGroup() as attempts:  # one that is slow holds up nobody
            while True:
                if self._addresses.file is None and not self._away:
                    self._lost.clear()
                    await self._lost.wait()
                await asyncio.sleep(PROBE)
                if self._addresses.file is not None:
                    self._follow(self._addresses.file, left)
                for address in self._away - trying:
                    trying.add(address)
                    attempts.create_task(attempt(address))

    def _follow(self, file: Path, left: Callable[[str], bool]) -> None:
        """Take from the file who is wanted now. Of the last one the run lets go when another has joined."""
        if (stamp := _stamp(file)) != self._read:
            self._read = stamp
            try:
                named = read_targets(file)
            except UsageError as error:
                self._note(f"the endpoints stay as they are: {error}")
                return
            self._addresses = replace(self._addresses, endpoints=named)
            for address in named:
                if address.name not in self._wanted:
                    self._wanted[address.name] = address
                    self._away.add(address)
        named_now = {address.name for address in self._addresses.endpoints}
        for name in [name for name in self._wanted if name not in named_now]:
            away = self._wanted[name] in self._away
            if away or left(name):
                self._away.discard(self._wanted.pop(name))
                self._note(f"endpoint {name} left: the file names it no more")

    async def _try(self, address: Address, joined: Callable[[Endpoint], None]) -> None:
        async with AsyncExitStack() as stack:  # closes what is refused
            try:
                async with asyncio.timeout(None if address.target == LOCAL else OPENING):
                    target = await stack.enter_async_context(self._opening(address))
                check_joins(self._begun, target)
            except (TargetError, TimeoutError) as error:
                if isinstance(error, AuthenticationError):
                    self._refuse(address, error)
                return  # else it is away, or loads its model: asked again later
            except (CharterError, OSError) as error:
                self._refuse(address, error)
                return
            if address not in self._away:
                return  # the file has let go of it meanwhile
            # With the run, not with the one that is opened next in its place: calls may be under way on it.
            self._stack.push_async_exit(stack.pop_all())
        if all(target.identity != each.identity for each in self._begun):
            self.on_stranger(address.name)
        self._opened[address.name] = target
        self._away.discard(address)
        self._note(f"endpoint {address.name} joined in mid-run")
        joined(self._endpoint(address.name, target))

    def _refuse(self, address: Address, why: Exception) -> None:
        self._note(f"endpoint {address.name} cannot be used: {why}")
        self._away.discard(address)

    async def _open(self, address: Address) -> OpenTarget:
        return await self._stack.enter_async_context(self._opening(address))

    def _opening(self, address: Address) -> AbstractAsyncContextManager[OpenTarget]:
        fresh = self.several and address.target == LOCAL
        options = replace(self._options, fresh_server=True) if fresh else self._options
        return open_target(address.target, options)

    def _endpoint(self, name: str, target: OpenTarget) -> Endpoint:
        return Endpoint(name if self.several else None, target.client, target.facts)

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _stamp(file: Path | None) -> tuple[int, int] | None:
    """What changes when a file is written; ``None`` while it is not there."""
    try:
        found = None if file is None else file.stat()
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_size)


def check_same_model(first: OpenTarget, other: OpenTarget) -> None:
    """Raises UsageError where two endpoints of a run would not answer the same: another model or tokenizer."""
    for what, one, two in (
        ("the model", first.facts.model, other.facts.model),
        ("a tokenizer", _fingerprint(first), _fingerprint(other)),
    ):
        if one != two:
            raise UsageError(
                f"serves {what} {two}, and {first.name} {one}",
                place=other.name,
                remedy="name endpoints that serve the same",
            )


def check_joins(begun: Sequence[OpenTarget], other: OpenTarget) -> None:
    """Raises UsageError where an endpoint does not fit those that a run began with: what it was set up with then, from
    the blocks to the hints, holds to its end."""
    check_same_model(begun[0], other)
    remedy = "begin a new run with it"
    blocks = [each.facts.tokens_per_block for each in begun]
    if other.facts.tokens_per_block not in blocks:
        message = f"has blocks of {other.facts.tokens_per_block} tokens, the run began with {blocks[0]}"
        raise UsageError(message, place=other.name, remedy=remedy)
    if all(other.facts.greedy_by_default != each.facts.greedy_by_default for each in begun):
        raise UsageError(
            "samples by default where the others do not, or the other way round", place=other.name, remedy=remedy
        )
    taken = set.intersection(*(set(each.facts.kv_hint_actions) for each in begun))
    if missing := sorted(taken.difference(other.facts.kv_hint_actions)):
        raise UsageError(f"takes no hints to {', '.join(missing)}", place=other.name, remedy=remedy)


def _fingerprint(target: OpenTarget) -> str | None:
    return None if target.tokenizer is None else target.tokenizer.fingerprint


@asynccontextmanager
async def open_endpoints(spec: str, options: TargetOptions | None = None) -> AsyncIterator[OpenEndpoints]:
    """Connect to all targets of ``spec``, as ``addresses.parse_targets`` reads it; servers that are started end with
    the context.

    Raises:
        UsageError: a target is unknown, or endpoints serve different models.
        TargetError, ServerStartError, ModelError, TokenizerError: as ``open_target``.
    """
    async with AsyncExitStack() as stack:
        endpoints = OpenEndpoints(parse_targets(spec), options or TargetOptions(), stack)
        await endpoints.open_first()
        yield endpoints
