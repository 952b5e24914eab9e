"""The page of predicted and measured hit rates, from the raw results. Nothing in it is typed.

``table.py RESULTS.jsonl > docs/predicted-and-measured.md``
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.jsonl"
PAGE = Path(__file__).parents[2] / "docs" / "predicted-and-measured.md"
ALLOWED, ALLOWED_WITH_OUTPUTS = 1.0, 2.0
"""Points by which prediction and measurement may differ; the second where outputs feed later prompts."""

HEAD = """# Predicted and measured token hit rates

Made by `benchmarks/prediction/table.py` from `benchmarks/prediction/results.jsonl`; `make bench-prediction` measures
anew. Each line is one run that starts with an empty cache. *Predicted* was computed before it, from source and inputs,
with synthetic outputs; *from the run as written* too, with the outputs that that run had recorded (`charter compile
--outputs-of`), its distance from *measured* in brackets. *With its outputs* is the same prediction with the run's own
outputs in their place: what is left between it and *measured* is the order of events, what is between it and
*predicted* is the model's text. Rates are cached over prompt tokens as the engine counts them, warm-ups included. The
aim is a difference of at most {one:g} point, {two:g} where outputs feed prompts.
"""


def read(path: Path) -> list[dict[str, Any]]:
    """The raw results; of several runs of one kind the last."""
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line)
    return list({(line["target"], line["agent"], line["mode"]): line for line in lines}.values())


def difference(row: Mapping[str, Any]) -> float:
    """Predicted less measured, in points."""
    return 100 * float(row["predicted_hit_rate"] - row["hit_rate"])


def allowed(row: Mapping[str, Any]) -> float:
    """How far prediction and measurement may differ, in points."""
    return ALLOWED_WITH_OUTPUTS if row["outputs_feed_prompts"] else ALLOWED


def page(rows: Iterable[Mapping[str, Any]]) -> str:
    """The whole page."""
    return "\n".join([HEAD.format(one=ALLOWED, two=ALLOWED_WITH_OUTPUTS), *_sections(list(rows))]) + "\n"


def _sections(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    misses = [row for row in rows if abs(difference(row)) > allowed(row)]
    yield f"{len(rows) - len(misses)} of {len(rows)} runs are within the aim.\n"
    for target in dict.fromkeys(row["target"] for row in rows):
        yield from _table(target, [row for row in rows if row["target"] == target])
    if misses:
        yield "## Outside the aim\n"
        yield from (f"- {_why(row)}" for row in misses)


TITLES = {"embedded": "Embedded Triton server", "vllm": "vLLM 0.32 on a CPU, through `openai://`"}


def _table(target: str, rows: list[Mapping[str, Any]]) -> Iterator[str]:
    yield f"## {TITLES[target]}\n"
    setups = dict.fromkeys(_setup(row) for row in rows)
    dates = [row["date"] for row in rows]
    yield f"{'; '.join(setups)}; {' to '.join(sorted({min(dates), max(dates)}))}.\n"
    columns = ["agent", "mode", "items", "calls", "prompt tokens", "predicted", "measured", "difference"]
    columns += ["from the run as written", "with its outputs", "attainable"]
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for row in rows:
        mark = "" if abs(difference(row)) <= allowed(row) else " **(outside)**"
        yield (
            f"| {row['agent']} | {row['mode']} | {row['items']} | {row['calls']} | {row['prompt_tokens']:,} | "
            f"{_rate(row['predicted_hit_rate'])} | {_rate(row['hit_rate'])} | {difference(row):+.1f}{mark} | "
            f"{_former(row)} | {_rate(row['recorded_hit_rate'])} | {_rate(row['attainable_hit_rate'])} |"
        )
    yield ""


def _setup(row: Mapping[str, Any]) -> str:
    return (
        f"{row['model']}, {row['blocks']} blocks of {row['block_size']} tokens, {row['concurrency']} items in flight, "
        f"outputs of at most {row['max_tokens']} tokens, {row['machine']}"
    )


def _why(row: Mapping[str, Any]) -> str:
    by_outputs = 100 * abs(row["recorded_hit_rate"] - row["hit_rate"])
    cause = (
        f"the model's text: with the outputs of the run the prediction is {by_outputs:.1f} points off"
        if by_outputs <= allowed(row)
        else f"the order of events: with the outputs of the run the prediction is still {by_outputs:.1f} points off"
    )
    run = f"`{row['agent']}`, {row['mode']}, {TITLES[row['target']]}"
    return f"{run}: {difference(row):+.1f} points. The cause is {cause}."


def _former(row: Mapping[str, Any]) -> str:
    rate = row.get("former_run_hit_rate")
    return "" if rate is None else f"{rate:.1%} ({100 * (rate - row['hit_rate']):+.1f})"


def _rate(value: float | None) -> str:
    return "not known" if value is None else f"{value:.1%}"


if __name__ == "__main__":
    sys.stdout.write(page(read(Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS)))
