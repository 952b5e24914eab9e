"""The generated TensorRT-LLM repository in the real Triton, only its engine model swapped for the embedded one; and the
generated retention tensors on it.

The Python of preprocessing, postprocessing and BLS comes with TensorRT-LLM's container; here it is the embedded
server's, which reads the same parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from config_cases import known
from server_requests import PROMPT, ask, joined

from charter_compiler.api.config_check import check_config
from charter_compiler.config.hints.retention import retention_of, retention_tensors
from charter_compiler.config.settings import Overrides
from charter_compiler.config.target import MODELS, EngineName
from charter_compiler.plan.hint_ranges import HintRange, PromptHints
from charter_compiler.plan.hints import CallHints, HintAction
from charter_compiler.serve import server as serve
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.options import ServerOptions
from charter_compiler.serve.server import ServerHandle
from charter_compiler.tokens.models import DEFAULT_MODEL
from charter_compiler.tokens.tokenizer import default_tokenizer

pytestmark = pytest.mark.server
SIZE = 32


@pytest.fixture(scope="module")
def generated(model_path: Path) -> Iterator[ServerHandle]:
    config = replace(known(), overrides=Overrides({"max_batch_size": 2}))
    files = config.files(EngineName.ENGINE)
    embedded = serve.write_repository

    def write(folder: Path, *arguments: Any, **keywords: Any) -> None:
        embedded(folder, *arguments, **keywords)
        for path, text in files.items():
            head, _, name = path.partition("/")
            if head == "repository" and name != "tensorrt_llm/config.pbtxt":
                (folder / name).write_text(text.replace(f"{MODELS}/weights", str(model_path)), encoding="utf-8")

    patch = pytest.MonkeyPatch()
    patch.setattr(serve, "write_repository", write)
    engine = EngineConfig(tokens_per_block=SIZE, capacity_blocks=16, max_context=256, max_running=2)
    options = ServerOptions(model_path=model_path, model_name=DEFAULT_MODEL.name, engine=engine)
    try:
        with serve.start_server(options) as running:
            yield running
    finally:
        patch.undo()


@pytest.mark.parametrize("model", ["ensemble", "tensorrt_llm_bls"])
def test_it_loads_and_answers(generated: ServerHandle, model: str) -> None:
    assert joined(ask(generated.grpc_url, model=model, text_input=PROMPT, max_tokens=3)).startswith(" Paris")
    streamed = ask(generated.grpc_url, model=model, text_input=PROMPT, max_tokens=3, stream=True)
    assert joined(streamed).startswith(" Paris")
    assert len(streamed) > 1, "decoupled"


def hinted(tokens: list[int], action: HintAction, priority: int) -> dict[str, list[int]]:
    hints = CallHints("a", (), (), (), 1, False, 0, 1)
    prompt = PromptHints(hints, (HintRange(0, len(tokens), action, priority, "", None),), len(tokens))
    return dict(retention_tensors(retention_of(prompt, SIZE)))


def cached(generated: ServerHandle, tokens: list[int], **tensors: list[int]) -> int:
    answer = ask(
        generated.grpc_url,
        model="tensorrt_llm",
        input_ids=tokens,
        input_lengths=len(tokens),
        request_output_len=1,
        **tensors,
    )
    return int(answer[-1].outputs["kv_cache_reused_blocks"][0])


@pytest.mark.parametrize(("action", "priority", "kept"), [(HintAction.PIN, 100, True), (HintAction.RELEASE, 0, False)])
def test_the_engine_keeps_what_the_tensors_retain(
    generated: ServerHandle, action: HintAction, priority: int, kept: bool
) -> None:
    """Room for three prompts: one with hints, then two others without, then the first again."""
    encode = default_tokenizer().encode
    first, *others = (
        encode(f"{action} {priority} {word} " + f"{word} is written here. " * 40)[:130]
        for word in ("iron", "oak", "sea")
    )
    cached(generated, first, **hinted(first, action, priority))
    for other in others:
        cached(generated, other)
    found = cached(generated, first, **hinted(first, action, priority))
    assert found == (4 if kept else 0)


def test_the_running_server_is_checked_by_its_own_words(generated: ServerHandle, tmp_path: Path) -> None:
    served, problems = check_config(generated.http_url, None)
    assert served[0].reuse is True
    assert (served[0].tokens_per_block, served[0].capacity_tokens) == (SIZE, 16 * SIZE)
    assert served[0].decoupled == {"tensorrt_llm": True, "tensorrt_llm_bls": True}
    assert problems == ()
    plan = replace(known().plan, tokenizer="0" * 64)
    (tmp_path / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    _, problems = check_config(generated.http_url, tmp_path)
    assert [problem.message[:14] for problem in problems] == ["its tokenizer ", "the cache hold"]
