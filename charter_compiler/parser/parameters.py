"""What is known of parameters: which carry a prompt to a model, and what calls give for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from charter_compiler.parser.calls import Bound, has_content, interesting, is_content
from charter_compiler.parser.definitions import FunctionInfo
from charter_compiler.parser.inlining import Inlining
from charter_compiler.parser.sites import flows_with_roles
from charter_compiler.parser.values import Chain, External, FunctionRef, Input, Value, deps_of

CANDIDATE_LIMIT = 12
"""Functions of one name that a call may mean, where the object is not known; more are too many to guess from."""


class Parameters(Inlining):
    """The part of the interpreter that notes it. ``changed`` is called with each function of which more is known than
    before; ``carrying`` are those that carry a prompt, by their names."""

    def __init__(self, changed: Callable[[FunctionInfo], None]) -> None:
        super().__init__()
        self.changed = changed
        self.carrying: dict[str, list[FunctionInfo]] = defaultdict(list)
        # What calls give for the parameters that carry a prompt.
        self.arriving: dict[str, frozenset[str]] = {}
        self._flows: dict[str, tuple[FunctionInfo, str]] = {}
        # The parameters that a parameter is handed on to as it is.
        self._passed_on: dict[tuple[FunctionInfo, str], list[tuple[FunctionInfo, str]]] = defaultdict(list)
        # The parameters whose content calls give for a parameter, with the role where that is written beside it.
        self._sources: dict[str, set[tuple[str, str | None]]] = defaultdict(set)

    def _carry(self, flow: str, role: str) -> None:
        """Note that the content of a parameter travels to a model, in a message of that role; so does what the calls
        that were seen give for it."""
        waiting = [(flow, role)]
        while waiting:
            flow, role = waiting.pop()
            owner = self._flows.get(flow)
            if owner is None or not is_content(*owner):
                continue
            info, name = owner
            before = info.prompts.get(name)
            if before == role or before == "unknown":
                continue
            after = role if before is None else "unknown"
            info.prompts[name] = after  # type: ignore[assignment]
            if info not in self.carrying[info.name.rpartition(".")[2]]:
                self.carrying[info.name.rpartition(".")[2]].append(info)
            if not self.rough:
                self.forget(info)
            self.changed(info)
            if not info.is_constructor:
                waiting.extend((source, as_role or after) for source, as_role in self._sources[flow])

    def _note_given(self, info: FunctionInfo, bound: Bound) -> None:
        """Note which functions, objects and clients a call gives for the parameters."""
        for name, value in bound.values.items():
            if name == info.own:
                continue
            if deps := deps_of(value):
                flow = info.flow(name)
                if name in info.prompts:
                    self.arriving[flow] = self.arriving.get(flow, frozenset()) | deps
                elif self.rough and has_content(value):
                    self._sources[flow].update(flows_with_roles(value))
            for each in interesting(value):
                self._give(info, name, each)
            if isinstance(value, Input) and not value.path and value.origin in self._flows:
                source = self._flows[value.origin]
                if (info, name) not in self._passed_on[source]:
                    self._passed_on[source].append((info, name))
                    for each in source[0].given.get(source[1], ()):
                        self._give(info, name, each)

    def _give(self, info: FunctionInfo, name: str, value: Value) -> None:
        """Note a function, object or client that a parameter is given, and all those that it is handed on to."""
        waiting = [(info, name)]
        while waiting:
            info, name = waiting.pop()
            known = info.given.setdefault(name, [])
            if value in known or len(known) >= CANDIDATE_LIMIT:
                continue
            known.append(value)
            if name in info.asked or _calls_a_model(value):
                self.forget(info)
                self.changed(info)
            waiting.extend(self._passed_on[info, name])


def _calls_a_model(value: Value) -> bool:
    """Whether a function, object or client that is handed on is known to lead to a model."""
    match value:
        case FunctionRef(function=function):
            return bool(function.prompts) or function.reaches
        case External() | Chain():
            return True
    return False
