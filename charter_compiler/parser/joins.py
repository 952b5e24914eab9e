"""The value where several paths of the program meet."""

from __future__ import annotations

from collections.abc import Sequence

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Choice, Segment
from charter_compiler.parser.texts import choice, limited
from charter_compiler.parser.values import Either, Item, Opaque, Plain, Record, Repeated, Series, Text, Value, deps_of

OPTION_LIMIT = 32
"""More alternatives than this are ``Unknown``: each further branch would compare with all of them."""


def join(values: Sequence[Value], span: Span) -> Value:
    """The value where several paths of the program meet at ``span``."""
    first = values[0]
    if all(value is first for value in values):
        return first
    distinct: list[Value] = []
    for value in values:
        for option in value.options if isinstance(value, Either) else (value,):
            if option not in distinct:
                distinct.append(option)
        if len(distinct) > OPTION_LIMIT:
            return Opaque(f"more than {OPTION_LIMIT} alternatives meet here", deps_of(*values))
    if len(distinct) == 1:
        return distinct[0]
    texts = [value for value in distinct if isinstance(value, Text)]
    if len(distinct) > OPTION_LIMIT or any(_is_wide(text.segments) for text in texts):
        return Opaque(f"more than {OPTION_LIMIT} alternatives meet here", deps_of(*distinct))
    if len(texts) == len(distinct):
        return limited(choice([text.segments for text in texts], span), deps_of(*texts), span)
    if any(isinstance(value, Series) for value in distinct):
        return _join_series(distinct)
    records = [value for value in distinct if isinstance(value, Record)]
    if len(records) == len(distinct) and len({record.rest for record in records}) == 1:
        return _join_records(records, span)
    return Either(tuple(distinct))


def _is_wide(segments: tuple[Segment, ...]) -> bool:
    return any(isinstance(segment, Choice) and len(segment.options) > OPTION_LIMIT for segment in segments)


def _join_records(records: Sequence[Record], span: Span) -> Value:
    """Dictionaries that meet: a key that only some of them have is taken to be there."""
    keys = dict.fromkeys(key for record in records for key, _ in record.entries)
    entries = []
    for key in keys:
        found = [value for record in records if (value := record.get(key)) is not None]
        entries.append((key, join(found, span)))
    return Record(tuple(entries), records[0].rest)


def _join_series(values: Sequence[Value]) -> Value:
    """Lists that meet: alike items first, then any number of each of the others."""
    lists = [value.items for value in values if isinstance(value, Series)]
    if len(lists) < len(values):
        others = [value for value in values if not isinstance(value, Series)]
        if all(isinstance(value, Plain | Opaque) for value in others):  # None, where no list was made
            lists.append(tuple(value for value in others if not isinstance(value, Plain)))
        else:
            return Either(tuple(values))
    head = 0
    while all(len(items) > head for items in lists) and all(items[head] == lists[0][head] for items in lists):
        head += 1
    rest: list[Item] = []
    for items in lists:
        for item in items[head:]:
            rest.extend(inner for inner in (item.items if isinstance(item, Repeated) else (item,)) if inner not in rest)
    return Series((*lists[0][:head], Repeated(tuple(rest)))) if rest else Series(lists[0][:head])
