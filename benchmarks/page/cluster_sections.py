"""The sections on one run over several servers, over a Ray cluster, and on the plan of replicas."""

from __future__ import annotations

from collections.abc import Iterator

from page_parts import Row, Rows, Section, percent, table
from page_targets import POINTS, SHARE, TIMES, Target, all_of, at_least, at_most, none_of


def endpoints(measured: Rows, simulated: Rows) -> str:
    """One line a run; servers that compute, and the engine's model in their place."""
    lines = [_line("servers", row) for row in measured] + [_line("model", row) for row in simulated]
    head = (
        "run", "on", "hit rate", "predicted", "attainable", "largest load above the mean", "items", "failed",
        "calls answered twice",
    )  # fmt: skip
    return table(head, lines)


def _line(on: str, row: Row) -> tuple[object, ...]:
    predicted = "" if row["predicted"] is None else percent(row["predicted"])
    above = "" if row["imbalance"] is None else percent(row["imbalance"])
    return (
        row["run"], on, percent(row["measured"]), predicted, percent(row["attainable"]), above, row["items"],
        row["failed"], row["answered_twice"],
    )  # fmt: skip


def endpoint_targets(measured: Rows, simulated: Rows) -> Iterator[Target]:
    """Of the servers that compute."""
    runs = {row["run"]: row for row in measured}
    one, four, in_turn = runs["one server"], runs["four servers, by prefix"], runs["four servers, calls in turn"]
    apart = 100 * abs(four["measured"] - one["measured"])
    yield at_most("Four servers: hit rate off that of one with the same capacity", 2, {"": (apart,)}, POINTS)
    yield at_most("Four servers: largest load above the mean", 0.15, {"": (four["imbalance"],)}, SHARE)
    better = four["measured"] / in_turn["measured"]
    yield at_least("Four servers: hit rate, calls in turn = 1", 1.3, {"": (better,)}, TIMES)
    whole = ("one server", "two servers, by prefix", "four servers, by prefix")
    off = {name: (100 * abs(runs[name]["predicted"] - runs[name]["measured"]),) for name in whole}
    yield at_most("One, two and four servers: predicted off the measured hit rate", 2, off, POINTS)
    killed = runs["four servers, one killed and brought back"]
    lost = killed["failed"] + killed["answered_twice"]
    what = "Four servers, one killed and brought back: items lost or calls answered twice"
    yield none_of(what, "0", lost, killed["items"])


def ray_runs(measured: Rows) -> str:
    """One line a run."""
    head = (
        "items", "nodes", "nodes lost", "driver, MB: at the first item, at most, at the last", "rows in and out, MB",
        "calls answered twice", "missing", "rows in order",
    )  # fmt: skip
    return table(head, [_ray_line(row) for row in measured])


def _ray_line(row: Row) -> tuple[object, ...]:
    memory = [sample["driver_mb"] for sample in row["samples"]]
    return (
        row["items"], row["nodes"], row["nodes_lost"], f"{memory[0]}, {max(memory)}, {memory[-1]}",
        row["rows_in_and_out_mb"], row["answered_twice"], row["missing"], "yes" if row["rows_in_order"] else "no",
    )  # fmt: skip


def ray_targets(rows: Rows) -> Iterator[Target]:
    what = "Items on a Ray cluster of several nodes: calls missing or answered twice"
    wrong = sum(row["missing"] + row["answered_twice"] for row in rows)
    yield none_of(what, "0 of 100,000", wrong, sum(row["items"] for row in rows))


def replicas(rows: Rows) -> str:
    planned = next(row for row in rows if row.get("benchmark") == "plan")
    text = (
        f"{planned['items']:,} items of five calls ({planned['inputs_mb']:,} MB), 64 replicas: "
        f"{planned['processor_s'] / 60:.1f} minutes of processor time ({planned['wall_s'] / 60:.1f} by the clock), "
        f"peak {planned['peak_mib']:,} MiB; {planned['simulated_items']:,} items simulated."
    )
    lines = [
        (
            row["replicas"],
            percent(row["hit_rate"]["planned"]),
            percent(row["hit_rate"]["whole"]),
            f"{row['seconds']['planned']:,.0f}",
            f"{row['seconds']['whole']:,.0f}",
            f"{row['seconds']['planned'] / row['seconds']['whole'] - 1:+.1%}",
            f"±{row['standard_error']:.1%}",
        )
        for row in rows
        if row.get("benchmark") == "check"
    ]
    head = ("replicas", "hit rate, sampled", "whole", "seconds, sampled", "whole", "difference", "stated error")
    return f"{text}\n\n{table(head, lines)}"


def replica_targets(rows: Rows) -> Iterator[Target]:
    checks = [row for row in rows if row.get("benchmark") == "check"]
    good = [abs(row["seconds"]["planned"] / row["seconds"]["whole"] - 1) <= row["standard_error"] for row in checks]
    what = "Plan of replicas: seconds of sampled stretches beside whole replicas"
    yield all_of(what, "within the stated error", good, " checks")


SECTIONS = (
    Section(
        "One run on several servers",
        "make bench-endpoints",
        ("endpoints/results.jsonl", "endpoints/simulated.jsonl"),
        "four servers within 2 points of one with the same capacity, loads within 15%, at least 1.3 times the hit rate "
        "of calls in turn, predicted within 2 points, nothing lost with a server that is killed and comes back.",
        endpoints,
        "Reached. Items that share a document meet at one server. While one server is away the others have its items, "
        "so that the loads of that run differ more.",
        endpoint_targets,
    ),
    Section(
        "Many items on a Ray cluster",
        "make bench-ray",
        ("ray/results.jsonl",),
        "100,000 items on the simulated target with bounded memory of the driver, nothing lost or repeated.",
        ray_runs,
        "Reached on three nodes of one machine. The driver keeps 24 bytes an item; rows that come early wait on the "
        "disk.",
        ray_targets,
    ),
    Section(
        "The plan of replicas",
        "make bench-replicas",
        ("replicas/results.jsonl",),
        "a million items of five calls in minutes within 24 GiB; sampled stretches within their stated error of whole "
        "replicas",
        replicas,
        "Every row is read and placed, a few thousand items are simulated. Both sides of the check are the model: it "
        "shows what sampling loses, not how good the model is. The seconds of 2 replicas are further off than their "
        "stated error: that knows only the stretches of the replica with the most tokens, while the run ends with the "
        "one that reuses least of its own.",
        replica_targets,
    ),
)
