"""Which leading tokens of a text are certain, whatever text follows it."""

from __future__ import annotations

from charter_compiler.tokens.codec import Tokenizer

PROBES = (
    *(
        "a",
        "A",
        "é",
        "中",
        "1",
        "111",
        " ",
        " a",
        "  ",
        "\n",
        "\n\n",
        "\r\n",
        "\t",
        ".",
        ")",
        "'",
        "'s",
        "_",
        "$",
        "😀",
    ),
    # What could complete an English contraction that the text began: 's 't 're 've 'm 'll 'd.
    *("s", "t", "re", "e", "ve", "m", "ll", "l", "d", "S", "RE", "E", "L"),
    # A mark that Unicode composes with the letter before it.
    "\u0301",
)
"""One continuation of each class of character that the pre-tokenizers in use tell apart.

A pre-tokenizer cuts a text by the classes of its characters, from left to right, and no merge crosses a cut. So a cut
that holds before each of these holds before any text, and so do the tokens to its left.
"""


def stable_prefix(tokenizer: Tokenizer, text: str) -> list[int]:
    """The longest run of leading tokens of ``text`` that no continuation changes.

    A token that the next character could extend does not count; neither does one that a merge with what follows could
    take in. With a tokenizer that has no pre-tokenizer nothing is certain but what ends with a special token.
    """
    text = text[: _special_token_begins(tokenizer, text)]
    certain, _ = tokenizer.encode_words(text)
    cuts = set(range(len(certain) + 1))
    for probe in PROBES:
        tokens, words = tokenizer.encode_words(text + probe)
        cuts &= {0, *(index for index in range(1, len(tokens)) if words[index - 1] != words[index])}
        same = next((i for i, (a, b) in enumerate(zip(certain, tokens, strict=False)) if a != b), len(certain))
        certain = certain[: min(same, len(tokens))]
    return certain[: max(cut for cut in cuts if cut <= len(certain))]


def _special_token_begins(tokenizer: Tokenizer, text: str) -> int:
    """Where the text ends with the beginning of a special token (``<|im_``), which what follows may complete."""
    start = len(text)
    for token in tokenizer.added_tokens.values():
        for length in range(min(len(token) - 1, len(text)), 0, -1):
            if text.endswith(token[:length]):
                start = min(start, len(text) - length)
                break
    return start
