"""Which nodes of a graph can have set a key last when a node runs.

The nodes run in steps: all that the step before leads to run at once, and see what was set before the step. The steps
are followed through every choice; where the same nodes can run next in several ways, what may be set is joined.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import TypeAlias

BEFORE = ""
"""Stands for what the graph was run with."""

START, END = "__start__", "__end__"

WIDTH_LIMIT = 256
"""Sets of nodes that can run at once; beyond these nothing is said."""

CHOICE_LIMIT = 64
"""Combinations of choices that one step can make; beyond these each choice is followed alone."""

Targets: TypeAlias = frozenset[str]
State: TypeAlias = dict[str, tuple[str, ...]]
"""The nodes that can have set each key, in the order in which they were found to."""


@dataclass(slots=True)
class Step:
    """What running a node does. ``writes`` maps a key to whether it is replaced in any case, ``joining`` are the keys
    to which is added; ``always`` are the nodes it leads to, and of each of ``choices`` it takes one."""

    writes: dict[str, bool] = field(default_factory=dict)
    joining: frozenset[str] = frozenset()
    always: set[str] = field(default_factory=set)
    choices: list[list[Targets]] = field(default_factory=list)


@dataclass(slots=True)
class Reached:
    """The states that the nodes start from, those that they leave, and the nodes that can run again."""

    nodes: dict[str, State] = field(default_factory=dict)
    after: dict[str, State] = field(default_factory=dict)
    cyclic: frozenset[str] = frozenset()


Barrier: TypeAlias = tuple[frozenset[str], str]
Front: TypeAlias = tuple[frozenset[str], frozenset[tuple[int, str]]]
"""The nodes that run in a step, and which sources of each barrier have run."""


def flow(steps: dict[str, Step], barriers: list[Barrier], keys: set[str]) -> Reached:
    """Follow the steps from ``START``. ``barriers`` lead to a node once all of their sources have run."""
    first: Front = (frozenset({START}), frozenset())
    states: dict[Front, State] = {first: dict.fromkeys(sorted(keys), (BEFORE,))}
    reached = Reached()
    successors: dict[str, set[str]] = {}
    waiting = [first]
    while waiting:
        front = waiting.pop(0)
        running = [name for name in steps if name in front[0]]
        state = states[front]
        left = _left(state, [(name, steps[name]) for name in running])
        for name in running:
            _merge(reached.nodes.setdefault(name, {}), state)
            _merge(reached.after.setdefault(name, {}), left)
        for following in _next(front, running, steps, barriers, successors):
            if following not in states:
                if len(states) >= WIDTH_LIMIT:
                    return Reached()
                states[following] = {}
            if _merge(states[following], left) and following not in waiting:
                waiting.append(following)
    reached.nodes.pop(START, None)
    reached.cyclic = frozenset(name for name in successors if _leads_to(name, name, successors))
    return reached


def _left(state: State, running: list[tuple[str, Step]]) -> State:
    after = dict(state)
    for key in {key for _, step in running for key in step.writes}:
        writers = [(name, step) for name, step in running if key in step.writes]
        replaced = any(step.writes[key] for _, step in writers)
        kept = () if replaced else state.get(key, ())
        after[key] = tuple(dict.fromkeys((*kept, *(name for name, _ in writers))))
    return after


def _merge(into: State, state: State) -> bool:
    changed = False
    for key, names in state.items():
        merged = tuple(dict.fromkeys((*into.get(key, ()), *names)))
        if merged != into.get(key):
            into[key] = merged
            changed = True
    return changed


def _next(
    front: Front,
    running: list[str],
    steps: dict[str, Step],
    barriers: list[Barrier],
    successors: dict[str, set[str]],
) -> Iterator[Front]:
    always = {target for name in running for target in steps[name].always}
    seen = set(front[1])
    for index, (sources, target) in enumerate(barriers):
        seen |= {(index, name) for name in running if name in sources}
        if all((index, name) in seen for name in sources):
            always.add(target)
            seen -= {(index, name) for name in sources}
        for name in set(running) & sources:
            successors.setdefault(name, set()).add(target)
    groups = [options for name in running for options in steps[name].choices if options]
    for name in running:
        found = successors.setdefault(name, set())
        found.update(steps[name].always, *(target for options in steps[name].choices for target in options))
    count = 1
    for options in groups:
        count *= len(options)
    combined: Iterator[tuple[Targets, ...]] = iter(product(*groups))
    if count > CHOICE_LIMIT:
        combined = ((option,) for options in groups for option in options)
    for chosen in combined:
        following = frozenset(always.union(*chosen) & steps.keys())
        if following:
            yield following, frozenset(seen)


def _leads_to(start: str, goal: str, successors: dict[str, set[str]]) -> bool:
    seen: set[str] = set()
    stack = list(successors.get(start, ()))
    while stack:
        name = stack.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            stack.extend(successors.get(name, ()))
    return False
