"""A prediction's details on the terminal: seconds, sizes, and why tokens are computed."""

from __future__ import annotations

from rich.console import Console

from charter_compiler.analysis.gpu_memory import PRICE_CLAIM
from charter_compiler.analysis.sizing import KEPT
from charter_compiler.api.details import Details, Seconds, Sizing
from charter_compiler.predict.explain import CallExplanation, Difference, SiteExplanation

SHOWN_CAUSES = 3
SHOWN_CALLS = 10


def print_details(console: Console, details: Details, *, explain: bool) -> None:
    """Seconds and sizes where they were predicted; the reasons of misses if asked for."""
    lines = []
    if details.seconds is not None:
        lines.append(seconds_line(details.seconds))
    if details.sizing is not None:
        lines += sizing_lines(details.sizing)
    if explain:
        lines.append("why prompt tokens of the planned run are computed, by call site:")
        for site in details.sites:
            lines += site_lines(site)
        lines += call_lines(details.calls)
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def seconds_line(seconds: Seconds) -> str:
    """The wall times and how far off the calibration was."""
    calibration = seconds.calibration
    return (
        f"predicted wall time: {seconds.as_written:.1f} s as written, {seconds.planned:.1f} s planned "
        f"(calibrated {calibration.date}; its own check was off by {calibration.check.error:+.0%})"
    )


def sizing_lines(sizing: Sizing) -> list[str]:
    """The searches' results in words."""
    workload = sizing.workload
    size, capacity = workload.tokens_per_block, workload.capacity
    shared = workload.blocks.with_sharing / max(workload.blocks.without_sharing, 1)
    lines = [
        f"cache, in blocks of {size} tokens: {workload.blocks.without_sharing:,} without sharing, "
        f"{workload.blocks.with_sharing:,} with it ({shared:.0%})"
    ]
    rate = f"{KEPT:.0%} of the attainable {workload.attainable_hit_rate:.1%}"
    if capacity.blocks is None:
        lines.append(f"  no capacity keeps {rate}: calls that are in flight together cannot share, whatever its size")
    else:
        lines.append(f"  {capacity.blocks:,} blocks keep {rate}, the fewest found")
    if workload.block_size is not None:
        tried = ", ".join(f"{point.size}: {point.hit_rate:.1%}" for point in workload.block_size.tried)
        lines.append(f"  best tokens_per_block: {workload.block_size.tokens_per_block} (hit rates {tried})")
    if sizing.kv_bytes_per_token is not None:
        each = f"  {sizing.kv_bytes_per_token:,} bytes a token in {sizing.kv_dtype}"
        total = "" if capacity.blocks is None else f": {_size(capacity.blocks * size * sizing.kv_bytes_per_token)}"
        lines.append(each + total)
    if sizing.memory is not None:
        memory = sizing.memory
        lines.append(
            f"  {memory.gpus} x {memory.gpu.name}: weights {_size(memory.weight_bytes)}, KV {_size(memory.kv_bytes)} "
            f"of room for {memory.room_blocks:,} blocks; ${memory.usd_per_hour:.2f} an hour ({PRICE_CLAIM})"
        )
    return lines


def site_lines(site: SiteExplanation) -> list[str]:
    """Where the prompt tokens of a call site go, and what puts the first differing one into its prompts, the costliest
    cause first."""
    rate = f"{site.cached / site.prompt:.1%}" if site.prompt else "none"
    lines = [
        f"{site.site}: {site.calls} calls, {site.prompt:,} prompt tokens: {site.cached:,} cached ({rate}), "
        f"{site.new:,} new, {site.rounding:,} rounding, {site.in_flight:,} in flight, {site.evicted:,} evicted"
    ]
    lines += [f"  {tokens:,} new of {calls} calls: {what}" for what, calls, tokens in site.causes[:SHOWN_CAUSES]]
    left = len(site.causes) - SHOWN_CAUSES
    return [*lines, f"  and {left} more causes"] if left > 0 else lines


def call_lines(calls: tuple[CallExplanation, ...]) -> list[str]:
    """The first calls one by one; all of them are in ``details.json``."""
    differing = [(call, call.difference) for call in calls if call.difference is not None and call.difference.token]
    lines = [call_line(call, difference) for call, difference in differing[:SHOWN_CALLS]]
    left = len(differing) - SHOWN_CALLS
    return [*lines, f"and {left} more calls, in details.json"] if left > 0 else lines


def call_line(call: CallExplanation, difference: Difference) -> str:
    """One call: the token, both texts, and whose prompt it is compared with."""
    other = "" if difference.with_site is None else f", {difference.with_site}"
    item = "the warm-up" if difference.with_item is None else f"item {difference.with_item}{other}"
    return (
        f"item {call.item}, {call.site}: {call.cached:,} of {call.prompt:,} tokens cached; token {difference.token} is "
        f"{difference.text!r}, not {difference.other!r} as in {item}: {difference.origin}"
    )


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
