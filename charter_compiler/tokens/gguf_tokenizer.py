"""The tokenizer that a GGUF file describes, in the ``tokenizer.json`` form of the ``tokenizers`` library.

The pre-tokenizers are those of llama.cpp's ``llama-vocab.cpp`` for the same ``tokenizer.ggml.pre``, so that both give
the same tokens (``tests/tokens/test_llama_cpp_equality.py`` compares them). llama.cpp normalizes no text for these
types; neither is it done here, although the hub's tokenizer of Qwen2 applies NFC.

One difference is left: a byte that has no token (SmolLM2 has none for six control characters and for the first byte of
characters in planes 4 to 11) yields none in either, but here what stands around it may merge.
"""

from __future__ import annotations

from typing import Any

from charter_compiler.diagnostics.errors import TokenizerError
from charter_compiler.tokens.gguf import GGUFMetadata

UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4
"""Values of ``tokenizer.ggml.token_type`` that llama.cpp looks for in the text before it splits it."""


def _split(pattern: str) -> dict[str, Any]:
    """Split by a regular expression, then spell each part in bytes."""
    return {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        ],
    }


_GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_PRETOKENIZERS: dict[str, dict[str, Any]] = {
    "gpt-2": _GPT2,
    "smollm": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, _GPT2]},
    "llama-bpe": _split(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "qwen2": _split(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}
_IGNORE_MERGES = frozenset({"llama-bpe"})
"""Types for which llama.cpp takes a part that is a token as it stands, before it tries any merge."""


def tokenizer_json(metadata: GGUFMetadata) -> dict[str, Any]:
    """The content of a ``tokenizer.json`` for that model.

    Raises:
        TokenizerError: the file holds no tokenizer, or one of a type that is not supported.
    """
    place = str(metadata.path)
    model, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if model != "gpt2" or pre not in _PRETOKENIZERS:
        known = ", ".join(sorted(_PRETOKENIZERS))
        raise TokenizerError(
            f"its tokenizer is of model {model!r}, type {pre!r}; supported are byte-level BPE of type {known}",
            place=place,
            remedy="give the model's tokenizer.json instead",
        )
    try:
        tokens: list[str] = metadata["tokenizer.ggml.tokens"]
        kinds: list[int] = metadata["tokenizer.ggml.token_type"]
        merges: list[str] = metadata["tokenizer.ggml.merges"]
    except KeyError as error:
        raise TokenizerError(f"the GGUF header lacks {error}", place=place) from error
    if len(tokens) != len(kinds):
        raise TokenizerError(f"the GGUF header has {len(tokens)} tokens and {len(kinds)} token types", place=place)
    added = [
        {
            "id": index,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind != USER_DEFINED,
        }
        for index, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in (UNKNOWN, CONTROL, USER_DEFINED)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": _PRETOKENIZERS[pre],
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": pre in _IGNORE_MERGES,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": merges,
        },
    }


def tokenizer_config(metadata: GGUFMetadata) -> dict[str, Any]:
    """What a ``tokenizer_config.json`` would say: special tokens by content, and the chat template if it has one."""
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]

    def special(name: str) -> str | None:
        index = metadata.get(f"tokenizer.ggml.{name}_token_id")
        return tokens[index] if index is not None and index < len(tokens) else None

    return {
        "bos_token": special("bos"),
        "eos_token": special("eos"),
        "chat_template": metadata.get("tokenizer.chat_template"),
    }
