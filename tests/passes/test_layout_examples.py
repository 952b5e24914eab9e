"""The example agents laid out: the order, and the attainable hit rates that the design's table has for it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from charter_compiler.cache.interface import Request
from charter_compiler.cache.trtllm_profile import TrtllmCache
from charter_compiler.cache.unbounded import UnboundedCache
from charter_compiler.ir.nodes import Agent, Call, CallRef, Const, Param
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.passes.layout import layout
from charter_compiler.passes.site_layout import LayoutOptions
from charter_compiler.predict.synthetic import _WORDS
from charter_compiler.tokens.tokenizer import Tokenizer, load_tokenizer

EXAMPLES = Path(__file__).parents[2] / "examples"
OUTPUT_WORDS = 18
BLOCK = 32
HALF_A_POINT = 0.005


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer()


def calls_of(name: str, function: str) -> tuple[Call, ...]:
    calls = AgentASTParser().parse_file(EXAMPLES / "agents" / f"{name}.py").require().calls
    return tuple(call for call in calls if call.function == function)


def attainable(calls: tuple[Call, ...], data: str, items: int, tokenizer: Tokenizer) -> float:
    """Token hit rate of raw prompts on an unbounded cache, item by item, each output of ``OUTPUT_WORDS`` words."""
    rows = [json.loads(line) for line in (EXAMPLES / "data" / data).read_text(encoding="utf-8").splitlines()]
    cache = UnboundedCache(BLOCK)
    total = found = 0
    for number, row in enumerate(rows[:items]):
        outputs: dict[str, str] = {}
        for call in calls:
            prompt = ""
            for segment in call.messages[0].segments:
                match segment:
                    case Const(text=text):
                        prompt += text
                    case Param(name=name):
                        prompt += row[name]
                    case CallRef(id=name):
                        prompt += outputs[name]
            words = random.Random(f"{number}/{call.id}")
            outputs[call.id] = "".join(f" {words.choice(_WORDS)}" for _ in range(OUTPUT_WORDS))
            tokens = tokenizer.encode(prompt)
            total += len(tokens)
            found += cache.request(tokens, tokenizer.encode(outputs[call.id]))
    return found / total


@pytest.mark.parametrize(
    ("name", "function", "data", "items", "written", "laid_out"),
    [
        ("document_processor", "DocumentProcessor.process", "documents.jsonl", 16, 0.089, 0.642),
        ("delta_processor", "DeltaProcessor.process", "companies.jsonl", 40, 0.0, 0.803),
        ("report_analyst", "ReportAnalyst.process", "company_reports.jsonl", 40, 0.048, 0.433),
    ],
)
def test_attainable_rate_is_that_of_the_best_known_layout(
    name: str, function: str, data: str, items: int, written: float, laid_out: float, tokenizer: Tokenizer
) -> None:
    calls = calls_of(name, function)
    after = layout(Agent(name, calls)).agent.calls
    assert attainable(calls, data, items, tokenizer) == pytest.approx(written, abs=HALF_A_POINT)
    assert attainable(after, data, items, tokenizer) >= laid_out - HALF_A_POINT


def test_the_stages_of_the_document_processor_begin_alike() -> None:
    calls = calls_of("document_processor", "DocumentProcessor.process")
    after = layout(Agent("a", calls))
    starts = {"".join(_leading(call)) for call in after.agent.calls}
    assert len(starts) == 1
    assert starts.pop().endswith("\n\nDocument:\n{document}")
    reworded = [pair for site in after.sites for pair in site.reworded]
    assert ("Source document:", "Document:") in reworded
    assert any("document below" in old and "document above" in new for old, new in reworded)


def _leading(call: Call) -> list[str]:
    texts = []
    for segment in call.messages[0].segments:
        texts.append(segment.text if isinstance(segment, Const) else f"{{{segment.name}}}")  # type: ignore[union-attr]
        if not isinstance(segment, Const):
            return texts
    return texts


def test_without_rewording_no_word_changes() -> None:
    calls = calls_of("document_processor", "DocumentProcessor.process")
    after = layout(Agent("a", calls), LayoutOptions(wording=False))
    assert not [pair for site in after.sites for pair in site.reworded]
    for old, new in zip(calls, after.agent.calls, strict=True):
        words = [
            sorted(" ".join(s.text for s in call.messages[0].segments if isinstance(s, Const)).split())
            for call in (old, new)
        ]
        assert words[0] == words[1]


def test_partial_reuse_of_trtllm_takes_the_delta_processor_above_85_percent(tokenizer: Tokenizer) -> None:
    """In blocks of 32, in the pool of 256 blocks that the embedded engine has."""
    (call,) = layout(Agent("a", calls_of("delta_processor", "DeltaProcessor.process"))).agent.calls
    rows = [json.loads(line) for line in (EXAMPLES / "data/companies.jsonl").read_text(encoding="utf-8").splitlines()]
    rates = []
    for partial_reuse in (False, True):
        cache = TrtllmCache(256, BLOCK, partial_reuse=partial_reuse)
        total = found = 0
        for row in rows:
            parts = (s.text if isinstance(s, Const) else row[s.name] for s in call.messages[0].segments)  # type: ignore[union-attr]
            tokens = tokenizer.encode("".join(parts))
            output = tokenizer.encode(" word" * OUTPUT_WORDS)
            lease = cache.start(Request(tokens, len(output)))
            assert lease is not None
            total += len(tokens)
            found += lease.cached_tokens
            cache.prefilled(lease)
            cache.append(lease, output)
            cache.finish(lease)
        rates.append(found / total)
    assert rates[0] == pytest.approx(0.803, abs=HALF_A_POINT)
    assert rates[1] >= 0.85
