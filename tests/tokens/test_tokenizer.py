"""The tokenizer that ships, and tokenizers from files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from charter_compiler.diagnostics.errors import TokenizerError
from charter_compiler.tokens.codec import Tokenizer
from charter_compiler.tokens.tokenizer import default_tokenizer, load_tokenizer

TINY = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    "model": {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {"[UNK]": 0, "a": 1, "##b": 2},
    },
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer()


def sentencepiece(folder: Path) -> Path:
    """A small tokenizer of the SentencePiece kind: spaces as U+2581, bytes as <0xNN>."""
    vocab = {"<unk>": 0, "▁": 1, "a": 2, "b": 3, "▁a": 4, **{f"<0x{byte:02X}>": 5 + byte for byte in range(256)}}
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab=vocab, merges=[("▁", "a")], unk_token="<unk>", byte_fallback=True)
    )
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    backend.decoder = tokenizers.decoders.Sequence(
        [tokenizers.decoders.ByteFallback(), tokenizers.decoders.Metaspace(), tokenizers.decoders.Fuse()]
    )
    path = folder / "tokenizer.json"
    backend.save(str(path))
    return path


def test_the_default_tokenizer_needs_no_network_and_is_loaded_once(tokenizer: Tokenizer) -> None:
    assert tokenizer.name == "smollm2-135m-instruct"
    assert load_tokenizer("smollm2-135m-instruct") is tokenizer
    assert (tokenizer.vocab_size, tokenizer.bos_id, tokenizer.eos_id) == (49152, 1, 2)


def test_special_tokens_in_the_text_are_parsed_and_none_is_added(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("<|im_start|>user\nHi<|im_end|>")
    assert tokens[0] == tokenizer.bos_id
    assert tokens[-1] == tokenizer.eos_id
    assert tokens.count(1) == tokens.count(2) == 1
    assert tokenizer.encode("") == []
    assert 2 not in tokenizer.encode("<|im_end|")


@given(st.text())
def test_decoding_gives_the_text_back(text: str) -> None:
    tokenizer = default_tokenizer()
    # These bytes did not occur in the training data of the vocabulary; they have no token, in llama.cpp neither.
    missing = {0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, 0xF1, 0xF2}
    if not missing & set(text.encode()):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_bytes_of_tokens_join_to_the_text_even_inside_a_character(tokenizer: Tokenizer) -> None:
    text = "naïve 😀 日本 <|im_end|>"
    pieces = [tokenizer.token_bytes(token) for token in tokenizer.encode(text)]
    assert b"".join(pieces).decode() == text
    assert any(piece.decode("utf-8", "ignore").encode() != piece for piece in pieces), "no token cuts a character here"


def test_ids_outside_the_vocabulary_are_refused(tokenizer: Tokenizer) -> None:
    for token in (-1, tokenizer.vocab_size):
        with pytest.raises(TokenizerError, match=f"there is no token {token}"):
            tokenizer.token_bytes(token)
        with pytest.raises(TokenizerError):
            tokenizer.decode([token])


def test_half_a_surrogate_pair_is_an_error_of_ours(tokenizer: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="surrogate"):
        tokenizer.encode("a\ud800")


def test_fingerprint_tells_tokenizers_apart_and_survives_a_copy(tokenizer: Tokenizer, tmp_path: Path) -> None:
    copy = tmp_path / "tokenizer.json"
    copy.write_text(tokenizer._backend.to_str(pretty=True), encoding="utf-8")
    assert load_tokenizer(copy).fingerprint == tokenizer.fingerprint
    changed = json.loads(copy.read_text(encoding="utf-8"))
    changed["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = False
    copy.write_text(json.dumps(changed), encoding="utf-8")
    assert load_tokenizer(copy).fingerprint != tokenizer.fingerprint


def test_a_folder_brings_special_tokens_and_template(tmp_path: Path) -> None:
    sentencepiece(tmp_path)
    config = {"bos_token": {"content": "a", "special": True}, "eos_token": "b", "chat_template": "{{ eos_token }}!"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer = load_tokenizer(str(tmp_path))
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.name) == (2, 3, tmp_path.name)
    assert tokenizer.render_chat([]) == "b!"


def test_named_templates_and_the_separate_template_file(tmp_path: Path) -> None:
    sentencepiece(tmp_path)
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}), encoding="utf-8")
    assert load_tokenizer(tmp_path).render_chat([]) == "plain"
    (tmp_path / "chat_template.jinja").write_text("from the file", encoding="utf-8")
    assert load_tokenizer(tmp_path).render_chat([]) == "from the file"


def test_sentencepiece_bytes_and_text(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(sentencepiece(tmp_path))
    tokens = tokenizer.encode("a é")
    assert b"".join(tokenizer.token_bytes(token) for token in tokens) == " a é".encode()
    assert tokenizer.decode(tokens) == "a é"
    with pytest.raises(TokenizerError, match="no chat template"):
        tokenizer.render_chat([])


def test_a_tokenizer_whose_spelling_is_not_known_says_so(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(TINY), encoding="utf-8")
    tokenizer = load_tokenizer(path)
    assert tokenizer.decode(tokenizer.encode("ab")) == "ab"
    with pytest.raises(TokenizerError, match="cannot be turned into bytes"):
        tokenizer.token_bytes(1)


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"model": 3}'])
def test_a_broken_tokenizer_json_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: holds no tokenizer that can be read"):
        load_tokenizer(path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"no such file or folder.*give a tokenizer\.json"):
        load_tokenizer("no-such-model")
    with pytest.raises(TokenizerError, match=r"holds no tokenizer\.json"):
        load_tokenizer(tmp_path)
    with pytest.raises(TokenizerError, match="no such file"):
        load_tokenizer(tmp_path / "missing" / "tokenizer.json")


def test_a_hub_name_without_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(_name: str) -> tokenizers.Tokenizer:
        raise OSError("We couldn't connect\nlong help text")

    monkeypatch.setattr("charter_compiler.tokens.tokenizer._from_pretrained", unreachable)
    with pytest.raises(TokenizerError) as caught:
        load_tokenizer("owner/model")
    assert str(caught.value) == (
        "owner/model: cannot be loaded from the hub: We couldn't connect "
        "(check the name and the network, or give the path of the model's tokenizer.json)"
    )


def test_a_python_without_lzma_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lzma", None)
    with pytest.raises(TokenizerError, match="built without lzma"):
        default_tokenizer.__wrapped__()
