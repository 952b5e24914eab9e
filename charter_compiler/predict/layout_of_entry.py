"""The layout of an entry's calls, with what its inputs tell of the values' lengths, as the plan holds it."""

from __future__ import annotations

from collections.abc import Sequence

from charter_compiler.executor.inputs import InputRow
from charter_compiler.ir.nodes import Agent, Call, CallRef, Param, Segment
from charter_compiler.ir.verify import verify
from charter_compiler.passes.layout import Layout, layout
from charter_compiler.passes.reuse import CHARACTERS_A_TOKEN, Length
from charter_compiler.passes.site_layout import LayoutOptions
from charter_compiler.passes.template import MessageLayout, PlannedLayout, message_layout


def lay_out_entry(entry: str, calls: Sequence[Call], rows: Sequence[InputRow] = (), *, wording: bool = True) -> Layout:
    """The calls of an entry laid out; the result is verified.

    Raises:
        VerificationError: the pass made illegal IR: a defect of Charter.
    """
    options = LayoutOptions(wording, value_length(calls, rows), grouped_fields(rows))
    found = layout(Agent(entry, tuple(calls)), options)
    verify(found.agent)
    return found


def planned_layouts(found: Layout) -> tuple[PlannedLayout, ...]:
    """The layouts of the call sites whose prompts change, for the plan."""
    planned = []
    for site in found.changed:
        messages: list[MessageLayout] = []
        for message, after in zip(site.call.messages, site.after, strict=True):
            one = message_layout(message.role, message.segments, after)
            assert one is not None, "the pass keeps orders that can be matched only"
            messages.append(one)
        planned.append(PlannedLayout(site.call.id, tuple(messages)))
    return tuple(planned)


def grouped_fields(rows: Sequence[InputRow]) -> dict[str, int]:
    """The fields of text or numbers that have at most half as many values as there are rows, and how many: a run can
    put the items with the same value together (``plan.schedule``), so that their prompts begin alike."""
    found = {}
    for key in dict.fromkeys(key for row in rows for key in row.values):
        values = [value for row in rows if isinstance(value := row.values.get(key), str | int | float)]
        count = len(set(values))
        if len(values) == len(rows) and count <= len(rows) // 2:
            found[key] = count
    return found


def value_length(calls: Sequence[Call], rows: Sequence[InputRow] = ()) -> Length:
    """Estimated tokens of a value: the mean over the rows for a key of theirs, a call's own limit for its text; of
    others nothing is known."""
    limits = {call.id: call.max_tokens for call in calls}
    means: dict[str, float] = {}
    for key in {key for row in rows for key, value in row.values.items() if isinstance(value, str)}:
        texts = [value for row in rows if isinstance(value := row.values.get(key), str)]
        means[key] = sum(map(len, texts)) / len(texts) / CHARACTERS_A_TOKEN

    def length(segment: Segment) -> float | None:
        if isinstance(segment, Param):
            return means.get(segment.name)
        if isinstance(segment, CallRef):
            limit = limits.get(segment.id)
            return None if limit is None else float(limit)
        return None

    return length
