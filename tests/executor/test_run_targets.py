"""Which tokenizer a target has, which plan fits it, and which server ``local`` takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_doubles import ScriptedTarget
from scripted_triton import ScriptedTriton, engine_configs

from charter_compiler.diagnostics import errors
from charter_compiler.executor import targets
from charter_compiler.executor.memo.keys import MemoKeys
from charter_compiler.executor.targets import OpenTarget, TargetOptions, check_plan, open_target, served_tokenizer
from charter_compiler.executor.types import GenerationRequest, TargetFacts
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.predict.planning import analyse, calls_of_entry, plan_entry
from charter_compiler.serve.discovery import ServerInfo, find_here
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.tokenizer import default_tokenizer

LETTERS = """{"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null,
"truncation": null, "padding": null, "decoder": null,
"model": {"type": "WordLevel", "vocab": {"a": 0, "?": 1}, "unk_token": "?"}}"""
FACTS = TargetFacts(target="triton://h:1/ensemble", model="tiny", tokens_per_block=32)
TARGET = OpenTarget("local", ScriptedTarget(), FACTS, default_tokenizer(), EngineConfig())


@pytest.fixture
def plan(tmp_path: Path) -> ExecutionPlan:
    """A plan for ``TARGET``."""
    agent = tmp_path / "agent.py"
    agent.write_text("def process(text, llm):\n    return llm.generate(text)\n", encoding="utf-8")
    entry, tokenizer = f"{agent}:process", default_tokenizer()
    return plan_entry(
        entry,
        analyse(calls_of_entry(entry), tokenizer, 32),
        target="local",
        model="tiny",
        tokenizer=tokenizer,
        block_size=32,
        capacity_blocks=256,
    )


def info(model_path: Path, fingerprint: str) -> ServerInfo:
    return ServerInfo("1.0", "tiny", str(model_path), fingerprint, EngineConfig(), 1, "h:1", "http://h:2", "http://h:3")


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    path = tmp_path / "letters.json"
    path.write_text(LETTERS, encoding="utf-8")
    return path


class Ended:
    """A server that was started for a target and has ended; of it only this is asked."""

    grpc_url = "h:1"

    def wait(self, timeout: float) -> int:
        return -9

    def failure(self) -> str:
        return "killed"


def test_only_its_own_absence_is_explained_by_a_server_that_ended() -> None:
    target = replace(TARGET, server=Ended())  # type: ignore[arg-type]
    for error in (
        errors.BudgetError("the budget is used up"),
        errors.UnknownModelError("unloaded", place=FACTS.target),
        errors.TargetUnavailableError("refused", place="triton://other:1/ensemble"),
    ):
        assert target.explain(error) is error
    explained = target.explain(errors.TargetUnavailableError("refused", place=FACTS.target))
    assert "ended in mid-run: killed" in str(explained)


def test_the_models_file_gives_the_tokenizer_where_it_is_the_servers(letters: Path) -> None:
    fingerprint = targets.load_tokenizer(letters).fingerprint
    assert fingerprint != default_tokenizer().fingerprint
    found = served_tokenizer(info(letters, fingerprint), None)
    assert found is not None
    assert found.fingerprint == fingerprint


@pytest.mark.parametrize("content", [None, "", LETTERS])
def test_another_file_at_the_servers_path_is_not_used(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "model.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    assert served_tokenizer(info(path, default_tokenizer().fingerprint), None) is default_tokenizer()
    assert served_tokenizer(info(path, "of a model that is nowhere here"), None) is None


def test_a_tokenizer_that_was_named_is_taken_where_the_servers_file_is_not_here(tmp_path: Path, letters: Path) -> None:
    found = served_tokenizer(info(tmp_path / "none", default_tokenizer().fingerprint), str(letters))
    assert found is not None
    assert found.encode("a") == [0]
    with pytest.raises(errors.TokenizerError, match="nowhere"):
        served_tokenizer(info(tmp_path / "none", default_tokenizer().fingerprint), "nowhere")


@pytest.mark.parametrize("model", ["tiny", "folder/tiny.gguf"])
def test_a_plan_for_the_target_is_taken(plan: ExecutionPlan, model: str) -> None:
    check_plan(replace(plan, model=model), TARGET)


def test_what_a_target_does_not_say_is_not_compared(plan: ExecutionPlan) -> None:
    silent = replace(TARGET, tokenizer=None, facts=replace(FACTS, tokens_per_block=None))
    check_plan(replace(plan, tokenizer="other", block_size=64), silent)


def test_what_is_missing_for_an_optimized_run_is_said() -> None:
    assert TARGET.limits == ()
    (line,) = replace(TARGET, tokenizer=None).limits
    assert line == "calls that share a prefix are not held back: the target does not state its tokenizer"
    (line,) = replace(TARGET, tokenizer=None, facts=replace(FACTS, tokens_per_block=None)).limits
    assert line.endswith("its tokenizer and block size")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "large"}, "the plan is for the model large, the target serves tiny"),
        ({"tokenizer": "0" * 64}, "the plan counts tokens with another tokenizer than the target's"),
        ({"block_size": 64}, "the plan is for blocks of 64 tokens, the target has 32"),
    ],
)
def test_a_plan_for_another_target_is_refused(plan: ExecutionPlan, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.PlanError, match=f"^local: {message}.*compile again"):
        check_plan(replace(plan, **changes), TARGET)


@pytest.fixture
def foreign() -> Iterator[ScriptedTriton]:
    """A Triton with TensorRT-LLM's models, and without the embedded server's mark."""
    server = ScriptedTriton(configs=engine_configs(tokens_per_block="32"))
    yield server
    server.stop()


async def test_another_model_behind_the_same_address_has_another_identity(foreign: ScriptedTriton) -> None:
    """As behind the port of a tunnel: the memo store must not give it the answers of the first."""

    async def key_of(tokenizer: str) -> bytes | None:
        foreign.configs = engine_configs(tokens_per_block="32", tokenizer_dir=tokenizer)
        async with open_target(f"triton://{foreign.url}/ensemble") as target:
            keys = MemoKeys(target.identity, greedy_by_default=True)
            return keys.key(GenerationRequest("a prompt", max_tokens=4), None)

    first = await key_of("/models/llama-3-8b")
    assert first is not None
    assert await key_of("/models/llama-3-8b") == first
    assert await key_of("/models/mistral-7b") != first


async def test_local_leaves_a_foreign_triton_alone(foreign: ScriptedTriton, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_options: Any) -> Any:
        raise errors.ServerStartError("one of our own would be started")

    monkeypatch.setattr(find_here, "__defaults__", (foreign.url,))
    monkeypatch.setattr(targets, "find_model", lambda _model: Path("tiny.gguf"))
    monkeypatch.setattr(targets, "start_server", start)
    with pytest.raises(errors.ServerStartError, match="of our own"):
        async with open_target("local", TargetOptions()):
            pass
    assert foreign.requests == []
    async with open_target(f"triton://{foreign.url}/ensemble") as target:
        assert not target.facts.embedded
        assert target.server is None
