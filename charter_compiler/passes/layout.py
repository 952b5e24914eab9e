"""The layout pass: blocks of prompts in the order of how long they stay the same.

A prefix cache reuses leading tokens only, so what stays the same longest comes first. All call sites that share a value
get one common order, the one with the highest estimated hit rate of the whole program. It changes what the model is
asked, if only in order: it runs only when asked for.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from charter_compiler.ir.nodes import Agent, Call, Const
from charter_compiler.passes.reuse import Reuse, estimate, read_site
from charter_compiler.passes.site_layout import MODES, LayoutOptions, SiteLayout, SiteLayouts

_MIN_GAIN = 1e-9
"""Tokens of reuse below which two choices count as equal: then the one that moves less is taken."""
ROUNDS = 3
"""How often the call sites that share something are gone through for a better choice."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The result: the rewritten agent, and what happened at each site. ``before`` and ``after`` are estimates from the
    templates; the figures that count are those of a prediction over inputs."""

    agent: Agent
    sites: tuple[SiteLayout, ...]
    before: Reuse
    after: Reuse

    @property
    def changed(self) -> tuple[SiteLayout, ...]:
        return tuple(site for site in self.sites if site.changed)


def layout(agent: Agent, options: LayoutOptions | None = None) -> Layout:
    """Lay out every prompt of an agent. Pure; an agent with nothing to gain comes back as it is."""
    options = options or LayoutOptions()
    program = _Program(agent, options)
    chosen = program.choose()
    sites = [program.sites.result(call_id, mode) for call_id, mode in chosen.items()]
    by_id = {site.call.id: site for site in sites if site.changed}
    calls = tuple(_rewrite(call, by_id.get(call.id)) for call in agent.calls)
    before = program.value(dict.fromkeys(chosen, MODES[0]))
    return Layout(Agent(agent.name, calls), tuple(sites), before, program.value(chosen))


def _rewrite(call: Call, site: SiteLayout | None) -> Call:
    if site is None:
        return call
    messages = zip(call.messages, site.after, strict=True)
    return replace(call, messages=tuple(replace(message, segments=after) for message, after in messages))


Choice: TypeAlias = dict[str, str]
"""The mode of each call site, by its id."""


class _Program:
    """The choice of a mode for each call site of an agent."""

    def __init__(self, agent: Agent, options: LayoutOptions) -> None:
        self.sites = SiteLayouts(agent, options)
        self._read = {key: read_site(site.call, site.after, options.length) for key, site in self.sites.found.items()}
        self._reuse: dict[tuple[str, ...], Reuse] = {}

    def value(self, choice: Mapping[str, str]) -> Reuse:
        """What a choice for all call sites, in their order, is worth; each is played once."""
        modes = tuple(choice.values())
        if modes not in self._reuse:
            self._reuse[modes] = estimate([self._read[key] for key in choice.items()], self.sites.values)
        return self._reuse[modes]

    def choose(self) -> Choice:
        """For each group of sites that share something: from each uniform choice site by site to a better one, as long
        as there is one, and the best of these."""
        best: Choice = dict.fromkeys(self.sites.calls, MODES[0])
        for group in self._groups():
            uniform = [best | dict.fromkeys(group, mode) for mode in MODES]
            best = max((self._improve(choice, group) for choice in uniform), key=self._worth)
        return best

    def _improve(self, choice: Choice, group: Sequence[str]) -> Choice:
        for _ in range(ROUNDS if len(group) > 1 else 0):
            before = choice
            for call_id in group:
                choice = max((choice | {call_id: mode} for mode in MODES), key=self._worth)
            if choice == before:
                break
        return choice

    def _worth(self, choice: Choice) -> tuple[int, int]:
        return round(self.value(choice).found / _MIN_GAIN), -self._moves(choice)

    def _moves(self, choice: Choice) -> int:
        return sum(self.sites.found[call_id, mode].changed for call_id, mode in choice.items())

    def _groups(self) -> list[list[str]]:
        """Call sites that share a value, or begin with the same constant block, directly or through others."""
        owner: dict[Hashable, str] = {}
        parent = {call_id: call_id for call_id in self.sites.calls}

        def root(call_id: str) -> str:
            while parent[call_id] != call_id:
                call_id = parent[call_id]
            return call_id

        for call_id, call in self.sites.calls.items():
            names: list[Hashable] = [
                self.sites.values.name(segment, call)
                for message in call.messages
                for segment in message.segments
                if not isinstance(segment, Const)
            ]
            names += self.sites.texts(call_id)
            for name in names:
                if name is not None:
                    parent[root(call_id)] = root(owner.setdefault(name, call_id))
        groups: dict[str, list[str]] = {}
        for call_id in self.sites.calls:
            groups.setdefault(root(call_id), []).append(call_id)
        return list(groups.values())
