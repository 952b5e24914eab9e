"""Predictions of the shipped agents on their data, and of small agents whose figures are known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest

from charter_compiler.executor.entry import load_entry
from charter_compiler.executor.inputs import InputRow, read_inputs
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.predict.prediction import Prediction, predict_run
from charter_compiler.predict.synthetic import SyntheticOutputs
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.tokenizer import default_tokenizer

EXAMPLES = Path(__file__).parents[2] / "examples"
PREFIX = "The quick brown fox jumps over the lazy dog while the cat watches from the garden wall. " * 4
SHARED = len(default_tokenizer().encode(PREFIX)) // 32 * 32
"""Its tokens in full blocks."""


def predict(
    tmp_path: Path,
    source: str,
    texts: Sequence[str],
    *,
    options: RunOptions | None = None,
    engine: EngineConfig | None = None,
    warm_ups: Sequence[GenerationRequest] = (),
) -> Prediction:
    path = tmp_path / "agent.py"
    path.write_text(source, encoding="utf-8")
    rows = [InputRow(n, n + 1, {"text": text}) for n, text in enumerate(texts)]
    return predict_run(
        load_entry(f"{path}:process"),
        rows,
        default_tokenizer(),
        engine or EngineConfig(),
        options or RunOptions(max_tokens=8),
        warm_ups=warm_ups,
    )


@pytest.mark.parametrize(
    ("agent", "data", "rows", "attainable"),
    [
        ("document_processor.py:DocumentProcessor.process", "documents", 16, 0.089),
        ("delta_processor.py:DeltaProcessor.process", "companies", 40, 0.0),
        ("report_analyst.py:ReportAnalyst.process", "company_reports", 40, 0.048),
    ],
)
def test_the_attainable_rates_are_those_of_the_design(agent: str, data: str, rows: int, attainable: float) -> None:
    """The table in the design counts 18-word outputs on raw prompts in blocks of 32."""
    prediction = predict_run(
        load_entry(f"{EXAMPLES / 'agents'}/{agent}"),
        islice(read_inputs(EXAMPLES / "data" / f"{data}.jsonl"), rows),
        default_tokenizer(),
        EngineConfig(),
        RunOptions(mode=Mode.BASELINE, max_tokens=24),
    )
    assert prediction.attainable_hit_rate == pytest.approx(attainable, abs=0.002)
    assert prediction.hit_rate is not None
    assert prediction.hit_rate <= prediction.attainable_hit_rate


def test_one_item_after_the_other_reuses_the_shared_blocks(tmp_path: Path) -> None:
    source = f"def process(text, llm):\n    return llm.generate({PREFIX!r} + text)\n"
    assert SHARED >= 64
    prediction = predict(tmp_path, source, ["a", "b", "c"], options=RunOptions(concurrency=1, max_tokens=4))
    assert prediction.cached_tokens == 2 * SHARED
    assert prediction.calls == 3
    assert [site.cached_tokens for site in prediction.sites] == [2 * SHARED]


def test_calls_that_arrive_while_the_engine_computes_share_nothing_unless_they_are_scheduled(tmp_path: Path) -> None:
    source = "def process(text, llm):\n    return llm.generate(text)\n"
    texts = ["something else " * 50, *(f"{PREFIX}{n}" for n in range(3))]
    predictions = {mode: predict(tmp_path, source, texts, options=RunOptions(mode=mode, max_tokens=4)) for mode in Mode}
    assert predictions[Mode.BASELINE].cached_tokens == 0, "all three start in the iteration after the first prompt's"
    assert predictions[Mode.OPTIMIZED].cached_tokens == 2 * SHARED
    assert predictions[Mode.OPTIMIZED].hit_rate == predictions[Mode.BASELINE].attainable_hit_rate


def test_warm_ups_count_and_come_first_in_optimized_mode_only(tmp_path: Path) -> None:
    source = f"def process(text, llm):\n    return llm.generate({PREFIX!r} + text)\n"
    warm = [GenerationRequest(prompt=PREFIX, max_tokens=1)]
    tokens = len(default_tokenizer().encode(PREFIX))
    with_warm_up = predict(tmp_path, source, ["a"], warm_ups=warm)
    assert with_warm_up.calls == 1
    assert with_warm_up.cached_tokens == tokens // 32 * 32
    assert [site.site for site in with_warm_up.sites if site.calls][-1] == "warm-up"
    baseline = predict(tmp_path, source, ["a"], warm_ups=warm, options=RunOptions(mode=Mode.BASELINE, max_tokens=8))
    assert baseline.cached_tokens == 0
    assert with_warm_up.prompt_tokens == baseline.prompt_tokens + tokens  # type: ignore[operator]


def test_outputs_flow_into_later_prompts(tmp_path: Path) -> None:
    source = (
        "def process(text, llm):\n"
        "    a = llm.generate(text + ' one', max_tokens=40)\n"
        "    return llm.generate(text + a)\n"
    )
    prediction = predict(tmp_path, source, ["word"], options=RunOptions())
    first, second = prediction.sites
    assert second.prompt_tokens - first.prompt_tokens == 39


def test_an_async_agents_parallel_calls_are_in_flight_together(tmp_path: Path) -> None:
    source = (
        "import asyncio\n"
        "async def process(text, llm):\n"
        f"    prompts = ['something else ' * 50, {PREFIX!r} + text, {PREFIX!r} + text + text]\n"
        "    answers = await asyncio.gather(*(llm.agenerate(prompt) for prompt in prompts))\n"
        f"    return await llm.agenerate({PREFIX!r} + answers[0])\n"
    )
    prediction = predict(tmp_path, source, ["x"], options=RunOptions(mode=Mode.BASELINE, max_tokens=4))
    assert prediction.calls == 4
    assert prediction.cached_tokens == SHARED, "only the last call finds what those before it computed at once"


def test_an_agent_that_cannot_read_synthetic_outputs_gets_no_rates(tmp_path: Path) -> None:
    source = "def process(text, llm):\n    return {'yes': 1}[llm.generate(text)]\n"
    prediction = predict(tmp_path, source, ["a", "b"])
    assert prediction.hit_rate is None
    assert prediction.attainable_hit_rate is None
    assert prediction.problem is not None
    assert "(2 of 2 items); item 0, line" in prediction.problem
    assert "KeyError" in prediction.problem


def test_a_call_that_does_not_fit_is_left_out_and_named(tmp_path: Path) -> None:
    source = "def process(text, llm):\n    llm.generate(text)\n    return llm.generate(text + ' again')\n"
    prediction = predict(tmp_path, source, ["short", "word " * 500], engine=EngineConfig(max_context=256))
    assert prediction.calls == 2
    assert prediction.refused is not None
    assert "would refuse 1 calls" in prediction.refused
    assert "exceed the context of 256 tokens" in prediction.refused


def test_what_the_agent_prints_is_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predict(tmp_path, "def process(text, llm):\n    print('hello')\n    return llm.generate(text)\n", ["a"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("length", [1, 7, 64])
def test_synthetic_outputs_have_the_predicted_length_and_repeat(length: int) -> None:
    tokenizer = default_tokenizer()
    request = GenerationRequest(prompt="p", max_tokens=length)
    text = SyntheticOutputs(tokenizer).text(3, 1, request)
    assert len(tokenizer.encode(text)) == length
    assert text == SyntheticOutputs(tokenizer).text(3, 1, request)
    assert text != SyntheticOutputs(tokenizer).text(3, 2, request) or length == 1


def test_equal_requests_are_computed_once_in_optimized_mode(tmp_path: Path) -> None:
    source = (
        "def process(text, llm):\n"
        f"    rules = [llm.generate({PREFIX!r} + 'Rules:') for turn in range(3)]\n"
        "    return llm.generate(rules[0] + text)\n"
    )
    each = predict(tmp_path, source, ["a", "b"], options=RunOptions(mode=Mode.BASELINE, max_tokens=4))
    once = predict(tmp_path, source, ["a", "b"], options=RunOptions(max_tokens=4))
    told = predict(tmp_path, source, ["a", "b"], options=RunOptions(max_tokens=4, merge=False))
    assert (each.calls, once.calls, told.calls) == (8, 3, 8)
    assert each.prompt_tokens == told.prompt_tokens
    assert once.prompt_tokens is not None
    assert each.prompt_tokens is not None
    assert once.prompt_tokens < each.prompt_tokens
