"""Raw rows of `charter bench` as tables of the page, and the commands that made them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence

from page_parts import Row, Rows, table

from charter_compiler.bench.cases import Table, all_tables
from charter_compiler.bench.rows import RUN, SESSION
from charter_compiler.bench.show import HEADS, arm_lines, factor, failure_lines, spread_text
from charter_compiler.bench.summary import CaseSummary, findings
from charter_compiler.report.metrics import percent

PROGRAMS = {
    "embedded": ("charter bench", ""),
    "sim": ("charter bench", " --target sim"),
    "vllm": ("python benchmarks/comparison/on_vllm.py", ""),
}
"""By the engine of a session: the program, and what to tell it to have that engine."""


def name(case: CaseSummary) -> str:
    """A case as every heading and table of the page names it."""
    return case.case if case.table == case.case else f"{case.table}: {case.case}"


def command(session: Row, runs: Rows) -> str:
    """The command line that made the rows of a session of one of our tables, but for the file they went to; it says so
    where the table is another one today."""
    program, engine = PROGRAMS[session["engine"]]
    wanted = all_tables().get(session["table"])
    line = f"{program} {session['table']}{engine}"
    if wanted is None:
        return f"`{line}`"
    labels = {case.label for case in wanted.cases}
    changed = session["about"] != wanted.about or any(row["case"] not in labels for row in runs)
    line = " ".join([line, *_narrowed(wanted, session, runs)])
    return f"`{line}`, of a table that has changed since" if changed else f"`{line}`"


def _narrowed(wanted: Table, session: Row, runs: Rows) -> Iterator[str]:
    """What a session left out of its table."""
    ran = {row["case"] for row in runs}
    labels = [case.label for case in wanted.cases if case.label in ran]
    if len(labels) < len(wanted.cases) and len(labels) == len(ran):
        yield f"--cases {' '.join(map(shlex.quote, labels))}"
    if session["arms"] != [arm.name for arm in wanted.arms]:
        yield f"--arms {' '.join(session['arms'])}"
    rounds = len({row["round"] for row in runs})
    if rounds != wanted.rounds:
        yield f"--rounds {rounds}"


def commands(rows: Rows) -> str:
    """Every command that made these rows, with the number of processes where there were several, under a heading."""
    found: dict[str, int] = {}
    for session in rows:
        runs = [row for row in rows if row["kind"] == RUN and row["session"] == session.get("session")]
        if session["kind"] == SESSION and runs:
            line = command(session, runs)
            found[line] = found.get(line, 0) + 1
    listed = (f"- {line}{f' ({times} processes)' if times > 1 else ''}" for line, times in found.items())
    return "Commands that made these rows:\n\n" + "\n".join(listed)


def finding_table(cases: Sequence[CaseSummary]) -> str:
    """What was found, a line a finding and a column a case."""
    cells: dict[str, dict[str, str]] = {}
    for case in cases:
        for finding in findings(case):
            value = spread_text(finding.value, percent if finding.percent else factor)
            cells.setdefault(finding.text, {})[name(case)] = value
    names = [name(case) for case in cases]
    return table(("", *names), [(text, *(row.get(each, "") for each in names)) for text, row in cells.items()])


def arm_table(cases: Sequence[CaseSummary]) -> str:
    """The arms of every case, a line an arm."""
    lines = [(name(case), *cells) for case in cases for cells in arm_lines(case)]
    return table(("case", "arm", *HEADS[1:]), lines)


def failures(cases: Iterable[CaseSummary]) -> str:
    """The runs that failed, and why."""
    return "\n".join(f"- {name(case)}: {line}" for case in cases for line in failure_lines(case))
