"""Text to text by calls of the other models: TensorRT-LLM's `tensorrt_llm_bls`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from charter_compiler.diagnostics.errors import CharterError
from charter_compiler.serve.interfaces import Step, interfaces
from charter_compiler.serve.model_repository.backend import (
    FINAL,
    error_response,
    inputs_of,
    parameters,
    response,
    stop_request,
)
from charter_compiler.serve.model_repository.inputs import refuse_unsupported

CONCURRENCY = 16
"""Requests at once; each waits in a thread for the models it calls."""

_REFUSED = {
    "image_input": "the embedded server takes text only",
    "image_bytes_input": "the embedded server takes text only",
    "image_url_input": "the embedded server takes text only",
    "video_bytes_input": "the embedded server takes text only",
    "num_draft_tokens": "the embedded server has no speculative decoding",
    "use_draft_logits": "the embedded server has no speculative decoding",
}


class _CallError(Exception):
    """A called model refused; ``error`` is its ``TritonError``."""

    def __init__(self, error: Any) -> None:
        super().__init__(error.message())
        self.error = error


class TritonPythonModel:
    """Goes through the same steps as the ensemble. With the parameter ``accumulate_tokens`` each response of a stream
    repeats the text so far."""

    def initialize(self, args: dict[str, str]) -> None:
        values = parameters(args)
        self._accumulate = values["accumulate_tokens"] == "true"
        self._steps = interfaces()["ensemble"].steps
        self._outputs = [tensor.name for tensor in interfaces()[args["model_name"]].outputs]
        self._threads = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="charter-bls")

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            extra = json.loads(request.parameters() or "{}")
            self._threads.submit(self._answer, inputs_of(request), extra, request.get_response_sender())

    def finalize(self) -> None:
        self._threads.shutdown()

    def _answer(self, tensors: dict[str, NDArray[Any]], extra: dict[str, Any], sender: Any) -> None:
        try:
            refuse_unsupported(tensors, _REFUSED)
            for answer in self._responses(tensors, extra, sender):
                sender.send(response(answer))
            sender.send(flags=FINAL)
        except CharterError as error:
            sender.send(error_response(str(error)), flags=FINAL)
        except _CallError as error:
            sender.send(pb_utils.InferenceResponse(error=error.error), flags=FINAL)

    def _responses(
        self, tensors: dict[str, NDArray[Any]], extra: dict[str, Any], sender: Any
    ) -> Iterator[dict[str, NDArray[Any]]]:
        preprocessing, engine, postprocessing = self._steps
        prepared = {**tensors, **_outputs(preprocessing, _request(preprocessing, tensors).exec())}
        name = uuid.uuid4().hex
        tokens = np.zeros((1, 1, 0), dtype=np.int32)
        cancelled = False
        for answer in _request(engine, prepared, name, extra).exec(decoupled=True):
            if not answer.has_error() and not answer.output_tensors():
                continue  # the mark of the end
            figures = _outputs(engine, answer)
            if self._accumulate:
                tokens = np.concatenate([tokens, figures["_TOKENS_BATCH"]], axis=2)
                figures["_TOKENS_BATCH"] = tokens
                figures["_SEQUENCE_LENGTH"] = np.array([[tokens.shape[2]]], dtype=np.int32)
            text = _outputs(postprocessing, _request(postprocessing, figures).exec())
            known = {**figures, **text}
            yield {output: known[output] for output in self._outputs if output in known}
            if not cancelled and sender.is_cancelled():
                cancelled = True
                stop_request(name)


def _request(
    step: Step, tensors: dict[str, NDArray[Any]], name: str = "", extra: Mapping[str, Any] | None = None
) -> Any:
    return pb_utils.InferenceRequest(
        model_name=step.model,
        request_id=name,
        inputs=[pb_utils.Tensor(own, tensors[theirs]) for own, theirs in step.input_map.items() if theirs in tensors],
        requested_output_names=list(step.output_map),
        parameters=dict(extra or {}),
    )


def _outputs(step: Step, answer: Any) -> dict[str, NDArray[Any]]:
    if answer.has_error():
        raise _CallError(answer.error())
    return {step.output_map[tensor.name()]: tensor.as_numpy() for tensor in answer.output_tensors()}
