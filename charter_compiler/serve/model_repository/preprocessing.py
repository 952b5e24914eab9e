"""Text to token ids: TensorRT-LLM's `preprocessing`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from charter_compiler.diagnostics.errors import CharterError, RequestRejectedError
from charter_compiler.serve.model_repository.backend import error_response, inputs_of, parameters, response, texts
from charter_compiler.serve.model_repository.inputs import refuse_unsupported
from charter_compiler.serve.model_repository.words import pack_words, word_tokens
from charter_compiler.tokens.tokenizer import load_tokenizer

_REFUSED = {
    "DECODER_QUERY": "the embedded server has no encoder-decoder models",
    "IMAGE_BYTES": "the embedded server takes text only",
    "IMAGE_URL": "the embedded server takes text only",
    "VIDEO_BYTES": "the embedded server takes text only",
    "EMBEDDING_BIAS_WORDS": "the embedded server has no embedding bias",
    "EMBEDDING_BIAS_WEIGHTS": "the embedded server has no embedding bias",
    "PROMPT_TABLE_EXTRA_ID": "it tells prompt tables apart and does nothing to text",
}


class TritonPythonModel:
    """Special tokens spelled out in the text become their ids; none is added."""

    def initialize(self, args: dict[str, str]) -> None:
        self._tokenizer = load_tokenizer(parameters(args)["tokenizer_dir"])
        end_id = self._tokenizer.eos_id
        self._end_id = -1 if end_id is None else end_id

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(inputs_of(request)) for request in requests]

    def _answer(self, tensors: dict[str, NDArray[Any]]) -> Any:
        try:
            return response(self._preprocess(tensors))
        except CharterError as error:
            return error_response(str(error))
        except UnicodeDecodeError as error:
            return error_response(f"the text is not UTF-8: {error}")

    def _preprocess(self, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        refuse_unsupported(tensors, _REFUSED)
        prompts = [self._tokenizer.encode(text) for text in texts(tensors["QUERY"])]
        if not all(prompts):
            raise RequestRejectedError("text_input is empty", remedy="send one token or more")
        batch = len(prompts)
        lengths = [len(prompt) for prompt in prompts]
        end_ids = tensors.get("END_ID", np.full((batch, 1), self._end_id, dtype=np.int32))
        pad_ids = tensors.get("PAD_ID", end_ids)
        input_ids = np.repeat(pad_ids, max(lengths), axis=1)
        for row, prompt in enumerate(prompts):
            input_ids[row, : len(prompt)] = prompt
        return {
            "INPUT_ID": input_ids,
            "REQUEST_INPUT_LEN": np.array(lengths, dtype=np.int32).reshape(batch, 1),
            "REQUEST_OUTPUT_LEN": tensors["REQUEST_OUTPUT_LEN"],
            "STOP_WORDS_IDS": self._words(tensors.get("STOP_WORDS_DICT"), batch),
            "BAD_WORDS_IDS": self._words(tensors.get("BAD_WORDS_DICT"), batch),
            "OUT_END_ID": end_ids,
            "OUT_PAD_ID": pad_ids,
            # Nothing to say, but an ensemble needs all the tensors that its steps pass on.
            "DECODER_INPUT_ID": np.zeros((batch, 1), dtype=np.int32),
            "REQUEST_DECODER_INPUT_LEN": np.zeros((batch, 1), dtype=np.int32),
            "EMBEDDING_BIAS": np.zeros((batch, 0), dtype=np.float32),
            "OUT_PROMPT_TABLE_EXTRA_IDS": np.zeros((batch, 0), dtype=np.uint64),
        }

    def _words(self, words: NDArray[Any] | None, batch: int) -> NDArray[np.int32]:
        rows = [[]] * batch if words is None else [texts(row) for row in words]
        return pack_words([word_tokens(row, self._tokenizer.encode) for row in rows])
