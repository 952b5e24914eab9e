"""What routers and replicas are configured with: golden files, read back by what reads them."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from config_cases import CASES, ROOT, known

from charter_compiler.cli.main import build_parser
from charter_compiler.config.files import write_files
from charter_compiler.config.routers.files import ROUTERS, router_files
from charter_compiler.config.routers.ray_serve import ROUTER
from charter_compiler.executor.fleet.addresses import parse_targets

REPLICAS = 3
CASE = pytest.mark.parametrize("case", list(CASES))


def files(case: str = "document_processor") -> dict[str, str]:
    return dict(router_files(CASES[case](), REPLICAS))


@CASE
def test_golden_files(case: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    golden = ROOT / "tests" / "fixtures" / "config" / case / ROUTERS
    made = files(case)
    if request.config.getoption("--update-golden"):
        write_files(golden, made)
    assert sorted(made) == sorted(path.name for path in golden.iterdir())
    for name, text in made.items():
        assert text == (golden / name).read_text(encoding="utf-8"), name


def test_items_of_a_group_have_one_session_everywhere() -> None:
    configs = known()
    grouped = replace(configs, plan=replace(configs.plan, group_by=("document",)))
    for made, session in (
        (router_files(configs, REPLICAS), "charter-{item}"),
        (router_files(grouped, REPLICAS), "charter-{group}"),
    ):
        receivers = json.loads(made["sessions.json"])["receivers"]
        every = {name: receivers[name]["every_call"] for name in ("dynamo", "trtllm-serve", "vllm", "openai")}
        assert every == {
            "dynamo": {"headers": {"X-Dynamo-Session-ID": session}},
            "trtllm-serve": {"body": {"conversation_params": {"conversation_id": session}}},
            "vllm": {"body": {"session_id": session}},
            "openai": {"body": {"prompt_cache_key": session}},
        }
        assert set(receivers["dynamo"]["calls"]) == {one.call for one in configs.plan.hints}


def test_ray_serves_the_replicas_behind_the_router_that_follows_prefixes() -> None:
    made = files()
    (application,) = yaml.safe_load(made["ray_serve.yaml"])["applications"]
    (llm,) = application["args"]["llm_configs"]
    assert llm["engine_kwargs"]["enable_prefix_caching"] is True
    assert llm["deployment_config"]["num_replicas"] == REPLICAS
    router = llm["deployment_config"]["request_router_config"]
    assert router["request_router_class"] == ROUTER
    assert 0 < router["request_router_kwargs"]["match_rate_threshold"] < 1
    service = yaml.safe_load(made["rayservice.yaml"])
    assert (service["apiVersion"], service["kind"]) == ("ray.io/v1", "RayService")
    inner: dict[str, Any] = yaml.safe_load(service["spec"]["serveConfigV2"])
    assert inner["applications"] == [application]
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert (group["minReplicas"], group["replicas"], group["maxReplicas"]) == (REPLICAS,) * 3
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == str(llm["engine_kwargs"]["tensor_parallel_size"])


def test_the_instances_are_launched_by_the_command_that_there_is(tmp_path: Path) -> None:
    write_files(tmp_path, files())
    script = tmp_path / "lambda.sh"
    subprocess.run(["sh", "-n", str(script)], check=True, timeout=30)
    commands = [
        shlex.split(line) for line in script.read_text(encoding="utf-8").splitlines() if line.startswith("charter ")
    ]
    values = {"$type": "gpu_1x_h100", "$hours": "3h", "$usd": "20"}
    parser = build_parser("lambda")
    parsed = [parser.parse_args([values.get(word, word) for word in command[1:]]) for command in commands]
    assert [(args.command, args.action) for args in parsed] == [("lambda", "launch")] * 3 + [("lambda", "wait")] * 3
    tunnels = [line for line in script.read_text(encoding="utf-8").splitlines() if "lambda_tunnel.sh" in line]
    ports = [line.rpartition(" ")[2].split(":") for line in tunnels]
    endpoints = parse_targets(str(tmp_path / "endpoints.yaml")).endpoints
    assert [each.target for each in endpoints] == [f"triton://localhost:{port[0]}/ensemble" for port in ports]
    assert len({port for three in ports for port in three}) == 3 * REPLICAS
