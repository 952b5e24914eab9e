"""The simulated target: its address, what it counts, and runs on it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from run_doubles import write_agent

from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.memo import MemoOptions
from charter_compiler.api.run_request import PredictWhen, RunRequest
from charter_compiler.cli.run import summary
from charter_compiler.diagnostics.errors import ContextLengthError, RequestRejectedError, UsageError
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.sim.address import SimAddress, parse_sim
from charter_compiler.executor.sim.target import SimTarget
from charter_compiler.executor.targets import check_target
from charter_compiler.executor.types import GenerationRequest, GenerationResult
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.tokenizer import default_tokenizer

RULES = "These are the rules, which hold for each of the texts that follow here. " * 8
AGENT = f"async def ask(text, llm):\n    return await llm.agenerate({RULES!r} + text, max_tokens=4)\n"


def test_an_address_has_an_engine_and_sizes() -> None:
    assert parse_sim("sim") == SimAddress()
    address = parse_sim("sim://vllm?blocks=64&block_size=16&speed=2.5")
    assert (address.engine, address.speed) == ("vllm", 2.5)
    assert (address.config.capacity_blocks, address.config.tokens_per_block) == (64, 16)
    assert parse_sim("sim://trtllm?running=200").config.max_running == 200


@pytest.mark.parametrize(
    "spec", ["sim://ollama", "sim://trtllm/model", "sim?x", "sim://trtllm?blocks=many", "sim://trtllm?blocks=0",
             "sim://vllm?speed=-1", "sim://vllm?color=red"]
)  # fmt: skip
def test_what_is_no_address_is_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        check_target(spec)


@pytest.mark.parametrize("engine", ["trtllm", "vllm"])
async def test_a_prompt_that_was_computed_is_found_but_for_its_last_tokens(engine: str) -> None:
    target = SimTarget(SimAddress(engine, EngineConfig()), default_tokenizer())
    request = GenerationRequest(prompt=RULES, max_tokens=5)
    first, second = await target.generate(request), await target.generate(request)
    tokens = len(default_tokenizer().encode(RULES))
    assert (first.prompt_tokens, first.cached_tokens, first.output_tokens) == (tokens, 0, 5)
    assert second.cached_tokens == (tokens - 1) // 32 * 32
    assert first.text == second.text
    assert first.latency > second.latency, "what was cached took no time"
    assert (await target.metrics())["charter_sim_requests_total"] == 2
    await target.aclose()


@pytest.mark.parametrize("engine", ["trtllm", "vllm"])
async def test_a_call_that_is_given_up_makes_room(engine: str) -> None:
    config = EngineConfig(capacity_blocks=8, max_running=2)
    target = SimTarget(SimAddress(engine, config, speed=1.0), default_tokenizer())
    request = GenerationRequest(prompt=RULES, max_tokens=60)
    running = asyncio.ensure_future(target.generate(request))
    await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    result = await target.generate(GenerationRequest(prompt=RULES, max_tokens=2))
    assert result.output_tokens == 2
    await target.aclose()


async def test_what_it_cannot_answer_is_refused() -> None:
    target = SimTarget(SimAddress(), default_tokenizer())
    with pytest.raises(ContextLengthError):
        await target.generate(GenerationRequest(prompt="a", max_tokens=10_000))
    with pytest.raises(RequestRejectedError, match="no JSON"):
        await target.generate(GenerationRequest(prompt="a", response_format={"type": "json_object"}))
    chat = await target.generate(GenerationRequest(messages=({"role": "user", "content": "a"},), max_tokens=2))
    assert chat.output_tokens == 2
    await target.aclose()


async def test_speed_makes_it_last(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        waited.append(seconds)
        await sleep(0)

    monkeypatch.setattr("charter_compiler.executor.sim.target.asyncio.sleep", noted)
    for speed, least in ((0.0, 0.0), (1.0, 0.1)):
        waited.clear()
        target = SimTarget(SimAddress(speed=speed), default_tokenizer())
        result: GenerationResult = await target.generate(GenerationRequest(prompt=RULES, max_tokens=2))
        assert max(waited) >= least
        assert (max(waited) > 0) == (speed > 0)
        assert result.latency > 0.1, "the model's time is the same"
        await target.aclose()


def test_a_run_on_it_says_so_and_keeps_no_answers(tmp_path: Path, memo_folder: Path) -> None:
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": str(n)}) + "\n" for n in range(20)))
    report = measured_run(
        RunRequest(
            f"{write_agent(tmp_path, AGENT)}:ask",
            tmp_path / "in.jsonl",
            tmp_path / "out.jsonl",
            target="sim",
            options=RunOptions(concurrency=4),
            predict=PredictWhen.NEVER,
            memo=MemoOptions(place=memo_folder),
        )
    )
    metrics = report.metrics
    assert (metrics.items, metrics.failed, metrics.calls, metrics.output_tokens) == (20, 0, 20, 20 * 4 + 1), (
        "one is the warm-up's"
    )
    assert metrics.hit_rate == metrics.attainable_hit_rate
    assert metrics.hit_rate is not None
    assert metrics.hit_rate > 0.8
    assert any("nothing was computed" in note for note in report.notes)
    assert json.loads(report.metrics_file.read_text(encoding="utf-8"))["simulated"] is True
    labels = [str(cell) for cell in summary(report).columns[0].cells]
    assert "hit rate, simulated" in labels
    assert not [label for label in labels if "measured" in label or "wall time" in label]
    assert not memo_folder.exists()


def test_the_last_items_begin_when_those_that_had_the_room_are_over(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text(
        "async def ask(text, llm):\n"
        "    first = await llm.agenerate(text + ' What is it about?', max_tokens=4)\n"
        "    return await llm.agenerate(text + first + ' And why?', max_tokens=4)\n",
        encoding="utf-8",
    )
    inputs = tmp_path / "in.jsonl"
    # The second text is far longer than the first, by which the run admits items: it has to wait for all the room.
    texts = ["A short text. " * 20, "A long text, which needs most of the cache. " * 50, "Another long text. " * 100]
    inputs.write_text("".join(f"{json.dumps({'text': text})}\n" for text in texts), encoding="utf-8")
    request = RunRequest(
        f"{agent}:ask", inputs, tmp_path / "out.jsonl", target="sim://trtllm?blocks=20", predict=PredictWhen.NEVER
    )
    report = measured_run(request)
    assert (report.metrics.items, report.metrics.failed, report.metrics.calls) == (3, 0, 6)
