"""TensorRT-LLM settings: golden files, read back by the targets' own parsers.

After a wanted change: ``CHARTER_UPDATE_GOLDEN=1 pytest tests/config`` writes the files anew; read the difference.
"""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from charter_compiler.analysis.prefix_analyzer import PrefixAnalyzer, PrefixOpportunity
from charter_compiler.config.block_size import DEFAULT_TOKENS_PER_BLOCK
from charter_compiler.config.trtllm_config import PROFILES, TRTLLMConfig, TRTLLMConfigGenerator
from charter_compiler.dag.builder import DAGBuilder
from charter_compiler.diagnostics.errors import ConfigError
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.plan.execution_plan import make_plan

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "fixtures" / "config"
TENSORS = ROOT / "charter_compiler" / "serve" / "model_repository" / "tensors.json"
SOURCE = (ROOT / "examples" / "agents" / "document_processor.py").read_text(encoding="utf-8")
GRAPH = DAGBuilder().build_from_calls(AgentASTParser().parse_source(SOURCE, "document_processor.py").calls)
ENGINE_FILES = {"engine/trtllm-build.args", "engine/tensorrt_llm/config.pbtxt.part", "engine/retention.json"}


def opportunities() -> list[PrefixOpportunity]:
    return PrefixAnalyzer().find_shared_prefixes(GRAPH)


@pytest.fixture(params=["document_processor", "nothing_shared"])
def case(request: pytest.FixtureRequest) -> tuple[str, TRTLLMConfig]:
    found = opportunities() if request.param == "document_processor" else []
    return request.param, TRTLLMConfigGenerator().generate_from_analysis(found)


def test_golden_files(case: tuple[str, TRTLLMConfig], tmp_path: Path) -> None:
    name, config = case
    if os.environ.get("CHARTER_UPDATE_GOLDEN"):
        config.write(GOLDEN / name)
    written = config.write(tmp_path)
    golden = sorted(path.relative_to(GOLDEN / name) for path in (GOLDEN / name).rglob("*") if path.is_file())
    assert sorted(path.relative_to(tmp_path) for path in written) == golden
    for path in golden:
        assert (tmp_path / path).read_bytes() == (GOLDEN / name / path).read_bytes(), path


def test_triton_reads_the_parameters(case: tuple[str, TRTLLMConfig]) -> None:
    text = case[1].files()["engine/tensorrt_llm/config.pbtxt.part"]
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert config.model_transaction_policy.decoupled
    assert {key: value.string_value for key, value in config.parameters.items()} == {
        "enable_kv_cache_reuse": "true",
        "kv_cache_free_gpu_mem_fraction": "0.9",
        "gpt_model_type": "inflight_fused_batching",
        "batch_scheduler_policy": "guaranteed_no_evict",
        "enable_chunked_context": "true",
    }


def test_yaml_reads_the_llm_arguments(case: tuple[str, TRTLLMConfig]) -> None:
    config = case[1]
    assert yaml.safe_load(config.files()["llmapi/model.yaml"]) == {
        "kv_cache_config": {
            "enable_block_reuse": True,
            "tokens_per_block": config.tokens_per_block,
            "free_gpu_memory_fraction": 0.9,
        },
        "scheduler_config": {"capacity_scheduler_policy": "GUARANTEED_NO_EVICT"},
        "enable_chunked_prefill": True,
        "triton_config": {"decoupled": True},
    }


def test_a_shell_reads_the_build_arguments(case: tuple[str, TRTLLMConfig]) -> None:
    config = case[1]
    assert shlex.split(config.files()["engine/trtllm-build.args"], comments=True) == [
        "--use_paged_context_fmha",
        "enable",
        "--tokens_per_block",
        str(config.tokens_per_block),
    ]


def test_every_value_has_its_reason(case: tuple[str, TRTLLMConfig]) -> None:
    config = case[1]
    for setting in (*config.build_settings, *config.runtime_parameters, *config.llm_arguments):
        assert setting.reason.endswith(".")


def test_retention_goes_by_the_inner_models_tensors() -> None:
    config = TRTLLMConfigGenerator().generate_from_analysis(opportunities())
    calls = json.loads(config.files()["engine/retention.json"])
    assert set(calls) == set(GRAPH.calls)
    tensors = json.loads(TENSORS.read_text(encoding="utf-8"))["models"]["tensorrt_llm"]["inputs"]
    names = {tensor["name"] for tensor in tensors}
    for inputs in calls.values():
        assert set(inputs) <= names
        assert inputs["retention_token_range_starts"] == [0, 64]
        assert inputs["retention_token_range_ends"] == [64, 96]


def test_a_template_does_not_decide_the_block_size() -> None:
    found = [replace(o, template=()) for o in opportunities()]
    config = TRTLLMConfigGenerator().generate_from_analysis(found)
    assert config.tokens_per_block == DEFAULT_TOKENS_PER_BLOCK
    assert config.retention == ()


def test_a_plan_gives_the_same_as_its_analysis(tmp_path: Path) -> None:
    plan = make_plan(
        entry="document_processor.py:DocumentProcessor.process",
        target="triton://localhost:8001/ensemble",
        model="m",
        tokenizer="t",
        block_size=32,
        capacity_blocks=None,
        sources=[],
        root=tmp_path,
        opportunities=opportunities(),
    )
    generator = TRTLLMConfigGenerator()
    both = generator.generate_from_analysis(opportunities())
    assert generator.generate(plan) == both
    assert generator.generate(plan, "engine").files() == {name: both.files()[name] for name in ENGINE_FILES}
    assert set(generator.generate(plan, "llmapi").files()) == {"llmapi/model.yaml"}
    with pytest.raises(ConfigError, match=rf"no TensorRT-LLM profile 'trt' \(one of {', '.join(PROFILES)}\)"):
        generator.generate(plan, "trt")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "engine").write_text("a file in the way")
    with pytest.raises(ConfigError, match=r"engine.*cannot be written"):
        TRTLLMConfigGenerator().generate_from_analysis([]).write(tmp_path)
