"""The sections on predicted hit rates, and on what hints are worth."""

from __future__ import annotations

from collections.abc import Iterator

from page_parts import Row, Rows, Section, percent, spread, table
from page_targets import Target, all_of


def prediction(rows: Rows) -> str:
    groups: dict[tuple[str, str], Rows] = {}
    for row in _predicted(rows):
        groups.setdefault((row["target"], row["mode"]), []).append(row)
    lines = []
    for (target, mode), group in groups.items():
        gaps = [_points_off(row) for row in group]
        within = sum(_within(row) for row in group)
        own = [
            100 * abs(row["recorded_hit_rate"] - row["hit_rate"])
            for row in group
            if row.get("recorded_hit_rate") is not None
        ]
        lines.append((target, mode, len(group), f"{within} of {len(group)}", spread(gaps), spread(own) if own else ""))
    head = ("engine", "mode", "runs", "within the target", "points off, median (least to most)")
    text = table((*head, "with the run's own outputs"), lines)
    return f"{text}\n\nRun by run: [predicted and measured](docs/predicted-and-measured.md)."


def prediction_targets(rows: Rows) -> Iterator[Target]:
    for target in dict.fromkeys(row["target"] for row in rows):
        found = [row for row in _predicted(rows) if row["target"] == target]
        worst = max(found, key=_points_off)
        more = f"; {_points_off(worst):.2f} points off at worst ({worst['agent']}, {worst['mode']})"
        what = f"Predicted beside measured hit rate, {target}"
        wanted = "within 1 point, 2 where outputs feed prompts"
        yield all_of(what, wanted, [_within(row) for row in found], f" runs{more}")


def _predicted(rows: Rows) -> Rows:
    return [row for row in rows if row.get("hit_rate") is not None and row.get("predicted_hit_rate") is not None]


def _points_off(row: Row) -> float:
    return 100 * abs(float(row["predicted_hit_rate"]) - float(row["hit_rate"]))


def _within(row: Row) -> bool:
    return _points_off(row) <= (2 if row["outputs_feed_prompts"] else 1)


def hints(rows: Rows) -> str:
    keys = ("no_hints", "hints", "lru", "belady", "unbounded")
    lines = [
        (
            row["shape"],
            f"{row['capacity_blocks']} ({row['share_of_in_flight']:.0%})",
            *(percent(row[key]) for key in keys),
        )
        for row in rows[1:]
    ]
    head = ("agent", "blocks (of what is in flight)", "without hints", "with hints", "LRU", "Belady", "unbounded")
    return table(head, lines)


def hint_targets(rows: Rows) -> Iterator[Target]:
    what = "Hints: higher hit rate than without, four shapes of agents at three capacities (model of the cache)"
    yield all_of(what, "every case", [row["hints"] > row["no_hints"] for row in rows[1:]])


SECTIONS = (
    Section(
        "Predicted against measured",
        "make bench-prediction",
        ("prediction/results.jsonl",),
        "within 1 point of the measured hit rate; within 2 where outputs feed prompts.",
        prediction,
        "What misses are agents whose prompts depend on what the model says (how long, how many turns): the last "
        "column predicts again with the outputs that the run had.",
        prediction_targets,
    ),
    Section(
        "What hints are worth",
        "make bench-hints",
        ("hints/worth.jsonl",),
        "more than without hints at three capacities, for four shapes of agents; Belady bounds it.",
        hints,
        "No clock is involved: the figures are the same on any machine. Hints know the agent, Belady the whole future.",
        hint_targets,
    ),
)
