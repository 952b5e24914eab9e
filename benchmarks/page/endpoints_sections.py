"""The section on one run over several servers."""

from __future__ import annotations

from page_parts import Row, Rows, Section, percent, table


def endpoints(measured: Rows, simulated: Rows) -> str:
    """One line a run; servers that compute, and the engine's model in their place."""
    lines = [_line("servers", row) for row in measured] + [_line("model", row) for row in simulated]
    head = (
        "run", "on", "hit rate", "predicted", "attainable", "largest load above the mean", "items", "failed",
        "calls answered twice",
    )  # fmt: skip
    return table(head, lines)


def _line(on: str, row: Row) -> tuple[object, ...]:
    predicted = "" if row["predicted"] is None else percent(row["predicted"])
    above = "" if row["imbalance"] is None else percent(row["imbalance"])
    return (
        row["run"], on, percent(row["measured"]), predicted, percent(row["attainable"]), above, row["items"],
        row["failed"], row["answered_twice"],
    )  # fmt: skip


SECTIONS = (
    Section(
        "One run on several servers",
        "make bench-endpoints",
        ("endpoints/results.jsonl", "endpoints/simulated.jsonl"),
        "four servers within 2 points of one with the same capacity, loads within 15%, at least 1.3 times the hit rate "
        "of calls in turn, predicted within 2 points, nothing lost with a server that is killed and comes back.",
        endpoints,
        "Reached. Items that share a document meet at one server. While one server is away the others have its items, "
        "so that the loads of that run differ more.",
    ),
)
