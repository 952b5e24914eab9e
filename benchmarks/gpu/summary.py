"""The rows of one session as short tables, ratios first: ``python benchmarks/gpu/summary.py F.jsonl``."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def measured(rows: Iterable[Row], part: str) -> list[Row]:
    """The part's rows that count: neither failed nor made for warming up."""
    return [row for row in rows if row["part"] == part and "error" not in row and not row.get("warm_up")]


def median_of(rows: Sequence[Row], value: Callable[[Row], float]) -> float | None:
    return statistics.median(map(value, rows)) if rows else None


def ttft_lines(rows: Sequence[Row]) -> list[tuple[object, ...]]:
    """A line a prefix: length, cold over warm, medians in milliseconds, cached tokens (least to most), repetitions."""
    lines = []
    found = measured(rows, "ttft")
    for length in dict.fromkeys(row["prefix_tokens"] for row in found):
        cold, warm = ([row for row in found if row["prefix_tokens"] == length and row["kind"] == kind]
                      for kind in ("cold", "warm"))  # fmt: skip
        if not cold or not warm:
            continue
        times = [statistics.median(row["ttft_s"] for row in those) for those in (cold, warm)]
        cached = sorted(row["cached_tokens"] for row in warm)
        lines.append((length, f"{times[0] / times[1]:.2f}", _ms(times[0]), _ms(times[1]), _span(cached), len(warm)))
    return lines


def concurrent_lines(rows: Sequence[Row]) -> list[tuple[object, ...]]:
    """A line a prefix: ratios to none shared of all sixteen's first tokens, then the times and what was cached."""
    lines = []
    found = measured(rows, "concurrent")
    for length in dict.fromkeys(row["prefix_tokens"] for row in found):
        kinds = {kind: [row for row in found if row["prefix_tokens"] == length and row["kind"] == kind]
                 for kind in ("none_shared", "shared_new", "shared_warm")}  # fmt: skip
        if not all(kinds.values()):
            continue
        last = {kind: statistics.median(max(row["ttft_s"]) for row in those) for kind, those in kinds.items()}
        middle = {
            kind: statistics.median(each for row in those for each in row["ttft_s"]) for kind, those in kinds.items()
        }
        cached = sorted(each for row in kinds["shared_warm"] for each in row["cached_tokens"])
        lines.append(
            (
                length, f"{last['none_shared'] / last['shared_warm']:.2f}",
                f"{middle['none_shared'] / middle['shared_warm']:.2f}",
                *(_ms(last[kind]) for kind in kinds), _span(cached), len(kinds["shared_warm"]),
            )
        )  # fmt: skip
    return lines


def agent_lines(rows: Sequence[Row]) -> list[tuple[object, ...]]:
    """A line a case and arm: throughput over that of the agent as written in the same round, median and span."""
    lines = []
    found = measured(rows, "agents")
    for case in dict.fromkeys(row["case"] for row in found):
        plain = {row["round"]: row for row in found if row["case"] == case and row["arm"] == "as_written"}
        for arm in ("as_written", "cache_off", "charter", "charter_layout"):
            those = [row for row in found if row["case"] == case and row["arm"] == arm]
            if not those:
                continue
            ratios = [plain[row["round"]]["wall_s"] / row["wall_s"] for row in those if row["round"] in plain]
            predicted = [row["predicted_hit_rate"] for row in those if row.get("predicted_hit_rate") is not None]
            rate = statistics.median(row["hit_rate"] for row in those)
            lines.append(
                (
                    case.replace("_", " "), arm.replace("_", " "), _ratios(ratios), f"{rate:.1%}",
                    f"{statistics.median(predicted):.1%}" if predicted else "",
                    f"{statistics.median(row['wall_s'] for row in those):.2f}",
                    _stages(those), len(those), sum(row["restarts"] for row in those),
                )
            )  # fmt: skip
    return lines


WARM_UP = "call"
"""The label of calls that none of the agent's stages names: beside stages, what Charter sends ahead of the run."""
TTFT_HEAD = ("prefix", "cold / warm", "cold, ms", "warm, ms", "cached tokens, warm", "repetitions")
CONCURRENT_HEAD = (
    "prefix", "last first token, none shared / warm", "median, none shared / warm", "none shared, ms",
    "same new prefix, ms", "warm, ms", "cached tokens, warm", "repetitions",
)  # fmt: skip
AGENT_HEAD = (
    "case", "run", "times the throughput as written", "hit rate", "predicted", "seconds", "TTFT by stage, ms", "rounds",
    "restarts",
)  # fmt: skip


def _stages(rows: Sequence[Row]) -> str:
    labels = list(dict.fromkeys(label for row in rows for label in row["stages"]))
    if len(labels) > 1:
        labels = [label for label in labels if label != WARM_UP]
    medians = (
        statistics.median(row["stages"][label]["ttft_s"] for row in rows if label in row["stages"]) for label in labels
    )
    return " / ".join(_ms(each) for each in medians)


def _ratios(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


def _span(values: Sequence[int]) -> str:
    return str(values[0]) if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def text(rows: Sequence[Row]) -> str:
    """Everything, failures too, for a terminal."""
    parts = []
    for head, lines in (
        (AGENT_HEAD, agent_lines(rows)),
        (TTFT_HEAD, ttft_lines(rows)),
        (CONCURRENT_HEAD, concurrent_lines(rows)),
    ):
        parts += [" | ".join(head), *(" | ".join(map(str, line)) for line in lines), ""]
    parts += [f"FAILED {row['part']}: {row['error'][:300]}" for row in rows if "error" in row]
    warm = [row for row in measured(rows, "agents") if row["first_cached"]]
    parts += [f"NOT COLD {row['case']} {row['arm']} {row['round']}: {row['first_cached']}" for row in warm]
    return "\n".join(parts)


if __name__ == "__main__":
    print(text([json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]))
