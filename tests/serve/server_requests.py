"""Requests to the embedded server with the stock `tritonclient` and over plain HTTP, and its metrics."""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from charter_compiler.serve.server import ServerHandle
from charter_compiler.tokens.tokenizer import default_tokenizer

PROMPT = "The capital of France is"
GUARD = 60.0
"""Seconds after which what is waited for will not come."""

TYPES = {
    "text_input": "BYTES",
    "stop_words": "BYTES",
    "bad_words": "BYTES",
    "guided_decoding_guide": "BYTES",
    "guided_decoding_guide_type": "BYTES",
    "max_tokens": "INT32",
    "top_k": "INT32",
    "beam_width": "INT32",
    "num_return_sequences": "INT32",
    "min_tokens": "INT32",
    "end_id": "INT32",
    "stream": "BOOL",
    "streaming": "BOOL",
    "stop": "BOOL",
    "return_log_probs": "BOOL",
    "return_context_logits": "BOOL",
    "exclude_input_in_output": "BOOL",
    "temperature": "FP32",
    "length_penalty": "FP32",
    "embedding_bias_weights": "FP32",
    "prompt_embedding_table": "FP16",
    "lora_task_id": "UINT64",
    "prompt_table_extra_id": "UINT64",
    "seed": "UINT64",
    "input_ids": "INT32",
    "input_lengths": "INT32",
    "request_output_len": "INT32",
    "retention_token_range_starts": "INT32",
    "retention_token_range_ends": "INT32",
    "retention_token_range_priorities": "INT32",
    "retention_token_range_durations_ms": "INT32",
    "retention_decode_priority": "INT32",
    "draft_input_ids": "INT32",
}
NUMPY = {
    "BYTES": np.object_,
    "INT32": np.int32,
    "BOOL": np.bool_,
    "FP32": np.float32,
    "FP16": np.float16,
    "UINT64": np.uint64,
}


@dataclass(frozen=True)
class Response:
    """Outputs by name, flat, and whether it was the last."""

    outputs: dict[str, list[Any]]
    final: bool

    @property
    def text(self) -> str:
        return self.outputs["text_output"][0].decode("utf-8")


def inputs(batch: int = 1, **values: Any) -> list[Any]:
    """Input tensors of shape [batch, n]; a list of lists is a value an entry, anything else is for all entries."""
    tensors = []
    for name, value in values.items():
        rows = value if isinstance(value, list) and isinstance(value[0], list) else None
        if rows is None:
            rows = [value if isinstance(value, list) else [value]] * batch
        encoded = [[item.encode() if isinstance(item, str) else item for item in row] for row in rows]
        array = np.array(encoded, dtype=NUMPY[TYPES[name]])
        if name == "prompt_embedding_table":
            array = array.reshape(batch, 1, -1)
        tensor = triton.InferInput(name, array.shape, TYPES[name])
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return tensors


class Stream:
    """One streamed request. Iterating gives responses; raises what the server says."""

    def __init__(
        self,
        url: str,
        tensors: list[Any],
        *,
        model: str = "ensemble",
        request_id: str = "",
        parameters: dict[str, Any] | None = None,
    ) -> None:
        self._answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self._client = triton.InferenceServerClient(url)
        self._client.start_stream(lambda result, error: self._answers.put((result, error)))
        self._client.async_stream_infer(
            model, tensors, request_id=request_id, enable_empty_final_response=True, parameters=parameters
        )

    def next(self, timeout: float = 120.0) -> Response:
        result, error = self._answers.get(timeout=timeout)
        if error is not None:
            raise error
        message = result.get_response()
        outputs = {tensor.name: result.as_numpy(tensor.name).ravel().tolist() for tensor in message.outputs}
        return Response(outputs, message.parameters["triton_final_response"].bool_param)

    def all(self) -> list[Response]:
        """Every response that carries tensors, to the last."""
        found = []
        while True:
            response = self.next()
            if response.outputs:
                found.append(response)
            if response.final:
                self.close()
                return found

    def close(self, *, cancel: bool = False) -> None:
        self._client.stop_stream(cancel_requests=cancel)
        self._client.close()


def ask(
    url: str,
    *,
    model: str = "ensemble",
    request_id: str = "",
    batch: int = 1,
    parameters: dict[str, Any] | None = None,
    **values: Any,
) -> list[Response]:
    """All responses to one request."""
    stream = Stream(url, inputs(batch, **values), model=model, request_id=request_id, parameters=parameters)
    try:
        return stream.all()
    except InferenceServerException:
        stream.close()
        raise


def joined(responses: list[Response]) -> str:
    return "".join(response.text for response in responses)


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=GUARD).raise_for_status()


def post(url: str, **values: Any) -> httpx.Response:
    return httpx.post(url, json=values, trust_env=False, timeout=GUARD).raise_for_status()


def metrics(server: ServerHandle) -> dict[str, float]:
    lines = get(server.metrics_url).text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def metric(server: ServerHandle, name: str, **labels: str) -> float:
    found = [
        value
        for key, value in metrics(server).items()
        if key.startswith(f"{name}{{") and all(f'{label}="{text}"' in key for label, text in labels.items())
    ]
    assert len(found) == 1, f"{name} {labels}: {found}"
    return found[0]


def wait_until(condition: Callable[[], bool]) -> None:
    """The server's metrics tell nobody that they changed."""
    pause, waited = threading.Event(), 0.0
    while not condition():
        assert waited < GUARD
        pause.wait(0.1)
        waited += 0.1


def long_prompt(tokens: int) -> str:
    """A prompt of that many tokens which no other test has sent."""
    tokenizer, text = default_tokenizer(), ""
    while len(ids := tokenizer.encode(text)) < tokens:
        text += f"{uuid.uuid4()} is not what was asked for. "
    return tokenizer.decode(ids[:tokens])


def figures(responses: list[Response]) -> dict[str, int]:
    """Those of the last response."""
    return {name: int(values[0]) for name, values in responses[-1].outputs.items() if name.endswith(("_ns", "_blocks"))}
