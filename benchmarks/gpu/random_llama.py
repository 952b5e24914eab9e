"""A Llama of a given shape with random weights, made on the device: nothing is downloaded, and outputs mean nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from charter_compiler.tokens.tokenizer import Tokenizer

SHAPES: dict[str, dict[str, Any]] = {
    "llama-3-8b": {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
        "vocab_size": 128256,
    },
    "tiny": {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 128,
        "vocab_size": 49408,
    },
}
"""``llama-3-8b``: the published configuration of Meta's Llama 3 8B. ``tiny``: to see on a CPU that everything runs."""

ROPE_THETA = 500_000.0
MAX_POSITIONS = 16_384
"""Twice Llama 3's, so that a prefix of 8,192 tokens and its end fit; this changes no computation."""
WORD = re.compile(rb" [a-z]{3,}")


def random_llama(shape: str, device: torch.device, *, output_ids: Iterable[int], seed: int = 0) -> LlamaForCausalLM:
    """The model in evaluation mode, bfloat16 on a GPU and float32 elsewhere. It answers with ``output_ids`` alone: the
    head's other rows are zero, and the largest of thousands of random logits is above zero."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        **SHAPES[shape],
        max_position_embeddings=MAX_POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        dtype=torch.bfloat16 if device.type == "cuda" else torch.float32,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(config.dtype)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)
    said = torch.zeros(config.vocab_size, dtype=torch.bool, device=device)
    said[list(output_ids)] = True
    with torch.no_grad():
        model.lm_head.weight[~said] = 0
    return model


def word_ids(tokenizer: Tokenizer) -> list[int]:
    """Tokens that are a space and a small word: text made of them is cut into the same tokens again, as nearly as can
    be, so that what a stage hands to the next has about the length that was asked for."""
    special = set(tokenizer.added_tokens)
    ids = (each for each in range(tokenizer.vocab_size) if each not in special)
    return [each for each in ids if WORD.fullmatch(tokenizer.token_bytes(each))]
