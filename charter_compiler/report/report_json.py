"""The report for programs: what the page shows, as one JSON object."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from charter_compiler.report.model import ReportData
from charter_compiler.report.savings import savings

VERSION = 1


def report_json(data: ReportData) -> dict[str, Any]:
    """Rates from 0 to 1, times in seconds, costs in the currency of the prices, ``null`` for what is not known. Calls
    and shared prefixes are in ``charter inspect --format json`` and in ``plan.json``."""
    return {
        "version": VERSION,
        "title": data.title,
        "entry": data.entry,
        "target": data.target,
        "model": data.model,
        "environment": dict(data.environment),
        "block_size": data.block_size,
        "capacity_blocks": data.capacity_blocks,
        "runs": [asdict(run) | {"computed_tokens": run.computed_tokens} for run in data.runs],
        "savings": [
            {"what": line.label, "values": list(line.values), "saved": line.saved, "from": line.why}
            for line in savings(data.runs, data.pricing)
        ],
        "passes": [asdict(saving) for saving in data.passes],
        "tokens_by_site": [asdict(site) | {"wasted": site.wasted} for site in data.misses],
        "prompts": [asdict(view) for view in data.views],
        "call_sites": [
            asdict(site) | {"hit_rate": site.hit_rate, "measured": None if site.simulated else site.hit_rate}
            for site in data.sites
        ],
        "endpoints": [asdict(each) | {"tokens": each.tokens} for each in data.endpoints],
        "imbalance": data.imbalance,
        "capacities": [asdict(point) for point in data.curve],
        "timelines": [asdict(timeline) for timeline in data.timelines],
        "differences": [asdict(difference) for difference in data.differences],
        "notes": list(data.notes),
    }
