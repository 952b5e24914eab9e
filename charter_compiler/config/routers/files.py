"""The files for routers and replicas: one folder, next to those of the engines."""

from __future__ import annotations

from collections.abc import Mapping

from charter_compiler.cache.simulate import Engine
from charter_compiler.config.engines import EngineConfigs
from charter_compiler.config.files import header_of
from charter_compiler.config.render import arguments, comment
from charter_compiler.config.routers.affinity import DEFAULT_RATIO, Affinity, compute_affinity
from charter_compiler.config.routers.ray_serve import ray_serve_yaml, rayservice_yaml, serve_config
from charter_compiler.config.routers.sessions import sessions_json
from charter_compiler.config.settings import Setting
from charter_compiler.config.sizes import compute_sizes
from charter_compiler.config.trtllm_config import constant_prefixes

SGLANG_ROUTER = "0.3"
"""The version whose own parser the arguments were checked with."""
SGLANG_PORT, GRPC_PORT = 30000, 8001
RATIO_REASON = (
    "The router's default. The fullest replica must lie so far above the emptiest, besides: with more in flight than "
    "planned, the difference above alone would be chance."
)
ROUTERS = "routers"
"""Their folder."""


def router_files(configs: EngineConfigs, replicas: int) -> Mapping[str, str]:
    """Text of each file by its name, for so many replicas.

    Raises:
        ConfigError: the weights do not fit the GPUs.
    """
    plan, target, evidence = configs.plan, configs.target, configs.evidence
    header = f"{header_of(plan, target)} {replicas} replicas."
    affinity = compute_affinity(evidence)
    sizes = compute_sizes(
        constant_prefixes(plan), target, evidence.workload, configs.overrides, engine=Engine.VLLM, of_all_memory=True
    )
    serve = serve_config(target, sizes, affinity, replicas)
    return {
        "sessions.json": sessions_json(header, plan),
        "sglang_router.args": sglang_router_args(header, affinity, replicas),
        "ray_serve.yaml": ray_serve_yaml(header, serve, affinity),
        "rayservice.yaml": rayservice_yaml(header, serve, target, replicas),
        "lambda.sh": lambda_script(header, replicas),
        "endpoints.yaml": endpoints_yaml(header, replicas),
    }


def sglang_router_args(header: str, affinity: Affinity, replicas: int) -> str:
    """``sglang_router.args``."""
    settings = (
        Setting("host", "127.0.0.1", "Open on the loopback only."),
        Setting("policy", "cache_aware", "To the replica that has seen most of the prompt."),
        Setting("cache-threshold", affinity.share.value, affinity.share.reason),
        Setting("balance-abs-threshold", affinity.queue_difference.value, affinity.queue_difference.reason),
        Setting("balance-rel-threshold", DEFAULT_RATIO, RATIO_REASON),
    )
    title = f"{header} sglang-router {SGLANG_ROUTER}. Options of: python -m sglang_router.launch_router"
    urls = " ".join(f"http://replica-{number}:{SGLANG_PORT}" for number in range(replicas))
    return arguments(title, settings) + f"\n{comment('The addresses of the replicas.')}--worker-urls {urls}\n"


def lambda_script(header: str, replicas: int) -> str:
    """``lambda.sh TYPE``: launches the instances, each with an end and a spending limit, and opens their tunnels."""
    about = comment(
        f"{header} Usage: lambda.sh TYPE [HOURS [USD]] launches Lambda instances, each of which is terminated after "
        "HOURS, and which may cost USD together. Then set each one up as LAMBDA_LABS_SETUP.md says, open its tunnel "
        "with the ports below, and run: charter run ... --target endpoints.yaml"
    )
    start = "set -eu\ntype=${1:?usage: lambda.sh TYPE [HOURS [USD]]} hours=${2:-3h} usd=${3:-20}\n"
    launch = '--terminate-after "$hours" --max-usd "$usd"'
    lines = [
        *(f'charter lambda launch "$type" --name charter-{number} {launch}' for number in range(replicas)),
        *(f"charter lambda wait charter-{number}" for number in range(replicas)),
        *(f"# {_tunnel(number)}" for number in range(replicas)),
    ]
    return f"#!/bin/sh\n{about}{start}" + "".join(f"{line}\n" for line in lines)


def _tunnel(number: int) -> str:
    grpc = GRPC_PORT + 10 * number
    return (
        f"CHARTER_TUNNEL_STATE=tunnel-{number} scripts/lambda_tunnel.sh start --host IP-OF-charter-{number} "
        f"--local-ports {grpc}:{grpc - 1}:{grpc + 1}"
    )


def endpoints_yaml(header: str, replicas: int) -> str:
    """``endpoints.yaml``: the other ends of these tunnels, for ``charter run --target``."""
    targets = "".join(f"  - triton://localhost:{GRPC_PORT + 10 * number}/ensemble\n" for number in range(replicas))
    return (
        comment(f"{header} The tunnels' ends here, for: charter run --target endpoints.yaml") + f"endpoints:\n{targets}"
    )
