"""The comparison of runs as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from charter_compiler.report.metrics import RunFigures, count, rows_for
from charter_compiler.report.prompt_blocks import short_id
from charter_compiler.report.savings import Saving
from charter_compiler.report.token_shares import Shares

_CHANGE_STYLE = {"better": "green", "worse": "red", "": ""}


def comparison_table(runs: Sequence[RunFigures], *, title: str | None = None) -> Table:
    """One line a figure, one column a run; with two runs or more a last column from the first run to the last."""
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("")
    for run in runs:
        table.add_column(Text(run.label), justify="right")
    if len(runs) > 1:
        table.add_column("change", justify="right")
    for row in rows_for(runs):
        cells = [Text(row.text(run), style="dim" if row.value(run) is None else "") for run in runs]
        if len(runs) > 1:
            text, verdict = row.change(runs)
            cells.append(Text(text, style=_CHANGE_STYLE[verdict]))
        table.add_row(Text(row.label, style="bold" if row.headline else ""), *cells)
    return table


BAR = 24
"""Characters of a bar."""
_SIGNS = {"cached": "█", "wasted": "▒", "computed": "·"}
_COLORS = {"cached": "green", "wasted": "yellow", "computed": "dim"}


def share_lines(shares: Sequence[Shares]) -> list[Text]:
    """One bar a call site: cached, wasted and computed prompt tokens. Signs differ, not colours alone."""
    width = max((len(short_id(each.site)) for each in shares), default=0)
    lines = []
    for each in shares:
        line = Text(f"  {short_id(each.site):<{width}}  ")
        cells = 0
        for kind, _, share in each.kinds[:-1]:
            length = min(round(share * BAR), BAR - cells)
            line.append(_SIGNS[kind] * length, style=_COLORS[kind])
            cells += length
        line.append(_SIGNS["computed"] * (BAR - cells), style=_COLORS["computed"])
        lines.append(line.append(f"  {each.words} of {count(each.prompt)} tokens"))
    if lines:
        lines.append(Text(f"  {_SIGNS['cached']} cached  {_SIGNS['wasted']} computed again  {_SIGNS['computed']} new"))
    return lines


def saving_lines(savings: Sequence[Saving]) -> list[str]:
    """One line a saving that is known."""
    return [_saving_line(line) for line in savings if line.saved is not None]


def _saving_line(line: Saving) -> str:
    words = f"saved: {line.saved_text} {line.label}" if line.saved else f"{line.label}: {line.saved_text}"
    return f"  {words} ({line.why})"
