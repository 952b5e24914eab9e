"""A text model as its server describes it: which tensors it takes, which it gives, whether it streams. Pure.

TensorRT-LLM has two generations of Triton models with different tensor names (``Profile``). Which one a model belongs
to, and what it can be asked for, is read from its metadata; its transaction policy and parameters from its
configuration. Nothing depends on the model's name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from charter_compiler.diagnostics.errors import RequestRejectedError, TargetProtocolError
from charter_compiler.executor.triton_tensors import add_input, as_int, empty_infer_request
from charter_compiler.executor.types import GenerationRequest


@dataclass(frozen=True, slots=True)
class Profile:
    """Tensor names of one generation. ``options`` maps fields of ``GenerationRequest``; ``wanted`` are switches that
    are set wherever the model has them. ``cumulative``: each response of a stream repeats the text so far."""

    name: str
    marker: str
    streaming: str
    options: Mapping[str, str]
    wanted: tuple[str, ...]
    reused_blocks: str
    cumulative: bool


ENGINE = Profile(
    name="engine",
    marker="max_tokens",
    streaming="stream",
    options={
        "max_tokens": "max_tokens",
        "temperature": "temperature",
        "top_k": "top_k",
        "top_p": "top_p",
        "seed": "seed",
        "stop": "stop_words",
    },
    wanted=("exclude_input_in_output", "return_perf_metrics", "return_num_input_tokens", "return_num_output_tokens"),
    reused_blocks="kv_cache_reused_blocks",
    cumulative=False,
)
LLMAPI = Profile(
    name="llmapi",
    marker="sampling_param_max_tokens",
    streaming="streaming",
    options={
        "max_tokens": "sampling_param_max_tokens",
        "temperature": "sampling_param_temperature",
        "top_k": "sampling_param_top_k",
        "top_p": "sampling_param_top_p",
        "seed": "sampling_param_seed",
        "stop": "sampling_param_stop",
    },
    wanted=(
        "sampling_param_exclude_input_from_output",
        "sampling_param_return_perf_metrics",
        "return_finish_reason",
        "return_stop_reason",
    ),
    reused_blocks="kv_cache_reused_block",
    cumulative=True,
)
PROFILES = (ENGINE, LLMAPI)

INNER_MODEL_PARAMETER = "tensorrt_llm_model_name"


@dataclass(frozen=True, slots=True)
class InputTensor:
    """``shape`` as the metadata gives it, the batch dimension included; -1 is any size."""

    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TritonModel:
    """What a client has to know of a model. ``parameters`` are those of its configuration and, below them, those of
    the models it is composed of."""

    name: str
    profile: Profile
    inputs: Mapping[str, InputTensor]
    outputs: frozenset[str]
    decoupled: bool
    cumulative: bool
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def tokens_per_block(self) -> int | None:
        """Tokens in a KV block, where the configuration says."""
        return as_int(self.parameters.get("tokens_per_block")) or None


def describe_model(metadata: Any, config: Any, composing: Sequence[Any], place: str) -> TritonModel:
    """Read a model's description.

    Args:
        metadata: ``ModelMetadataResponse``.
        config: ``ModelConfig``.
        composing: ``ModelConfig`` of each model that ``composing_models(config)`` names.

    Raises:
        TargetProtocolError: it is no text model of either profile.
    """
    inputs = {tensor.name: InputTensor(tensor.datatype, tuple(tensor.shape)) for tensor in metadata.inputs}
    outputs = frozenset(tensor.name for tensor in metadata.outputs)
    profile = next((profile for profile in PROFILES if profile.marker in inputs), None)
    if profile is None or "text_input" not in inputs or "text_output" not in outputs:
        raise TargetProtocolError(
            f"model {metadata.name!r} is not one that takes a text and gives one, as TensorRT-LLM's do",
            place=place,
            remedy="name the ensemble, the BLS model or the llmapi model",
        )
    parameters: dict[str, str] = {}
    for source in (*reversed(composing), config):
        values = {name: value.string_value for name, value in source.parameters.items()}
        # Templates leave what nobody filled in as "${name}" or empty.
        parameters.update({name: value for name, value in values.items() if value and not value.startswith("${")})
    return TritonModel(
        name=metadata.name,
        profile=profile,
        inputs=inputs,
        outputs=outputs,
        decoupled=config.model_transaction_policy.decoupled,
        cumulative=profile.cumulative or parameters.get("accumulate_tokens", "").lower() in {"true", "1"},
        parameters=parameters,
    )


def composing_models(config: Any) -> tuple[str, ...]:
    """Names of the models behind an ensemble or a BLS model, in order, each once."""
    names = [step.model_name for step in config.ensemble_scheduling.step]
    inner = config.parameters.get(INNER_MODEL_PARAMETER)
    if inner is not None and inner.string_value:
        names.append(inner.string_value)
    return tuple(dict.fromkeys(names))


def guide_of(request: GenerationRequest) -> dict[str, str]:
    """The tensors that hold an output to a ``response_format``, which is OpenAI's; none without one.

    Raises:
        RequestRejectedError: it is neither ``json_object`` nor ``json_schema`` with a schema.
    """
    wanted = request.response_format
    if wanted is None or wanted.get("type") == "text":
        return {}
    if wanted.get("type") == "json_object":
        return {"guided_decoding_guide_type": "json"}
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, Mapping) else None
    if wanted.get("type") != "json_schema" or not isinstance(schema, Mapping):
        raise RequestRejectedError(
            f"response_format is {wanted.get('type')!r}", remedy="give json_object, or json_schema with a schema"
        )
    return {"guided_decoding_guide_type": "json_schema", "guided_decoding_guide": json.dumps(schema)}


def infer_request(model: TritonModel, request: GenerationRequest, prompt: str, request_id: str) -> Any:
    """The ``ModelInferRequest`` for a prompt.

    Raises:
        RequestRejectedError: an option that this model does not take, or a value out of range.
    """
    if request.max_tokens < 1:
        raise RequestRejectedError(f"max_tokens is {request.max_tokens}", remedy="ask for one token or more")
    message = empty_infer_request(model.name, request_id)

    def put(name: str, values: Sequence[Any]) -> None:
        tensor = model.inputs[name]
        # The batch is one request; the only other dimension of a text model's inputs is the number of values.
        batched = len(tensor.shape) > 1
        add_input(message, name, tensor.datatype, [1, len(values)] if batched else [len(values)], values)

    put("text_input", [prompt])
    for option, name in model.profile.options.items():
        value = getattr(request, option)
        if value is None or value == ():
            continue
        if name not in model.inputs:
            raise RequestRejectedError(
                f"model {model.name!r} takes no {name!r}", remedy=f"leave {option} out, or serve a model that takes it"
            )
        put(name, list(value) if isinstance(value, tuple) else [value])
    for name, text in guide_of(request).items():
        if name not in model.inputs:
            raise RequestRejectedError(
                f"model {model.name!r} cannot hold an output to a response_format: it takes no {name!r}",
                remedy="leave it out, or serve a model that takes it",
            )
        put(name, [text])
    for name in model.profile.wanted:
        if name in model.inputs:
            put(name, [True])
    if model.profile.streaming in model.inputs:
        put(model.profile.streaming, [model.decoupled])
    if request.kv_hints is not None:
        message.parameters["kv_hints"].string_param = request.kv_hints
    if model.decoupled:
        # Without it the end of an answer shows only in the end of the call; with it, a truncated one can be told.
        message.parameters["triton_enable_empty_final_response"].bool_param = True
    return message
