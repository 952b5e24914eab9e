"""Turns the engine's outputs for one prompt into the tensors of TensorRT-LLM's responses. Knows NumPy, not Triton."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charter_compiler.serve.engine.interface import EngineOutput, PerfMetrics
from charter_compiler.serve.engine.utf8 import Utf8Assembler
from charter_compiler.serve.model_repository.inputs import Generation
from charter_compiler.serve.model_repository.kv_report import REPORT, Outcomes, outcome_report

BLOCK_FIGURES = ("kv_cache_alloc_new_blocks", "kv_cache_reused_blocks", "kv_cache_alloc_total_blocks")
TIME_FIGURES = ("arrival_time_ns", "first_scheduled_time_ns", "first_token_time_ns", "last_token_time_ns")


class Answer:
    """The answer to one entry of a batch.

    Streaming, each response carries the tokens since the last one, and only whole characters: the bytes of a token may
    end in the middle of one, and a text client must never see half of it. Otherwise there is one response with all
    tokens, after those of the prompt unless they are excluded. Blocks and times are in the last response, zero before;
    there too, and in ``outcomes``, is what became of the hints, if there were any.
    """

    def __init__(
        self,
        batch_index: int,
        generation: Generation,
        *,
        streaming: bool,
        token_bytes: Callable[[int], bytes],
        outcomes: Outcomes | None = None,
    ) -> None:
        self._batch_index = batch_index
        self._generation = generation
        self._streaming = streaming
        self._assembler = Utf8Assembler(token_bytes)
        self._tokens: list[int] = []
        self._log_probs: list[float] = []
        self._cumulated = 0.0
        self._perf = PerfMetrics()
        self._outcomes = outcomes

    def feed(self, output: EngineOutput) -> dict[str, NDArray[Any]] | None:
        """Take an output; returns the tensors of the response that is now due, if one is."""
        self._tokens += self._assembler.push(output.token_ids)
        self._log_probs += output.log_probs
        if output.finish is not None:
            self._tokens += self._assembler.flush()
            self._perf = output.perf or self._perf
        elif not (self._streaming and self._tokens):
            return None
        response = self._response()
        if output.finish is not None and (hints := self._generation.hints) is not None:
            response[REPORT] = outcome_report(hints, output.hints)
            if self._outcomes is not None:
                self._outcomes.add(hints.message_id, output.hints)
        return response

    def _response(self) -> dict[str, NDArray[Any]]:
        new = len(self._tokens)
        echo = [] if self._streaming or self._generation.exclude_input else list(self._generation.prompt)
        tokens = echo + self._tokens
        # Log probabilities of held tokens wait with them; without any, TensorRT-LLM sends zeros.
        log_probs = self._log_probs[:new] if self._generation.return_log_probs else [0.0] * new
        self._cumulated += sum(log_probs)
        drafts, accepted = self._perf.num_draft_tokens, self._perf.num_accepted_draft_tokens
        tensors: dict[str, NDArray[Any]] = {
            "output_ids": np.array([[tokens]], dtype=np.int32).reshape(1, 1, len(tokens)),
            "sequence_length": np.array([[len(tokens)]], dtype=np.int32),
            "cum_log_probs": np.array([[self._cumulated]], dtype=np.float32),
            "output_log_probs": np.array([[log_probs]], dtype=np.float32).reshape(1, 1, new),
            # Not computed; an ensemble needs its steps' tensors all the same, and TensorRT-LLM sends these then.
            "context_logits": np.zeros((1, 1, 1), dtype=np.float32),
            "generation_logits": np.zeros((1, 1, 1, 1), dtype=np.float32),
            "batch_index": np.array([[self._batch_index]], dtype=np.int32),
            "sequence_index": np.zeros((1, 1), dtype=np.int32),
            "acceptance_rate": np.array([[accepted / drafts if drafts else 0.0]], dtype=np.float32),
            "total_accepted_draft_tokens": np.array([[accepted]], dtype=np.int32),
            "total_draft_tokens": np.array([[drafts]], dtype=np.int32),
            "num_input_tokens": np.array([[len(self._generation.prompt)]], dtype=np.int32),
            # Of this response, as TensorRT-LLM counts.
            "num_output_tokens": np.array([[new]], dtype=np.int32),
        }
        for name in BLOCK_FIGURES:
            tensors[name] = np.array([[getattr(self._perf, name)]], dtype=np.int32)
        for name in TIME_FIGURES:
            tensors[name] = np.array([[getattr(self._perf, name)]], dtype=np.int64)
        self._tokens, self._log_probs = [], self._log_probs[new:]
        return tensors
