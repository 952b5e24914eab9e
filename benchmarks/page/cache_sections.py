"""The sections on the model of the cache."""

from __future__ import annotations

from collections.abc import Iterator

from page_parts import Rows, Section, percent, spread, table
from page_targets import POINTS, TIMES, Target, at_least, at_most, none_of


def equality(rows: Rows) -> str:
    work = rows[1:]
    differing = sum(row["unequal_requests"] for row in work)
    requests, operations = (sum(row[key] for row in work) for key in ("requests", "operations"))
    preempted = sum(row["preemptions"] for row in work)
    return (
        f"vLLM {rows[0]['environment']['vllm']}.\n\n{differing} of {requests:,} requests differ "
        f"in their cached tokens ({len(work)} workloads, {operations:,} operations, {preempted:,} preemptions)."
    )


def equality_targets(rows: Rows) -> Iterator[Target]:
    differing, requests = (sum(row[key] for row in rows[1:]) for key in ("unequal_requests", "requests"))
    what = "Cache model beside vLLM 0.32's own manager: requests whose cached tokens differ"
    yield none_of(what, "0 of at least 2,000", differing, requests)


def simulator(rows: Rows) -> str:
    lines = [(*key, f"{value:.3f}") for key, value in _worst(rows).items()]
    return table(("trace", "policy", "largest difference in points"), lines)


def simulator_targets(rows: Rows) -> Iterator[Target]:
    what = "Cache model beside kvcache-simulator, LRU and Belady: difference in hit rate"
    yield at_most(what, 1, {", ".join(key): (value,) for key, value in _worst(rows).items()}, POINTS)


def _worst(rows: Rows) -> dict[tuple[str, str], float]:
    worst: dict[tuple[str, str], float] = {}
    for row in rows[1:]:
        key = (row["trace"].partition(".")[0], row["policy"])
        worst[key] = max(worst.get(key, 0.0), row["largest_difference_points"])
    return worst


def cache_speed(rows: Rows) -> str:
    first = table(
        ("block size", "times faster than vLLM's manager", "a sweep of 32 capacities, times faster than 32 runs"),
        [
            (size, spread([row["times_faster_than_vllm"] for row in group], digits=1),
             spread([row["times_faster_than_32_runs"] for row in group], digits=1))
            for size, group in _beside_vllm(rows).items()
        ],
    )  # fmt: skip
    curves = table(
        ("requests", "blocks", "ns a block", "peak GiB"),
        [
            (
                f"{row['requests']:,}",
                f"{row['blocks']:,}",
                f"{row['ns_per_block']:.0f}",
                f"{row['peak_memory_gib']:.2f}",
            )
            for row in rows[1:]
            if "ns_per_block" in row
        ],
    )
    return f"{first}\n\nThe LRU curve of all capacities at once:\n\n{curves}"


def cache_speed_targets(rows: Rows) -> Iterator[Target]:
    for what, least, key in (
        ("Cache model: times faster than vLLM's own manager", 3, "times_faster_than_vllm"),
        ("Cache model: a sweep of 32 capacities, times faster than 32 runs", 20, "times_faster_than_32_runs"),
    ):
        found = {f"blocks of {size}": [row[key] for row in group] for size, group in _beside_vllm(rows).items()}
        yield at_least(what, least, found, TIMES)


def _beside_vllm(rows: Rows) -> dict[int, Rows]:
    beside: dict[int, Rows] = {}
    for row in rows[1:]:
        if "times_faster_than_vllm" in row:
            beside.setdefault(row["block_size"], []).append(row)
    return beside


def million(rows: Rows) -> str:
    lines = [
        (" ".join(row["options"]), f"{row['processor_s']:.0f}", f"{row['wall_s']:.0f}", f"{row['peak_memory_gib']:.1f}",
         percent(row["result"]["hit_rate"]))
        for row in rows[1:]
    ]  # fmt: skip
    return table(("options", "processor seconds", "wall seconds", "peak GiB", "hit rate"), lines)


SECTIONS = (
    Section(
        "The cache model beside vLLM's manager",
        "make bench-cache",
        ("cache/vllm_equality.jsonl",),
        "equal cached tokens, request by request, on 2,000 requests under pressure.",
        equality,
        "Reached; the peer is vLLM's own `KVCacheManager`, without a model.",
        equality_targets,
    ),
    Section(
        "The cache model beside kvcache-simulator",
        "make bench-cache",
        ("cache/kvcache_simulator.jsonl",),
        "LRU and Belady within 1 point.",
        simulator,
        "The cause of what is left was not looked into.",
        simulator_targets,
    ),
    Section(
        "Speed of the cache model",
        "make bench-cache CACHE_TRACE=...",
        ("cache/speed.jsonl",),
        "faster than vLLM's own manager; a sweep far below as many single runs; linear.",
        cache_speed,
        "Both sides are Python in one interpreter; hashing is in both.",
        cache_speed_targets,
    ),
    Section(
        "A million requests",
        "python benchmarks/cache/million.py --trace ...",
        ("cache/million.jsonl",),
        "the whole command, in minutes and a few GiB.",
        million,
        "Reading the JSON is in the times; other work ran on the two cores.",
    ),
)
