"""Our tokens are llama.cpp's tokens: on the examples' documents, on the agents' prompts, on awkward text.

Three of the four supported types are checked on the default model's vocabulary under another ``tokenizer.ggml.pre``:
the type decides how a text is split, whatever the vocabulary.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_reference import LlamaVocabulary, with_pre_tokenizer

from charter_compiler.tokens.models import find_model
from charter_compiler.tokens.tokenizer import Tokenizer, load_tokenizer

pytestmark = pytest.mark.server

Both = tuple[str, Tokenizer, LlamaVocabulary]
EXAMPLES = Path(__file__).parent.parent.parent / "examples"
TRICKY = (
    *("", " ", "  a   b    ", "\n\n\n x \n", "\t\t\r\n\r\n", "12345 6,789.01", "٣٤٥ ½ Ⅷ", "don't I'LL we've'x 'S"),
    *("é e\u0301 ñ n\u0303", "😀👨‍👩‍👧‍👦🇩🇪", "日本語 テキスト", "a\u00a0b\u3000c\u2028d", "\x00\x01\x04\x7f\x16"),
    *("\ufeffbom\u200b\u200d", "\U0010ffff\U000e0001", "x" * 300, "a" * 5000, "_camelCase_HTTPServer2", "=====>>>"),
    *("<|im_start|>user\n<|im_end|><|im_end", "<filename><repo_name>x <|endoftext|>", "<|im_<|im_start|>start|>"),
)


def documents() -> list[str]:
    lines = (EXAMPLES / "data" / "documents.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["document"] for line in lines]
    assert len(texts) == 60
    return texts


def random_texts(seed: int, count: int) -> list[str]:
    source = random.Random(seed)
    ascii_pool = " \n\t'sdtre.,:;()\"ab1290AZ-<|>_"
    ranges = (range(0x250), range(0x300, 0x600), range(0x2000, 0x2200), range(0x3000, 0x3100), range(0x1F600, 0x1F640))
    wide_pool = [chr(code) for part in ranges for code in part]
    return [
        "".join(source.choice(pool) for _ in range(source.randint(1, 40)))
        for pool in (ascii_pool, wide_pool)
        for _ in range(count)
    ]


@pytest.fixture(scope="module", params=["smollm", "gpt-2", "llama-bpe", "qwen2"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    pre = request.param
    path = find_model()
    if pre != "smollm":
        path = with_pre_tokenizer(path, pre, tmp_path_factory.mktemp("gguf") / f"{pre}.gguf")
    reference = LlamaVocabulary(path)
    yield pre, load_tokenizer(path), reference
    reference.close()


def test_documents_and_prompts(both: Both) -> None:
    _, ours, llama = both
    prompts = [path.read_text(encoding="utf-8") for path in sorted((EXAMPLES / "agents").glob("*.py"))]
    chats = [ours.render_chat([{"role": "user", "content": text}]) for text in documents()[:5]]
    for text in (*documents(), *prompts, *chats):
        assert ours.encode(text) == llama.encode(text)


@pytest.mark.parametrize("text", TRICKY, ids=range(len(TRICKY)))
def test_awkward_text(both: Both, text: str) -> None:
    _, ours, llama = both
    assert ours.encode(text) == llama.encode(text)


def test_random_text(both: Both) -> None:
    _, ours, llama = both
    for text in random_texts(seed=1, count=500):
        assert ours.encode(text) == llama.encode(text), repr(text)


def test_unicode(both: Both) -> None:
    pre, ours, llama = both
    codes = [*range(0x3400), *range(0x3400, 0xD800, 11), *range(0xE000, 0x20000, 5), *range(0x20000, 0x40000, 499)]
    codes = codes if pre == "smollm" else codes[::7]
    for start in range(0, len(codes), 64):
        text = "".join(f"a {chr(code)}b{chr(code)}{chr(code)} 1{chr(code)}\n" for code in codes[start : start + 64])
        assert ours.encode(text) == llama.encode(text), hex(codes[start])


def test_characters_that_have_no_token_as_a_whole(both: Both) -> None:
    # Planes 4 to 11 are not assigned; two of their leading bytes have no token (see gguf_tokenizer).
    _, ours, llama = both
    for code in range(0x40000, 0x110000, 997):
        assert ours.encode(f"a {chr(code)}b") == llama.encode(f"a {chr(code)}b"), hex(code)


def test_bytes_of_every_token(both: Both) -> None:
    _, ours, llama = both
    assert [ours.token_bytes(token) for token in range(ours.vocab_size)] == [
        llama.piece(token) for token in range(ours.vocab_size)
    ]


def test_the_comparison_can_fail(both: Both) -> None:
    pre, _, llama = both
    differs = load_tokenizer().encode("a  12\n\nb") != llama.encode("a  12\n\nb")
    assert differs == (pre != "smollm")


def test_the_shipped_tokenizer_is_the_one_in_the_weights() -> None:
    shipped, packed = load_tokenizer(), load_tokenizer(find_model())
    assert shipped.fingerprint == packed.fingerprint
    assert (shipped.bos_id, shipped.eos_id) == (packed.bos_id, packed.eos_id)
    assert shipped.chat_template is not None
    assert packed.chat_template is not None
    assert shipped.chat_template.source == packed.chat_template.source
