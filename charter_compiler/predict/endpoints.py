"""The prediction of a run on several endpoints: each has its own cache, and sees the items that are placed there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from charter_compiler.plan.placement import Placed, group_of, place
from charter_compiler.predict.control_flow import ItemTrace
from charter_compiler.predict.prediction import EndpointPrediction, Prediction, SitePrediction


def share_out(
    traces: Sequence[ItemTrace],
    endpoints: Iterable[str],
    group_by: Sequence[str],
    weigh: Callable[[Mapping[str, Any]], float],
) -> dict[str, list[ItemTrace]]:
    """The items of each endpoint, placed by prefix as a run places those that it reads ahead, while all endpoints
    answer and keep pace."""
    names = list(endpoints)
    items = [Placed(trace.item, group_of(trace.values, group_by), weigh(trace.values)) for trace in traces]
    homes = place(items, dict.fromkeys(names, 0.0))
    return {name: [trace for trace in traces if homes[trace.item] == name] for name in names}


def together(found: Mapping[str, Prediction]) -> Prediction:
    """The prediction of the whole run from those of its endpoints; with a problem where one has a problem."""
    each = list(found.values())
    items = sum(one.items for one in each)
    problem = next((one.problem for one in each if one.problem), None)
    if problem is not None:
        return Prediction(items, problem=problem)
    prompt = sum(one.prompt_tokens or 0 for one in each)
    cached = sum(one.cached_tokens or 0 for one in each)
    attainable = sum((one.attainable_hit_rate or 0.0) * (one.prompt_tokens or 0) for one in each)
    return Prediction(
        items,
        calls=sum(one.calls or 0 for one in each),
        prompt_tokens=prompt,
        cached_tokens=cached,
        hit_rate=cached / prompt if prompt else None,
        attainable_hit_rate=attainable / prompt if prompt else None,
        sites=_sites(site for one in each for site in one.sites),
        refused=next((one.refused for one in each if one.refused), None),
        explained=tuple(call for one in each for call in one.explained),
        views=tuple(view for one in each for view in one.views),
        seconds=max((one.seconds for one in each if one.seconds is not None), default=None),
        endpoints=tuple(
            EndpointPrediction(name, one.items, one.prompt_tokens or 0, one.cached_tokens or 0)
            for name, one in found.items()
        ),
    )


def _sites(sites: Iterable[SitePrediction]) -> tuple[SitePrediction, ...]:
    sums: dict[str, SitePrediction] = {}
    for site in sites:
        before = sums.get(site.site, SitePrediction(site.site, 0, 0, 0))
        sums[site.site] = SitePrediction(
            site.site,
            before.calls + site.calls,
            before.prompt_tokens + site.prompt_tokens,
            before.cached_tokens + site.cached_tokens,
        )
    return tuple(sums[name] for name in sorted(sums))
