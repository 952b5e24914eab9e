"""Requests and responses of both profiles, without a server."""

from __future__ import annotations

from typing import Any

import pytest
from scripted_triton import ScriptedTriton, engine_configs, infer_response, llmapi_configs, prompt_of, value_of
from tritonclient.grpc import service_pb2

from charter_compiler.diagnostics.errors import RequestRejectedError, TargetProtocolError
from charter_compiler.executor.triton_model import TritonModel, composing_models, describe_model, infer_request
from charter_compiler.executor.triton_responses import ResponseReader
from charter_compiler.executor.triton_tensors import as_float, as_int, as_text, outputs_of
from charter_compiler.executor.types import GenerationRequest, GenerationResult

EVERYTHING = GenerationRequest(
    prompt="hi", max_tokens=9, temperature=0.5, top_k=3, top_p=0.25, seed=7, stop=("a", "bé")
)


def described(configs: dict[str, Any], name: str) -> TritonModel:
    """As a client reads it: metadata made from the configuration, the way Triton does."""
    metadata = ScriptedTriton.ModelMetadata(
        type("Server", (), {"_config": lambda _self, model, _context: configs[model]})(),  # type: ignore[arg-type]
        service_pb2.ModelMetadataRequest(name=name),
        None,  # type: ignore[arg-type]
    )
    config = configs[name]
    return describe_model(metadata, config, [configs[model] for model in composing_models(config)], "place")


def sent(request: Any) -> dict[str, tuple[str, list[int], Any]]:
    return {
        tensor.name: (tensor.datatype, list(tensor.shape), value_of(request, tensor.name)) for tensor in request.inputs
    }


def result_of(reader: ResponseReader, tokens_per_block: int | None = 32) -> GenerationResult:
    return reader.result(latency=1.0, tokens_per_block=tokens_per_block, cache_id=None, details={})


@pytest.mark.parametrize("name", ["ensemble", "tensorrt_llm_bls"])
def test_the_engine_profile_gets_its_tensors(name: str) -> None:
    request = infer_request(described(engine_configs(), name), EVERYTHING, "hi", "id-1")
    assert request.id == "id-1"
    assert sent(request) == {
        "text_input": ("BYTES", [1, 1], b"hi"),
        "max_tokens": ("INT32", [1, 1], 9),
        "temperature": ("FP32", [1, 1], 0.5),
        "top_k": ("INT32", [1, 1], 3),
        "top_p": ("FP32", [1, 1], 0.25),
        "seed": ("UINT64", [1, 1], 7),
        "stop_words": ("BYTES", [1, 2], b"a"),
        "exclude_input_in_output": ("BOOL", [1, 1], True),
        "return_perf_metrics": ("BOOL", [1, 1], True),
        "return_num_input_tokens": ("BOOL", [1, 1], True),
        "return_num_output_tokens": ("BOOL", [1, 1], True),
        "stream": ("BOOL", [1, 1], True),
    }


def test_the_llmapi_profile_gets_its_tensors_without_a_batch() -> None:
    request = infer_request(
        described(llmapi_configs(), "tensorrt_llm"),
        GenerationRequest(prompt="hi", max_tokens=9, temperature=0.5, stop=("a", "b")),
        "hi",
        "1",
    )
    assert sent(request) == {
        "text_input": ("BYTES", [1], b"hi"),
        "sampling_param_max_tokens": ("INT32", [1], 9),
        "sampling_param_temperature": ("FP32", [1], 0.5),
        "sampling_param_stop": ("BYTES", [2], b"a"),
        "sampling_param_exclude_input_from_output": ("BOOL", [1], True),
        "sampling_param_return_perf_metrics": ("BOOL", [1], True),
        "return_finish_reason": ("BOOL", [1], True),
        "return_stop_reason": ("BOOL", [1], True),
        "streaming": ("BOOL", [1], True),
    }


def test_what_was_not_asked_for_is_not_sent() -> None:
    request = infer_request(described(engine_configs(), "ensemble"), GenerationRequest(prompt="hi"), "hi", "1")
    assert {"temperature", "top_k", "top_p", "seed", "stop_words"}.isdisjoint(sent(request))


def test_a_model_that_is_not_decoupled_is_not_asked_to_stream() -> None:
    request = infer_request(described(engine_configs(decoupled=False), "ensemble"), EVERYTHING, "hi", "1")
    assert sent(request)["stream"][2] is False
    assert not request.parameters


def test_an_option_that_the_model_does_not_take_is_refused() -> None:
    model = described(llmapi_configs(), "tensorrt_llm")
    with pytest.raises(RequestRejectedError, match="takes no 'sampling_param_seed'"):
        infer_request(model, GenerationRequest(prompt="x", seed=1), "x", "1")


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"max_tokens": 2**31},
        {"seed": -1},
        {"top_k": 1.5},
        {"temperature": "warm"},
        {"stop": ("\ud800",)},
    ],
)
def test_values_out_of_range_are_refused_before_they_are_sent(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestRejectedError):
        infer_request(described(engine_configs(), "ensemble"), GenerationRequest(prompt="x", **wrong), "x", "1")


@pytest.mark.parametrize("name", ["tensorrt_llm", "preprocessing"])
def test_a_model_that_does_not_take_text_is_refused(name: str) -> None:
    with pytest.raises(TargetProtocolError, match="takes a text and gives one"):
        described(engine_configs(), name)


@pytest.mark.parametrize("name", ["ensemble", "tensorrt_llm_bls"])
def test_parameters_of_the_models_behind_are_found(name: str) -> None:
    configs = engine_configs(tokens_per_block="64", gpt_model_path="${engine_dir}", tokenizer_dir="")
    model = described(configs, name)
    assert model.tokens_per_block == 64
    assert {"gpt_model_path", "tokenizer_dir"}.isdisjoint(model.parameters)


def test_a_block_size_that_is_no_number_is_not_known() -> None:
    assert described(engine_configs(tokens_per_block="many"), "ensemble").tokens_per_block is None
    assert described(engine_configs(), "ensemble").tokens_per_block is None


def test_an_engine_answer_is_put_together() -> None:
    reader = ResponseReader(described(engine_configs(), "ensemble"), "place")
    pieces = [
        reader.feed(infer_response("Hello", num_output_tokens=1, kv_cache_reused_blocks=0), 0.5),
        reader.feed(infer_response(" you", num_output_tokens=2, kv_cache_reused_blocks=0), 0.75),
        reader.feed(
            infer_response(
                "!", final=True, num_output_tokens=1, num_input_tokens=100, kv_cache_reused_blocks=3, arrival_time_ns=12
            ),
            1.0,
        ),
        reader.finish(),
    ]
    result = result_of(reader)
    assert pieces == ["Hello", " you", "!", ""]
    assert result.text == "Hello you!"
    assert (result.prompt_tokens, result.cached_tokens, result.output_tokens) == (100, 96, 4)
    assert result.hit_rate == 0.96
    assert result.ttft == 0.5
    assert result.details == {
        "kv_cache_reused_blocks": 3,
        "num_input_tokens": 100,
        "arrival_time_ns": 12,
        "tokens_per_block": 32,
    }


def test_no_more_tokens_are_cached_than_the_prompt_has() -> None:
    reader = ResponseReader(described(engine_configs(), "ensemble"), "place")
    reader.feed(infer_response("x", final=True, num_input_tokens=40, kv_cache_reused_blocks=2), 1.0)
    assert result_of(reader).cached_tokens == 40


def test_what_the_server_does_not_report_is_not_known() -> None:
    reader = ResponseReader(described(engine_configs(), "ensemble"), "place")
    reader.feed(infer_response("x", final=True), 1.0)
    result = result_of(reader)
    assert (result.prompt_tokens, result.cached_tokens, result.output_tokens) == (None, None, None)
    assert result.hit_rate is None
    assert result.finish_reason is None


def test_blocks_without_their_size_are_not_tokens() -> None:
    reader = ResponseReader(described(engine_configs(), "ensemble"), "place")
    reader.feed(infer_response("x", final=True, num_input_tokens=40, kv_cache_reused_blocks=1), 1.0)
    result = result_of(reader, tokens_per_block=None)
    assert result.cached_tokens is None
    assert result.details["kv_cache_reused_blocks"] == 1


def test_a_character_that_is_cut_in_two_arrives_whole() -> None:
    reader = ResponseReader(described(engine_configs(), "ensemble"), "place")
    first, second = "é".encode()[:1], "é".encode()[1:]
    assert reader.feed(infer_response(first), 1.0) == ""
    assert reader.feed(infer_response(second, final=True), 1.0) == "é"
    assert result_of(reader).text == "é"


def test_half_a_character_at_the_end_is_shown_as_such() -> None:
    reader = ResponseReader(described(engine_configs(), "ensemble"), "place")
    reader.feed(infer_response("é".encode()[:1], final=True), 1.0)
    assert reader.finish() == "\ufffd"
    assert result_of(reader).text == "\ufffd"


def test_llmapi_texts_repeat_what_came_before() -> None:
    reader = ResponseReader(described(llmapi_configs(), "tensorrt_llm"), "place")
    texts = ["Hel", "Hello \ufffd", "Hello é", "Hello é!"]
    pieces = [reader.feed(infer_response(text, finish_reason="None"), 1.0) for text in texts[:-1]]
    last = infer_response(
        texts[-1], final=True, finish_reason="length", kv_cache_reused_block="2", kv_cache_hit_rate="0.5"
    )
    pieces.append(reader.feed(last, 2.0))
    assert pieces == ["Hel", "lo ", "é", "!"]
    result = result_of(reader)
    assert result.text == "Hello é!"
    assert result.finish_reason == "length"
    assert result.cached_tokens == 64
    assert result.prompt_tokens is None
    assert result.details["kv_cache_hit_rate"] == 0.5


@pytest.mark.parametrize(("said", "stop"), [("END", "END"), ("None", None), ("2", None), ("other", None)])
def test_llmapi_says_at_which_stop_text_it_stopped(said: str, stop: str | None) -> None:
    reader = ResponseReader(described(llmapi_configs(), "tensorrt_llm"), "place")
    reader.feed(infer_response("yes", final=True, finish_reason="stop", stop_reason=said), 1.0)
    result = reader.result(latency=1.0, tokens_per_block=None, cache_id=None, details={}, stops=("END", "None", "2"))
    assert result.stop == stop


def test_a_bls_model_that_accumulates_repeats_too() -> None:
    configs = engine_configs()
    configs["tensorrt_llm_bls"].parameters["accumulate_tokens"].string_value = "true"
    reader = ResponseReader(described(configs, "tensorrt_llm_bls"), "place")
    assert [reader.feed(infer_response(text), 1.0) for text in ("a", "a b")] == ["a", " b"]


def test_a_text_that_shrinks_at_a_stop_word_is_the_text() -> None:
    reader = ResponseReader(described(llmapi_configs(), "tensorrt_llm"), "place")
    assert reader.feed(infer_response("one ST"), 1.0) == "one ST"
    assert reader.feed(infer_response("one ", final=True), 1.0) == ""
    assert result_of(reader).text == "one "


def test_a_held_back_end_is_handed_out_after_an_empty_final_response() -> None:
    reader = ResponseReader(described(llmapi_configs(), "tensorrt_llm"), "place")
    assert reader.feed(infer_response("x\ufffd"), 1.0) == "x"
    assert reader.feed(infer_response(final=True), 1.0) == ""
    assert reader.finish() == "\ufffd"


def test_a_stream_without_its_final_response_was_cut_off() -> None:
    reader = ResponseReader(described(engine_configs(), "ensemble"), "place")
    reader.feed(infer_response("Hello"), 1.0)
    with pytest.raises(TargetProtocolError, match="before its final response"):
        reader.finish()


def test_one_response_without_streaming_has_no_first_token_time() -> None:
    reader = ResponseReader(described(engine_configs(decoupled=False), "ensemble"), "place")
    assert reader.feed(infer_response("Hello"), 1.0) == "Hello"
    reader.finish()
    assert result_of(reader).ttft is None


def test_typed_contents_are_read_too() -> None:
    response = service_pb2.ModelInferResponse()
    response.outputs.add(name="n", datatype="INT32", shape=[1]).contents.int_contents.append(5)
    response.outputs.add(name="t", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"x")
    assert outputs_of(response, "place") == {"n": [5], "t": [b"x"]}


@pytest.mark.parametrize(
    ("datatype", "raw"), [("BYTES", b"\x09\x00\x00\x00abc"), ("BYTES", b"\x01"), ("INT32", b"abc")]
)
def test_bytes_that_are_no_tensor_are_refused(datatype: str, raw: bytes) -> None:
    response = service_pb2.ModelInferResponse(raw_output_contents=[raw])
    response.outputs.add(name="n", datatype=datatype, shape=[1])
    with pytest.raises(TargetProtocolError, match="place: output 'n' is not valid"):
        outputs_of(response, "place")


def test_a_missing_tensor_is_refused() -> None:
    response = service_pb2.ModelInferResponse(raw_output_contents=[b""])
    response.outputs.add(name="a", datatype="INT32", shape=[0])
    response.outputs.add(name="b", datatype="INT32", shape=[0])
    with pytest.raises(TargetProtocolError, match="announced 2 tensors and sent 1"):
        outputs_of(response, "place")


def test_types_that_no_text_client_needs_are_left_out() -> None:
    response = service_pb2.ModelInferResponse(raw_output_contents=[b"\x00\x00"])
    response.outputs.add(name="logits", datatype="BF16", shape=[1])
    assert outputs_of(response, "place") == {}


@pytest.mark.parametrize(
    ("value", "number"),
    [(5, 5), ("5", 5), (b"5", 5), ("5.0", 5), (b"None", None), ("", None), (None, None), ("nan", None)],
)
def test_numbers_are_read_from_whatever_holds_them(value: Any, number: int | None) -> None:
    assert as_int(value) == number


def test_floats_and_texts() -> None:
    assert as_float(b"0.25") == 0.25
    assert as_float("inf") is None
    assert as_text(b"stop") == "stop"
    assert as_text(b"None") is None


def test_the_prompt_helper_reads_what_was_sent() -> None:
    assert prompt_of(infer_request(described(engine_configs(), "ensemble"), EVERYTHING, "hé", "1")) == "hé"
