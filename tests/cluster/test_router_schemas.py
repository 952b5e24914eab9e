"""What ``charter compile --replicas`` writes for Ray Serve LLM, read by Ray's own schemas."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

# Ray warns of its own settings.
pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("default")]

FIXTURES = Path(__file__).parents[1] / "fixtures" / "config"
FILES = sorted(FIXTURES.glob("*/routers/ray*.yaml"))
"""The golden files, which tests/config holds to what is written."""


def serve_config(path: Path) -> dict[str, Any]:
    """The configuration of Ray Serve in a file for it, or in one for KubeRay."""
    value: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return yaml.safe_load(value["spec"]["serveConfigV2"]) if "spec" in value else value


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parts[-3]}-{path.name}" for path in FILES])
def test_ray_serve_reads_it(path: Path) -> None:
    from ray.llm._internal.serve.core.configs.llm_config import LLMConfig
    from ray.llm._internal.serve.routing_policies.prefix_aware.prefix_aware_router import PrefixCacheAffinityRouter
    from ray.serve._private.config import DeploymentConfig
    from ray.serve.schema import HTTPOptionsSchema, ServeApplicationSchema, ServeDeploySchema

    config = serve_config(path)
    (application,) = ServeDeploySchema.model_validate(config).applications
    # Ray drops what it does not know here.
    for given, schema in (
        (config, ServeDeploySchema),
        (config["http_options"], HTTPOptionsSchema),
        (config["applications"][0], ServeApplicationSchema),
        (config["applications"][0]["args"]["llm_configs"][0]["deployment_config"], DeploymentConfig),
    ):
        assert set(given) <= set(schema.model_fields)
    (llm,) = application.args["llm_configs"]
    # Serve imports the router's class to check it, and Ray lets it be imported beside vLLM alone.
    bare = copy.deepcopy(llm)
    router = bare["deployment_config"].pop("request_router_config")
    read = LLMConfig.model_validate(bare)
    assert read.model_id == llm["model_loading_config"]["model_id"]
    assert read.deployment_config["num_replicas"] == llm["deployment_config"]["num_replicas"]
    inspect.signature(PrefixCacheAffinityRouter.initialize_state).bind(None, **router["request_router_kwargs"])
    with pytest.raises(ValueError, match="engine_arguments"):
        LLMConfig.model_validate({**bare, "engine_arguments": {}})
    with pytest.raises(ValueError, match="Invalid deployment config"):
        LLMConfig.model_validate({**bare, "deployment_config": {"num_replicas": "three"}})


def test_there_are_files_to_read() -> None:
    assert {path.name for path in FILES} == {"ray_serve.yaml", "rayservice.yaml"}
