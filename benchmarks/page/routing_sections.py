"""The section on a router of the Python index before the same replicas that Charter places items on."""

from __future__ import annotations

from page_parts import Row, Rows, Section, spread, table


def routing(rows: Rows) -> str:
    """A line an arm: the median of its rounds, with the least and the most where there are several."""
    runs = [row for row in rows if "arm" in row]
    router = next(row for row in rows if "arm" not in row)["sglang_router"]
    defaults = ", ".join(f"{name} {value}" for name, value in router["defaults"].items())
    arms: dict[tuple[str, str], Rows] = {}
    for row in runs:
        arms.setdefault((row["router"], row["arm"]), []).append(row)
    head = (
        "placed by", "arm", "its arguments", "rounds", "hit rate", "attainable", "largest load above the mean",
        "items failed", "calls answered", "refused",
    )  # fmt: skip
    lines = [_arm(by, arm, found) for (by, arm), found in arms.items()]
    return f"sglang-router {router['version']}; its defaults: {defaults}.\n\n{table(head, lines)}"


def _arm(by: str, arm: str, rows: Rows) -> tuple[object, ...]:
    errors = [row["error"] for row in rows if "error" in row]
    if errors:
        return by, arm, errors[0], len(rows), *([""] * 6)
    return (
        by, arm, _arguments(rows[0]), len(rows), *(_percents(rows, name) for name in RATES),
        sum(row["failed"] for row in rows), sum(row["answered"] for row in rows),
        sum(sum(row["refused"].values()) for row in rows),
    )  # fmt: skip


RATES = ("measured", "attainable", "imbalance")


def _arguments(row: Row) -> str:
    given = " ".join(row.get("arguments", ()))
    return f"`{given}`" if given else ""


def _percents(rows: Rows, name: str) -> str:
    return spread([100 * row[name] for row in rows], "%", 1)


SECTIONS = (
    Section(
        "sglang-router before the same replicas",
        "make bench-peers",
        ("peers/routing.jsonl",),
        "Charter's placement by prefix reuses at least what the router's cache_aware policy does, at a load as even.",
        routing,
        "Reached, but not by placement alone. With items in the order of the file, where the questions about one "
        "document are far apart, Charter's placement is ahead of cache_aware, and of manual, whose client names the "
        "document, by a few points: these send a new document to the replica that has least open at that moment, so "
        "that in some runs replicas get more documents than their cache holds, and runs differ. In its best run "
        "cache_aware is level, with a load as even. The rest of Charter's lead is that it puts items of one document "
        "together: a file that is sorted so gives the router nearly Charter's hit rate, at a load that is less even, "
        "since few documents are in flight at once. The other policies know nothing of prefixes. Thresholds that "
        "`charter compile` wrote before were worse here than the router's own: they counted as common to all prompts "
        "only what is constant in the source; here all begin with the same value, and every prompt seemed known "
        "everywhere. **What it writes now is level with the router's defaults, not better:** here the default share "
        "of 0.3 tells documents apart as well, and with eight items in flight load hardly ever decides either way. "
        "A difference of four open requests, tried before, was worse in one of two rounds. "
        "Engines are simulated, four times as fast as the cost model, on a machine under load; the router is behind "
        "HTTP and Charter is not.",
    ),
)
