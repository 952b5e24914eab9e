"""The public Mooncake traces: the rates that are known for them (blocks of 512 tokens)."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from charter_compiler.cache.policy_cache import Policy
from charter_compiler.cache.simulate import Engine, Setup, simulate
from charter_compiler.cache.trace import Trace, parse_trace

FOLDER = Path(__file__).parents[1] / "fixtures" / "traces"
THREE_MILLION_TOKENS = 5859
HALF_A_POINT, A_POINT = 0.005, 0.01


@pytest.fixture(scope="module")
def traces() -> dict[str, Trace]:
    result = {}
    for name in ("conversation", "synthetic"):
        with gzip.open(FOLDER / f"mooncake_{name}_trace.jsonl.gz") as file:
            result[name] = parse_trace(file, 512, name)
    return result


@pytest.mark.parametrize(
    ("name", "whole", "second_half"), [("conversation", 0.374, 0.398), ("synthetic", 0.651, 0.863)]
)
def test_unbounded(traces: dict[str, Trace], name: str, whole: float, second_half: float) -> None:
    trace = traces[name]
    assert simulate(trace, Setup(Engine.UNBOUNDED, None)).hit_rate == pytest.approx(whole, abs=HALF_A_POINT)
    warmed = simulate(trace, Setup(Engine.UNBOUNDED, None, warmup=trace.requests // 2))
    assert warmed.hit_rate == pytest.approx(second_half, abs=HALF_A_POINT)
    assert warmed.requests == trace.requests - trace.requests // 2


@pytest.mark.parametrize("engine", [Engine.UNBOUNDED, Engine.VLLM, Engine.TRTLLM, Engine.SGLANG])
def test_at_three_million_tokens(traces: dict[str, Trace], engine: Engine) -> None:
    """What knowing the future is worth: 13.7% by LRU, 37.6% by the optimum."""
    trace = traces["conversation"]
    for policy, rate in ((Policy.LRU, 0.137), (Policy.BELADY, 0.376)):
        result = simulate(trace, Setup(engine, THREE_MILLION_TOKENS, policy, trace.requests // 2))
        assert result.hit_rate == pytest.approx(rate, abs=A_POINT)
        assert result.peak_blocks == THREE_MILLION_TOKENS


@pytest.mark.parametrize("engine", [Engine.VLLM, Engine.TRTLLM, Engine.SGLANG])
def test_an_engines_own_eviction_is_close_to_lru(traces: dict[str, Trace], engine: Engine) -> None:
    trace = traces["conversation"]
    own = simulate(trace, Setup(engine, THREE_MILLION_TOKENS, None, trace.requests // 2))
    assert own.hit_rate == pytest.approx(0.14, abs=A_POINT)
    unlimited = simulate(trace, Setup(engine, 10**7, None, trace.requests // 2))
    assert unlimited.hit_rate == pytest.approx(0.398, abs=HALF_A_POINT)
    assert unlimited.evicted_blocks == 0
