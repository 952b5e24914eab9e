"""The sections on caches, engines and runs."""

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


def prediction(rows: Rows) -> str:
    groups: dict[tuple[str, str], Rows] = {}
    for row in rows:
        if row.get("hit_rate") is not None and row.get("predicted_hit_rate") is not None:
            groups.setdefault((row["target"], row["mode"]), []).append(row)
    lines = []
    for (target, mode), group in groups.items():
        gaps = [100 * abs(row["predicted_hit_rate"] - row["hit_rate"]) for row in group]
        within = sum(gap <= (2 if row["outputs_feed_prompts"] else 1) for gap, row in zip(gaps, group, strict=True))
        own = [
            100 * abs(row["recorded_hit_rate"] - row["hit_rate"])
            for row in group
            if row.get("recorded_hit_rate") is not None
        ]
        lines.append((target, mode, len(group), f"{within} of {len(group)}", spread(gaps), spread(own) if own else ""))
    head = ("engine", "mode", "runs", "within the target", "points off, median (least to most)")
    text = table((*head, "with the run's own outputs"), lines)
    return f"{text}\n\nRun by run: [predicted and measured](docs/predicted-and-measured.md)."


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
    return f"{conditions(rows[0])}.\n\n{table(head, lines)}"


def memo(quiet: Rows, loaded: Rows) -> str:
    lines = [
        (
            name,
            row["run"],
            row["calls"],
            row["memoized_calls"],
            f"{row['wall_s']:.2f}",
            f"{rows[0]['wall_s'] / row['wall_s']:.1f}",
        )
        for name, rows in (("load 4 to 8", quiet), ("under more load", loaded))
        for row in rows
    ]
    return table(("machine", "run", "calls at the engine", "from the store", "wall seconds", "times faster"), lines)


def engine_counts(plain: Rows, retained: Rows) -> str:
    lines = []
    for found in (plain[-1]["summary"], retained[-1]["summary"]):
        cached = f"{found['cached_tokens']:,} of {found['prompt_tokens']:,}"
        evicted = f"{found['evicted_blocks']:,}"
        lines.append((found["kind"], f"{found['requests']:,}", found["differing"], cached, evicted))
    return table(("requests", "how many", "differ from the model", "prompt tokens cached", "blocks evicted"), lines)


def retained(rows: Rows) -> str:
    lines = []
    for row in rows[1:]:
        kept = "for ever" if row["duration_ms"] is None else f"{row['duration_ms'] / 1000:g} s"
        again = f"{row['decoded_again']} of {row['prefix_tokens']}"
        lines.append((row["priority"], kept, f"{row['flood_after_s']:g}", again))
    return table(("priority", "kept", "flood after seconds", "tokens computed again"), lines)


def concurrent(rows: Rows) -> str:
    lines = [
        (
            row["by"],
            row["count"],
            f"{min(row['cached_of_prefix']):.1%}",
            f"{row['warm_up_s']:.0f}",
            f"{row['seconds']:.1f}",
        )
        for row in rows[1:]
    ]
    return f"{conditions(rows[0])}.\n\n" + table(
        ("by", "requests at once", "least reuse of the prefix", "seconds to warm", "seconds for all"), lines
    )


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
    return f"{conditions(rows[0])}.\n\n{ended}; left over: {left}."


def flips(rows: Rows) -> str:
    pairs = rows[1:]
    other = sum(row["first_difference"] is not None for row in pairs)
    return f"{conditions(rows[0])}.\n\n{other} of {len(pairs)} greedy outputs differ ({other / len(pairs):.0%})."


def soak(rows: Rows) -> str:
    lines = [
        (row["test"], "passed" if row["passed"] else "failed",
         ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in row.items() if key not in ("test", "passed")))
        for row in rows[1:]
    ]  # fmt: skip
    return f"{conditions(rows[0])}.\n\n{table(('test', 'result', 'figures'), lines)}"


def scheduling(rows: Rows) -> str:
    lines = [
        (
            row["shape"],
            f"{row['waiting']:,}",
            f"{row['cpu_us_a_call']['mean']:.0f}",
            f"{row['cpu_us_a_call']['p99']:.0f}",
        )
        for row in rows
    ]
    return table(("prompts", "calls that wait", "processor microseconds a call, mean", "99th percentile"), lines)


def deployment(rows: Rows) -> str:
    lines = [
        (
            row["benchmark"],
            row["mode"],
            percent(row["hit_rate"]),
            f"{row['s_per_item']:.1f}",
            f"{row['ttft_p50_s']:.1f}",
        )
        for row in rows
        if row.get("hit_rate") is not None and row.get("s_per_item") is not None
    ]
    return table(("benchmark", "mode", "hit rate", "seconds an item", "median seconds to first token"), lines)


SECTIONS = (
    Section(
        "Predicted against measured",
        "make bench-prediction",
        ("prediction/results.jsonl",),
        "within 1 point of the measured hit rate; within 2 where outputs feed prompts.",
        prediction,
        "What misses are agents whose prompts depend on what the model says (how long, how many turns): the last "
        "column predicts again with the outputs that the run had.",
    ),
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
    Section(
        "What hints are worth",
        "make bench-hints",
        ("hints/worth.jsonl",),
        "more than without hints at three capacities, for four shapes of agents; Belady bounds it.",
        hints,
        "No clock is involved: the figures are the same on any machine. Hints know the agent, Belady the whole future.",
    ),
    Section(
        "A run again with 5% changed",
        "make bench-memo",
        ("memo/incremental.jsonl", "memo/incremental_under_load.jsonl"),
        "at least 15 times faster, and exactly the changed items' calls.",
        memo,
        "The number of calls alone explains 20 times; the rest is load that changed between the runs.",
    ),
    Section(
        "The embedded engine beside its model",
        "make bench-engine",
        ("engine/counted.jsonl", "engine/counted_retained.jsonl"),
        "the tokens that reach llama.cpp are those that the model predicts, request by request.",
        engine_counts,
        "Reached for what was run; a thousand requests with retention were not.",
    ),
    Section(
        "Retention",
        "make bench-engine",
        ("engine/retained.jsonl",),
        "a prefix of high priority survives a flood, and its time ends that.",
        retained,
        "As TensorRT-LLM documents it; the last token of a prompt is always computed.",
    ),
    Section(
        "One warm prefix, many requests",
        "make bench-engine",
        ("engine/concurrent_prefix.jsonl",),
        "the whole prefix is reused by each, sooner than llama.cpp's own server.",
        concurrent,
        "llama.cpp's server shares nothing between slots that run at once. One round, under load: read the ratio only.",
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
        "Ended by the clock before 20,000, on a loaded machine.",
    ),
    Section(
        "Warm against cold outputs",
        "make bench-flips",
        ("determinism/flips.jsonl",),
        "how often greedy outputs differ is measured and shown; none in the reproducible mode.",
        flips,
        "Floating-point sums depend on how a prefill is cut. The reproducible mode is tested in `tests/engine`.",
    ),
    Section(
        "Scheduling while many calls wait",
        "make bench-runtime",
        ("runtime/scheduler.jsonl",),
        "under 1 ms a call with 10,000 waiting.",
        scheduling,
        "The mean stays below the target, the 99th percentile does not always; processor time is compared, since other "
        "work ran on the two cores.",
    ),
    Section(
        "The deployment's benchmarks, on the embedded server",
        "make bench-deployment",
        ("deployment/embedded/rows.jsonl",),
        "the script for a GPU instance runs from start to end where there is none.",
        deployment,
        "One iteration of two items on a loaded machine: it shows that the script works, not what a GPU would do.",
    ),
    Section(
        "Soak",
        "make soak",
        ("soak/results.jsonl",),
        "nothing is left of many requests, starts and stops.",
        soak,
        "Reached.",
    ),
)
