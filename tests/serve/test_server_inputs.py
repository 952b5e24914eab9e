"""What tensors ask for, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from charter_compiler.cache.retention import Retention, RetentionRange
from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.serve.engine.interface import Guide, GuideKind, SamplingParams
from charter_compiler.serve.interfaces import interfaces
from charter_compiler.serve.model_repository.inputs import REFUSED, is_streaming, read_generations

KINDS = {"INT32": np.int32, "INT64": np.int64, "UINT64": np.uint64, "UINT8": np.uint8, "FP32": np.float32}
KINDS |= {"FP16": np.float16, "BOOL": np.bool_, "STRING": np.object_}


def tensors(**others: Any) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {
        "input_ids": np.array([[4, 5, 6, 0], [7, 8, 9, 10]], dtype=np.int32),
        "input_lengths": np.array([[3], [4]], dtype=np.int32),
        "request_output_len": np.array([[11], [12]], dtype=np.int32),
    }
    return found | {name: np.asarray(value) for name, value in others.items()}


def test_each_entry_of_a_batch_has_its_own_prompt_and_options() -> None:
    first, second = read_generations(tensors(temperature=[[0.5], [0.0]], seed=[[1], [2]]), exclude_input=True)
    assert first.prompt == (4, 5, 6)
    assert second.prompt == (7, 8, 9, 10)
    assert first.sampling == SamplingParams(max_tokens=11, temperature=0.5, seed=1)
    assert second.sampling == SamplingParams(max_tokens=12, temperature=0.0, seed=2)
    assert second.sampling.greedy


def test_zero_top_k_and_top_p_mean_not_given() -> None:
    first, _ = read_generations(tensors(runtime_top_k=[[0], [0]], runtime_top_p=[[0.0], [0.0]]), exclude_input=True)
    assert first.sampling.greedy


def test_a_negative_end_id_means_none() -> None:
    first, second = read_generations(tensors(end_id=[[-1], [2]]), exclude_input=True)
    assert (first.end_id, second.end_id) == (None, 2)


def test_the_request_overrides_the_model_on_repeating_the_prompt() -> None:
    first, second = read_generations(tensors(exclude_input_in_output=[[True], [False]]), exclude_input=False)
    assert (first.exclude_input, second.exclude_input) == (True, False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"request_output_len": [[0], [1]]}, r"max_tokens\) is 0"),
        ({"input_lengths": [[5], [4]]}, "input_lengths is 5, but there are 4"),
        ({"temperature": [[-1.0], [0.0]]}, "temperature is -1"),
        ({"runtime_top_p": [[1.5], [0.0]]}, "top_p is 1.5"),
        ({"stop_words_list": [[[1], [3]], [[1], [1]]]}, "stop_words_list"),
        ({"seed": [[1, 2], [3, 4]]}, "seed has 2 values"),
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestRejectedError, match=message):
        read_generations(tensors(**change), exclude_input=True)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_not_supported_is_refused_by_name_and_passes_when_it_asks_for_nothing(name: str) -> None:
    declared = {tensor.name: tensor for tensor in interfaces()["tensorrt_llm"].inputs}[name]
    kind = KINDS[declared.type]
    used: Any = np.full((2, 1), b"json" if kind is np.object_ else 2, dtype=kind)
    with pytest.raises(RequestRejectedError, match=f"{name} is not supported: .+ \\(leave it out\\)"):
        read_generations(tensors(**{name: used}), exclude_input=True)
    empty: Any = np.zeros((2, 0), dtype=kind)
    assert read_generations(tensors(**{name: empty}), exclude_input=True)
    neutral: Any = np.full((2, 1), b"" if kind is np.object_ else 0, dtype=kind)
    assert read_generations(tensors(**{name: neutral}), exclude_input=True)


def retention(**columns: list[int]) -> Retention | None:
    rows = {f"retention_{name}": [values, values] for name, values in columns.items()}
    return read_generations(tensors(**rows), exclude_input=True)[0].retention


def test_retention_is_read_as_tensorrt_llm_reads_it() -> None:
    assert retention() is None
    assert retention(decode_priority=[0]) == Retention((), 0, None), "a priority of 0 is a wish, too"
    ranges = {"token_range_starts": [0, 32], "token_range_ends": [32, -1], "token_range_priorities": [100, 50]}
    expected = (RetentionRange(0, 32, 100), RetentionRange(32, None, 50))
    assert retention(**ranges) == Retention(expected)
    durations = {"token_range_durations_ms": [-1, 900], "decode_priority": [10], "decode_duration_ms": [500]}
    expected = (RetentionRange(0, 32, 100), RetentionRange(32, None, 50, 900.0))
    assert retention(**ranges, **durations) == Retention(expected, 10, 500.0)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"token_range_starts": [0], "token_range_ends": [4]}, "token_range_priorities has 0 values .*send 1"),
        ({"token_range_starts": [0, 4], "token_range_ends": [4]}, "token_range_ends has 1 values"),
        ({"token_range_priorities": [4]}, "token_range_priorities has 1 values .*send 0"),
        ({"token_range_starts": [4], "token_range_ends": [4], "token_range_priorities": [1]}, "from 4 to 4 is empty"),
        ({"token_range_starts": [0], "token_range_ends": [4], "token_range_priorities": [101]}, "from 0 to 100"),
        ({"decode_priority": [-2]}, "from 0 to 100"),
        ({"decode_priority": [2], "decode_duration_ms": [-2]}, "a duration of -2 ms"),
    ],
)
def test_retention_that_contradicts_itself_is_refused(columns: dict[str, list[int]], message: str) -> None:
    with pytest.raises(RequestRejectedError, match=message):
        retention(**columns)


def test_guides_are_read() -> None:
    kinds = [[b"regex"], [b""]]
    first, second = read_generations(
        tensors(guided_decoding_guide_type=kinds, guided_decoding_guide=[[b"a+"], [b""]]), exclude_input=True
    )
    assert (first.guide, second.guide) == (Guide(GuideKind.REGEX, "a+"), None)
    with pytest.raises(RequestRejectedError, match="guided_decoding_guide_type is 'ebnf_grammar'"):
        read_generations(tensors(guided_decoding_guide_type=[[b"ebnf_grammar"]] * 2), exclude_input=True)


def test_drafts_are_read() -> None:
    first, second = read_generations(tensors(draft_input_ids=[[1, 2], [3, 4]]), exclude_input=True)
    assert (first.drafts, second.drafts) == ((1, 2), (3, 4))


def test_request_parameters_are_read_and_those_of_others_pass() -> None:
    values = {"cache_salt": "tenant", "min_p": "0.25", "sequence_id": 7}
    first, second = read_generations(tensors(), exclude_input=True, parameters=values)
    assert first.cache_salt == second.cache_salt == "tenant"
    assert first.sampling.min_p == 0.25
    assert not first.sampling.greedy
    for wrong in ({"cache_salt": 3}, {"min_p": "much"}, {"min_p": "1.5"}):
        with pytest.raises(RequestRejectedError, match=f"parameter {next(iter(wrong))}"):
            read_generations(tensors(), exclude_input=True, parameters=wrong)


def test_every_input_is_read_or_refused_or_without_effect() -> None:
    read = {"input_ids", "input_lengths", "request_output_len", "end_id", "stop_words_list", "bad_words_list"}
    read |= {"temperature", "runtime_top_k", "runtime_top_p", "repetition_penalty", "min_tokens", "presence_penalty"}
    read |= {"frequency_penalty", "seed", "return_log_probs", "exclude_input_in_output", "stop", "streaming"}
    read |= {name for name in {tensor.name for tensor in interfaces()["tensorrt_llm"].inputs} if "retention_" in name}
    read |= {"draft_input_ids", "guided_decoding_guide_type", "guided_decoding_guide"}
    # Padding is cut off by input_lengths; figures are always sent; decoder_input_lengths speaks for the ids.
    no_effect = {"pad_id", "return_perf_metrics", "return_num_input_tokens", "return_num_output_tokens"}
    no_effect |= {"decoder_input_ids"}
    declared = {tensor.name for tensor in interfaces()["tensorrt_llm"].inputs}
    assert declared == read | no_effect | set(REFUSED)


def test_streaming_is_one_answer_for_the_batch() -> None:
    assert not is_streaming(tensors())
    assert is_streaming(tensors(streaming=[[True], [True]]))
    with pytest.raises(RequestRejectedError, match="differs within the batch"):
        is_streaming(tensors(streaming=[[True], [False]]))
