"""llama.cpp's C API, called in the shared object of the `xllamacpp` wheel: only what the engine uses.

The names and struct layouts are those of `llama.h` at build b11549. A struct's layout may change with any build and
nothing in the shared object would tell, so the wheel's version is checked, and then that the default parameters read
through these declarations are the ones that `llama.h` documents.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from cffi import FFI

from charter_compiler.diagnostics.errors import ModelError

KNOWN_BUILD = "2026.10.11549"
SUCCESS, NO_KV_SLOT = 0, 1  # what llama_decode returns
FLASH_ATTENTION_AUTO = -1
LOG_LEVEL_ERROR, LOG_LEVEL_CONTINUED = 4, 5

DECLARATIONS = """
typedef int32_t llama_pos;
typedef int32_t llama_token;
typedef int32_t llama_seq_id;
struct llama_model;
struct llama_vocab;
struct llama_context;
typedef struct llama_memory_i * llama_memory_t;
typedef void (*ggml_log_callback)(int level, const char * text, void * user_data);

struct llama_model_params {
    void * devices;
    const void * tensor_buft_overrides;
    int32_t n_gpu_layers;
    int split_mode;
    int load_mode;
    int lazy_mode;
    int32_t main_gpu;
    const float * tensor_split;
    void * progress_callback;
    void * progress_callback_user_data;
    const void * kv_overrides;
    bool vocab_only;
    bool check_tensors;
    bool use_extra_bufts;
    bool no_host;
    bool no_alloc;
    bool load_mtp;
};

struct llama_context_params {
    uint32_t n_ctx;
    uint32_t n_batch;
    uint32_t n_ubatch;
    uint32_t n_seq_max;
    uint32_t n_rs_seq;
    uint32_t n_outputs_max;
    uint32_t n_outputs_max_per_seq;
    int32_t n_threads;
    int32_t n_threads_batch;
    int ctx_type;
    int rope_scaling_type;
    int pooling_type;
    int attention_type;
    int flash_attn_type;
    float rope_freq_base;
    float rope_freq_scale;
    float yarn_ext_factor;
    float yarn_attn_factor;
    float yarn_beta_fast;
    float yarn_beta_slow;
    uint32_t yarn_orig_ctx;
    float defrag_thold;
    void * cb_eval;
    void * cb_eval_user_data;
    int type_k;
    int type_v;
    size_t moe_cache_size;
    void * abort_callback;
    void * abort_callback_data;
    bool embeddings;
    bool offload_kqv;
    bool no_perf;
    bool op_offload;
    bool swa_full;
    bool kv_unified;
    void * samplers;
    size_t n_samplers;
    struct llama_context * ctx_other;
};

struct llama_batch {
    int32_t n_tokens;
    llama_token * token;
    float * embd;
    llama_pos * pos;
    int32_t * n_seq_id;
    llama_seq_id ** seq_id;
    int8_t * logits;
};

void llama_log_set(ggml_log_callback log_callback, void * user_data);
void llama_backend_init(void);
struct llama_model_params llama_model_default_params(void);
struct llama_context_params llama_context_default_params(void);

struct llama_model * llama_model_load_from_file(const char * path_model, struct llama_model_params params);
void llama_model_free(struct llama_model * model);
const struct llama_vocab * llama_model_get_vocab(const struct llama_model * model);
int32_t llama_model_n_ctx_train(const struct llama_model * model);
int32_t llama_model_meta_val_str(const struct llama_model * model, const char * key, char * buf, size_t buf_size);
const char * llama_model_chat_template(const struct llama_model * model, const char * name);
bool llama_model_has_encoder(const struct llama_model * model);
bool llama_model_is_recurrent(const struct llama_model * model);
bool llama_model_is_hybrid(const struct llama_model * model);
bool llama_model_is_diffusion(const struct llama_model * model);
int32_t llama_vocab_n_tokens(const struct llama_vocab * vocab);
llama_token llama_vocab_eos(const struct llama_vocab * vocab);
bool llama_vocab_is_control(const struct llama_vocab * vocab, llama_token token);
int32_t llama_token_to_piece(const struct llama_vocab * vocab, llama_token token, char * buf, int32_t length,
                             int32_t lstrip, bool special);
int32_t llama_tokenize(const struct llama_vocab * vocab, const char * text, int32_t text_len, llama_token * tokens,
                       int32_t n_tokens_max, bool add_special, bool parse_special);

struct llama_context * llama_init_from_model(struct llama_model * model, struct llama_context_params params);
void llama_free(struct llama_context * ctx);
llama_memory_t llama_get_memory(const struct llama_context * ctx);
bool llama_memory_seq_rm(llama_memory_t mem, llama_seq_id seq_id, llama_pos p0, llama_pos p1);
void llama_memory_seq_cp(llama_memory_t mem, llama_seq_id seq_id_src, llama_seq_id seq_id_dst, llama_pos p0,
                         llama_pos p1);
llama_pos llama_memory_seq_pos_max(llama_memory_t mem, llama_seq_id seq_id);

int32_t llama_decode(struct llama_context * ctx, struct llama_batch batch);
float * llama_get_logits_ith(struct llama_context * ctx, int32_t i);
"""

# From the comments and initializers of llama.h and llama-context.cpp; values spread over each struct to its end.
MODEL_DEFAULTS = {"n_gpu_layers": -1, "main_gpu": 0, "vocab_only": False, "check_tensors": False}
CONTEXT_DEFAULTS = {
    "n_ctx": 512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "n_seq_max": 1,
    "flash_attn_type": FLASH_ATTENTION_AUTO,
    "yarn_ext_factor": -1.0,
    "defrag_thold": -1.0,
    "type_k": 1,
    "type_v": 1,
    "embeddings": False,
    "offload_kqv": True,
    "kv_unified": False,
    "n_samplers": 0,
}

log = logging.getLogger(__name__)
_lock = threading.Lock()
_loaded: Llama | None = None


class Llama:
    """The library and its types. Get it by ``load``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ffi = FFI()
        self.ffi.cdef(DECLARATIONS)
        # llama.cpp's threads meet some hundred times a token. GNU OpenMP spins there, and where other processes want
        # the cores too a decode step takes twenty times as long (docs/engine.md). Read once, when libgomp is loaded.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self.lib: Any = self.ffi.dlopen(str(path))
        self._check_defaults(self.lib.llama_model_default_params(), MODEL_DEFAULTS)
        self._check_defaults(self.lib.llama_context_default_params(), CONTEXT_DEFAULTS)
        # The library keeps the pointer, so the callback must live as long as the library.
        self._log_callback = self.ffi.callback("ggml_log_callback", self._log)
        self._last_level = 0
        self.lib.llama_log_set(self._log_callback, self.ffi.NULL)
        self.lib.llama_backend_init()

    @staticmethod
    def _check_defaults(params: Any, expected: Mapping[str, float]) -> None:
        for name, value in expected.items():
            if getattr(params, name) != value:
                raise ModelError(
                    f"llama.cpp's default of {name} reads {getattr(params, name)} where {value} is known",
                    place="xllamacpp",
                    remedy=_remedy(),
                )

    def _log(self, level: int, text: Any, user_data: Any) -> None:
        """Errors only; a level of "continued" belongs to the message before it."""
        if level != LOG_LEVEL_CONTINUED:
            self._last_level = level
        message = self.ffi.string(text).decode("utf-8", "replace").strip()
        if self._last_level == LOG_LEVEL_ERROR and message:
            log.error("llama.cpp: %s", message)


def load() -> Llama:
    """The library, loaded once a process. Raises ModelError where `xllamacpp` is missing or of another build."""
    global _loaded
    with _lock:
        if _loaded is None:
            _loaded = Llama(_shared_object())
        return _loaded


def _shared_object() -> Path:
    try:
        version = metadata.version("xllamacpp")
    except metadata.PackageNotFoundError:
        raise ModelError("xllamacpp is not installed", remedy=_remedy()) from None
    if version != KNOWN_BUILD:
        raise ModelError(
            f"build {version} of llama.cpp is not known, only {KNOWN_BUILD}", place="xllamacpp", remedy=_remedy()
        )
    spec = importlib.util.find_spec("xllamacpp")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        for path in Path(folder).glob("xllamacpp*.so"):
            return path
    raise ModelError("the shared object of xllamacpp is missing", place="xllamacpp", remedy=_remedy())


def _remedy() -> str:
    return f"in Charter's checkout: pip install '.[local]', which installs xllamacpp {KNOWN_BUILD}"
