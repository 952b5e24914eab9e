"""What a configuration must know of a model, from its own ``config.json`` or GGUF header.

Keys as in Hugging Face ``transformers`` and in ggml's ``docs/gguf.md``. The licence stands in a GGUF header, or in the
front matter of the model card (``README.md``) beside ``config.json``, where the hub also says whether the weights are
given only to who accepts their terms (``extra_gated_prompt``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from charter_compiler.diagnostics.errors import ModelError
from charter_compiler.tokens.gguf import GGUFMetadata
from charter_compiler.tokens.kv_shape import KVShape, load_kv_shape

GATED_LICENCES = ("llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "gemma")
"""Licences whose publishers hand the weights out only to who accepts the terms on the hub."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """``head_size`` in elements; ``context`` in tokens, prompt and output together. ``licence`` and ``gated`` are
    ``None`` where the files do not say. ``kv`` is what a token of its KV cache takes."""

    name: str
    architecture: str
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int | None
    context: int | None
    licence: str | None
    gated: bool | None
    kv: KVShape


def load_model_facts(path: str | Path, name: str | None = None) -> ModelFacts:
    """The facts of the model at ``path``: a folder with a ``config.json``, that file itself, or a GGUF file.

    Args:
        name: what the model is called; by default what its files say, else the folder's name.

    Raises:
        ModelError: nothing is there, or it does not tell its layers and heads.
        TokenizerError: a GGUF header is broken.
    """
    kv = load_kv_shape(path)
    place = Path(path).expanduser()
    if place.suffix == ".gguf":
        return _from_gguf(GGUFMetadata(place), place, kv, name)
    file = place / "config.json" if place.is_dir() else place
    whole: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    config: Mapping[str, Any] = whole.get("text_config") or whole
    if kv.weight_bytes is None:
        kv = replace(kv, weight_bytes=_indexed_bytes(file.parent / "model.safetensors.index.json"))
    licence, gated = _card(file.parent / "README.md")
    try:
        heads = int(config["num_attention_heads"])
        hidden = int(config["hidden_size"])
        return ModelFacts(
            name=name or kv.model,
            architecture=str(whole.get("model_type") or (whole.get("architectures") or ["unknown"])[0]),
            layers=kv.layers,
            hidden_size=hidden,
            heads=heads,
            kv_heads=kv.kv_heads,
            head_size=int(config.get("head_dim") or hidden // heads),
            vocabulary=config.get("vocab_size"),
            context=kv.max_context,
            licence=licence,
            gated=gated,
            kv=kv,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"does not tell its attention heads: {error}", place=str(file)) from error


def _from_gguf(header: GGUFMetadata, path: Path, kv: KVShape, name: str | None) -> ModelFacts:
    arch = str(header.get("general.architecture"))
    heads = header[f"{arch}.attention.head_count"]
    heads = max(heads) if isinstance(heads, list) else heads
    hidden = header[f"{arch}.embedding_length"]
    tokens = header.get("tokenizer.ggml.tokens")
    licence = header.get("general.license")
    return ModelFacts(
        name=name or kv.model,
        architecture=arch,
        layers=kv.layers,
        hidden_size=hidden,
        heads=heads,
        kv_heads=kv.kv_heads,
        head_size=header.get(f"{arch}.attention.key_length") or hidden // heads,
        vocabulary=header.get(f"{arch}.vocab_size") or (None if tokens is None else len(tokens)),
        context=kv.max_context,
        licence=licence,
        gated=_gated(licence),
        kv=kv,
    )


def _indexed_bytes(path: Path) -> int | None:
    """Size of the weights as their index tells it, where the weights themselves do not lie beside it."""
    if not path.is_file():
        return None
    try:
        size = json.loads(path.read_text(encoding="utf-8"))["metadata"]["total_size"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"does not tell the size of the weights: {error}", place=str(path)) from error
    return int(size)


def _card(path: Path) -> tuple[str | None, bool | None]:
    """Licence and gate in the front matter of a model card."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None, None
    front, end, _ = text.removeprefix("---\n").partition("\n---")
    if not text.startswith("---\n") or not end:
        return None, None
    try:
        values = yaml.safe_load(front)
    except yaml.YAMLError as error:
        raise ModelError(f"its front matter is not YAML: {' '.join(str(error).split())}", place=str(path)) from error
    if not isinstance(values, dict):
        return None, None
    licence = values.get("license")
    gate = True if any(str(key).startswith("extra_gated") for key in values) else _gated(licence)
    return None if licence is None else str(licence), gate


def _gated(licence: str | None) -> bool | None:
    """Of a licence alone: ``None`` where it does not decide."""
    return True if licence in GATED_LICENCES else None
