"""Engine outputs to response tensors."""

from __future__ import annotations

from charter_compiler.serve.engine.interface import EngineOutput, FinishReason, PerfMetrics, SamplingParams
from charter_compiler.serve.interfaces import interfaces
from charter_compiler.serve.model_repository.answers import Answer
from charter_compiler.serve.model_repository.inputs import Generation

EURO = "€".encode()


def generation(*, exclude_input: bool = True, return_log_probs: bool = False) -> Generation:
    return Generation((1, 2), SamplingParams(max_tokens=9), (), (), None, return_log_probs, exclude_input)


def token_bytes(token: int) -> bytes:
    """Tokens below 3 are the bytes of a euro sign, others a letter."""
    return EURO[token : token + 1] if token < len(EURO) else bytes([token])


def answer(*, streaming: bool, exclude_input: bool = True, return_log_probs: bool = False) -> Answer:
    wanted = generation(exclude_input=exclude_input, return_log_probs=return_log_probs)
    return Answer(0, wanted, streaming=streaming, token_bytes=token_bytes)


def test_a_stream_never_cuts_a_character() -> None:
    reply = answer(streaming=True, return_log_probs=True)
    assert reply.feed(EngineOutput(1, (0,), log_probs=(-1.0,))) is None
    assert reply.feed(EngineOutput(1, (1,), log_probs=(-2.0,))) is None
    tensors = reply.feed(EngineOutput(1, (2,), log_probs=(-3.0,)))
    assert tensors is not None
    assert tensors["output_ids"].tolist() == [[[0, 1, 2]]]
    assert tensors["output_log_probs"].tolist() == [[[-1.0, -2.0, -3.0]]]
    assert tensors["cum_log_probs"].tolist() == [[-6.0]]
    assert tensors["num_output_tokens"].tolist() == [[3]]


def test_log_probabilities_of_held_tokens_wait_with_them() -> None:
    reply = answer(streaming=True, return_log_probs=True)
    first = reply.feed(EngineOutput(1, (65, 0), log_probs=(-1.0, -2.0)))
    last = reply.feed(EngineOutput(1, (1, 2), log_probs=(-3.0, -4.0)))
    assert first is not None
    assert last is not None
    assert first["output_log_probs"].tolist() == [[[-1.0]]]
    assert last["output_log_probs"].tolist() == [[[-2.0, -3.0, -4.0]]]
    assert last["cum_log_probs"].tolist() == [[-10.0]]


def test_an_incomplete_character_is_sent_at_the_end() -> None:
    reply = answer(streaming=True)
    assert reply.feed(EngineOutput(1, (0,))) is None
    tensors = reply.feed(EngineOutput(1, (), finish=FinishReason.LENGTH))
    assert tensors is not None
    assert tensors["output_ids"].tolist() == [[[0]]]


def test_without_streaming_there_is_one_response_after_the_prompt() -> None:
    reply = answer(streaming=False, exclude_input=False)
    assert reply.feed(EngineOutput(1, (65,))) is None
    tensors = reply.feed(EngineOutput(1, (66,), finish=FinishReason.END))
    assert tensors is not None
    assert tensors["output_ids"].tolist() == [[[1, 2, 65, 66]]]
    assert tensors["sequence_length"].tolist() == [[4]]
    assert tensors["num_output_tokens"].tolist() == [[2]]
    assert tensors["num_input_tokens"].tolist() == [[2]]


def test_an_output_without_tokens_still_has_all_tensors() -> None:
    tensors = answer(streaming=False).feed(EngineOutput(1, (), finish=FinishReason.END))
    assert tensors is not None
    assert tensors["output_ids"].shape == (1, 1, 0)
    declared = {tensor.name for tensor in interfaces()["tensorrt_llm"].outputs}
    assert set(tensors) == declared - {"context_phase_params"}


def test_figures_come_with_the_end() -> None:
    perf = PerfMetrics(5, 6, 7, 8, kv_cache_reused_blocks=3, kv_cache_alloc_new_blocks=1, kv_cache_alloc_total_blocks=4)
    reply = answer(streaming=True)
    first = reply.feed(EngineOutput(1, (65,)))
    last = reply.feed(EngineOutput(1, (66,), finish=FinishReason.LENGTH, perf=perf))
    assert first is not None
    assert last is not None
    assert first["kv_cache_reused_blocks"].tolist() == [[0]]
    assert last["kv_cache_reused_blocks"].tolist() == [[3]]
    assert last["kv_cache_alloc_total_blocks"].tolist() == [[4]]
    assert [last[name].tolist() for name in ("arrival_time_ns", "last_token_time_ns")] == [[[5]], [[8]]]
