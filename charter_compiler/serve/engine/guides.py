"""Output that must follow a JSON schema or a regular expression: llguidance, the grammar engine that this build of
llama.cpp has, called in the same shared object.

The declarations are those of `llguidance.h` before its second tokenizer interface; the default limits read through them
are checked, as a struct whose layout changed would be read wrongly without an error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from cffi import FFI
from numpy.typing import NDArray

from charter_compiler.diagnostics.errors import ModelError, RequestRejectedError
from charter_compiler.serve.engine.interface import Guide, GuideKind
from charter_compiler.serve.engine.llama import KNOWN_BUILD, Llama

DECLARATIONS = """
typedef struct LlgTokenizer LlgTokenizer;
typedef struct LlgMatcher LlgMatcher;
typedef struct {
    uint32_t vocab_size;
    uint32_t tok_eos;
    const uint32_t * token_lens;
    const uint8_t * token_bytes;
    const char * tokenizer_json;
    bool tokenize_assumes_string;
    void * tokenize_fn;
    bool use_approximate_greedy_tokenize_fn;
    const void * tokenize_user_data;
    const char * const * slices;
} LlgTokenizerInit;
typedef struct {
    const LlgTokenizer * tokenizer;
    uint32_t log_buffer_level;
    uint32_t log_stderr_level;
    bool ff_tokens_ok;
    bool backtrack_ok;
    size_t max_items_in_row;
    uint64_t initial_lexer_fuel;
    uint64_t limits[16];
} LlgConstraintInit;

LlgTokenizer * llg_new_tokenizer(const LlgTokenizerInit * init, char * error, size_t error_size);
void llg_constraint_init_set_defaults(LlgConstraintInit * init, const LlgTokenizer * tokenizer);
void llg_free_tokenizer(LlgTokenizer * tokenizer);
LlgMatcher * llg_new_matcher(const LlgConstraintInit * init, const char * kind, const char * text);
const char * llg_matcher_get_error(const LlgMatcher * matcher);
int32_t llg_matcher_compute_mask_into(LlgMatcher * matcher, uint32_t * mask, size_t mask_bytes);
int32_t llg_matcher_consume_token(LlgMatcher * matcher, uint32_t token);
void llg_free_matcher(LlgMatcher * matcher);
"""
SPECIAL = b"\xff"
"""Marks the spelling of a token that stands for no text."""
DEFAULT_LIMITS = (2000, 1_000_000)
SPARE = 16
"""Compiled guides that wait for the request that was validated with them."""


class Matcher:
    """Where one output stands in its grammar. Used by one thread; freed with the object."""

    def __init__(self, ffi: FFI, lib: Any, pointer: Any, vocab_size: int) -> None:
        self._ffi = ffi
        self._lib = lib
        self._pointer = ffi.gc(pointer, lib.llg_free_matcher)
        self._mask = np.zeros(-(-vocab_size // 32), dtype=np.uint32)
        self._size = vocab_size

    @property
    def error(self) -> str | None:
        """What is wrong with the grammar, in one line."""
        message = self._lib.llg_matcher_get_error(self._pointer)
        if message == self._ffi.NULL:
            return None
        return " ".join(self._ffi.string(message).decode("utf-8", "replace").split())

    def allowed(self) -> NDArray[np.bool_]:
        """For each token whether it may come next; the model's end may where the output is complete. Raises ModelError
        where the grammar takes too long."""
        mask = self._ffi.from_buffer("uint32_t[]", self._mask)
        if self._lib.llg_matcher_compute_mask_into(self._pointer, mask, self._mask.nbytes):
            raise ModelError(f"guided decoding failed: {self.error}")
        bits = np.unpackbits(self._mask.view(np.uint8), bitorder="little")
        return bits[: self._size].astype(np.bool_)

    def consume(self, token: int) -> None:
        """The token was chosen."""
        if self._lib.llg_matcher_consume_token(self._pointer, token):
            raise ModelError(f"guided decoding failed: {self.error}")


class Guides:
    """Makes matchers for one vocabulary. Any thread may use it; the tokenizer is built by the first guide, which takes
    about a second."""

    def __init__(self, llama: Llama, vocab_size: int, end_id: int, token_bytes: Callable[[int], bytes]) -> None:
        self.end_id = end_id
        self._vocab_size = vocab_size
        self._token_bytes = token_bytes
        self._ffi = FFI()
        self._ffi.cdef(DECLARATIONS)
        self._lib: Any = self._ffi.dlopen(str(llama.path))
        self._lock = threading.Lock()
        self._init: Any = None
        self._tokenizer: Any = None
        self._spare: dict[Guide, Matcher] = {}

    def check(self, guide: Guide) -> None:
        """Raises as ``matcher`` does. What was compiled for it is kept for the next ``matcher`` of the same guide."""
        made = self._compile(guide)
        with self._lock:
            self._spare.pop(guide, None)
            self._spare[guide] = made
            if len(self._spare) > SPARE:
                del self._spare[next(iter(self._spare))]

    def matcher(self, guide: Guide) -> Matcher:
        """Raises RequestRejectedError where the guide is no JSON schema or regular expression that can be used."""
        with self._lock:
            spare = self._spare.pop(guide, None)
        return spare or self._compile(guide)

    def _compile(self, guide: Guide) -> Matcher:
        with self._lock:
            if self._init is None:
                self._init = self._make_init()
        kind, text = ("json_schema", "{}") if guide.kind is GuideKind.JSON else (guide.kind.value, guide.text)
        pointer = self._lib.llg_new_matcher(self._init, kind.encode(), text.encode())
        matcher = Matcher(self._ffi, self._lib, pointer, self._vocab_size)
        if matcher.error is not None:
            raise RequestRejectedError(
                f"guided_decoding_guide is no {guide.kind.value} that can be used: {matcher.error}",
                remedy="mend the guide",
            )
        return matcher

    def _make_init(self) -> Any:
        pieces = [self._token_bytes(token) for token in range(self._vocab_size)]
        lengths = np.array([len(piece) for piece in pieces], dtype=np.uint32)
        text = b"".join(pieces)
        tokens = self._ffi.new("LlgTokenizerInit *")
        tokens.vocab_size, tokens.tok_eos = self._vocab_size, self.end_id
        # Copied by the call; until then these names keep them.
        lengths_pointer = self._ffi.from_buffer("uint32_t[]", lengths)
        text_pointer = self._ffi.from_buffer("uint8_t[]", text)
        tokens.token_lens, tokens.token_bytes = lengths_pointer, text_pointer
        tokens.use_approximate_greedy_tokenize_fn = True  # asked only for tokens to run ahead, which we do not
        error = self._ffi.new("char[]", 512)
        tokenizer = self._lib.llg_new_tokenizer(tokens, error, len(error))
        if tokenizer == self._ffi.NULL:
            raise ModelError(f"guided decoding has no tokenizer: {self._ffi.string(error).decode('utf-8', 'replace')}")
        self._tokenizer = self._ffi.gc(tokenizer, self._lib.llg_free_tokenizer)
        init = self._ffi.new("LlgConstraintInit *")
        self._lib.llg_constraint_init_set_defaults(init, self._tokenizer)
        if (init.max_items_in_row, init.initial_lexer_fuel) != DEFAULT_LIMITS:
            raise ModelError(
                "llguidance's defaults are not those that are known",
                place="xllamacpp",
                remedy=f"install xllamacpp {KNOWN_BUILD}",
            )
        return init
