"""Whether a folder's configuration, or a running server, serves a plan."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2

from charter_compiler.config.check import Problem, Served, check
from charter_compiler.config.check_files import served_by_folder, served_by_model
from charter_compiler.diagnostics.errors import PlanError, TargetProtocolError, TargetUnavailableError
from charter_compiler.plan.execution_plan import ExecutionPlan

TIMEOUT = 10.0
INNER = "tensorrt_llm"
STREAMING = (INNER, "tensorrt_llm_bls")
CACHE_INFO = re.compile(r"^vllm:cache_config_info\{(.*)\}", re.M)
LABEL = re.compile(r'(\w+)="([^"]*)"')


def check_config(what: str, plan: Path | None) -> tuple[tuple[Served, ...], tuple[Problem, ...]]:
    """What was found, and the problems.

    Args:
        what: a folder, or the address of a server's HTTP port.
        plan: a plan, or the folder of a compilation; by default the one in the folder ``what``, if it is there.

    Raises:
        ConfigError, PlanError: the folder or the plan cannot be read.
        TargetError: the server does not answer, or is none that is known.
    """
    remote = what.startswith(("http://", "https://"))
    found = _read_plan(plan or Path(what), required=plan is not None) if plan or not remote else None
    served = (served_by_server(what, found),) if remote else served_by_folder(Path(what))
    return served, tuple(problem for one in served for problem in check(one, found))


def _read_plan(path: Path, *, required: bool) -> ExecutionPlan | None:
    file = path / "plan.json" if path.is_dir() else path
    try:
        return ExecutionPlan.from_json(file.read_text(encoding="utf-8"), place=str(file))
    except OSError as error:
        if not required:
            return None
        raise PlanError(f"cannot be read: {error.strerror}", place=str(file), remedy="run charter compile") from error


def served_by_server(url: str, plan: ExecutionPlan | None) -> Served:
    """What a server says of itself: Triton by its models' configurations, vLLM by its metrics and its tokenizer,
    another OpenAI-compatible one only that it is there.

    Raises:
        TargetUnavailableError: nothing answers.
        TargetProtocolError: it is none of these.
    """
    with httpx.Client(base_url=url.rstrip("/"), timeout=TIMEOUT, trust_env=False) as client:
        try:
            if client.get("/v2").status_code == httpx.codes.OK:
                return _triton(client, url)
            if client.get("/v1/models").status_code == httpx.codes.OK:
                return _openai(client, url, plan)
        except httpx.TransportError as error:
            raise TargetUnavailableError(f"does not answer: {error}", place=url, remedy="start the server") from error
    raise TargetProtocolError("is neither Triton nor an OpenAI-compatible server", place=url)


def _triton(client: httpx.Client, url: str) -> Served:
    configs = {}
    for name in STREAMING:
        answer = client.get(f"/v2/models/{name}/config")
        if answer.status_code == httpx.codes.OK:
            configs[name] = json_format.Parse(answer.text, model_config_pb2.ModelConfig(), ignore_unknown_fields=True)
    if INNER not in configs:
        raise TargetProtocolError(f"Triton has no model {INNER}", place=url, remedy="give a server of TensorRT-LLM")
    decoupled = {name: config.model_transaction_policy.decoupled for name, config in configs.items()}
    return served_by_model(url, configs[INNER], decoupled=decoupled)


def _openai(client: httpx.Client, url: str, plan: ExecutionPlan | None) -> Served:
    model: dict[str, Any] = client.get("/v1/models").json()["data"][0]
    longest = model.get("max_model_len")
    metrics = client.get("/metrics")
    line = CACHE_INFO.search(metrics.text) if metrics.status_code == httpx.codes.OK else None
    if line is None:
        return Served(url, max_sequence=longest)
    labels = dict(LABEL.findall(line.group(1)))
    size = _number(labels.get("block_size"))
    blocks = _number(labels.get("num_gpu_blocks"))
    return Served(
        url,
        reuse=labels["enable_prefix_caching"] == "True" if "enable_prefix_caching" in labels else None,
        tokens_per_block=size,
        capacity_tokens=size * blocks if size and blocks else None,
        max_sequence=longest,
        prefix_tokens=dict(_counted(client, model["id"], plan)),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _counted(client: httpx.Client, model: str, plan: ExecutionPlan | None) -> Iterable[tuple[int, int]]:
    """The plan's constant prefixes in the server's own tokens (vLLM's ``/tokenize``)."""
    for prefix in plan.prefixes if plan is not None else ():
        if prefix.parameters:
            continue
        body = {"model": model, "prompt": prefix.text, "add_special_tokens": False}
        answer = client.post("/tokenize", json=body)
        if answer.status_code == httpx.codes.OK:
            yield prefix.cache_id, int(answer.json()["count"])
