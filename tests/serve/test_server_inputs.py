"""What tensors ask for, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.serve.engine.interface import SamplingParams
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
    if not name.startswith("retention_"):
        neutral: Any = np.full((2, 1), b"" if kind is np.object_ else 0, dtype=kind)
        assert read_generations(tensors(**{name: neutral}), exclude_input=True)


def test_a_retention_priority_of_zero_is_a_wish_too() -> None:
    with pytest.raises(RequestRejectedError, match="retention_decode_priority"):
        read_generations(tensors(retention_decode_priority=[[0], [0]]), exclude_input=True)


def test_every_input_is_read_or_refused_or_without_effect() -> None:
    read = {"input_ids", "input_lengths", "request_output_len", "end_id", "stop_words_list", "bad_words_list"}
    read |= {"temperature", "runtime_top_k", "runtime_top_p", "repetition_penalty", "min_tokens", "presence_penalty"}
    read |= {"frequency_penalty", "seed", "return_log_probs", "exclude_input_in_output", "stop", "streaming"}
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
