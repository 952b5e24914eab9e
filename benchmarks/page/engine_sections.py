"""The sections on the embedded engine and on runs."""

from __future__ import annotations

from page_parts import Rows, Section, conditions, percent, spread, table


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
    return f"{conditions(rows[0])}.\n\n{table(head, lines)}"


def throughput(rows: Rows) -> str:
    lines = [
        (
            found["count"],
            f"{found['foreign']:,}",
            f"{found['by_processor_time']:.2f}",
            f"{found['share_of_servers_throughput']:.2f}",
            f"{found['outside_llama_decode']:.1%}",
        )
        for found in (row["summary"] for row in rows if "summary" in row)
    ]
    head = (
        "requests at once",
        "foreign cells",
        "of the server's throughput, by processor time",
        "by wall time",
        "of a step outside llama_decode",
    )
    return f"{conditions(rows[0])}.\n\n{table(head, lines)}"


def reproducible(rows: Rows) -> str:
    found = rows[-1]["summary"]
    lines = [
        (f"{name}, from reproducible, cold", f"{count} of {found['prompts']}")
        for name, count in found["differing_from_reproducible_cold"].items()
    ]
    normal = f"{found['normal_warm_differs_from_normal_cold']} of {found['prompts']}"
    lines.append(("normal, warm, from normal, cold", normal))
    return f"{conditions(rows[0])}.\n\n{table(('outputs', 'differ'), lines)}"


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
    return f"{conditions(rows[0])}.\n\n{ended}; left over: {left}. {grown}."


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


def run_time(rows: Rows) -> str:
    lines = []
    for row in rows:
        memory = [sample["rss_mb"] for sample in row["samples"]]
        lines.append(
            (
                f"{row['items']:,}",
                row["failed"],
                f"{row['calls_per_s']:,}",
                f"{row['cpu_us_a_call']:,}",
                spread(memory, "", 1),
            )
        )
    head = (
        "items",
        "failed",
        "calls a second",
        "processor microseconds a call",
        "MB along the way, median (least to most)",
    )
    return table(head, lines)


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
        "Reached, with retention and partial reuse too.",
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
        "llama.cpp's server shares nothing between slots that run at once; where every slot was warmed it has computed "
        "the prefix once a slot before, and then five times sooner is out of reach: it computes no more than this "
        "engine. One round each; the four under load, so that of these only the processor time says something.",
    ),
    Section(
        "Throughput without sharing",
        "make bench-engine",
        ("engine/throughput.jsonl",),
        "at least 0.9 of llama.cpp's own server up to 2,048 foreign cells; bookkeeping under 5% of a step.",
        throughput,
        "Reached up to 2,048 foreign cells. Beyond, the engine falls to 0.72 to 0.80: attention looks at every cell of "
        "the one unified cache, and the server has no cells of others. Sixteen at once with 2,048 cells were not "
        "reached in the time; by processor time, on a busy machine, they gave 0.95 "
        "([engine/throughput_under_load.jsonl](benchmarks/engine/throughput_under_load.jsonl)).",
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
        "Reached, mean and 99th percentile; processor time is compared, since other work ran on the two cores.",
    ),
    Section(
        "A hundred thousand items on the simulated target",
        "make bench-runtime",
        ("runtime/throughput.jsonl",),
        "flat memory, and more than 2,000 calls a second.",
        run_time,
        "Calls a second fall short: other work ran on the two cores (load 13 to 24 in the first row; the second, at "
        "the highest priority, is of the code after the cost of a call was lowered), but the processor time of a call "
        "alone bounds one core to fewer than the target, too.",
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
