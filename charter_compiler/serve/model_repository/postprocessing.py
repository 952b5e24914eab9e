"""Token ids to text: TensorRT-LLM's `postprocessing`."""

from __future__ import annotations

from typing import Any

from charter_compiler.diagnostics.errors import TokenizerError
from charter_compiler.serve.model_repository.backend import (
    error_response,
    inputs_of,
    parameters,
    response,
    stop_request,
    string_array,
)
from charter_compiler.tokens.tokenizer import load_tokenizer


class TritonPythonModel:
    """Special tokens have no text."""

    def initialize(self, args: dict[str, str]) -> None:
        self._tokenizer = load_tokenizer(parameters(args)["tokenizer_dir"])

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        if request.is_cancelled():
            # An ensemble marks the next step of a request that was cancelled, and leaves the one before it running.
            if request.request_id():
                stop_request(request.request_id())
            return error_response("the request was cancelled", cancelled=True)
        tensors = inputs_of(request)
        tokens, lengths = tensors["TOKENS_BATCH"].tolist(), tensors["SEQUENCE_LENGTH"].tolist()
        try:
            return response(
                {
                    "OUTPUT": string_array(
                        [
                            [self._text(beam[:length]) for beam, length in zip(beams, ends, strict=True)]
                            for beams, ends in zip(tokens, lengths, strict=True)
                        ]
                    )
                }
            )
        except TokenizerError as error:
            return error_response(str(error))

    def _text(self, tokens: list[int]) -> str:
        # Byte by byte, not by `decode`: pieces of a stream must join to the text of the whole.
        plain = (token for token in tokens if token not in self._tokenizer.special_ids)
        return b"".join(self._tokenizer.token_bytes(token) for token in plain).decode("utf-8", "replace")
