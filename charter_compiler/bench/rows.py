"""Raw rows of benchmarks: JSON Lines, one object a run. A session's first line says under which conditions it ran."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from charter_compiler.diagnostics.errors import InputsError, UsageError
from charter_compiler.executor.recording import read_recording
from charter_compiler.executor.results import unwritable

Row: TypeAlias = dict[str, Any]
SESSION, RUN, SEARCH = "session", "run", "search"
"""Kinds of rows: the conditions of a session; a run; a run of the search for the fastest concurrency."""


def read_rows(path: Path) -> list[Row]:
    """The rows of a file; none where there is no file.

    Raises:
        InputsError: a line is not JSON.
    """
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise InputsError(
                f"no row of a benchmark: {error}", place=f"{path}:{number}", remedy="give another -o"
            ) from error
    return rows


def append_row(path: Path, row: Row) -> None:
    """Add a row to a file.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    except OSError as error:
        raise unwritable(path, error) from error


def of_case(rows: Iterable[Row], table: str, case: str, kind: str = RUN) -> list[Row]:
    """The rows of one case of one kind."""
    return [row for row in rows if (row["kind"], row.get("table"), row.get("case")) == (kind, table, case)]


def check_same(earlier: Iterable[Row], table: str, case: str, conditions: Mapping[str, Any]) -> None:
    """Refuse to go on with rows of a case that were measured otherwise: medians would mix them.

    Raises:
        UsageError: one of the ``conditions`` (engine, capacity, setting) was another.
    """
    wanted = json.loads(json.dumps(conditions))
    for row in (row for kind in (SEARCH, RUN) for row in of_case(earlier, table, case, kind)):
        differing = [name for name, value in wanted.items() if row.get(name) != value]
        if differing:
            name = differing[0].replace("_", " ")
            raise UsageError(f"the file has runs of {case!r} with another {name}", remedy="give another -o")


def check_same_machine(earlier: Iterable[Row], conditions: Mapping[str, Any]) -> None:
    """Refuse to go on with rows of another machine, or of other cores of this one.

    Raises:
        UsageError: processor or number of cores were others.
    """
    for row in (row for row in earlier if row["kind"] == SESSION):
        for name in ("processor", "cores"):
            there, here = row["environment"].get(name), conditions["environment"].get(name)
            if there != here:
                raise UsageError(f"the file is of a machine with {name} {there}, here {here}", remedy="give another -o")


def stages(recording: Path) -> list[dict[str, Any]]:
    """Of a recorded run: for each call site in the order of the source its calls, tokens, and medians in seconds."""
    groups: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
    for call in read_recording(recording):
        if call["item"] is not None and not call["memoized"]:
            groups.setdefault((call["line"] or 0, str(call["call"])), []).append(call)
    return [dict(_stage(line, calls)) for (line, _), calls in sorted(groups.items())]


def _stage(line: int, calls: list[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    yield "line", line
    yield "calls", len(calls)
    for name in ("prompt_tokens", "cached_tokens", "output_tokens"):
        counts = [call[name] for call in calls]
        yield name, None if None in counts else sum(counts)
    first = [call["first_token_s"] - call["submitted_s"] for call in calls if call["first_token_s"] is not None]
    yield "ttft_p50_s", _median(first)
    yield (
        "ttft_after_sending_p50_s",
        _median([call["first_token_s"] - call["sent_s"] for call in calls if call["first_token_s"] is not None]),
    )
    yield "latency_p50_s", _median([call["done_s"] - call["submitted_s"] for call in calls])


def _median(values: list[float]) -> float | None:
    return round(median(values), 4) if values else None
