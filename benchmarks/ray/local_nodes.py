"""A Ray cluster of several nodes on this machine, each with processes of its own; for tests and benchmarks."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import ray
from ray.cluster_utils import Cluster

PORTS = ("metrics_agent_port", "runtime_env_agent_port", "dashboard_agent_listen_port", "metrics_export_port")
TRIES = 4
SETTINGS = {
    # A node that is slow since the machine is busy is not dead; one that is gone refuses at once.
    "health_check_timeout_ms": 60_000,
    "worker_niceness": 0,  # as nice as whoever starts them, not 15 more
    "enable_worker_prestart": False,
    "prestart_worker_first_driver": False,
}


@contextmanager
def local_nodes(workers: int, object_store_mb: int) -> Iterator[Cluster]:
    """A head without a CPU, which the driver is connected to, and ``workers`` nodes of one CPU each."""
    store = {"object_store_memory": object_store_mb * 2**20}
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": SETTINGS, **store}
    cluster = Cluster()
    try:
        for _ in range(workers + 1):
            _add(cluster, **(store | {"num_cpus": 1} if cluster.head_node else head))
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def _add(cluster: Cluster, **settings: Any) -> None:
    """Ray gives a node half a minute to start, which is not always enough where others use the machine too."""
    for tries_left in reversed(range(TRIES)):
        try:
            cluster.add_node(**settings, **dict(zip(PORTS, _free_ports(len(PORTS)), strict=True)))
            return
        except Exception as error:
            if not tries_left:
                raise
            print(f"starting the node again: {error}", file=sys.stderr)


def _free_ports(count: int) -> list[int]:
    """Ray's own choice of ports lets a node end itself where its agents do not tell theirs within 15 seconds."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
