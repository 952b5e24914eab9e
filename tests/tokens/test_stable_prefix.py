"""Leading tokens that no continuation changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter_compiler.tokens.stable import stable_prefix
from charter_compiler.tokens.tokenizer import default_tokenizer

WORDS = st.sampled_from(
    (
        *(
            "inter",
            "national",
            " don",
            "'t",
            "'re",
            "'",
            "ll",
            "<|im_",
            "start|>",
            "<|im_end|>",
            "<file",
            "name>",
            "\n\n",
        ),
        *("  ", "123", "...", "((", "e", "\u0301", " the", "Document:", "\n", "\r", "\t", "é", "中", "😀"),
    )
)
TEXTS = st.lists(WORDS | st.characters(codec="utf-8"), max_size=10).map("".join)


@settings(max_examples=100)
@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=5))
def test_no_continuation_changes_it(text: str, continuations: list[str]) -> None:
    tokenizer = default_tokenizer()
    stable = stable_prefix(tokenizer, text)
    for continuation in continuations:
        assert tokenizer.encode(text + continuation)[: len(stable)] == stable


@pytest.mark.parametrize(
    ("text", "certain"),
    [
        ("Hello world", "Hello"),  # "worlds"
        ("Hello world.", "Hello world"),  # "..."
        ("Hello world\n", "Hello world"),  # "\n\n"
        ("Document:\n\nThe", "Document:\n\n"),
        ("a<|im_end|>", "a<|im_end|>"),
        ("a b.<|im_", "a b"),  # the rest of a special token
        ("it'", "it"),  # "'s"
        ("we und", "we"),  # "understand" is one token, and no shorter continuation tells
        ("no. 12", "no. 12"),  # every digit is a token of its own
        ("", ""),
    ],
)
def test_what_is_certain(text: str, certain: str) -> None:
    tokenizer = default_tokenizer()
    assert tokenizer.decode(stable_prefix(tokenizer, text)) == certain


def test_most_of_a_text_is_certain() -> None:
    tokenizer = default_tokenizer()
    text = Path(__file__).read_text(encoding="utf-8")
    assert len(tokenizer.encode(text)) - len(stable_prefix(tokenizer, text)) <= 2
