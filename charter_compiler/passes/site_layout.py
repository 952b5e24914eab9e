"""Call sites laid out, each in every mode: the order of its blocks, and the words that change with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace

from charter_compiler.analysis.prompt_text import engine_calls
from charter_compiler.ir.nodes import Agent, Call, Const, Segment
from charter_compiler.passes.blocks import Blocks, split_message
from charter_compiler.passes.order import arrange, can_say_above, find_kept
from charter_compiler.passes.render import MessageOrder, render
from charter_compiler.passes.reuse import Length, unknown_length, ways
from charter_compiler.passes.said import counts_values, fixed_form
from charter_compiler.passes.shapes import texts
from charter_compiler.passes.template import message_layout
from charter_compiler.passes.values import AGENT, CONSTANT, GROUP, LOOP, RESULT, Values
from charter_compiler.passes.wording import Wording, find_wordings, say_above

MODES = ("as written", "constants first", "shared values first")
"""How a call site may be laid out. *Constants first*: by lifetime alone. *Shared values first*: values that several
call sites have in common before the instructions of one of them, so that these sites begin alike."""


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """``wording``: labels of one value that differ in wording or white space are made one ("Source document:" and
    "Document:"), and "the document below" becomes "the document above" where the document moved up. ``length``: tokens
    of a value, where something is known of the inputs. ``grouped``: fields of the inputs that many items have in
    common, and how many values each has."""

    wording: bool = True
    length: Length = unknown_length
    grouped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SiteLayout:
    """What was done at one call site. ``kept`` says why blocks stayed where they stood, or the whole was left alone.
    ``reworded``: old and new words. ``after``: the messages' segments.
    ``orders``: of each message's blocks, ``None`` for one that is not cut."""

    call: Call
    mode: str
    after: tuple[tuple[Segment, ...], ...]
    kept: tuple[str, ...] = ()
    reworded: tuple[tuple[str, str], ...] = ()
    orders: tuple[MessageOrder | None, ...] = ()

    @property
    def changed(self) -> bool:
        return texts(self.after) != texts(message.segments for message in self.call.messages)


class SiteLayouts:
    """The call sites of an agent that reach an engine, in source order. ``calls``: by their ids; ``found``: each of
    them in every mode."""

    def __init__(self, agent: Agent, options: LayoutOptions) -> None:
        self._options = options
        self.values = Values(agent.calls, options.grouped)
        self.calls = {call.id: call for call in engine_calls(agent.calls)}
        self._blocks: dict[str, tuple[Blocks | None, ...]] = {
            call.id: tuple(split_message(message) for message in call.messages) for call in self.calls.values()
        }
        self._kept = {
            (call_id, number): find_kept(blocks)
            for call_id, messages in self._blocks.items()
            for number, blocks in enumerate(messages)
            if blocks is not None
        }
        self._wording = find_wordings(self.calls, self._blocks, self.values) if options.wording else Wording()
        self._shared = self._count_values()
        self._constants = self._count_constants()
        self._counted = {name for name, call in self.calls.items() if counts_values(call, self._blocks[name])}
        self.found = {(call_id, mode): self._lay_out(call_id, mode) for call_id in self.calls for mode in MODES}

    def result(self, call_id: str, mode: str) -> SiteLayout:
        """What is done at a site; where that is nothing, why: what kept it in every other mode."""
        site = self.found[call_id, mode]
        if site.changed:
            return site
        kept = tuple(dict.fromkeys(reason for each in MODES for reason in self.found[call_id, each].kept))
        return replace(site, mode=MODES[0], kept=kept)

    def _lay_out(self, call_id: str, mode: str) -> SiteLayout:
        call = self.calls[call_id]
        written = tuple(message.segments for message in call.messages)
        if mode == MODES[0]:
            return SiteLayout(call, mode, written)
        if fixed := fixed_form(call, self._blocks[call_id]):
            return SiteLayout(call, mode, written, (fixed,))
        after: list[tuple[Segment, ...]] = []
        kept: list[str] = []
        reworded: list[tuple[str, str]] = []
        orders: list[MessageOrder | None] = []
        for number, message in enumerate(call.messages):
            blocks = self._blocks[call_id][number]
            if blocks is None:
                after.append(message.segments)
                orders.append(None)
                continue
            order = self._order(call, number, blocks, mode, kept)
            after.append(render(blocks, order))
            orders.append(order)
            reworded += order.reworded(blocks)
        if any(
            message_layout(message.role, message.segments, new) is None
            for message, new in zip(call.messages, after, strict=True)
        ):
            return SiteLayout(call, mode, written, ("nothing tells where one value ends and the next begins",))
        return SiteLayout(call, mode, tuple(after), tuple(dict.fromkeys(kept)), tuple(reworded), tuple(orders))

    def _order(self, call: Call, number: int, blocks: Blocks, mode: str, kept: list[str]) -> MessageOrder:
        shared_first = mode == MODES[2]
        items = blocks.blocks
        ranks = [self._priority(call, number, index, shared_first) for index in range(len(items))]
        found = self._kept[call.id, number]
        reasons = dict(found.reasons)
        if call.id in self._counted:
            for i, j in reasons:
                if items[i].holes and items[j].holes and not reasons[i, j]:
                    reasons[i, j] = "the instructions tell the values apart by their order"
        turned: dict[int, set[int]] = {}
        if shared_first and self._options.wording:
            for (i, j), reason in reasons.items():
                shared = self._shared_block(call, blocks, j)
                if reason and shared and can_say_above(items[i], items[j], self._nouns(call, blocks, j)):
                    turned.setdefault(i, set()).add(j)
                    reasons[i, j] = ""

        def before(i: int, j: int) -> bool:
            return bool(reasons[i, j])

        order = arrange(found.units, before, ranks.__getitem__)
        place = {index: position for position, index in enumerate(order)}
        texts_of = {}
        for index, block in enumerate(items):
            text = self._wording.constant(call.id, number, index, block.text)
            if any(place[j] < place[index] for j in turned.get(index, ())):
                text = say_above(text)
            texts_of[index] = self._wording.label(call.id, number, index, text) if shared_first else text
        for (i, j), reason in reasons.items():
            if reason and ranks[j] < ranks[i] and not items[i].persona and not items[j].cue:
                kept.append(reason)
        return MessageOrder(order, texts_of)

    def _priority(self, call: Call, number: int, index: int, shared_first: bool) -> tuple[float, ...]:
        """What comes first: a lower tuple. Of one lifetime, values of more call sites come first."""
        blocks = self._blocks[call.id][number]
        assert blocks is not None, "only what is cut has blocks to order"
        block = blocks.blocks[index]
        life = max((self.values.lifetime(blocks.flat.holes[hole], call) for hole in block.holes), default=CONSTANT)
        names = [self.values.name(blocks.flat.holes[hole], call) for hole in block.holes]
        sharing = min((self._shared.get(name, 0) for name in names), default=0)
        if block.constant:
            sharing = self._constants[self._wording.constant(call.id, number, index, block.text)]
        if life <= AGENT:
            # Behind the values of the item, before those of a loop: its turns share the instructions too.
            return (2.0, RESULT + 0.5, 0.0) if shared_first and sharing < 2 else (0.0, float(life), 0.0)
        if sharing < 2 and life == GROUP:
            fields = [getattr(blocks.flat.holes[hole], "name", "") for hole in block.holes]
            return (2.0, float(GROUP), float(max(self._options.grouped.get(name, 0) for name in fields)))
        if sharing < 2:
            # Alone, a value gains nothing from another that stays as long within the item, or within the turn: behind
            # those that other sites have too they keep their order.
            return (2.0, max(float(min(life, LOOP)) if call.in_loop else 0.0, RESULT + 0.25), 0.0)
        return (1.0 if shared_first else 2.0, float(life), -float(sharing))

    def _shared_block(self, call: Call, blocks: Blocks, index: int) -> bool:
        names = [self.values.name(blocks.flat.holes[hole], call) for hole in blocks.blocks[index].holes]
        return bool(names) and all(self._shared.get(name, 0) > 1 for name in names)

    def _nouns(self, call: Call, blocks: Blocks, index: int) -> list[str]:
        """Words that name the value of a block: the last of its label, and the hole's own name."""
        label = blocks.blocks[index].text.partition(":")[0].split()
        names = [getattr(blocks.flat.holes[hole], "name", "") for hole in blocks.blocks[index].holes]
        return [word.lower() for word in (label[-1:] + names) if word]

    def _count_values(self) -> dict[Hashable, int]:
        """The most call sites of one way through the program that each named value stands in."""
        most: dict[Hashable, int] = {}
        calls = list(self.calls.values())
        for way in ways(calls, calls):
            found: Counter[Hashable] = Counter()
            for call in way:
                holes = [each for message in call.messages for each in message.segments if not isinstance(each, Const)]
                found.update({name for each in holes if (name := self.values.name(each, call)) is not None})
            most = {name: max(most.get(name, 0), found[name]) for name in most.keys() | found.keys()}
        return most

    def texts(self, call_id: str, *, constant: bool = False) -> list[str]:
        """The texts of a site's blocks as they are worded anew; ``constant``: of those without values."""
        return [
            self._wording.constant(call_id, number, index, block.text)
            for number, blocks in enumerate(self._blocks[call_id])
            for index, block in enumerate(blocks.blocks if blocks is not None else ())
            if block.constant or not constant
        ]

    def _count_constants(self) -> Counter[str]:
        return Counter(text for call_id in self._blocks for text in set(self.texts(call_id, constant=True)))
