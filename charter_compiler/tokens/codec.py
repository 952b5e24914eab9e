"""Tokenizers as the engines use them.

Special tokens that are spelled out in a text (``<|im_start|>``) are parsed to their ids, and none is added: what
llama.cpp does with ``parse_special`` on and ``add_special`` off, and what the TensorRT-LLM preprocessing model does but
for the tokens that it adds. A chat template spells its special tokens out, so a rendered prompt needs nothing else. It
also means that a document which contains ``<|im_end|>`` ends a message: engines that take text prompts share that.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import tokenizers

from charter_compiler.diagnostics.errors import TokenizerError
from charter_compiler.tokens.chat import ChatTemplate


def _byte_level_alphabet() -> dict[str, int]:
    """GPT-2's spelling of bytes: printable Latin-1 stands for itself, every other byte for a letter from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}


_ALPHABET = _byte_level_alphabet()
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
_METASPACE = "▁"


class _TokenBytes(dict[int, bytes]):
    """The bytes of the tokens that were decoded so far: spelling one out letter by letter takes longer than all else
    that a short answer needs. No larger than the vocabulary."""

    def __init__(self, spell: Callable[[int], bytes]) -> None:
        self._spell = spell

    def __missing__(self, token: int) -> bytes:
        found = self[token] = self._spell(token)
        return found


class Tokenizer:
    """One model's tokenizer. Immutable and safe to share between threads.

    ``eos_id`` and ``bos_id`` are ``None`` where the model names no such token; ``chat_template`` is ``None`` where it
    has none.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        name: str,
        *,
        bos_token: str | None = None,
        eos_token: str | None = None,
        chat_template: str | None = None,
    ) -> None:
        self._backend = backend
        self.name = name
        self.bos_id: int | None = None if bos_token is None else backend.token_to_id(bos_token)
        self.eos_id: int | None = None if eos_token is None else backend.token_to_id(eos_token)
        self.chat_template: ChatTemplate | None = (
            None if chat_template is None else ChatTemplate(chat_template, bos_token=bos_token, eos_token=eos_token)
        )

    @property
    def vocab_size(self) -> int:
        """Number of token ids, special tokens included."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of what decides the tokens: equal fingerprints mean equal tokens for every text."""
        canonical = json.dumps(json.loads(self._backend.to_str()), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; special tokens spelled out in it are parsed, none is added.

        Raises:
            TokenizerError: the text has no UTF-8 form (half of a surrogate pair).
        """
        ids: list[int] = self._encoding(text).ids
        return ids

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """``encode`` of several texts; the interpreter is free meanwhile.

        Raises:
            TokenizerError: a text has no UTF-8 form.
        """
        try:
            encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError as error:  # what the library raises for a str that has no UTF-8 form
            raise TokenizerError("the text holds half of a surrogate pair, which no model can read") from error
        return [encoding.ids for encoding in encodings]

    def token_starts(self, text: str) -> list[int]:
        """For each token of ``encode(text)``, the character of the text at which it begins."""
        return [start for start, _ in self._encoding(text).offsets]

    def encode_words(self, text: str) -> tuple[list[int], list[int]]:
        """Token ids as ``encode`` gives them, and beside each the number of the pre-token ("word") it lies in.

        No merge crosses the border between two words.
        """
        encoding = self._encoding(text)
        words = [-1 if word is None else word for word in encoding.word_ids]
        return encoding.ids, words

    def _encoding(self, text: str) -> tokenizers.Encoding:
        try:
            return self._backend.encode(text, add_special_tokens=False)
        except TypeError as error:  # what the library raises for a str that has no UTF-8 form
            raise TokenizerError("the text holds half of a surrogate pair, which no model can read") from error

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the tokens, special tokens spelled out; bytes that are not UTF-8 become U+FFFD.

        Raises:
            TokenizerError: an id is not in the vocabulary.
        """
        if self._byte_level:
            return b"".join(map(self._bytes_of.__getitem__, ids)).decode("utf-8", "replace")
        for token in ids:
            self._spelling(token)
        return self._backend.decode(list(ids), skip_special_tokens=False)

    def token_bytes(self, token: int) -> bytes:
        """UTF-8 bytes of one token, possibly a part of a character: join them to stream a text.

        Raises:
            TokenizerError: the id is not in the vocabulary, or its spelling of bytes is not known.
        """
        spelling = self._spelling(token)
        if token in self.added_tokens:
            return spelling.encode("utf-8")
        if self._byte_level:
            try:
                return bytes(_ALPHABET[letter] for letter in spelling)
            except KeyError:  # a token that was put into the vocabulary as plain text
                return spelling.encode("utf-8")
        if not self._metaspace:
            raise TokenizerError(
                "tokens of this tokenizer cannot be turned into bytes",
                place=self.name,
                remedy="byte-level and SentencePiece tokenizers can",
            )
        byte = _BYTE_TOKEN.fullmatch(spelling)
        return bytes([int(byte[1], 16)]) if byte else spelling.replace(_METASPACE, " ").encode("utf-8")

    def render_chat(self, messages: Iterable[Mapping[str, Any]], *, add_generation_prompt: bool = True) -> str:
        """The prompt for ``messages`` by the model's chat template.

        Raises:
            TokenizerError: the model has no template, or it refuses the messages.
        """
        if self.chat_template is None:
            raise TokenizerError(
                "has no chat template", place=self.name, remedy="give a folder that holds tokenizer_config.json"
            )
        return self.chat_template.render(messages, add_generation_prompt=add_generation_prompt)

    @cached_property
    def added_tokens(self) -> Mapping[int, str]:
        """Tokens that are looked for in a text before it is split, by id: special tokens and the like."""
        return {index: token.content for index, token in self._backend.get_added_tokens_decoder().items()}

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Tokens that steer the model and are left out of a text for reading."""
        return frozenset(index for index, token in self._backend.get_added_tokens_decoder().items() if token.special)

    def _spelling(self, token: int) -> str:
        spelling: str | None = self._backend.id_to_token(token) if token >= 0 else None
        if spelling is None:
            raise TokenizerError(f"there is no token {token}; the vocabulary has {self.vocab_size}", place=self.name)
        return spelling

    @cached_property
    def _bytes_of(self) -> _TokenBytes:
        return _TokenBytes(self.token_bytes)

    @cached_property
    def _decoders(self) -> str:
        return json.dumps(json.loads(self._backend.to_str())["decoder"])

    @cached_property
    def _byte_level(self) -> bool:
        return '"ByteLevel"' in self._decoders

    @cached_property
    def _metaspace(self) -> bool:
        return '"Metaspace"' in self._decoders or '"ByteFallback"' in self._decoders
