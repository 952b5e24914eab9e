"""llama.cpp's own tokenizer, through the C API of the xllamacpp wheel: the reference that ours must equal."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path

from cffi import FFI

from charter_compiler.tokens.gguf import GGUFMetadata

# The declarations of llama.h that loading a vocabulary needs, for the build that pyproject.toml pins.
CDEF = """
struct llama_model_params {
    void * devices; void * tensor_buft_overrides; int32_t n_gpu_layers; int split_mode; int load_mode; int lazy_mode;
    int32_t main_gpu; const float * tensor_split; void * progress_callback; void * progress_callback_user_data;
    void * kv_overrides; bool vocab_only; bool check_tensors; bool use_extra_bufts; bool no_host; bool no_alloc;
    bool load_mtp;
};
void llama_log_set(void (*callback)(int level, const char * text, void * data), void * data);
struct llama_model_params llama_model_default_params(void);
struct llama_model * llama_model_load_from_file(const char * path, struct llama_model_params params);
const struct llama_vocab * llama_model_get_vocab(const struct llama_model * model);
void llama_model_free(struct llama_model * model);
int32_t llama_tokenize(const struct llama_vocab * vocab, const char * text, int32_t length, int32_t * tokens,
                       int32_t capacity, bool add_special, bool parse_special);
int32_t llama_token_to_piece(const struct llama_vocab * vocab, int32_t token, char * buffer, int32_t length,
                             int32_t lstrip, bool special);
"""


class LlamaVocabulary:
    """The vocabulary of one GGUF file, loaded without its tensors. ``close`` frees it."""

    def __init__(self, path: Path) -> None:
        self._ffi = FFI()
        self._ffi.cdef(CDEF)
        spec = find_spec("xllamacpp")
        assert spec is not None
        assert spec.submodule_search_locations is not None
        self._lib = self._ffi.dlopen(str(Path(spec.submodule_search_locations[0]) / "xllamacpp.abi3.so"))
        self._silence = self._ffi.callback("void(int, const char *, void *)", lambda *_: None)
        self._lib.llama_log_set(self._silence, self._ffi.NULL)
        parameters = self._lib.llama_model_default_params()
        parameters.vocab_only = True
        self._model = self._lib.llama_model_load_from_file(str(path).encode(), parameters)
        assert self._model != self._ffi.NULL, f"llama.cpp cannot load {path}"
        self._vocab = self._lib.llama_model_get_vocab(self._model)

    def encode(self, text: str) -> list[int]:
        """``llama_tokenize`` with ``add_special`` off and ``parse_special`` on."""
        data = text.encode("utf-8")
        buffer = self._ffi.new("int32_t[]", len(data) + 8)
        count = self._lib.llama_tokenize(self._vocab, data, len(data), buffer, len(data) + 8, False, True)
        assert count >= 0
        return list(buffer[0:count])

    def piece(self, token: int) -> bytes:
        """``llama_token_to_piece`` with special tokens spelled out."""
        buffer = self._ffi.new("char[]", 256)
        count = self._lib.llama_token_to_piece(self._vocab, token, buffer, 256, 0, True)
        assert count >= 0
        return bytes(self._ffi.buffer(buffer, count))

    def close(self) -> None:
        self._lib.llama_model_free(self._model)
        self._lib.llama_log_set(self._ffi.NULL, self._ffi.NULL)  # its callback ends with this object


def with_pre_tokenizer(source: Path, pre: str, target: Path) -> Path:
    """A GGUF file without tensors: the header of ``source`` with another ``tokenizer.ggml.pre``."""
    metadata = GGUFMetadata(source)
    entries = dict(metadata) | {"tokenizer.ggml.pre": pre}
    parts = [b"GGUF", struct.pack("<IQQ", 3, 0, len(entries))]
    for key, value in entries.items():
        parts += [_string(key), _value(value)]
    target.write_bytes(b"".join(parts))
    return target


def _string(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _value(value: object) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + _string(value)
    assert isinstance(value, list)
    if isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(_string(item) for item in value)
    return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
