"""The Ray cluster of a run: connected to, or started on this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from charter_compiler.diagnostics.errors import UsageError

RAY = "ray"
EXTRA = "pip install '.[ray]' in the checkout"
CLIENT = "ray://"
LOCAL = "local"
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray makes this machine's address of 127.0.0.1 and listens on all of them, but for where it knows one machine alone,
which this says on Linux too (``services.get_node_ip_address`` in Ray 2.60). Read when Ray is imported."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """``address``: ``ray``, which is the cluster that ``RAY_ADDRESS`` names, else one that is started here.
    ``workers``: endpoints that work at once; ``None`` for one of each target, or where there is one target, one on
    each node.

    Raises:
        UsageError: the address is none, or Ray Client's.
    """

    address: str = RAY
    workers: int | None = None

    def __post_init__(self) -> None:
        _refuse_client(self.address)
        if self.address != RAY:
            raise UsageError(f"there is no cluster '{self.address}'", remedy="write ray")


def _refuse_client(address: str) -> None:
    if address.startswith(CLIENT):
        host = address.removeprefix(CLIENT).partition(":")[0] or "host"
        raise UsageError(
            "Ray Data does not work through Ray Client",
            place=address,
            remedy=f"run this on a node of the cluster, with --on ray and RAY_ADDRESS={host}:6379",
        )


@contextlib.contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """The module ``ray``, connected to ``cluster``. A program that has connected itself stays so.

    Raises:
        UsageError: the extra is not installed, or the cluster cannot be reached.
    """
    address = os.environ.get("RAY_ADDRESS")
    if address in ("", LOCAL):
        address = None
    _refuse_client(address or cluster.address)
    ours = "ray" not in sys.modules and address is None
    with _environment(LOOPBACK_ONLY if ours else {}):
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise UsageError(f"--on ray needs the package {error.name}", remedy=EXTRA) from error
        own = not ray.is_initialized()
        if own:
            _connect(ray, address)
        elif ray.util.client.ray.is_connected():
            _refuse_client(CLIENT)
        logging.getLogger("ray.data").setLevel(logging.WARNING)  # the run shows its own progress
        ray.data.DataContext.get_current().enable_progress_bars = False
        try:
            yield ray
        finally:
            if own:
                ray.shutdown()


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Also for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _connect(ray: Any, address: str | None) -> None:
    settings: dict[str, Any] = {"address": address}
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        settings = {"address": LOCAL, "_node_ip_address": "127.0.0.1", "include_dashboard": False}
    try:
        ray.init(**settings, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"no Ray cluster: {str(error).splitlines()[0]}", place=str(address or RAY), remedy="is it started?"
        ) from error
    if address is None and not ipaddress.ip_address(ray.util.get_node_ip_address()).is_loopback:
        ray.shutdown()
        raise UsageError(
            "Ray was imported before, and would be open to the network",
            remedy=f"set {' '.join('='.join(each) for each in LOOPBACK_ONLY.items())}, or start a cluster yourself",
        )


def nodes(ray: Any) -> int:
    """The nodes that have a CPU to give."""
    return sum(bool(node["Alive"] and node["Resources"].get("CPU")) for node in ray.nodes())
