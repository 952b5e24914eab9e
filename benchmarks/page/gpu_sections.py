"""The sections on one GPU; they are on the page once there is raw data of one."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from page_parts import Rows, Section, table

BENCHMARKS = Path(__file__).resolve().parents[1]
sys.path.append(str(BENCHMARKS / "gpu"))

from summary import (  # noqa: E402
    AGENT_HEAD,
    CONCURRENT_HEAD,
    TTFT_HEAD,
    agent_lines,
    concurrent_lines,
    ttft_lines,
)

FILE = "gpu/h100.jsonl"
COMMAND = "make bench-gpu"
SHAPE = (
    "Llama 3 8B's architecture with random weights, bfloat16, in `transformers`' continuous batching with prefix "
    "sharing. Outputs mean nothing: token counts, cache and time are what is measured. "
)


def agents(rows: Rows) -> str:
    return _with_conditions(rows, AGENT_HEAD, agent_lines(rows))


def first_tokens(rows: Rows) -> str:
    alone = table(TTFT_HEAD, ttft_lines(rows))
    together = table(CONCURRENT_HEAD, concurrent_lines(rows))
    return f"One request at a time:\n\n{alone}\n\nSixteen at once:\n\n{together}"


def _with_conditions(rows: Rows, head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """The table under a line on the device; what failed stands below."""
    on = next(row for row in rows if row["part"] == "conditions")
    device, versions = on["device"], on["versions"]
    driver = f", driver {device['driver_version']}" if "driver_version" in device else ""
    graphs = f"{on['cuda_graphs']} CUDA graphs" if on["cuda_graphs"] else "no CUDA graphs"
    said = (
        f"{device['name']}{driver}, PyTorch {versions['torch']}, transformers {versions['transformers']}, attention "
        f"`{on['attention'].replace('|', ' ')}`, {graphs}."
    )
    failed = [f"- failed: {row['part']}: {row['error'][:200]}" for row in rows if "error" in row]
    return "\n\n".join([said, table(head, lines), *(["\n".join(failed)] if failed else [])])


SECTIONS = (
    (
        Section(
            "Agents on one GPU, as written and under Charter",
            COMMAND,
            (FILE,),
            SHAPE
            + "Sixteen items at once, arms in turn, the cache emptied before each: the layout raises hit rate and "
            "throughput, more so with longer documents; without it Charter changes little where the cache is ample.",
            agents,
            "One round, two of the documents: the machine was lent for fifteen minutes. With an ample cache layout is "
            "1.35 times as fast for documents of 950 tokens and 1.77 times for 3,000; first tokens of the later calls "
            "come in a fifth and a tenth of the time. Where the cache holds seven documents, first tokens come sooner "
            "still, but the documents of 950 tokens take as long as before: Charter starts no more items than the "
            "cache can keep, so that fewer requests are decoded at once (4.4 on the mean, as written 5.1 to 5.6, from "
            "`engine_calls` in the rows), and a token hardly comes sooner for that (15 to 16 ms, as written 16 to 19). "
            "Exact passes alone were slower there (0.84 to 0.91 times), and that was a fault: items were held back "
            "though their calls share nothing. "
            "Admission learns that now; no GPU was there to measure it again. The companies' hit rate is 2.5 points "
            "below the prediction, which is not explained; the others are within 0.2, but for the engine's own order "
            "of eviction, which no profile models (1.4).",
        ),
        Section(
            "Time to the first token on one GPU, cold and warm",
            COMMAND,
            (FILE,),
            SHAPE + "A longer prefix out of the cache saves more of the time to the first token.",
            first_tokens,
            "As expected from 512 tokens on; below, a step of the engine takes its 12 ms whatever is computed. Sixteen "
            "that come together with one new prefix compute it once: the engine starts with the first.",
        ),
    )
    if (BENCHMARKS / FILE).is_file()
    else ()
)
