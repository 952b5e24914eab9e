"""The comparison of runs as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from charter_compiler.report.metrics import NOT_REPORTED, RunFigures, rows_for

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
        cells = [Text(row.show(row.value(run))) for run in runs]
        for cell in cells:
            if cell.plain == NOT_REPORTED:
                cell.stylize("dim")
        if len(runs) > 1:
            text, verdict = row.change(runs)
            cells.append(Text(text, style=_CHANGE_STYLE[verdict]))
        table.add_row(Text(row.label, style="bold" if row.headline else ""), *cells)
    return table
