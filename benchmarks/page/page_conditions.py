"""Under which conditions the rows of a section were measured: every session's, not the first one's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from page_parts import Row, Rows

Facts = tuple[str, ...]
"""Date, processor or device, cores, Python, commit; empty where the rows do not say."""


def conditions(files: Sequence[Rows]) -> str:
    """What is the same in all sessions once, then what differs, each with the range of its load averages."""
    loads: dict[Facts, list[float]] = {}
    for rows in files:
        for facts, load in _facts(rows):
            loads.setdefault(facts, []).extend([] if load is None else [load])
    if not loads:
        return "not recorded in the rows"
    same = [len(set(values)) == 1 for values in zip(*loads, strict=True)]
    common = [value for value, alike in zip(next(iter(loads)), same, strict=True) if alike and value]
    differing = [
        ", ".join([*(value for value, alike in zip(facts, same, strict=True) if value and not alike), *_range(found)])
        for facts, found in loads.items()
    ]
    between = ", " if len(loads) == 1 else "; "
    return between.join(part for part in (", ".join(common), *differing) if part)


def _facts(rows: Rows) -> Iterator[tuple[Facts, float | None]]:
    """Of each row that tells its conditions, or belongs to a session whose first row did."""
    sessions: dict[str, Facts] = {}
    current: Facts | None = None
    for row in rows:
        if "environment" in row or isinstance(row.get("measured"), str):
            current = _of(row)
            if "session" in row:
                sessions[row["session"]] = current
            else:
                yield current, row.get("load_average")
        elif "session" in row:
            yield sessions[row["session"]], row.get("load_average")
        elif "date" in row or "machine" in row:
            yield _of(row), row.get("load")


def _of(row: Row) -> Facts:
    environment = row.get("environment", {})
    measured = row.get("measured")
    date = measured if isinstance(measured, str) else row.get("date", "")
    cores = environment.get("cores", "")
    python = environment.get("Python") or environment.get("python") or row.get("python", "")
    commit = row.get("commit") or environment.get("commit") or ""
    return (
        date[:10],
        environment.get("processor") or row.get("device", {}).get("name") or row.get("machine", ""),
        f"{cores} core{'' if cores == '1' else 's'}" if cores else "",
        f"Python {python}" if python else "",
        f"commit {commit[:9]}" if commit else "",
    )


def _range(loads: Sequence[float]) -> Iterator[str]:
    if loads:
        least, most = (f"{value:.1f}" for value in (min(loads), max(loads)))
        yield f"load average {least}" if least == most else f"load average {least} to {most}"
