"""Ray Serve LLM with a router that follows prefixes, alone and as KubeRay's ``RayService``.

https://docs.ray.io/en/latest/serve/llm/user-guides/prefix-aware-routing.html;
https://docs.ray.io/en/latest/cluster/kubernetes/getting-started/rayservice-quick-start.html
"""

from __future__ import annotations

from typing import Any

import yaml

from charter_compiler.config.render import comment
from charter_compiler.config.routers.affinity import Affinity
from charter_compiler.config.sizes import Sizes
from charter_compiler.config.target import EngineTarget
from charter_compiler.config.vllm import vllm_settings

RAY_VERSION = "2.60.0"
IMAGE = f"rayproject/ray-llm:{RAY_VERSION}-py311-cu128"
ROUTER = "ray.serve.llm.request_router.PrefixCacheAffinityRouter"
NOT_OF_THE_ENGINE = frozenset({"host", "port", "enable-prompt-tokens-details", "kv-offloading-size"})
"""Options of ``vllm serve`` that Ray Serve answers for itself, or that its engine arguments do not have."""


def serve_config(target: EngineTarget, sizes: Sizes, affinity: Affinity, replicas: int) -> dict[str, Any]:
    """The object of ``serve deploy``: one application of ``replicas`` copies of the engine."""
    settings = vllm_settings(target, sizes)
    engine = {one.name.replace("-", "_"): one.value for one in settings if one.name not in NOT_OF_THE_ENGINE}
    name = "model" if target.model is None else target.model.name
    llm = {
        "model_loading_config": {"model_id": name, "model_source": target.model_path},
        "engine_kwargs": engine,
        "deployment_config": {
            "num_replicas": replicas,
            "request_router_config": {
                "request_router_class": ROUTER,
                "request_router_kwargs": {
                    "imbalanced_threshold": affinity.queue_difference.value,
                    "match_rate_threshold": affinity.share.value,
                },
            },
        },
    }
    application = {
        "name": "charter",
        "route_prefix": "/",
        "import_path": "ray.serve.llm:build_openai_app",
        "args": {"llm_configs": [llm]},
    }
    return {"http_options": {"host": "127.0.0.1", "port": 8000}, "applications": [application]}


def ray_serve_yaml(header: str, config: dict[str, Any], affinity: Affinity) -> str:
    """``serve.yaml``, for: serve deploy serve.yaml."""
    return (
        comment(f"{header} Ray {RAY_VERSION}. For: serve deploy ray_serve.yaml")
        + comment(f"match_rate_threshold: {affinity.share.reason}")
        + comment(f"imbalanced_threshold: {affinity.queue_difference.reason}")
        + _yaml(config)
    )


def rayservice_yaml(header: str, config: dict[str, Any], target: EngineTarget, replicas: int) -> str:
    """``rayservice.yaml``, for: kubectl apply. The weights are looked for at the model's path in each pod."""
    # In a cluster the proxy is reached through the service that KubeRay makes, not on the pod's loopback.
    inner = {**config, "http_options": {"host": "0.0.0.0", "port": 8000}}  # noqa: S104
    resource = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "charter"},
        "spec": {
            "serveConfigV2": _Block(_yaml(inner)),
            "rayClusterConfig": {
                "rayVersion": RAY_VERSION,
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},  # noqa: S104
                    "template": _pod("ray-head", {"cpu": "4", "memory": "16Gi"}),
                },
                "workerGroupSpecs": [
                    {
                        "groupName": "replicas",
                        "replicas": replicas,
                        "minReplicas": replicas,
                        "maxReplicas": replicas,
                        "numOfHosts": 1,
                        "rayStartParams": {},
                        "template": _pod(
                            "ray-worker", {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": str(target.gpus)}
                        ),
                    }
                ],
            },
        },
    }
    return (
        comment(f"{header} KubeRay's RayService, Ray {RAY_VERSION}. For: kubectl apply -f rayservice.yaml. CPUs and "
                "memory are a start, and the image's tag is to be looked up; weights lie where model_source says.")
        + _yaml(resource)
    )  # fmt: skip


def _pod(name: str, resources: dict[str, str]) -> dict[str, Any]:
    container = {"name": name, "image": IMAGE, "resources": {"limits": resources, "requests": resources}}
    return {"spec": {"containers": [container]}}


class _Block(str):
    """A text of several lines that stays readable."""


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # yaml has no types
    """Without anchors: equal parts are written out."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(_Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|"))


def _yaml(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=100)
    return text
