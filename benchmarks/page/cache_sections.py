"""The sections on the model of the cache."""

from __future__ import annotations

from page_parts import Rows, Section, conditions, percent, spread, table


def equality(rows: Rows) -> str:
    work = rows[1:]
    differing = sum(row["unequal_requests"] for row in work)
    requests, operations = (sum(row[key] for row in work) for key in ("requests", "operations"))
    preempted = sum(row["preemptions"] for row in work)
    return (
        f"{conditions(rows[0])}; vLLM {rows[0]['environment']['vllm']}.\n\n{differing} of {requests:,} requests differ "
        f"in their cached tokens ({len(work)} workloads, {operations:,} operations, {preempted:,} preemptions)."
    )


def simulator(rows: Rows) -> str:
    worst: dict[tuple[str, str], float] = {}
    for row in rows[1:]:
        key = (row["trace"].partition(".")[0], row["policy"])
        worst[key] = max(worst.get(key, 0.0), row["largest_difference_points"])
    return table(
        ("trace", "policy", "largest difference in points"), [(*key, f"{value:.3f}") for key, value in worst.items()]
    )


def cache_speed(rows: Rows) -> str:
    beside: dict[int, Rows] = {}
    for row in rows[1:]:
        if "times_faster_than_vllm" in row:
            beside.setdefault(row["block_size"], []).append(row)
    first = table(
        ("block size", "times faster than vLLM's manager", "a sweep of 32 capacities, times faster than 32 runs"),
        [
            (size, spread([row["times_faster_than_vllm"] for row in group], digits=1),
             spread([row["times_faster_than_32_runs"] for row in group], digits=1))
            for size, group in beside.items()
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
    return f"{conditions(rows[0])}.\n\n{first}\n\nThe LRU curve of all capacities at once:\n\n{curves}"


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
    ),
    Section(
        "The cache model beside kvcache-simulator",
        "make bench-cache",
        ("cache/kvcache_simulator.jsonl",),
        "LRU and Belady within 1 point.",
        simulator,
        "The cause of what is left was not looked into.",
    ),
    Section(
        "Speed of the cache model",
        "make bench-cache CACHE_TRACE=...",
        ("cache/speed.jsonl",),
        "faster than vLLM's own manager; a sweep far below as many single runs; linear.",
        cache_speed,
        "Both sides are Python in one interpreter; hashing is in both.",
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
