"""How many bytes of KV cache one token takes, from a model's own configuration: ``config.json`` or a GGUF header.

A token's KV is, for each layer, one key and one value for each KV head: with grouped-query attention there are fewer of
these than query heads (Ainslie et al. 2023). Multi-head latent attention (DeepSeek-V2, 2024) keeps one latent vector
and one rotary key a layer instead. Keys as in Hugging Face ``transformers`` and in ggml's ``docs/gguf.md``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from charter_compiler.diagnostics.errors import ModelError
from charter_compiler.tokens.gguf import GGUFMetadata

REMEDY = "give the model's folder, its config.json or a .gguf file"


class KVDtype(StrEnum):
    """What a KV element is stored as."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FP8 = "fp8"
    INT8 = "int8"
    NVFP4 = "nvfp4"

    @property
    def bytes_per_element(self) -> float:
        return _BYTES[self]


_BYTES = {
    KVDtype.FLOAT32: 4.0,
    KVDtype.FLOAT16: 2.0,
    KVDtype.BFLOAT16: 2.0,
    KVDtype.FP8: 1.0,
    KVDtype.INT8: 1.0,
    KVDtype.NVFP4: 0.5 + 1 / 16,  # 4 bits, and an FP8 scale for every 16 elements
}


@dataclass(frozen=True, slots=True)
class KVShape:
    """What of a model decides its KV cache.

    ``elements_per_token`` counts over all layers; ``sliding_elements_per_token`` of them lie in layers that look back
    only ``window`` tokens. ``kv_heads`` is the least of any layer, 1 for latent attention: over more GPUs than that KV
    is kept twice. ``dtype`` is what an engine stores when it is told nothing. ``weight_bytes`` is the size of the
    weights' files, ``None`` where they do not lie beside the configuration.
    """

    model: str
    layers: int
    kv_heads: int
    elements_per_token: int
    dtype: KVDtype
    sliding_elements_per_token: int = 0
    window: int | None = None
    max_context: int | None = None
    weight_bytes: int | None = None

    def bytes_per_token(self, dtype: KVDtype | None = None) -> int:
        """KV bytes of a token in all layers: what it takes while every layer's window still reaches it."""
        return round(self.elements_per_token * (dtype or self.dtype).bytes_per_element)

    def block_bytes(self, tokens_per_block: int, dtype: KVDtype | None = None) -> int:
        """KV bytes of a block."""
        return self.bytes_per_token(dtype) * tokens_per_block


def load_kv_shape(path: str | Path) -> KVShape:
    """The shape of the model at ``path``: a folder with a ``config.json``, that file itself, or a GGUF file.

    Raises:
        ModelError: nothing is there, it cannot be read, or the model keeps something else than KV (state-space and
            linear-attention layers), for which no figure is guessed.
        TokenizerError: a GGUF header is broken.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        path = path / "config.json"
    if not path.is_file():
        raise ModelError("there is no such file", place=str(path), remedy=REMEDY)
    if path.suffix == ".gguf":
        return _from_gguf(GGUFMetadata(path), path)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot be read: {error}", place=str(path), remedy=REMEDY) from error
    if not isinstance(config, dict):
        raise ModelError("is not a model's configuration", place=str(path), remedy=REMEDY)
    return _from_config(config, path)


def _from_config(whole: Mapping[str, Any], path: Path) -> KVShape:
    config = whole.get("text_config") or whole  # multimodal models keep the language model's part apart
    place = str(path)
    try:
        layers = int(_first(config, "num_hidden_layers", "n_layer", "num_layers"))
        kinds = _layer_kinds(config, layers, place)
        if config.get("kv_lora_rank"):
            each, kv_heads = int(config["kv_lora_rank"]) + int(config["qk_rope_head_dim"]), 1
        else:
            heads = int(_first(config, "num_attention_heads", "n_head", "num_heads"))
            kv_heads = _kv_heads(config, heads)
            head_dim = config.get("head_dim") or int(_first(config, "hidden_size", "n_embd", "d_model")) // heads
            each = kv_heads * 2 * int(head_dim)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(f"does not tell its attention heads: {error}", place=place, remedy=REMEDY) from error
    sliding = sum(kind == _SLIDING for kind in kinds)
    return KVShape(
        model=str(whole.get("_name_or_path") or whole.get("_model_name_or_path") or path.resolve().parent.name),
        layers=layers,
        kv_heads=kv_heads,
        elements_per_token=layers * each,
        dtype=_dtype(whole, config, place),
        sliding_elements_per_token=sliding * each,
        window=config.get("sliding_window") if sliding else None,
        max_context=config.get("max_position_embeddings") or config.get("n_positions"),
        weight_bytes=_weight_bytes(path.parent),
    )


_FULL, _SLIDING = "full_attention", "sliding_attention"
_STATES = ("ssm_cfg", "state_size", "hybrid_override_pattern", "layers_block_type", "mamba_d_state")
"""Keys of models some of whose layers keep a state that does not grow with the tokens."""


def _layer_kinds(config: Mapping[str, Any], layers: int, place: str) -> Sequence[str]:
    kinds: list[str] = config.get("layer_types") or []
    strange = sorted({*kinds} - {_FULL, _SLIDING}) or [key for key in _STATES if key in config]
    if strange:
        raise ModelError(
            f"has layers that keep another state than KV ({', '.join(strange)})",
            place=place,
            remedy="measure its cache on the engine; no figure is guessed",
        )
    if kinds:
        return kinds
    window, used = config.get("sliding_window"), config.get("use_sliding_window", True)
    pattern = config.get("sliding_window_pattern")
    if not window or not used:
        return [_FULL] * layers
    if pattern:  # Gemma 3 before it had layer_types: every pattern-th layer sees everything
        return [_FULL if (index + 1) % int(pattern) == 0 else _SLIDING for index in range(layers)]
    return [_SLIDING] * layers


def _kv_heads(config: Mapping[str, Any], heads: int) -> int:
    """Query heads where nothing is said of KV heads; one for multi-query attention (Falcon, StarCoder)."""
    count = config.get("num_key_value_heads") or config.get("num_kv_heads")
    if config.get("multi_query") and not config.get("new_decoder_architecture"):
        return 1
    return int(count or heads)


def _dtype(whole: Mapping[str, Any], config: Mapping[str, Any], place: str) -> KVDtype:
    """The checkpoint's own KV type where it is quantized (ModelOpt, compressed-tensors), else that of its weights."""
    quantized = whole.get("quantization_config") or {}
    scheme = quantized.get("kv_cache_scheme")
    named = quantized.get("kv_cache_quant_algo") or (
        None if not isinstance(scheme, dict) else {"float": "fp8", "int": "int8"}.get(str(scheme.get("type")))
    )
    name = str(named or config.get("dtype") or config.get("torch_dtype") or whole.get("torch_dtype") or "float16")
    try:
        return KVDtype(name.lower().removeprefix("torch."))
    except ValueError as error:
        raise ModelError(f"has the unknown data type {name}", place=place) from error


def _weight_bytes(folder: Path) -> int | None:
    sizes = [file.stat().st_size for file in folder.glob("*.safetensors")]
    return sum(sizes) or None


def _from_gguf(header: GGUFMetadata, path: Path) -> KVShape:
    arch = str(header.get("general.architecture", ""))

    def value(key: str) -> Any:
        return header.get(f"{arch}.{key}")

    layers, heads = value("block_count"), value("attention.head_count")
    if not layers or not heads or value("ssm.state_size"):
        raise ModelError(f"the architecture {arch or 'unknown'} has no plain KV cache", place=str(path), remedy=REMEDY)
    if value("attention.kv_lora_rank"):
        counts, each = [1] * layers, int(value("attention.kv_lora_rank")) + int(value("rope.dimension_count"))
    else:
        counts = _per_layer(value("attention.head_count_kv") or heads, layers)
        width = int(value("embedding_length")) // max(_per_layer(heads, layers))
        each = int(value("attention.key_length") or width) + int(value("attention.value_length") or width)
    return KVShape(
        model=str(header.get("general.name") or path.stem),
        layers=layers,
        kv_heads=min(count for count in counts if count),
        elements_per_token=sum(counts) * each,
        dtype=KVDtype.FLOAT16,  # llama.cpp's default, whatever the weights are
        max_context=value("context_length"),
        weight_bytes=path.stat().st_size,
    )


def _per_layer(value: int | list[int], layers: int) -> list[int]:
    return value if isinstance(value, list) else [value] * layers


def _first(config: Mapping[str, Any], *keys: str) -> Any:
    for key in keys:
        if config.get(key) is not None:
            return config[key]
    raise KeyError(f"{keys[0]} is missing")
