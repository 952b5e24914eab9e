"""The section on runs over a Ray cluster."""

from __future__ import annotations

from page_parts import Row, Rows, Section, table


def runs(measured: Rows) -> str:
    """One line a run."""
    head = (
        "items", "nodes", "nodes lost", "driver, MB: at the first item, at most, at the last", "rows in and out, MB",
        "calls answered twice", "missing", "rows in order",
    )  # fmt: skip
    return table(head, [_line(row) for row in measured])


def _line(row: Row) -> tuple[object, ...]:
    memory = [sample["driver_mb"] for sample in row["samples"]]
    return (
        row["items"], row["nodes"], row["nodes_lost"], f"{memory[0]}, {max(memory)}, {memory[-1]}",
        row["rows_in_and_out_mb"], row["answered_twice"], row["missing"], "yes" if row["rows_in_order"] else "no",
    )  # fmt: skip


SECTIONS = (
    Section(
        "Many items on a Ray cluster",
        "make bench-ray",
        ("ray/results.jsonl",),
        "100,000 items on the simulated target with bounded memory of the driver, nothing lost or repeated.",
        runs,
        "Reached on three nodes of one machine. The driver keeps 24 bytes an item; rows that come early wait on the "
        "disk.",
    ),
)
