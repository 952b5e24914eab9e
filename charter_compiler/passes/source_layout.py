"""A layout written into the source: the blocks of the string literals moved, comments and formatting kept.

What the run time does to a prompt is done to the literal that the prompt is made from. A literal is rewritten only
where all that moves stands in it; whatever comes out is parsed again, and kept only if its templates are those that the
run time would send.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from charter_compiler.ir.nodes import Call
from charter_compiler.ir.verify import contains
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.passes.blocks import Blocks, split_message
from charter_compiler.passes.flat import is_hole
from charter_compiler.passes.literals import Literal, Piece, literals_of
from charter_compiler.passes.render import MessageOrder, gap_ranges
from charter_compiler.passes.shapes import plain, shapes
from charter_compiler.passes.site_layout import SiteLayout


@dataclass(frozen=True, slots=True)
class SourceRewrite:
    """One file rewritten. ``applied``: ids of the call sites whose templates are now in the new order; ``left``: those
    that are not, and why; ``others``: further calls whose prompts change too, since they use the same literal;
    ``gone``: calls that were taken out (``source_calls``)."""

    file: str
    before: str
    after: str
    applied: tuple[str, ...] = ()
    left: dict[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    def diff(self) -> str:
        """A unified diff; empty if nothing changed."""
        lines = difflib.unified_diff(
            _lines(self.before),
            _lines(self.after),
            f"a/{self.file}",
            f"b/{self.file}",
        )
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    """Lines as patch programs count them: ``splitlines`` would also cut at U+2028 and the like inside a literal."""
    return [line for line in re.split(r"(?<=\n)", text) if line]


@dataclass(frozen=True, slots=True)
class _Edit:
    """``start`` to ``end`` of the source become ``text``."""

    start: int
    end: int
    text: str


class _UnwritableError(Exception):
    """Why a layout cannot be written into the source."""


def rewrite_source(text: str, file: str, sites: Iterable[SiteLayout]) -> SourceRewrite:
    """Write the layouts of a file's call sites into its text. ``file`` is its label in the IR.

    Raises:
        SourceError: LibCST cannot parse the file.
        UsageError: LibCST is not installed.
    """
    wanted = [site for site in sites if site.changed and site.call.span.file == file]
    left: dict[str, str] = {}
    literals = literals_of(text, file) if wanted else []
    edits: dict[str, list[_Edit]] = {}
    for site in wanted:
        try:
            edits[site.call.id] = _edits(site, literals, text)
        except _UnwritableError as reason:
            left[site.call.id] = str(reason)
    before = _templates(text, file)
    while edits:
        after = _apply(text, edits, left)
        found = _templates(after, file)
        wrong = [site.call.id for site in wanted if site.call.id in edits and not _is_result(site, before, found)]
        if not wrong:
            others = [
                name for name, call in before.items()
                if name not in edits and plain(call) != plain(found.get(name, call))
            ]  # fmt: skip
            return SourceRewrite(file, text, after, tuple(edits), left, tuple(others))
        for name in wrong:
            left[name] = "the rewritten source would not send what the run time sends"
            del edits[name]
    return SourceRewrite(file, text, text, (), left)


def _templates(text: str, file: str) -> dict[str, Call]:
    return {call.id: call for call in AgentASTParser().parse_source(text, file).calls}


def _is_result(site: SiteLayout, before: dict[str, Call], found: dict[str, Call]) -> bool:
    old, new = before.get(site.call.id), found.get(site.call.id)
    if old is None or new is None or plain(old) != shapes(message.segments for message in site.call.messages):
        return False  # the template is made from several files: this one alone does not tell
    return plain(new) == shapes(site.after)


def _apply(text: str, edits: dict[str, list[_Edit]], left: dict[str, str]) -> str:
    """The text with all edits; of two sites that want one place otherwise, the later one is left."""
    chosen: dict[tuple[int, int], str] = {}
    for name in list(edits):
        mine = {(edit.start, edit.end): edit.text for edit in edits[name]}
        clash = any(
            ((start, end) != (a, b) and start < b and a < end) or chosen.get((start, end), new) != new
            for (start, end), new in mine.items()
            for a, b in chosen
        )
        if clash:
            left[name] = "another call site wants the same literal in another order"
            del edits[name]
        else:
            chosen |= mine
    for (start, end), new in sorted(chosen.items(), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _edits(site: SiteLayout, literals: Sequence[Literal], text: str) -> list[_Edit]:
    found = []
    for message, order in zip(site.call.messages, site.orders, strict=True):
        blocks = split_message(message) if order is not None else None
        if blocks is None or order is None:
            continue
        first, last = _moving(blocks, order)
        if first < last:
            found += _literal_edits(blocks, order, (first, last), literals, text)
    return found


def _moving(blocks: Blocks, order: MessageOrder) -> tuple[int, int]:
    """The smallest range of places whose blocks are not the same, word by word, as before."""
    same = [
        place == index and order.texts[index] == blocks.blocks[index].text for place, index in enumerate(order.order)
    ]
    moved = [place for place, still in enumerate(same) if not still]
    return (moved[0], moved[-1] + 1) if moved else (0, 0)


def _literal_edits(
    blocks: Blocks, order: MessageOrder, moving: tuple[int, int], literals: Sequence[Literal], text: str
) -> list[_Edit]:
    first, last = moving
    start, end = blocks.blocks[first].start, blocks.blocks[last - 1].end
    sources = {source.span for source in blocks.flat.origin[start:end] if source is not None}
    holding = [each for each in literals if all(contains(each.span, span) for span in sources)]
    if not holding:
        raise _UnwritableError("what moves stands in several literals")
    literal = min(holding, key=lambda each: each.end - each.start)
    for pieces in (literal.pieces, literal.template):
        places = _align(blocks, literal, pieces)
        if places is not None:
            break
    else:
        raise _UnwritableError("the literal is changed before it is sent")
    plain = _to_format(literal, text)

    def source_of(a: int, b: int) -> str:
        if a == b:
            return ""
        if a not in places or b - 1 not in places:
            raise _UnwritableError("a part that moves stands outside the literal")
        return _with_prefix(text, places[a][0], places[b - 1][1], plain)

    written = []
    ends = {piece.start: before.end for before, piece in itertools.pairwise(pieces)}

    def seam_before(a: int) -> str:
        """What stands between two literals, quotes included, where one begins at ``a``."""
        if a not in places:
            raise _UnwritableError("a part that moves stands outside the literal")
        place = places[a][0]
        return _with_prefix(text, ends.get(place, place), place, plain)

    gaps = [(0, 0), *gap_ranges(blocks, order.order)]
    new_first = blocks.blocks[order.order[first]].start
    for place in range(first, last):
        block, gap = blocks.blocks[order.order[place]], gaps[place]
        if place > first:
            written += [seam_before(gap[0]) if gap[0] < gap[1] else "", source_of(*gap)]
            # What comes first takes its place in the literal that is open there, and gives its seam for it.
            written.append(seam_before(new_first if block.start == start else block.start))
        new = order.texts[order.order[place]]
        written.append(_worded(source_of, block.start, block.text, new, _escaper(literal, pieces)))
    low, high = places[start][0], places[end - 1][1]
    outside = [_Edit(offset, offset, "f") for offset in plain if not low < offset < high]
    return [_Edit(low, high, "".join(written)), *outside]


def _with_prefix(text: str, low: int, high: int, plain: Sequence[int]) -> str:
    cuts = [low, *(offset for offset in plain if low < offset < high), high]
    return "f".join(text[one:other] for one, other in itertools.pairwise(cuts))


def _to_format(literal: Literal, text: str) -> list[int]:
    """Where an f has to be written, so that all literals side by side read braces alike: what moves may come to stand
    in any of them."""
    if len({part.formatted for part in literal.parts}) == 1:
        return []
    plain = [part for part in literal.parts if not part.formatted]
    if any(part.prefix or "{" in (inside := text[part.start : part.end]) or "}" in inside for part in plain):
        raise _UnwritableError("the prompt is put together from f-strings and strings with braces or prefixes")
    return [part.start for part in plain]


def _worded(source_of: Callable[[int, int], str], start: int, old: str, new: str, escape: Callable[[str], str]) -> str:
    """A block's source with the words that change written anew."""
    if old == new:
        return source_of(start, start + len(old))
    written, position = [], 0
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            written.append(source_of(start + a, start + b))
        elif any(map(is_hole, old[a:b] + new[c:d])):
            raise _UnwritableError("a value would be lost")
        else:
            written.append(escape(new[c:d]))
        position = b
    assert position == len(old), "the last change reaches the end"
    return "".join(written)


def _escaper(literal: Literal, pieces: Sequence[Piece]) -> Callable[[str], str]:
    """How new text is written inside the literal; only plain words and line ends are."""
    part = literal.parts[0]
    braces = part.formatted or pieces is literal.template

    def escape(new: str) -> str:
        if "\\" in new or part.quote[0] in new or (braces and ("{" in new or "}" in new)):
            raise _UnwritableError("the new words hold characters that the literal would have to escape")
        if "\n" in new and len(part.quote) == 1:
            if "r" in part.prefix.lower():
                raise _UnwritableError("a raw string cannot hold a line end")
            return new.replace("\n", "\\n")
        return new

    return escape


def _align(blocks: Blocks, literal: Literal, pieces: Sequence[Piece]) -> dict[int, tuple[int, int]] | None:
    """For each character of the flat text that the literal gives, where in the source it is. Between texts of the
    literal stand its holes; what they gave is one run of the flat text, with one place."""
    flat = blocks.flat
    own = [source is not None and contains(literal.span, source.span) for source in flat.origin]
    if True not in own:
        return None
    first, last = own.index(True), len(own) - own[::-1].index(True)
    runs = _runs([own[index] for index in range(first, last)])
    wanted: list[list[Piece]] = []
    for piece in pieces:
        kind = piece.text is None
        if not wanted or (wanted[-1][0].text is None) != kind:
            wanted.append([])
        wanted[-1].append(piece)
    while wanted and wanted[0][0].text is None:
        wanted.pop(0)
    while wanted and wanted[-1][0].text is None:
        wanted.pop()
    if len(wanted) != len(runs):
        return None
    places: dict[int, tuple[int, int]] = {}
    for run, group in zip(runs, wanted, strict=True):
        start, stop, is_text = first + run[0], first + run[1], run[2]
        if is_text:
            if flat.text[start:stop] != "".join(piece.text or "" for piece in group):
                return None
            places |= {start + n: (piece.start, piece.end) for n, piece in enumerate(group)}
        else:
            # The ends of the run are those of the holes; what lies within cannot be parted.
            places[start] = (group[0].start, group[-1].end)
            places[stop - 1] = (group[0].start, group[-1].end)
    # A value at an end of the literal stands in no run of it; it is found if it is the only one there.
    lead = [piece for piece in pieces if piece.end <= places[first][0]]
    trail = [piece for piece in pieces if piece.start >= places[last - 1][1]]
    if first == 1 and len(lead) == 1:
        places[0] = (lead[0].start, lead[0].end)
    if last == len(flat.text) - 1 and len(trail) == 1:
        places[last] = (trail[0].start, trail[0].end)
    return places


def _runs(own: Sequence[bool]) -> list[tuple[int, int, bool]]:
    found: list[tuple[int, int, bool]] = []
    for index, mine in enumerate(own):
        if found and found[-1][2] == mine:
            found[-1] = (found[-1][0], index + 1, mine)
        else:
            found.append((index, index + 1, mine))
    return found
