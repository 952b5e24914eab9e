"""Acceptance tests of a deployment: does it answer, and does its cache do what the plan counts on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from charter_compiler.api.config_check import check_config
from charter_compiler.api.environment import describe_environment
from charter_compiler.api.run_report import RunReport
from charter_compiler.deploy.connect import Server, connect, monitored
from charter_compiler.deploy.prepopulation import Prepopulated, prepopulate
from charter_compiler.deploy.results import CaseResult, Check, Figure, SuiteResult
from charter_compiler.deploy.reuse import recorded_block_rate
from charter_compiler.deploy.settings import AgentCase, CaseThresholds, Settings
from charter_compiler.deploy.workload import COMPANIES, DOCUMENTS, Example, How, run_example
from charter_compiler.diagnostics.errors import CharterError, UsageError
from charter_compiler.executor.scheduler.mode import Mode

HEALTH = "health"
CASES = (HEALTH, "sequential_chain", "delta_matching", "prepopulation")
ON_CPU = "times are judged on a GPU alone"
Measured = tuple[tuple[Check, ...], Mapping[str, Figure]]
Observer = Callable[[CaseResult], None]


def run_suite(
    settings: Settings, folder: Path, only: tuple[str, ...] = (), observer: Observer = lambda case: None
) -> SuiteResult:
    """Run the cases; files of the runs go to ``folder``. A case that cannot be carried out is an error of that case;
    without a healthy server the others are skipped, and say so.

    Args:
        only: names of ``CASES``; all that the settings enable if empty. Health always runs.

    Raises:
        UsageError: ``only`` names no case.
    """
    unknown = [name for name in only if name not in CASES]
    if unknown:
        raise UsageError(f"there is no case {unknown[0]!r}", remedy=f"one of {', '.join(CASES)}")
    started = datetime.now(UTC).isoformat(timespec="seconds")
    server: Server | None = None

    def first() -> Measured:
        nonlocal server
        server = connect(settings)
        return check_health(server)

    results = [_carry_out(HEALTH, first)]
    observer(results[0])
    enabled = [name for name in CASES[1:] if (name in only if only else getattr(settings.tests, name).enabled)]
    for name in enabled:
        if server is None:
            results.append(CaseResult(name, 0.0, problem="the server is not healthy", skipped=True))
        else:
            results.append(_monitored_case(name, settings, server, folder / name))
        observer(results[-1])
    return SuiteResult(
        target=settings.connection.url if server is None else server.target,
        server="none" if server is None else f"{server.kind}, {server.facts.model}, Triton {server.version}",
        started=started,
        cases=tuple(results),
        environment=describe_environment(),
    )


def _carry_out(name: str, case: Callable[[], Measured]) -> CaseResult:
    begun = time.perf_counter()
    try:
        checks, figures = case()
    except CharterError as error:
        return CaseResult(name, time.perf_counter() - begun, problem=str(error))
    return CaseResult(name, time.perf_counter() - begun, checks, figures)


def _monitored_case(name: str, settings: Settings, server: Server, folder: Path) -> CaseResult:
    thresholds: CaseThresholds = getattr(settings.thresholds, name)

    def case() -> Measured:
        if name == "prepopulation":
            return judge_prepopulation(prepopulate(server, settings.tests.prepopulation), thresholds, server)
        example, asked = {
            "sequential_chain": (DOCUMENTS, settings.tests.sequential_chain),
            "delta_matching": (COMPANIES, settings.tests.delta_matching),
        }[name]
        return judge_run(_run(server, example, asked, folder), thresholds, server)

    before = monitored(server, settings.monitoring.metrics)
    result = _carry_out(name, case)
    after = monitored(server, settings.monitoring.metrics)
    changed = {key: value - before.get(key, 0.0) for key, value in after.items()}
    return CaseResult(name, result.seconds, result.checks, result.figures, changed, result.problem)


def _run(server: Server, example: Example, case: AgentCase, folder: Path) -> RunReport:
    return run_example(server, example, case, How(Mode.OPTIMIZED, layout=True), folder)


def check_health(server: Server) -> Measured:
    """It is ready (``connect`` has seen that); its metrics can be read, and its configuration lets it reuse KV blocks.

    Raises:
        TargetError: the server stopped answering.
    """
    checks = [Check("model ready", server.model, "one of the repository's", True)]
    metrics_url, http_url = server.connection.metrics_url, server.connection.http_url
    if metrics_url is None:
        checks.append(Check("metrics", None, "readable", None, "no metrics_url"))
    else:
        with server.client() as client:
            samples = len(client.get_metrics())
        checks.append(Check("metrics", samples, "some samples", samples > 0))
    figures: dict[str, Figure] = {"server": server.kind, "tokens_per_block": server.facts.tokens_per_block}
    if http_url is None:
        checks.append(Check("configuration", None, "lets KV blocks be reused", None, "no http_url"))
    else:
        served, problems = check_config(http_url, None)
        said = "; ".join(problem.message for problem in problems) or "no problem"
        checks.append(Check("configuration", said, "no problem", not problems))
        figures |= {"kv_reuse": served[0].reuse, "cache_tokens": served[0].capacity_tokens}
    return tuple(checks), figures


def judge_run(report: RunReport, thresholds: CaseThresholds, server: Server) -> Measured:
    """The figures of a run against the thresholds."""
    metrics = report.metrics
    attainable = metrics.attainable_hit_rate
    by_blocks = metrics.prompt_tokens is None
    hit_rate = metrics.hit_rate
    if by_blocks and report.recording is not None:
        hit_rate = recorded_block_rate(report.recording)
    share = None if metrics.hit_rate is None or not attainable else metrics.hit_rate / attainable
    needs = "the server reports no prompt tokens" if by_blocks else "needs a tokenizer"
    first = "" if report.first_error is None else f"{report.first_error[1].type}: {report.first_error[1].message}"
    checks = [
        Check("items that failed", metrics.failed, "0", metrics.failed == 0, first),
        _at_least(f"{_unit(by_blocks)} hit rate", hit_rate, thresholds.min_hit_rate),
        _at_least("measured / attainable", share, thresholds.min_share_of_attainable, needs=needs),
        *_times(server, metrics.ttft_s.p95, metrics.latency_s.p95, thresholds),
    ]
    figures: dict[str, Figure] = {
        "items": metrics.items,
        "calls": metrics.calls,
        "prompt_tokens": metrics.prompt_tokens,
        "cached_tokens": metrics.cached_tokens,
        "output_tokens": metrics.output_tokens,
        "hit_rate": hit_rate,
        "unit": f"{_unit(by_blocks)}s",
        "attainable_hit_rate": attainable,
        "predicted_hit_rate": metrics.predicted_hit_rate,
        "ttft_p50_s": metrics.ttft_s.p50,
        "ttft_p95_s": metrics.ttft_s.p95,
        "latency_p50_s": metrics.latency_s.p50,
        "latency_p95_s": metrics.latency_s.p95,
        "wall_s": metrics.wall_s,
        "layout": metrics.layout,
    }
    return tuple(check for check in checks if check is not None), figures


def judge_prepopulation(found: Prepopulated, thresholds: CaseThresholds, server: Server) -> Measured:
    """The figures of the warmed prefix against the thresholds."""
    cold = found.found_when_cold(server.tokens_per_block or server.facts.tokens_per_block)
    checks = [
        Check("reused by the cold call", found.cold_reused, "0, or part of one block", cold == 0),
        Check("calls that found their prefix", found.hits, str(len(found.warm)), found.hits == len(found.warm)),
        _at_least(f"{_unit(found.by_blocks)} hit rate of the warmed prefix", found.hit_rate, thresholds.min_hit_rate),
        *_times(server, found.warm_ttft_p95, None, thresholds),
    ]
    if thresholds.min_ttft_speedup is not None:
        speedup = _at_least("time to first token, cold / warm", found.speedup, thresholds.min_ttft_speedup)
        checks.append(_on_gpu(server, speedup))
    return tuple(check for check in checks if check is not None), found.figures()


def _unit(by_blocks: bool) -> str:
    return "block" if by_blocks else "token"


def _at_least(name: str, value: float | None, least: float | None, *, needs: str = "") -> Check | None:
    """A figure that the server does not report fails, unless something that the user may give is what is missing."""
    if least is None:
        return None
    if value is None:
        return Check(name, None, f"at least {least:g}", None if needs else False, needs or "not reported")
    return Check(name, value, f"at least {least:g}", value >= least)


def _times(server: Server, ttft: float | None, latency: float | None, thresholds: CaseThresholds) -> list[Check | None]:
    found: list[Check | None] = []
    for name, value, most in (
        ("time to first token, 95th percentile, s", ttft, thresholds.max_ttft_p95_s),
        ("latency of a call, 95th percentile, s", latency, thresholds.max_latency_p95_s),
    ):
        if most is not None:
            check = Check(name, value, f"at most {most:g}", value is not None and value <= most)
            found.append(_on_gpu(server, check))
    return found


def _on_gpu(server: Server, check: Check | None) -> Check | None:
    if check is None or not server.facts.embedded:
        return check
    return Check(check.name, check.measured, check.required, None, ON_CPU)
