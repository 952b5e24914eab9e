"""``TRTLLMConfigGenerator``: the public door to TensorRT-LLM's configuration alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from config_cases import known

from charter_compiler.analysis.prefix_analyzer import PrefixAnalyzer, PrefixOpportunity
from charter_compiler.config.block_size import DEFAULT_TOKENS_PER_BLOCK
from charter_compiler.config.trtllm_config import PROFILES, TRTLLMConfigGenerator
from charter_compiler.dag.builder import DAGBuilder
from charter_compiler.diagnostics.errors import ConfigError
from charter_compiler.parser.ast_parser import AgentASTParser

SOURCE = (Path(__file__).parents[2] / "examples/agents/document_processor.py").read_text(encoding="utf-8")


def opportunities() -> list[PrefixOpportunity]:
    calls = AgentASTParser().parse_source(SOURCE, "document_processor.py").calls
    return PrefixAnalyzer().find_shared_prefixes(DAGBuilder().build_from_calls(calls))


def test_from_an_analysis_alone() -> None:
    config = TRTLLMConfigGenerator().generate_from_analysis(opportunities())
    assert config.tokens_per_block == 32
    assert "16: 288, 32: 288, 64: 192, 128: 0" in config.sizes.tokens_per_block.reason
    assert [(part.start, part.end) for part in config.retention[0].ranges] == [(0, 64), (64, 96)]
    assert {path.partition("/")[0] for path in config.files()} == set(PROFILES)


def test_a_template_does_not_decide_the_block_size() -> None:
    found = [replace(o, template=()) for o in opportunities()]
    config = TRTLLMConfigGenerator().generate_from_analysis(found)
    assert config.tokens_per_block == DEFAULT_TOKENS_PER_BLOCK
    assert config.retention == ()


def test_from_a_plan() -> None:
    generator, plan = TRTLLMConfigGenerator(), known().plan
    files = generator.generate(plan).files()
    for profile in PROFILES:
        alone = generator.generate(plan, profile).files()
        assert alone == {path: text for path, text in files.items() if path.startswith(f"{profile}/")}
    without_hints = generator.generate(replace(plan, hints=()))
    assert without_hints.retention[0].ranges[0].priority == 86, "then the prefixes' own priorities count"
    with pytest.raises(ConfigError, match=rf"no TensorRT-LLM profile 'trt' \(one of {', '.join(PROFILES)}\)"):
        generator.generate(plan, "trt")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "engine").write_text("a file in the way")
    with pytest.raises(ConfigError, match=r"engine.*cannot be written"):
        TRTLLMConfigGenerator().generate_from_analysis([]).write(tmp_path)
