"""KV bytes of a token, from the configurations of published models and from the default model's own file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from charter_compiler.diagnostics.errors import ModelError
from charter_compiler.tokens.kv_shape import KVDtype, KVShape, load_kv_shape


def shape_of(tmp_path: Path, **config: Any) -> KVShape:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return load_kv_shape(tmp_path)


LLAMA_8B = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "torch_dtype": "bfloat16",
}
GPT2 = {"n_layer": 12, "n_head": 12, "n_embd": 768}
GEMMA_2 = {
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "hidden_size": 2304,
    "torch_dtype": "bfloat16",
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "sliding_window": 4096,
}
DEEPSEEK_V3 = {
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "hidden_size": 7168,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "torch_dtype": "bfloat16",
}
FALCON_7B = {"num_hidden_layers": 32, "num_attention_heads": 71, "hidden_size": 4544, "multi_query": True}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # Llama 3.1 8B: 2 x 32 layers x 8 KV heads x 128 x 2 bytes = 128 KiB
        (LLAMA_8B, 131_072),
        # GPT-2 has no grouped queries: 2 x 12 x 12 x 64 x 2 bytes
        (GPT2, 36_864),
        (GEMMA_2, 2 * 4 * 4 * 256 * 2),
        # DeepSeek-V3: 61 layers x (512 + 64) x 2 bytes, about 70 KB as its report says
        (DEEPSEEK_V3, 70_272),
        # Falcon 7B: one KV head
        (FALCON_7B, 2 * 32 * 64 * 2),
    ],
)
def test_bytes_of_a_token(tmp_path: Path, config: dict[str, Any], expected: int) -> None:
    assert shape_of(tmp_path, **config).bytes_per_token() == expected


def test_data_types_and_block_size(tmp_path: Path) -> None:
    shape = shape_of(tmp_path, **LLAMA_8B)
    assert shape.dtype is KVDtype.BFLOAT16
    assert shape.bytes_per_token(KVDtype.FP8) * 2 == shape.bytes_per_token()
    assert shape.bytes_per_token(KVDtype.NVFP4) == 65_536 * 0.5625
    assert shape.block_bytes(32) == 32 * 131_072


@pytest.mark.parametrize(
    "quantization", [{"kv_cache_quant_algo": "FP8"}, {"kv_cache_scheme": {"num_bits": 8, "type": "float"}}]
)
def test_a_checkpoint_with_fp8_kv_says_so(tmp_path: Path, quantization: dict[str, Any]) -> None:
    assert shape_of(tmp_path, **LLAMA_8B, quantization_config=quantization).bytes_per_token() == 65_536


def test_sliding_layers_are_counted_apart(tmp_path: Path) -> None:
    shape = shape_of(tmp_path, **GEMMA_2)
    assert shape.sliding_elements_per_token * 2 == shape.elements_per_token
    assert shape.window == 4096


def test_the_language_model_of_a_multimodal_one_counts(tmp_path: Path) -> None:
    assert shape_of(tmp_path, text_config=LLAMA_8B, vision_config={}).bytes_per_token() == 131_072


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_hidden_layers": 2, "layer_types": ["linear_attention", "full_attention"]}, "linear_attention"),
        ({"num_hidden_layers": 2, "ssm_cfg": {}}, "ssm_cfg"),
        ({"num_hidden_layers": 2}, "num_attention_heads is missing"),
        (LLAMA_8B | {"torch_dtype": "float3"}, "unknown data type float3"),
    ],
)
def test_what_is_not_known_is_an_error_and_no_figure(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        shape_of(tmp_path, **config)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such file"):
        load_kv_shape(tmp_path)


@pytest.mark.server
def test_the_default_models_own_file(model_path: Path) -> None:
    shape = load_kv_shape(model_path)
    # SmolLM2-135M: 30 layers, 3 KV heads of 64
    assert (shape.layers, shape.kv_heads, shape.elements_per_token) == (30, 3, 2 * 30 * 3 * 64)
    assert shape.bytes_per_token() == 23_040
    assert shape.weight_bytes == model_path.stat().st_size
