"""Configuration of every engine: golden files, read back by the targets' own parsers.

After a wanted change: ``pytest tests/config --update-golden`` writes the files anew; read the difference.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from config_cases import CASES, ROOT, facts, files, files_of, known, unknown
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from charter_compiler.analysis.gpu_memory import gpu_named
from charter_compiler.config.engines import EngineConfigs
from charter_compiler.config.files import write_files
from charter_compiler.config.settings import Overrides
from charter_compiler.config.target import KNOWN_VERSIONS, EngineName, EngineTarget, engine_named
from charter_compiler.config.triton_interfaces import engine_interfaces
from charter_compiler.diagnostics.errors import ConfigError

GOLDEN = ROOT / "tests" / "fixtures" / "config"
EVERY = pytest.mark.parametrize("engine", list(EngineName))
CASE = pytest.mark.parametrize("case", list(CASES))


def config_of(text: str) -> model_config_pb2.ModelConfig:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def parameters(config: model_config_pb2.ModelConfig) -> dict[str, str]:
    return {key: value.string_value for key, value in config.parameters.items()}


def options(text: str) -> dict[str, str | None]:
    """Of a ``.args`` file, read as a shell reads it."""
    words = shlex.split(text, comments=True)
    found: dict[str, str | None] = {}
    for word, following in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--"):
            found[word[2:]] = None if following.startswith("--") else following
    return found


@EVERY
@CASE
def test_golden_files(case: str, engine: EngineName, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    files = CASES[case]().files(engine)
    assert files == files_of(case, engine), "the same bytes each time"
    golden = GOLDEN / case / engine
    if request.config.getoption("--update-golden"):
        write_files(golden, files)
    write_files(tmp_path, files)
    assert sorted(files) == sorted(str(path.relative_to(golden)) for path in golden.rglob("*") if path.is_file())
    for name in files:
        assert (tmp_path / name).read_bytes() == (golden / name).read_bytes(), name


@CASE
def test_triton_reads_every_model_of_the_repository(case: str) -> None:
    files = files_of(case, EngineName.ENGINE)
    found = {path.split("/")[1]: config_of(text) for path, text in files.items() if path.endswith(".pbtxt")}
    assert set(found) == set(engine_interfaces())
    for name, config in found.items():
        interface = engine_interfaces()[name]
        assert config.name == name
        assert [tensor.name for tensor in config.input] == [tensor.name for tensor in interface.inputs]
        assert [tensor.name for tensor in config.output] == [tensor.name for tensor in interface.outputs]
        assert set(parameters(config)) <= set(interface.parameters), "only what TensorRT-LLM's template knows"
        assert "tokens_per_block" not in parameters(config), "it is the engine's, not the server's"
        paths = [value for value in parameters(config).values() if value.startswith("/")]
        assert all(path.startswith("/models/") for path in paths), "only /models is mounted"
    assert len({config.max_batch_size for config in found.values()}) == 1
    assert {name for name, config in found.items() if config.model_transaction_policy.decoupled} == {
        "tensorrt_llm",
        "tensorrt_llm_bls",
    }
    assert [step.model_name for step in found["ensemble"].ensemble_scheduling.step] == [
        "preprocessing",
        "tensorrt_llm",
        "postprocessing",
    ]


def test_triton_reads_the_llmapi_model() -> None:
    made = files(EngineName.LLMAPI)
    config = config_of(made["repository/tensorrt_llm/config.pbtxt"])
    model = yaml.safe_load(made["repository/tensorrt_llm/1/model.yaml"])
    assert config.model_transaction_policy.decoupled is model["triton_config"]["decoupled"] is True
    assert config.max_batch_size == model["triton_config"]["max_batch_size"] == 0
    served = yaml.safe_load(made["serve.yaml"])
    assert {key: value for key, value in model.items() if key not in ("model", "triton_config")} == served
    assert served["kv_cache_config"]["enable_block_reuse"] is True


def test_reuse_is_on_everywhere() -> None:
    inner = parameters(config_of(files(EngineName.ENGINE)["repository/tensorrt_llm/config.pbtxt"]))
    assert inner["enable_kv_cache_reuse"] == "true"
    assert "--use_paged_context_fmha enable" in files(EngineName.ENGINE)["build.sh"]
    assert yaml.safe_load(files(EngineName.VLLM)["serve.yaml"])["enable-prefix-caching"] is True
    assert "disable-radix-cache" not in options(files(EngineName.SGLANG)["serve.args"])
    assert "cache-prompt" in options(files(EngineName.LLAMACPP)["serve.args"])


def test_sizes_are_the_same_in_all_files_of_an_engine() -> None:
    made = files(EngineName.ENGINE)
    build = dict(re.findall(r"^  --(\w+) (\S+)", made["build.sh"], re.M))
    inner = config_of(made["repository/tensorrt_llm/config.pbtxt"])
    assert int(build["max_batch_size"]) == inner.max_batch_size
    assert build["output_dir"] == parameters(inner)["gpt_model_path"]
    vllm = files(EngineName.VLLM)
    arguments, settings = options(vllm["serve.args"]), yaml.safe_load(vllm["serve.yaml"])
    assert set(arguments) == set(settings)
    assert all(str(value) == arguments[name] for name, value in settings.items() if value is not True)


def test_simulation_decides_the_block_size_and_says_so() -> None:
    text = " ".join(word for word in files(EngineName.VLLM)["serve.yaml"].split() if word != "#")
    assert "by simulation of 12 prompts of 4 inputs in a cache of " in text
    assert re.search(r"16: \d+\.\d%, 32: \d+\.\d%, 64: \d+\.\d%, 128: \d+\.\d%; the largest of the best", text)


@EVERY
def test_every_value_has_its_reason(engine: EngineName) -> None:
    for name, text in files(engine).items():
        if not name.endswith((".args", ".yaml", ".pbtxt")):
            continue
        lines = text.splitlines()
        for number, line in enumerate(lines):
            value = line.startswith(("--", "parameters")) or re.match(r"^\s*[\w-]+: \S", line)
            inside = "string_value" in line or re.match(r"^  (key|count|kind|decoupled|step)\b", line)
            own = re.match(r"^(name|backend|platform|max_batch_size): ", line) and name.endswith(".pbtxt")
            if value and not inside and not own and not re.match(r"^    \w+: |^    (in|out)put_map", line):
                assert lines[number - 1].lstrip().startswith("#"), f"{name}: {line}"


def test_scripts_are_scripts(tmp_path: Path) -> None:
    for path in write_files(tmp_path, files(EngineName.ENGINE)):
        if path.suffix == ".sh":
            subprocess.run(["sh", "-n", str(path)], check=True, timeout=10)
            assert path.stat().st_mode & 0o100


def test_ports_are_open_on_the_loopback_only() -> None:
    assert re.findall(r"-p (\S+)", files(EngineName.ENGINE)["run.sh"]) == [
        f"127.0.0.1:{port}:{port}" for port in (8000, 8001, 8002)
    ]
    for engine in (EngineName.LLMAPI, EngineName.VLLM, EngineName.SGLANG, EngineName.LLAMACPP):
        assert options(files(engine)["serve.args"])["host"] == "127.0.0.1"


def test_an_unknown_version_lists_the_known_ones() -> None:
    for engine in EngineName:
        target = EngineTarget(versions=((engine, "0.0.1"),))
        with pytest.raises(ConfigError, match=re.escape(f"known are {', '.join(KNOWN_VERSIONS[engine])}")):
            replace(unknown(), target=target).files(engine)
    with pytest.raises(
        ConfigError, match=r"no engine 'tgi' \(known are engine, llmapi, vllm, sglang, llamacpp, hosted\)"
    ):
        engine_named("tgi")


def test_a_longer_version_is_its_minor_one() -> None:
    assert EngineTarget(versions=((EngineName.ENGINE, "1.2.1"),)).version(EngineName.ENGINE) == "1.2"
    older = replace(known(), target=replace(known().target, versions=((EngineName.LLMAPI, "1.0"),)))
    assert "--extra_llm_api_options serve.yaml" in older.files(EngineName.LLMAPI)["serve.args"]
    assert "--config serve.yaml" in files(EngineName.LLMAPI)["serve.args"]


def test_an_unknown_architecture_lists_the_known_ones() -> None:
    target = EngineTarget(model=replace(facts("llama-3-8b"), architecture="t5"))
    with pytest.raises(ConfigError, match=r"architecture 't5' \(known are llama, mistral, .*llmapi profile"):
        replace(unknown(), target=target).files(EngineName.ENGINE)
    assert replace(unknown(), target=target).files(EngineName.LLMAPI)


@pytest.mark.parametrize(
    ("model", "script"), [("qwen3-8b", "qwen"), ("mistral-7b-v0.3", "llama"), ("llama-3-70b", "llama")]
)
def test_the_conversion_goes_by_the_architecture(model: str, script: str) -> None:
    target = EngineTarget(model=facts(model))
    text = replace(unknown(), target=target).files(EngineName.ENGINE)["build.sh"]
    assert f"models/core/{script}/convert_checkpoint.py" in text


def test_a_gated_model_is_said_to_be_one() -> None:
    assert "only to who accepts" in " ".join(files(EngineName.ENGINE)["build.sh"].split("\n# "))
    assert "accepts" not in unknown().files(EngineName.ENGINE)["build.sh"]


def test_weights_that_do_not_fit_are_an_error() -> None:
    target = EngineTarget(model=facts("llama-3-70b"), gpu=gpu_named("h100-sxm"))
    with pytest.raises(ConfigError, match=r"141 GB\) do not fit 1 x h100-sxm \(give more GPUs"):
        replace(unknown(), target=target).files(EngineName.VLLM)
    assert replace(unknown(), target=replace(target, gpus=4)).files(EngineName.VLLM)


def test_prompt_tuning_has_room_only_when_asked_for() -> None:
    assert "max_prompt_embedding_table_size" not in files(EngineName.ENGINE)["build.sh"]
    target = replace(known().target, prompt_embedding_table=128)
    text = replace(known(), target=target).files(EngineName.ENGINE)["build.sh"]
    assert "--max_prompt_embedding_table_size 128" in text


def with_overrides(config: EngineConfigs, **values: int | float | str) -> EngineConfigs:
    return replace(config, overrides=Overrides(values))


def test_a_value_decided_by_hand_replaces_the_computed_one_and_says_so() -> None:
    config = with_overrides(known(), tokens_per_block=128, host_memory_bytes=3 << 30)
    text = config.files(EngineName.VLLM)["serve.yaml"]
    assert yaml.safe_load(text)["block-size"] == 128
    assert yaml.safe_load(text)["kv-offloading-size"] == 3.0
    assert "Set by hand in overrides.yaml; computed: " in text
    sglang = options(config.files(EngineName.SGLANG)["serve.args"])
    assert sglang["hicache-size"] == "4"
    assert "enable-hierarchical-cache" in sglang
    assert options(config.files(EngineName.LLAMACPP)["serve.args"])["cache-ram"] == "3072"


def test_a_priority_decided_by_hand_is_that_of_the_retention() -> None:
    prefix = known().plan.hints[0].futures[0].cache_id
    config = replace(known(), overrides=Overrides({f"priority.{prefix}": 7}))
    calls = json.loads(config.files(EngineName.ENGINE)["retention.json"])
    assert all(one["retention_token_range_priorities"][0] == 7 for one in calls.values())


def test_retention_goes_by_the_inner_models_tensors() -> None:
    calls = json.loads(files(EngineName.ENGINE)["retention.json"])
    names = {tensor.name for tensor in engine_interfaces()["tensorrt_llm"].inputs}
    assert set(calls) == {one.call for one in known().plan.hints}
    for inputs in calls.values():
        assert set(inputs) <= names
        assert inputs["retention_token_range_starts"][0] == 0


@EVERY
def test_the_report_lists_all_kinds_of_hints(engine: EngineName) -> None:
    report = json.loads(files(engine)["hints.json"])
    assert set(report["taken"]) | set(report["not_taken"]) == {
        *("retain", "pin", "demote", "prefetch", "release"),
        *("expected output length", "session", "priority"),
    }
    for one in report["not_taken"].values():
        assert one["why"]
        assert isinstance(one["worth_tokens"], int) or one["worth_note"]


def test_what_a_target_cannot_take_has_its_worth() -> None:
    report = json.loads(files(EngineName.VLLM)["hints.json"])["not_taken"]
    assert re.match(r"of \d+ prompt tokens, in \d+ blocks of \d+ tokens", report["pin"]["worth_note"])
    announced = json.loads(known().files(EngineName.VLLM, ["charter.pin", "retain"])["hints.json"])
    assert {kind for kind, how in announced["taken"].items() if how["carrier"] == "KV hint envelope"} == {
        "pin",
        "retain",
    }


def test_several_gpus_are_ranks_of_the_engine_profile_and_workers_of_the_other() -> None:
    config = replace(known(), target=replace(known().target, gpus=4))
    ranks = config.files(EngineName.ENGINE)["tritonserver.sh"].split(" : \\\n")
    assert len(ranks) == 4
    assert [rank.count("--load-model=tensorrt_llm") for rank in ranks] == [0, 1, 1, 1]
    assert [f"shm-region-prefix-name=prefix{n}_" in rank for n, rank in enumerate(ranks)] == [True] * 4
    llmapi = config.files(EngineName.LLMAPI)
    assert llmapi["tritonserver.sh"].count("-n 1 tritonserver") == 1
    assert "tensor_parallel_size: 4" in llmapi["repository/tensorrt_llm/1/model.yaml"]
