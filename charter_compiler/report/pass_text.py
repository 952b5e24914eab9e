"""What the passes did, in lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from charter_compiler.passes.layout import Layout
from charter_compiler.passes.pipeline import Ran
from charter_compiler.passes.site_layout import SiteLayout


def pass_lines(ran: Iterable[Ran]) -> Iterator[str]:
    """One line a note: the pass, the place, what it did there or why it did not. A pass without notes says nothing."""
    for each in ran:
        for note in each.result.notes:
            yield f"{each.name}: {note.span.file}:{note.span.line} {note.text}"


def layout_lines(found: Layout) -> Iterator[str]:
    """One line a call site: what was done, and why the rest was left alone; then the words that changed."""
    for site in found.sites:
        line = site.call.span
        if not site.changed:
            yield f"layout: {line.file}:{line.line} left as written: {_why(site)}"
            continue
        kept = f"; kept in place: {', '.join(site.kept)}" if site.kept else ""
        yield f"layout: {line.file}:{line.line} {site.mode}{kept}"
        for old, new in site.reworded:
            yield f"layout: {line.file}:{line.line} reworded {_changed_line(old, new)}"


def _why(site: SiteLayout) -> str:
    return ", ".join(site.kept) if site.kept else "no other order reuses more"


def _changed_line(old: str, new: str) -> str:
    """The first line that differs."""
    for one, other in zip(old.split("\n"), new.split("\n"), strict=False):
        if one.strip() != other.strip():
            return f"{one.strip()!r} to {other.strip()!r}"
    return f"{old!r} to {new!r}"
