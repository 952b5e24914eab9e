"""The responses of one call, put together to its text and its figures. Pure: the caller reads the clock."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from charter_compiler.diagnostics.errors import TargetProtocolError
from charter_compiler.executor.triton_model import TritonModel
from charter_compiler.executor.triton_tensors import as_float, as_int, as_text, outputs_of
from charter_compiler.executor.types import GenerationResult

COUNTS = (
    "kv_cache_reused_blocks",
    "kv_cache_reused_block",
    "kv_cache_missed_block",
    "kv_cache_alloc_new_blocks",
    "kv_cache_alloc_total_blocks",
    "arrival_time_ns",
    "first_scheduled_time_ns",
    "first_token_time_ns",
    "last_token_time_ns",
    "num_input_tokens",
    "total_accepted_draft_tokens",
    "total_draft_tokens",
)
RATES = ("kv_cache_hit_rate", "acceptance_rate")
FINAL_RESPONSE = "triton_final_response"


class ResponseReader:
    """Takes the responses of one call in order. ``first_at`` is the time of the first one that carried text, as
    ``feed`` was told; ``final`` holds once the server has said that nothing follows."""

    def __init__(self, model: TritonModel, place: str) -> None:
        self._model = model
        self._place = place
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pieces: list[str] = []
        self._cumulative = ""
        self._delivered = 0
        self._output_tokens: int | None = None
        self._figures: dict[str, int | float] = {}
        self._finish_reason: str | None = None
        self._stop: str | None = None
        self.first_at: float | None = None
        self.final = False

    def feed(self, response: Any, now: float) -> str:
        """Take a ``ModelInferResponse`` that arrived at ``now``; returns the text it adds, which may be empty.

        Raises:
            TargetProtocolError: tensors that do not fit their types.
        """
        outputs = outputs_of(response, self._place)
        if self._model.decoupled:
            self.final = (
                response.parameters[FINAL_RESPONSE].bool_param if FINAL_RESPONSE in response.parameters else False
            )
        else:
            self.final = True
        self._read_figures(outputs)
        texts = outputs.get("text_output")
        if not texts:
            return ""
        if self.first_at is None:
            self.first_at = now
        return self._add(texts[0])

    def _add(self, raw: bytes) -> str:
        if not self._model.cumulative:
            # A server may cut a character in two between responses.
            piece = self._decoder.decode(raw)
            self._pieces.append(piece)
            return piece
        text = raw.decode("utf-8", "replace")
        # The last character of a text so far may still be incomplete; it is not handed out before it is settled.
        settled = text if self.final else text.rstrip("\ufffd")
        piece = settled[self._delivered :] if settled.startswith(self._cumulative[: self._delivered]) else ""
        self._delivered += len(piece)
        self._cumulative = text
        return piece

    def _read_figures(self, outputs: dict[str, list[Any]]) -> None:
        for name in COUNTS:
            if outputs.get(name) and (count := as_int(outputs[name][0])) is not None:
                self._figures[name] = count
        for name in RATES:
            if outputs.get(name) and (rate := as_float(outputs[name][0])) is not None:
                self._figures[name] = rate
        if outputs.get("num_output_tokens") and (tokens := as_int(outputs["num_output_tokens"][0])) is not None:
            # TensorRT-LLM counts the tokens of each response, not of the answer so far.
            self._output_tokens = (self._output_tokens or 0) + tokens
        if outputs.get("finish_reason"):
            self._finish_reason = as_text(outputs["finish_reason"][0]) or self._finish_reason
        if outputs.get("stop_reason"):
            self._stop = as_text(outputs["stop_reason"][0])

    def finish(self) -> str:
        """To be called when the responses have ended; returns the text that was still held back.

        Raises:
            TargetProtocolError: the answer was cut off.
        """
        if self._model.decoupled and not self.final:
            raise TargetProtocolError("the stream ended before its final response", place=self._place)
        if self._model.cumulative:
            return self._cumulative[self._delivered :]
        rest = self._decoder.decode(b"", final=True)
        self._pieces.append(rest)
        return rest

    @property
    def reused_blocks(self) -> int | None:
        """KV blocks of the prompt taken from the cache, where the server reported them."""
        value = self._figures.get(self._model.profile.reused_blocks)
        return None if value is None else int(value)

    def result(
        self,
        *,
        latency: float,
        tokens_per_block: int | None,
        cache_id: int | None,
        details: dict[str, Any],
        stops: Sequence[str] = (),
    ) -> GenerationResult:
        """The whole call; ``stops`` are the request's stop texts. Cached tokens are reused blocks times
        ``tokens_per_block``, and never more than the prompt has: the last block reused may be partly filled."""
        prompt_tokens = as_int(self._figures.get("num_input_tokens"))
        cached: int | None = None
        if self.reused_blocks is not None and tokens_per_block is not None:
            cached = self.reused_blocks * tokens_per_block
            if prompt_tokens is not None:
                cached = min(cached, prompt_tokens)
        return GenerationResult(
            text=self._cumulative if self._model.cumulative else "".join(self._pieces),
            latency=latency,
            ttft=self.first_at if self._model.decoupled else None,
            prompt_tokens=prompt_tokens,
            cached_tokens=cached,
            output_tokens=self._output_tokens,
            cache_id=cache_id,
            finish_reason=self._finish_reason,
            details={**details, **self._figures, "tokens_per_block": tokens_per_block},
            stop=self._stop_of(stops),
        )

    def _stop_of(self, stops: Sequence[str]) -> str | None:
        """The stop text, where it is one without doubt: the server writes a token's id and ``None`` as texts too."""
        said = self._stop
        if said is None or said == "None" or said.isdecimal():
            return None
        return said if said in stops else None
