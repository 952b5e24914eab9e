"""The section on a router of the Python index before the same replicas that Charter places items on."""

from __future__ import annotations

from page_parts import Row, Rows, Section, spread, table


def routing(rows: Rows) -> str:
    """A line an arm: the median of its rounds, with the least and the most where there are several."""
    facts, *runs = rows
    router = facts["sglang_router"]
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
        "WHY",
    ),
)
