"""What a request's tensors ask for, and the refusal of what the engine does not do. Knows NumPy, not Triton."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charter_compiler.cache.retention import Retention
from charter_compiler.config.hints.received import ReceivedEnvelope
from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.serve.engine.interface import Guide, GuideKind, SamplingParams
from charter_compiler.serve.model_repository.extras import Extras, read_extras
from charter_compiler.serve.model_repository.retention import read_retention
from charter_compiler.serve.model_repository.words import TokenWords, unpack_words

Tensors = Mapping[str, NDArray[Any]]
"""The inputs that a request has, by name, each with the batch dimension first."""

_GPU = "the embedded server runs without a GPU and takes text only"
_BEAMS = "the embedded server has no beam search"
_DRAFTS = "the embedded server takes drafts by their tokens alone"

REFUSED: Mapping[str, str] = {
    "encoder_input_features": _GPU,
    "encoder_output_lengths": _GPU,
    "decoder_input_lengths": "the embedded server has no encoder-decoder models",
    "draft_logits": _DRAFTS,
    "draft_acceptance_threshold": _DRAFTS,
    "lookahead_window_size": _DRAFTS,
    "lookahead_ngram_size": _DRAFTS,
    "lookahead_verification_set_size": _DRAFTS,
    "embedding_bias": "the embedded server has no embedding bias",
    "beam_width": _BEAMS,
    "num_return_sequences": "the embedded server returns one sequence a request",
    "len_penalty": _BEAMS,
    "early_stopping": _BEAMS,
    "beam_search_diversity_rate": _BEAMS,
    "runtime_top_p_min": "the embedded server has no top-p decay",
    "runtime_top_p_decay": "the embedded server has no top-p decay",
    "runtime_top_p_reset_ids": "the embedded server has no top-p decay",
    "return_context_logits": "the embedded server returns no logits",
    "return_generation_logits": "the embedded server returns no logits",
    "prompt_embedding_table": _GPU,
    "prompt_table_extra_ids": _GPU,
    "prompt_vocab_size": _GPU,
    "cross_attention_mask": _GPU,
    "skip_cross_attn_blocks": _GPU,
    "mrope_rotary_cos_sin": _GPU,
    "mrope_position_deltas": _GPU,
    "lora_task_id": "the embedded server has no LoRA",
    "lora_weights": "the embedded server has no LoRA",
    "lora_config": "the embedded server has no LoRA",
    "context_phase_params": "the embedded server is not disaggregated",
}
"""Inputs of `tensorrt_llm` that are part of the interface and refused when they ask for something."""

NEUTRAL: Mapping[str, frozenset[float]] = {
    "beam_width": frozenset({0, 1}),
    "num_return_sequences": frozenset({0, 1}),
    "len_penalty": frozenset({0, 1}),
    "runtime_top_p_decay": frozenset({0, 1}),
}
"""Values that ask for nothing; for the others these are 0, false, the empty string and no value at all."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What one entry of a request's batch asks for."""

    prompt: tuple[int, ...]
    sampling: SamplingParams
    stop: TokenWords
    bad: TokenWords
    end_id: int | None
    return_log_probs: bool
    exclude_input: bool
    retention: Retention | None = None
    cache_salt: str | None = None
    drafts: tuple[int, ...] = ()
    guide: Guide | None = None
    hints: ReceivedEnvelope | None = None


def refuse_unsupported(tensors: Tensors, refused: Mapping[str, str] = REFUSED) -> None:
    """Let a request pass whose inputs ask for nothing of ``refused``.

    Raises:
        RequestRejectedError: naming the input.
    """
    for name, why in refused.items():
        if name in tensors and _asks(name, tensors[name]):
            raise RequestRejectedError(f"{name} is not supported: {why}", remedy="leave it out")


def _asks(name: str, values: NDArray[Any]) -> bool:
    neutral = NEUTRAL.get(name, frozenset({0}))
    return any(value not in neutral and value not in {b"", ""} for value in values.ravel().tolist())


def is_streaming(tensors: Tensors) -> bool:
    """Whether the tokens are wanted one by one; one answer for the whole batch.

    Raises:
        RequestRejectedError: the entries of the batch want different things.
    """
    values = {bool(value) for value in tensors["streaming"].ravel()} if "streaming" in tensors else {False}
    if len(values) > 1:
        raise RequestRejectedError("streaming differs within the batch", remedy="send two requests")
    return values.pop()


def read_generations(
    tensors: Tensors, *, exclude_input: bool, parameters: Mapping[str, Any] = MappingProxyType({})
) -> list[Generation]:
    """The entries of a request's batch.

    Args:
        tensors: the request's inputs.
        exclude_input: the model's default for ``exclude_input_in_output``.
        parameters: Triton's request parameters; they hold for all entries.

    Raises:
        RequestRejectedError: an input that is not supported, missing or out of range; the message names it.
    """
    refuse_unsupported(tensors)
    if "input_ids" not in tensors:
        raise RequestRejectedError("input_ids is missing", remedy="send the prompt's tokens")
    extras = read_extras(parameters)
    return [_read(tensors, row, exclude_input, extras) for row in range(tensors["input_ids"].shape[0])]


def _read(tensors: Tensors, row: int, exclude_input: bool, extras: Extras) -> Generation:
    ids = tensors["input_ids"][row].ravel()
    length = int(tensors["input_lengths"][row].ravel()[0])
    if not 0 < length <= ids.size:
        raise RequestRejectedError(f"input_lengths is {length}, but there are {ids.size} input_ids")
    max_tokens = _number(tensors, "request_output_len", row)
    if max_tokens is None or max_tokens < 1:
        raise RequestRejectedError(f"request_output_len (max_tokens) is {max_tokens}", remedy="ask for 1 or more")
    end_id = _number(tensors, "end_id", row)
    exclude = _number(tensors, "exclude_input_in_output", row)
    return Generation(
        prompt=tuple(ids[:length].tolist()),
        sampling=_sampling(tensors, row, int(max_tokens), extras),
        stop=_words(tensors, "stop_words_list", row),
        bad=_words(tensors, "bad_words_list", row),
        # TensorRT-LLM's way to say that no token ends the output.
        end_id=None if end_id is None or end_id < 0 else int(end_id),
        return_log_probs=bool(_number(tensors, "return_log_probs", row)),
        exclude_input=exclude_input if exclude is None else bool(exclude),
        retention=read_retention(tensors, row),
        cache_salt=extras.cache_salt,
        drafts=tuple(tensors["draft_input_ids"][row].ravel().tolist()) if "draft_input_ids" in tensors else (),
        guide=_guide(tensors, row),
        hints=extras.hints,
    )


def _guide(tensors: Tensors, row: int) -> Guide | None:
    kind = _text(tensors, "guided_decoding_guide_type", row)
    text = _text(tensors, "guided_decoding_guide", row)
    if not kind and not text:
        return None
    if kind not in set(GuideKind):
        known = ", ".join(GuideKind)
        raise RequestRejectedError(f"guided_decoding_guide_type is {kind!r}", remedy=f"give one of {known}")
    if not text and kind != GuideKind.JSON:
        raise RequestRejectedError("guided_decoding_guide is missing", remedy=f"send the {kind}")
    return Guide(GuideKind(kind), "" if kind == GuideKind.JSON else text)


def _text(tensors: Tensors, name: str, row: int) -> str:
    value = _number(tensors, name, row) if name in tensors and tensors[name][row].size else b""
    try:
        return value.decode("utf-8") if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError as error:
        raise RequestRejectedError(f"{name} is not UTF-8", remedy="send UTF-8") from error


def _sampling(tensors: Tensors, row: int, max_tokens: int, extras: Extras) -> SamplingParams:
    temperature = _in_range(tensors, "temperature", row, low=0.0)
    top_k = _in_range(tensors, "runtime_top_k", row, low=0)
    top_p = _in_range(tensors, "runtime_top_p", row, low=0.0, high=1.0)
    min_tokens = _in_range(tensors, "min_tokens", row, low=0)
    repetition = _in_range(tensors, "repetition_penalty", row, low=0.0)
    seed = _number(tensors, "seed", row)
    return SamplingParams(
        max_tokens=max_tokens,
        min_tokens=int(min_tokens or 0),
        temperature=temperature,
        # 0 is TensorRT-LLM's "not given" for both.
        top_k=int(top_k) if top_k else None,
        top_p=top_p or None,
        min_p=extras.min_p,
        repetition_penalty=repetition or 1.0,
        presence_penalty=_number(tensors, "presence_penalty", row) or 0.0,
        frequency_penalty=_number(tensors, "frequency_penalty", row) or 0.0,
        seed=None if seed is None else int(seed),
    )


def _number(tensors: Tensors, name: str, row: int) -> Any:
    """The entry's value, or ``None`` if the request has no such input."""
    if name not in tensors:
        return None
    values = tensors[name][row].ravel()
    if values.size != 1:
        raise RequestRejectedError(f"{name} has {values.size} values", remedy="send one")
    return values[0].item() if isinstance(values[0], np.generic) else values[0]


def _in_range(tensors: Tensors, name: str, row: int, *, low: float, high: float = float("inf")) -> Any:
    value = _number(tensors, name, row)
    if value is not None and not low <= value <= high:
        upper = "" if high == float("inf") else f" and at most {high:g}"
        raise RequestRejectedError(f"{name} is {value:g}", remedy=f"give at least {low:g}{upper}")
    return value


def _words(tensors: Tensors, name: str, row: int) -> TokenWords:
    if name not in tensors:
        return ()
    try:
        return unpack_words(np.asarray(tensors[name][row], dtype=np.int32))
    except ValueError as error:
        raise RequestRejectedError(f"{name}: {error}") from error
