"""Facts of published models, from the fields of their own files (tests/fixtures/models), and of the default model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from config_cases import MODELS, facts

from charter_compiler.config.model_facts import load_model_facts
from charter_compiler.diagnostics.errors import ModelError


@pytest.mark.parametrize(
    ("name", "architecture", "layers", "heads", "kv_heads", "head_size", "context", "licence", "gated"),
    [
        ("llama-3-8b", "llama", 32, 32, 8, 128, 8192, "llama3", True),
        ("llama-3-70b", "llama", 80, 64, 8, 128, 8192, "llama3", True),
        ("llama-3.1-8b", "llama", 32, 32, 8, 128, 131072, "llama3.1", True),
        ("llama-3.2-3b", "llama", 28, 24, 8, 128, 131072, "llama3.2", True),
        ("qwen2.5-7b-instruct", "qwen2", 28, 28, 4, 128, 32768, "apache-2.0", None),
        ("qwen3-8b", "qwen3", 36, 32, 8, 128, 40960, None, None),
        ("mistral-7b-v0.3", "mistral", 32, 32, 8, 128, 32768, "apache-2.0", None),
        ("smollm2-135m", "llama", 30, 9, 3, 64, 8192, None, None),
    ],
)
def test_of_a_published_model(
    name: str,
    architecture: str,
    layers: int,
    heads: int,
    kv_heads: int,
    head_size: int,
    context: int,
    licence: str | None,
    gated: bool | None,
) -> None:
    found = facts(name)
    assert (found.name, found.architecture, found.layers, found.heads) == (name, architecture, layers, heads)
    assert (found.kv_heads, found.head_size, found.context) == (kv_heads, head_size, context)
    assert (found.licence, found.gated) == (licence, gated)
    assert found.kv.bytes_per_token() == layers * 2 * kv_heads * head_size * 2, "keys and values in 16 bits"


def test_the_index_tells_the_size_of_the_weights(tmp_path: Path) -> None:
    assert facts("llama-3-8b").kv.weight_bytes == 16060522496
    assert facts("smollm2-135m").kv.weight_bytes is None
    (tmp_path / "config.json").write_text((MODELS / "smollm2-135m" / "config.json").read_text())
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ModelError, match=r"does not tell the size of the weights"):
        load_model_facts(tmp_path)


@pytest.mark.server
def test_of_the_default_models_own_file(model_path: Path) -> None:
    found, published = load_model_facts(model_path), facts("smollm2-135m")
    for name in ("architecture", "layers", "hidden_size", "heads", "kv_heads", "head_size", "vocabulary", "context"):
        assert getattr(found, name) == getattr(published, name), name
    assert found.licence == "apache-2.0"


def test_a_model_card_that_says_nothing(tmp_path: Path) -> None:
    source = json.loads((MODELS / "smollm2-135m" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(source))
    for text in (
        "",
        "no front matter",
        "My model\n---\nuse: it: now\n---\n",
        "---\n- a list\n---\n",
        "---\nunfinished",
    ):
        (tmp_path / "README.md").write_text(text)
        assert (load_model_facts(tmp_path).licence, load_model_facts(tmp_path).gated) == (None, None)
    (tmp_path / "README.md").write_text("---\na: [\n---\n")
    with pytest.raises(ModelError, match="front matter is not YAML"):
        load_model_facts(tmp_path)
    del source["num_attention_heads"]
    (tmp_path / "config.json").write_text(json.dumps(source))
    with pytest.raises(ModelError, match="attention heads"):
        load_model_facts(tmp_path)
