"""The sections on the embedded engine."""

from __future__ import annotations

from collections.abc import Iterator

from page_parts import Rows, Section, table
from page_targets import TIMES, Target, all_of, at_least, at_most, none_of

HIGHEST = 100
"""The highest priority of retention."""
REQUESTS = 20_000
CELLS = 2048
"""Up to so many foreign cells the engine has a target beside llama.cpp's own server."""


def engine_counts(plain: Rows, retained: Rows) -> str:
    lines = []
    for found in (plain[-1]["summary"], retained[-1]["summary"]):
        cached = f"{found['cached_tokens']:,} of {found['prompt_tokens']:,}"
        evicted = f"{found['evicted_blocks']:,}"
        lines.append((found["kind"], f"{found['requests']:,}", found["differing"], cached, evicted))
    return table(("requests", "how many", "differ from the model", "prompt tokens cached", "blocks evicted"), lines)


def count_targets(plain: Rows, retained: Rows) -> Iterator[Target]:
    found = [rows[-1]["summary"] for rows in (plain, retained)]
    differing, requests = (sum(each[key] for each in found) for key in ("differing", "requests"))
    yield none_of("Embedded engine: requests whose computed tokens differ from the model's", "0", differing, requests)


def retained(rows: Rows) -> str:
    lines = []
    for row in rows[1:]:
        kept = "for ever" if row["duration_ms"] is None else f"{row['duration_ms'] / 1000:g} s"
        again = f"{row['decoded_again']} of {row['prefix_tokens']}"
        lines.append((row["priority"], kept, f"{row['flood_after_s']:g}", again))
    return table(("priority", "kept", "flood after seconds", "tokens computed again"), lines)


def retention_targets(rows: Rows) -> Iterator[Target]:
    def as_documented(row: dict[str, int]) -> bool:
        expires = row["duration_ms"] is not None and row["flood_after_s"] * 1000 >= row["duration_ms"]
        survived = row["decoded_again"] < row["prefix_tokens"]
        return survived == (row["priority"] == HIGHEST and not expires)

    what = "Embedded engine: a prefix of priority 100 survives a flood until its time ends, others do not"
    yield all_of(what, "every case", [as_documented(row) for row in rows[1:]])


def concurrent(rows: Rows) -> str:
    lines = [
        (
            row["by"],
            row["count"],
            f"{min(row['cached_of_prefix']):.1%}",
            f"{row['warm_up']['processor_s']:.1f}",
            f"{row['processor_s']:.2f}",
            f"{row['seconds']:.1f}",
        )
        for row in rows
        if "by" in row
    ]
    head = (
        "by",
        "requests at once",
        "least reuse of the prefix",
        "processor seconds to warm",
        "processor seconds for all",
        "wall seconds for all",
    )
    return table(head, lines)


def concurrent_targets(rows: Rows) -> Iterator[Target]:
    found = [row["summary"] for row in rows if "summary" in row]
    reused = {f"{each['count']} at once": (each["least_reused"],) for each in found}
    sooner = {
        f"{each['count']} at once, {setting}": (times["warmed"],)
        for each in found
        for setting, times in each["times_sooner"].items()
    }
    what = "Embedded engine, one warm prefix of 1,188 tokens"
    yield at_least(f"{what}: reused by each request", 0.95, reused)
    yield at_least(f"{what}: sooner than llama.cpp's own server, by the clock", 5, sooner, TIMES)


def throughput(quiet: Rows, busy: Rows) -> str:
    lines = [
        (
            machine,
            found["count"],
            f"{found['foreign']:,}",
            f"{found['by_processor_time']:.2f}",
            f"{found['share_of_servers_throughput']:.2f}",
            f"{found['outside_llama_decode']:.1%}",
        )
        for machine, rows in (("quiet", quiet), ("busy", busy))
        for found in summaries(rows)
    ]
    head = (
        "machine",
        "requests at once",
        "foreign cells",
        "of the server's throughput, by processor time",
        "by wall time",
        "of a step outside llama_decode",
    )
    return table(head, lines)


def summaries(rows: Rows) -> Rows:
    return [row["summary"] for row in rows if "summary" in row]


def throughput_targets(quiet: Rows, busy: Rows) -> Iterator[Target]:
    what = f"Embedded engine: throughput without sharing, up to {CELLS:,} foreign cells, llama.cpp's own server = 1"
    share = {_setting(each): (each["share_of_servers_throughput"],) for each in summaries(quiet) if _counts(each)}
    for each in summaries(busy):
        if _counts(each) and _setting(each) not in share:
            share[f"{_setting(each)}, by processor time on a busy machine"] = (each["by_processor_time"],)
    yield at_least(what, 0.9, share, TIMES)
    outside = {_setting(each): (each["outside_llama_decode"],) for each in summaries(quiet)}
    yield at_most("Embedded engine: bookkeeping in a step", 0.05, outside)


def _counts(found: dict[str, int]) -> bool:
    return found["foreign"] <= CELLS


def _setting(found: dict[str, int]) -> str:
    return f"{found['count']} at once, {found['foreign']:,} foreign cells"


def reproducible(rows: Rows) -> str:
    found = rows[-1]["summary"]
    lines = [
        (f"{name}, from reproducible, cold", f"{count} of {found['prompts']}")
        for name, count in found["differing_from_reproducible_cold"].items()
    ]
    normal = f"{found['normal_warm_differs_from_normal_cold']} of {found['prompts']}"
    lines.append(("normal, warm, from normal, cold", normal))
    return table(("outputs", "differ"), lines)


def reproducible_targets(rows: Rows) -> Iterator[Target]:
    found = rows[-1]["summary"]
    differing, prompts = found["differing_from_reproducible_cold"], found["prompts"]
    what = "Reproducible mode: greedy outputs that differ from a cold run"
    yield none_of(f"{what}, warm", "0 of 200 prompts", differing["reproducible, warm"], prompts)
    of_server = differing["server, batches of 128"]
    yield none_of(f"{what}, llama.cpp's own server on the same grid", "0 of 200 prompts", of_server, prompts)


def families(rows: Rows) -> str:
    lines = [
        (row["file"], row["counted"]["requests"], row["counted"]["differing"], row["reproducible"]["prompts"],
         row["reproducible"]["warm_differs_from_cold"])
        for row in rows[1:]
    ]  # fmt: skip
    return table(
        ("model", "requests", "differ from the model of the cache", "prompts", "warm differs from cold"), lines
    )


def endurance(rows: Rows) -> str:
    found = rows[-1]["summary"]
    left = f"{found['held_blocks']} blocks, {found['positions_left']} positions, {found['sequences_left']} sequences"
    ended = f"{found['ended']:,} requests ended, {found['cancelled']} of them cancelled"
    first, last = ((row["ended"], row["resident_bytes"] / 1e6) for row in (rows[1], found))
    grown = f"Resident memory: {first[1]:.1f} MB after {first[0]:,} requests, {last[1]:.1f} MB after {last[0]:,}"
    return f"{ended}; left over: {left}. {grown}."


def endurance_targets(rows: Rows) -> Iterator[Target]:
    found = rows[-1]["summary"]
    left = sum(found[key] for key in ("held_blocks", "positions_left", "sequences_left"))
    what = "Embedded engine: blocks, positions and sequences left over after 20,000 requests"
    measured = f"{left} after {found['ended']:,}"
    yield Target(what, "0", measured, left == 0 and found["ended"] >= REQUESTS)


def flips(rows: Rows) -> str:
    pairs = rows[1:]
    other = sum(row["first_difference"] is not None for row in pairs)
    return f"{other} of {len(pairs)} greedy outputs differ ({other / len(pairs):.0%})."


SECTIONS = (
    Section(
        "The embedded engine beside its model",
        "make bench-engine",
        ("engine/counted.jsonl", "engine/counted_retained.jsonl"),
        "the tokens that reach llama.cpp are those that the model predicts, request by request.",
        engine_counts,
        "Reached, with retention and partial reuse too.",
        count_targets,
    ),
    Section(
        "Retention",
        "make bench-engine",
        ("engine/retained.jsonl",),
        "a prefix of high priority survives a flood, and its time ends that.",
        retained,
        "As TensorRT-LLM documents it; the last token of a prompt is always computed.",
        retention_targets,
    ),
    Section(
        "One warm prefix, many requests",
        "make bench-engine",
        ("engine/concurrent_prefix.jsonl",),
        "the whole prefix is reused by each, sooner than llama.cpp's own server.",
        concurrent,
        "llama.cpp's server shares nothing between slots that run at once; where every slot was warmed it has computed "
        "the prefix once a slot before, and then five times sooner is out of reach: it computes no more than this "
        "engine. One round each; the four under load, so that of these only the processor time says something.",
        concurrent_targets,
    ),
    Section(
        "Throughput without sharing",
        "make bench-engine",
        ("engine/throughput.jsonl", "engine/throughput_under_load.jsonl"),
        "at least 0.9 of llama.cpp's own server up to 2,048 foreign cells; bookkeeping under 5% of a step.",
        throughput,
        "Reached up to 2,048 foreign cells. Beyond, the engine falls to 0.72 to 0.80: attention looks at every cell of "
        "the one unified cache, and the server has no cells of others. Sixteen at once with 2,048 cells were not "
        "reached in the time on the quiet machine; the rows of the busy one have them, of which only the processor "
        "time says something.",
        throughput_targets,
    ),
    Section(
        "Reproducible mode",
        "make bench-engine",
        ("engine/reproducible.jsonl",),
        "warm equals cold, and llama.cpp's own server on the same grid, for 200 prompts.",
        reproducible,
        "Reached: the first hundred with one thread, the others with two. With two threads 19 of those differed before "
        "([engine/reproducible_before.jsonl](benchmarks/engine/reproducible_before.jsonl)): llama.cpp parts a lone "
        "token's attention over 512 cells or more among its threads, so that mode decodes with one now. The server "
        "with its own sizes cuts a prefill elsewhere.",
        reproducible_targets,
    ),
    Section(
        "Model families",
        "python benchmarks/engine/families.py",
        ("engine/families.jsonl",),
        "the model of the cache holds for other families too.",
        families,
        "See the page of the engine for what other families need.",
    ),
    Section(
        "Endurance",
        "make bench-engine",
        ("engine/endurance.jsonl",),
        "nothing is left after 20,000 short requests.",
        endurance,
        "Reached: the first figure holds model and caches already, and what grows after it is small.",
        endurance_targets,
    ),
    Section(
        "Warm against cold outputs",
        "make bench-flips",
        ("determinism/flips.jsonl",),
        "how often greedy outputs differ is measured and shown; none in the reproducible mode.",
        flips,
        "Floating-point sums depend on how a prefill is cut. The reproducible mode is tested in `tests/engine`.",
    ),
)
