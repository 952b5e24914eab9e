"""The GGUF header reader and the tokenizers made from it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from charter_compiler.diagnostics.errors import TokenizerError
from charter_compiler.tokens.gguf import GGUFMetadata
from charter_compiler.tokens.tokenizer import load_tokenizer


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def entry(key: str, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def strings(*items: str) -> bytes:
    return struct.pack("<IQ", 8, len(items)) + b"".join(map(string, items))


def numbers(*items: int) -> bytes:
    return struct.pack(f"<IQ{len(items)}i", 5, len(items), *items)


def write(folder: Path, *entries: bytes, version: int = 3, count: int | None = None) -> Path:
    path = folder / "model.gguf"
    header = b"GGUF" + struct.pack("<IQQ", version, 0, len(entries) if count is None else count)
    path.write_bytes(header + b"".join(entries))
    return path


def vocabulary(model: str = "gpt2", pre: str = "gpt-2") -> list[bytes]:
    return [
        entry("tokenizer.ggml.model", 8, string(model)),
        entry("tokenizer.ggml.pre", 8, string(pre)),
        entry("tokenizer.ggml.tokens", 9, strings("<|end|>", "a", "b", "ab", "<tool>", "Ġ")),
        entry("tokenizer.ggml.token_type", 9, numbers(3, 1, 1, 1, 4, 1)),
        entry("tokenizer.ggml.merges", 9, strings("a b")),
        entry("tokenizer.ggml.eos_token_id", 4, struct.pack("<I", 0)),
    ]


def test_values_of_every_type(tmp_path: Path) -> None:
    nested = struct.pack("<IQ", 9, 2) + numbers(1, 2) + numbers(3)
    path = write(
        tmp_path,
        entry("u8", 0, b"\xff"),
        entry("flag", 7, b"\x01"),
        entry("f32", 6, struct.pack("<f", 0.5)),
        entry("i64", 11, struct.pack("<q", -5)),
        entry("text", 8, string("é")),
        entry("list", 9, numbers(1, -2)),
        entry("words", 9, strings("x", "yy")),
        entry("nested", 9, nested),
    )
    assert dict(GGUFMetadata(path)) == {
        "u8": 255,
        "flag": True,
        "f32": 0.5,
        "i64": -5,
        "text": "é",
        "list": [1, -2],
        "words": ["x", "yy"],
        "nested": [[1, 2], [3]],
    }


def test_a_tokenizer_with_its_special_tokens(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write(tmp_path, *vocabulary()))
    assert tokenizer.encode("ab<|end|>a<tool>") == [3, 0, 1, 4]
    assert tokenizer.name == "model"
    assert tokenizer.eos_id == 0
    assert tokenizer.bos_id is None
    assert tokenizer.chat_template is None
    assert tokenizer.special_ids == {0}


@pytest.mark.parametrize(("model", "pre"), [("gpt2", "falcon"), ("llama", "default"), ("bert", "gpt-2")])
def test_unknown_types_list_the_known_ones(tmp_path: Path, model: str, pre: str) -> None:
    with pytest.raises(TokenizerError, match="gpt-2, llama-bpe, qwen2, smollm"):
        load_tokenizer(write(tmp_path, *vocabulary(model, pre)))


def test_a_missing_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"lacks 'tokenizer\.ggml\.tokens'"):
        load_tokenizer(write(tmp_path, *vocabulary()[:2]))


def test_token_types_that_do_not_fit_the_tokens(tmp_path: Path) -> None:
    entries = vocabulary()
    entries[3] = entry("tokenizer.ggml.token_type", 9, numbers(3, 1))
    with pytest.raises(TokenizerError, match="6 tokens and 2 token types"):
        load_tokenizer(write(tmp_path, *entries))


def test_a_merge_of_no_token_and_an_end_token_out_of_range(tmp_path: Path) -> None:
    entries = vocabulary()
    entries[5] = entry("tokenizer.ggml.eos_token_id", 4, struct.pack("<I", 99))
    assert load_tokenizer(write(tmp_path, *entries)).eos_id is None
    entries[4] = entry("tokenizer.ggml.merges", 9, strings("a x"))
    with pytest.raises(TokenizerError, match="holds no tokenizer that can be read"):
        load_tokenizer(write(tmp_path, *entries))


def test_a_last_text_that_is_cut_off(tmp_path: Path) -> None:
    path = write(tmp_path, entry("name", 8, string("a long name")))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(TokenizerError, match="the value of name is broken"):
        GGUFMetadata(path)["name"]


def test_files_that_are_not_whole(tmp_path: Path) -> None:
    whole = write(tmp_path, *vocabulary()).read_bytes()
    broken = tmp_path / "broken.gguf"
    for length in range(4, len(whole), 7):
        broken.write_bytes(whole[:length])
        with pytest.raises(TokenizerError, match="broken"):
            load_tokenizer(broken)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "cannot be read"), (b"PK\x03\x04 and so on", "is not a GGUF file"), (b"GGUF" + b"\x09" * 40, "version")],
)
def test_other_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(TokenizerError, match=message):
        load_tokenizer(path)


def test_hostile_counts_and_types(tmp_path: Path) -> None:
    for path in (
        write(tmp_path, entry("k", 8, struct.pack("<Q", 2**62))),
        write(tmp_path, entry("k", 9, struct.pack("<IQ", 8, 2**62))),
        write(tmp_path, entry("k", 9, struct.pack("<IQ", 4, 2**62)), entry("z", 4, b"\0\0\0\0")),
        write(tmp_path, entry("k", 99, b"")),
        write(tmp_path, b"", count=2**62),
    ):
        with pytest.raises(TokenizerError, match="broken"):
            GGUFMetadata(path)
