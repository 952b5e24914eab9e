"""llama.cpp as the engine's compute side: one context whose unified KV cache all sequences share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charter_compiler.diagnostics.errors import ConfigError, ModelError, RequestRejectedError, TargetError
from charter_compiler.serve.engine import guides, llama
from charter_compiler.serve.engine.interface import Batch, EngineConfig, EngineRequest
from charter_compiler.serve.engine.sampler import Logits, Sampler, log_probability

UBATCH = 512  # tokens a compute graph; docs/engine.md has the measurement


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the model file says of itself. ``context`` is the length it was trained with, in tokens."""

    name: str | None
    context: int
    vocab_size: int
    eos: int | None
    chat_template: str | None


class LlamaRunner:
    """Implements ``ModelRunner``. Used by one thread at a time; ``close`` frees model and context.

    Raises ModelError where the file is no model that llama.cpp loads, or one whose KV cannot be shared by position, and
    ConfigError where ``config`` asks for a longer context than the model has. ``threads`` are those of the compute,
    by default all that this process may use. ``decoded_tokens`` counts the tokens given to ``llama_decode``.
    """

    def __init__(self, model_path: Path, config: EngineConfig, threads: int | None = None) -> None:
        self.decoded_tokens = 0
        self._llama = llama.load()
        self._samplers: dict[int, Sampler] = {}
        self._model = self._load_model(model_path)
        try:
            self.facts = self._read_facts()
            self._require_context(config)
            self._context = self._make_context(config, threads or len(os.sched_getaffinity(0)))
        except BaseException:
            self._llama.lib.llama_model_free(self._model)
            raise
        self._memory = self._llama.lib.llama_get_memory(self._context)
        self._make_batch(config.prefill_chunk)
        eos = self.facts.eos
        self._guides = None if eos is None else guides.Guides(self._llama, self.facts.vocab_size, eos, self.token_bytes)

    @property
    def vocab_size(self) -> int:
        return self.facts.vocab_size

    def copy_range(self, source: int, target: int, start: int, stop: int) -> None:
        self._llama.lib.llama_memory_seq_cp(self._memory, source, target, start, stop)

    def drop_range(self, sequence: int, start: int, stop: int | None) -> None:
        """Raises TargetError where the model's memory cannot forget a part."""
        if not self._llama.lib.llama_memory_seq_rm(self._memory, sequence, start, -1 if stop is None else stop):
            raise TargetError(f"llama.cpp cannot forget positions from {start} of sequence {sequence}")

    def sequence_length(self, sequence: int) -> int:
        """Positions that llama.cpp itself holds for the sequence."""
        return int(self._llama.lib.llama_memory_seq_pos_max(self._memory, sequence)) + 1

    def validate(self, request: EngineRequest) -> None:
        if request.guide is None:
            return
        if self._guides is None:
            raise RequestRejectedError("the model has no end token, so guided output could not end")
        if request.end_id != self._guides.end_id:
            raise RequestRejectedError(
                f"end_id is {request.end_id} and guided output ends with the model's own end, {self._guides.end_id}",
                remedy=f"send end_id {self._guides.end_id}",
            )
        self._guides.check(request.guide)

    def decode(self, batch: Batch) -> None:
        count = len(batch)
        self._tokens[:count] = batch.tokens
        self._positions[:count] = batch.positions
        self._sequences[:count] = batch.sequences
        self._wants[:count] = batch.wants_logits
        self._batch.n_tokens = count
        code = self._llama.lib.llama_decode(self._context, self._batch[0])
        if code != llama.SUCCESS:
            cause = "no room in the KV cache" if code == llama.NO_KV_SLOT else f"llama_decode returned {code}"
            raise TargetError(f"a batch of {count} tokens failed: {cause}")
        self.decoded_tokens += count

    def logits(self, index: int) -> Logits:
        """Logits of batch entry ``index``, shape [vocabulary]; valid until the next ``decode``."""
        pointer = self._llama.lib.llama_get_logits_ith(self._context, index)
        size = self.facts.vocab_size * np.dtype(np.float32).itemsize
        return np.frombuffer(self._llama.ffi.buffer(pointer, size), dtype=np.float32)

    def sample(self, index: int, request: EngineRequest, output: Sequence[int]) -> tuple[int, float | None]:
        sampler = self._samplers.get(request.request_id)
        if sampler is None:
            matcher = self._guides.matcher(request.guide) if request.guide and self._guides else None
            sampler = self._samplers[request.request_id] = Sampler(request, self.facts.vocab_size, matcher)
        logits = self.logits(index)
        token = sampler.choose(logits, output)
        return token, log_probability(logits, token) if request.return_log_probs else None

    def release(self, request_id: int) -> None:
        self._samplers.pop(request_id, None)

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Tokens of ``text`` by llama.cpp's own tokenizer, with none added. ``special``: names of special tokens in the
        text stand for them."""
        data = text.encode()
        vocab = self._llama.lib.llama_model_get_vocab(self._model)
        buffer = self._llama.ffi.new("llama_token[]", len(data) + 1)
        count = self._llama.lib.llama_tokenize(vocab, data, len(data), buffer, len(data) + 1, False, special)
        if count < 0:
            raise ModelError(f"llama.cpp cannot tokenize a text of {len(data)} bytes", place=self.facts.name)
        return list(buffer[0:count])

    def token_bytes(self, token: int) -> bytes:
        """The token's text; of one that stands for no text its name, marked."""
        vocab = self._llama.lib.llama_model_get_vocab(self._model)
        buffer = self._llama.ffi.new("char[]", 512)
        count = self._llama.lib.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, True)
        mark = guides.SPECIAL if self._llama.lib.llama_vocab_is_control(vocab, token) else b""
        return mark + bytes(self._llama.ffi.buffer(buffer, max(count, 0)))

    def close(self) -> None:
        """Free model and context. Idempotent; nothing else may be called afterwards."""
        if self._context is None:
            return
        self._llama.lib.llama_free(self._context)
        self._llama.lib.llama_model_free(self._model)
        self._context = None

    def _load_model(self, path: Path) -> Any:
        lib = self._llama.lib
        if not path.is_file():
            raise ModelError("there is no such model file", place=str(path), remedy="charter models fetch")
        model = lib.llama_model_load_from_file(os.fsencode(path), lib.llama_model_default_params())
        if model == self._llama.ffi.NULL:
            raise ModelError(
                "llama.cpp cannot load it", place=str(path), remedy="give a GGUF file that is whole and not too new"
            )
        kinds = ("is_recurrent", "is_hybrid", "is_diffusion", "has_encoder")
        wrong = next((kind for kind in kinds if getattr(lib, f"llama_model_{kind}")(model)), None)
        if wrong is not None:
            lib.llama_model_free(model)
            raise ModelError(
                f"its KV cache cannot be shared block by block ({wrong.replace('_', ' ')})",
                place=str(path),
                remedy="use a decoder-only transformer",
            )
        return model

    def _read_facts(self) -> ModelFacts:
        lib, ffi = self._llama.lib, self._llama.ffi
        vocab = lib.llama_model_get_vocab(self._model)
        name = ffi.new("char[]", 256)
        template = lib.llama_model_chat_template(self._model, ffi.NULL)
        eos = lib.llama_vocab_eos(vocab)
        has_name = lib.llama_model_meta_val_str(self._model, b"general.name", name, len(name)) >= 0
        return ModelFacts(
            name=ffi.string(name).decode() if has_name else None,
            context=lib.llama_model_n_ctx_train(self._model),
            vocab_size=lib.llama_vocab_n_tokens(vocab),
            eos=None if eos < 0 else eos,
            chat_template=None if template == ffi.NULL else ffi.string(template).decode(),
        )

    def _require_context(self, config: EngineConfig) -> None:
        if config.max_context > self.facts.context:
            raise ConfigError(
                f"a context of {config.max_context} tokens was asked for and the model has {self.facts.context}",
                remedy=f"set max_context to {self.facts.context} or less",
            )

    def _make_context(self, config: EngineConfig, threads: int) -> Any:
        lib = self._llama.lib
        params = lib.llama_context_default_params()
        params.n_ctx = config.capacity_blocks * config.tokens_per_block
        params.n_batch = config.prefill_chunk
        params.n_ubatch = min(UBATCH, config.prefill_chunk)
        params.n_seq_max = config.max_sequences
        params.n_outputs_max = config.max_sequences  # max_running would do, but it must not be below n_seq_max
        # Where a lone token attends to 512 cells or more, llama.cpp parts these among its threads and adds up:
        # then the sums depend on where in the cache a prompt lies, and on how much of it others have filled.
        params.n_threads = 1 if config.reproducible else threads
        params.n_threads_batch = threads
        params.kv_unified = True
        params.swa_full = True  # a pruned sliding window could not be shared from its start
        params.no_perf = True
        context = lib.llama_init_from_model(self._model, params)
        if context == self._llama.ffi.NULL:
            raise ModelError(
                f"no context of {params.n_ctx} tokens could be made",
                remedy="lower capacity_blocks: memory may be short",
            )
        return context

    def _make_batch(self, capacity: int) -> None:
        """llama_batch over NumPy arrays: filling it entry by entry would take longer than a short decode."""
        ffi = self._llama.ffi
        self._tokens, self._positions, self._sequences, ones = np.ones((4, capacity), dtype=np.int32)
        self._wants = np.zeros(capacity, dtype=np.int8)
        ids = ffi.from_buffer("llama_seq_id[]", self._sequences)
        # Each entry has one sequence; the structure wants a pointer to each. What it points to must outlive it.
        self._pointers = ffi.new("llama_seq_id *[]", [ids + entry for entry in range(capacity)])
        self._batch = ffi.new("struct llama_batch *")
        self._batch.token = ffi.from_buffer("llama_token[]", self._tokens)
        self._batch.pos = ffi.from_buffer("llama_pos[]", self._positions)
        self._batch.n_seq_id = ffi.from_buffer("int32_t[]", ones)
        self._batch.seq_id = self._pointers
        self._batch.logits = ffi.from_buffer("int8_t[]", self._wants)
        self._ones = ones
