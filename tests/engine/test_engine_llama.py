"""The engine over llama.cpp and the real model: what is reused is right, and only the rest is computed."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from counting import Counted, Steps, due, last_perf, modelled, random_requests, trickle
from engine_harness import drain, finish, request, tokens

from charter_compiler.diagnostics.errors import ConfigError, ModelError, RequestRejectedError, TargetError
from charter_compiler.serve.engine import llama
from charter_compiler.serve.engine.core import EngineCore
from charter_compiler.serve.engine.interface import (
    Batch,
    EngineConfig,
    FinishReason,
    Guide,
    GuideKind,
)
from charter_compiler.serve.engine.llama_runner import LlamaRunner

pytestmark = pytest.mark.server

MakeRunner = Callable[..., LlamaRunner]
TEXT = "The committee met on Tuesday to discuss the annual report on rainfall in the northern valleys. "


@pytest.mark.parametrize(("retained", "partial"), [(False, False), (True, True)])
def test_decoded_tokens_are_those_that_the_cache_model_predicts(
    make_runner: MakeRunner, retained: bool, partial: bool
) -> None:
    """Forty requests, four at once, blocks and sequences both short: request by request. A thousand of them:
    benchmarks/engine/counted.py."""
    config = EngineConfig(
        enable_partial_reuse=partial,
        tokens_per_block=2,
        capacity_blocks=36,
        max_context=64,
        max_running=4,
        max_sequences=7,
        prefill_chunk=32,
    )
    clock = Steps()
    counted = Counted(config, make_runner(config), clock)
    requests = random_requests(40, seed=1, passages=5, lengths=(3, 11), at_most=2, retained=retained)
    said = trickle(counted.core, requests, clock, counted.check)
    for i, prediction in modelled(config, requests, said, check=True).items():
        assert counted.decoded[i] == due(prediction)
        assert last_perf(said[i]).num_cached_tokens == prediction.num_cached_tokens
    stats = counted.core.stats()
    assert stats.decoded_tokens == counted.runner.decoded_tokens == counted.decoded.total()
    assert stats.cached_tokens > 100, "nothing was shared, so nothing was tested"
    assert stats.evicted_blocks > 60, "there was no pressure, so nothing was tested"
    assert counted.core.blocks.counters.evicted_for_sequences > 10


def test_second_identical_prompt_of_a_thousand_tokens_is_reused(make_runner: MakeRunner) -> None:
    config = EngineConfig()
    counted = Counted(config, make_runner(config))
    prompt = counted.runner.tokenize(TEXT * 80)[:1000]
    assert len(prompt) == 1000
    ttft = []
    for i in range(2):
        counted.core.add(request(i, prompt, 8))
        perf = drain(counted.core)[i][-1].perf
        assert perf is not None
        ttft.append(perf.first_token_time_ns - perf.arrival_time_ns)
    assert perf.num_cached_tokens >= 950
    assert counted.decoded == {0: 1007, 1: 1007 - perf.num_cached_tokens}
    assert ttft[1] < ttft[0] / 5, "far below what load on the machine could hide: 8 tokens against 1,000"

    # Four at once now share the same prefix.
    for i in range(2, 6):
        counted.core.add(request(i, [*prompt, 1000 + i], 3))
    done = drain(counted.core)
    for i in range(2, 6):
        perf = done[i][-1].perf
        assert perf is not None
        assert perf.num_cached_tokens == 992
        assert counted.decoded[i] == 1001 - 992 + 2
    counted.check()


def test_drafts_leave_greedy_output_as_it_is_and_save_steps(make_runner: MakeRunner) -> None:
    config = EngineConfig(capacity_blocks=32)
    counted = Counted(config, make_runner(config))
    prompt = counted.runner.tokenize("One, two, three, four, five, six, seven,")
    counted.core.add(request(0, prompt, 16))
    plain = tokens(drain(counted.core)[0])
    for i, drafts in ((1, plain), (2, [*plain[:5], 77, *plain[6:]]), (3, [77])):
        counted.core.add(request(i, prompt, 16, drafts=drafts))
        outputs = drain(counted.core)[i]
        perf = outputs[-1].perf
        assert perf is not None
        assert tokens(outputs) == plain
        assert perf.num_accepted_draft_tokens == {1: 15, 2: 5, 3: 0}[i]
        assert len(outputs) == 16 - perf.num_accepted_draft_tokens
        # The last of 16 tokens is never computed.
        assert counted.decoded[i] == len(prompt) + 15 - perf.num_cached_tokens + perf.num_rejected_draft_tokens
        counted.check()


def test_reproducible_warm_tokens_are_the_cold_ones(make_runner: MakeRunner) -> None:
    """Three prompts; two hundred: benchmarks/engine/reproducible.py."""
    config = EngineConfig(capacity_blocks=64, reproducible=True)
    runner = make_runner(config)
    core = EngineCore(config, runner, time.monotonic_ns)
    text = runner.tokenize(TEXT * 15)
    prompts = [[*text[:start], *runner.tokenize(f"Question {start}:")] for start in (140, 200, 250)]
    answers: list[list[list[int]]] = []
    for turn in range(2):
        answers.append([])
        for i, prompt in enumerate(prompts):
            if not turn:
                core = EngineCore(config, runner, time.monotonic_ns)
                for sequence in range(config.max_sequences):
                    runner.drop_range(sequence, 0, None)
            core.add(request(10 * turn + i, prompt, 16))
            outputs = drain(core)[10 * turn + i]
            perf = outputs[-1].perf
            assert perf is not None
            assert perf.num_cached_tokens == (128 if turn else 0)
            answers[-1].append(tokens(outputs))
    assert answers[0] == answers[1]


def last_logits(runner: LlamaRunner, sequence: int, prompt: list[int], start: int) -> np.ndarray:
    count = len(prompt) - start
    wants = [False] * (count - 1) + [True]
    runner.decode(Batch(prompt[start:], list(range(start, len(prompt))), [sequence] * count, wants))
    return runner.logits(count - 1).copy()


def test_logits_over_shared_cells_are_those_of_a_cold_prompt(make_runner: MakeRunner) -> None:
    """Up to the order of floating-point sums, which is far from what one wrong token does."""
    runner = make_runner(EngineConfig(capacity_blocks=16))
    prompt = runner.tokenize(TEXT * 6)[:100]
    other = [*prompt[:30], prompt[0], *prompt[31:]]
    cold = last_logits(runner, 0, prompt, 0)
    runner.copy_range(0, 1, 0, 96)
    runner.drop_range(0, 0, None)
    warm = last_logits(runner, 1, prompt, 96)
    # A prefix put together from two sequences, as after a duplicate was given up.
    runner.copy_range(1, 2, 0, 64)
    last_logits(runner, 2, prompt[:96], 64)
    runner.drop_range(1, 0, None)
    mixed = last_logits(runner, 2, prompt, 96)
    wrong = last_logits(runner, 3, other, 0)
    one_wrong_token = np.abs(wrong - cold).mean()
    assert np.abs(warm - cold).mean() < one_wrong_token / 5
    assert np.abs(mixed - cold).mean() < one_wrong_token / 5


def test_reproducible_logits_do_not_depend_on_how_much_others_have_cached(make_runner: MakeRunner) -> None:
    """From 512 cells on llama.cpp parts the attention of a lone token among its threads."""
    runner = make_runner(EngineConfig(capacity_blocks=32, reproducible=True), 2)
    prompt = runner.tokenize(TEXT * 10)
    last_logits(runner, 0, prompt[:100], 0)
    alone = last_logits(runner, 0, prompt[:101], 100)
    runner.drop_range(0, 0, None)
    last_logits(runner, 1, prompt[:160], 0)
    last_logits(runner, 2, prompt[:160], 0)
    last_logits(runner, 0, prompt[:100], 0)  # in the middle of what is cached then
    last_logits(runner, 3, prompt[:160], 0)
    last_logits(runner, 4, prompt[:100], 0)
    crowded = last_logits(runner, 0, prompt[:101], 100)
    assert np.array_equal(alone, crowded)


def test_cancellation_at_random_moments_leaks_nothing(make_runner: MakeRunner) -> None:
    config = EngineConfig(
        tokens_per_block=4, capacity_blocks=32, max_context=128, max_running=3, max_sequences=5, prefill_chunk=8
    )
    counted = Counted(config, make_runner(config))
    rng = random.Random(5)
    waiting, live, ends = random_requests(30, seed=2, passages=5, lengths=(3, 11), at_most=2), [], Counter()  # type: ignore[var-annotated]
    while waiting or not counted.core.idle:
        if waiting:
            live.append(waiting[-1].request_id)
            counted.core.add(waiting.pop())
        outputs = counted.core.step()
        if rng.random() < 0.5 and (output := counted.core.cancel(rng.choice(live))):
            outputs.append(output)
        ends.update(output.request_id for output in outputs if output.finish)
        counted.check()
    assert ends == Counter(live)
    assert counted.core.stats().used_blocks == 0


def test_sampling_with_a_seed_is_repeatable_and_log_probabilities_are_given(make_runner: MakeRunner) -> None:
    runner = make_runner(EngineConfig(capacity_blocks=16))
    prompt = runner.tokenize("Once upon a time")
    params = {"temperature": 0.9, "top_p": 0.95, "seed": 4}
    texts = []
    for i in range(2):
        core = EngineCore(EngineConfig(capacity_blocks=16, enable_block_reuse=False), runner, time.monotonic_ns)
        core.add(request(i, prompt, 12, log_probs=True, **params))
        outputs = drain(core)[i]
        texts.append(tokens(outputs))
        assert all(len(o.log_probs) == len(o.token_ids) and max(o.log_probs) <= 0 for o in outputs)
    assert texts[0] == texts[1]


SCHEMA = (
    '{"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}, "rivers": {"type": "integer"}}, '
    '"required": ["city", "rivers"], "additionalProperties": false}'
)


def test_guided_output_follows_its_guide_and_ends(make_runner: MakeRunner) -> None:
    config = EngineConfig(capacity_blocks=32)
    runner = make_runner(config)
    core = EngineCore(config, runner, time.monotonic_ns)
    prompt = runner.tokenize("Name a city and say how many rivers it has.\n")
    wanted = (
        (Guide(GuideKind.JSON_SCHEMA, SCHEMA), {}),
        (Guide(GuideKind.REGEX, "[A-Z][a-z]{2,6}-(one|two)[.]"), {}),
        (Guide(GuideKind.REGEX, "[0-9]{3}"), {"temperature": 1.5, "seed": 1}),
    )
    texts = []
    for i, (guide, sampling) in enumerate(wanted):
        core.add(request(i, prompt, 60, end_id=runner.facts.eos, guide=guide, **sampling))
        outputs = drain(core)[i]
        assert finish(outputs) is FinishReason.END
        texts.append(b"".join(runner.token_bytes(token) for token in tokens(outputs)).decode())
    found = json.loads(texts[0])
    assert set(found) == {"city", "rivers"}
    assert isinstance(found["rivers"], int)
    assert re.fullmatch("[A-Z][a-z]{2,6}-(one|two)[.]", texts[1])
    assert re.fullmatch("[0-9]{3}", texts[2])


@pytest.mark.parametrize(
    ("guide", "end_id", "message"),
    [
        (Guide(GuideKind.JSON_SCHEMA, "{"), 2, "no json_schema that can be used: EOF"),
        (Guide(GuideKind.REGEX, "("), 2, "no regex that can be used: .*unclosed group"),
        (Guide(GuideKind.JSON), None, "end_id is None .*send end_id 2"),
    ],
)
def test_guides_that_cannot_be_followed_are_refused_at_once(
    make_runner: MakeRunner, guide: Guide, end_id: int | None, message: str
) -> None:
    config = EngineConfig(capacity_blocks=16)
    core = EngineCore(config, make_runner(config), time.monotonic_ns)
    with pytest.raises(RequestRejectedError, match=message) as refused:
        core.add(request(1, [1, 2], guide=guide, end_id=end_id))
    assert "\n" not in str(refused.value)
    assert core.idle


def test_the_model_ends_its_answer(make_runner: MakeRunner) -> None:
    runner = make_runner(EngineConfig(capacity_blocks=16))
    core = EngineCore(EngineConfig(capacity_blocks=16), runner, time.monotonic_ns)
    chat = "<|im_start|>user\nSay yes.<|im_end|>\n<|im_start|>assistant\n"
    core.add(request(1, runner.tokenize(chat, special=True), 100, end_id=runner.facts.eos))
    outputs = drain(core)[1]
    assert finish(outputs) is FinishReason.END
    assert runner.facts.eos not in tokens(outputs)


def test_facts_come_from_the_file(make_runner: MakeRunner) -> None:
    facts = make_runner(EngineConfig(capacity_blocks=16)).facts
    assert (facts.context, facts.vocab_size, facts.eos) == (8192, 49152, 2)
    assert "<|im_start|>" in (facts.chat_template or "")


def test_tokens_outside_the_vocabulary_are_refused(make_runner: MakeRunner) -> None:
    config = EngineConfig(capacity_blocks=16)
    core = EngineCore(config, make_runner(config), time.monotonic_ns)
    for wrong in (
        request(1, [49_152]),
        request(1, [-1]),
        request(1, [1], bad=((60_000,),)),
        request(1, [1], end_id=-1),
    ):
        with pytest.raises(RequestRejectedError, match="vocabulary of 49152"):
            core.add(wrong)


def test_a_full_cache_is_an_error_and_not_a_crash(make_runner: MakeRunner) -> None:
    runner = make_runner(EngineConfig(tokens_per_block=32, capacity_blocks=8))
    half = Batch([5] * 200, list(range(200)), [0] * 200, [False] * 200)
    runner.decode(half)
    half.sequences = [1] * 200
    with pytest.raises(TargetError, match="no room in the KV cache"):
        runner.decode(half)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such model file"), (b"GGUF", "cannot load"), (b"", "cannot load")]
)
def test_broken_model_files_are_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "weights.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as error:
        LlamaRunner(path, EngineConfig())
    assert str(path) in str(error.value)
    assert error.value.remedy


def test_a_context_beyond_the_models_is_refused(make_runner: MakeRunner) -> None:
    with pytest.raises(ConfigError, match="the model has 8192"):
        make_runner(EngineConfig(max_context=9000))


def test_an_unknown_build_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama, "_loaded", None)
    monkeypatch.setattr(metadata, "version", lambda name: "2026.11.1")
    with pytest.raises(ModelError, match=r"build 2026\.11\.1 .* is not known") as error:
        llama.load()
    assert llama.KNOWN_BUILD in (error.value.remedy or "")


def test_a_wrong_struct_layout_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    shifted = llama.DECLARATIONS.replace("    uint32_t n_rs_seq;\n", "", 1)
    monkeypatch.setattr(llama, "DECLARATIONS", shifted)
    monkeypatch.setattr(llama, "_loaded", None)
    with pytest.raises(ModelError, match=r"llama\.cpp's default of"):
        llama.load()
