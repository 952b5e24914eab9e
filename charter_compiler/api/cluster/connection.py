"""The Ray cluster of a run: connected to, or started on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from charter_compiler.diagnostics.errors import UsageError

RAY = "ray"
EXTRA = "pip install '.[ray]' in the checkout"


@dataclass(frozen=True, slots=True)
class Cluster:
    """``address``: ``ray`` for the cluster that ``RAY_ADDRESS`` names, else one that is started here; or
    ``ray://host:port``. ``workers``: endpoints that work at once; ``None`` for one of each target, or where there is
    one target, one on each node.

    Raises:
        UsageError: the address is none.
    """

    address: str = RAY
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.address != RAY and not self.address.startswith("ray://"):
            raise UsageError(f"there is no cluster '{self.address}'", remedy="write ray or ray://host:port")


@contextlib.contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """The module ``ray``, connected. A program that has connected itself stays so.

    Raises:
        UsageError: the extra is not installed, or the cluster cannot be reached.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError(f"--on ray needs the package {error.name}", remedy=EXTRA) from error
    own = not ray.is_initialized()
    if own:
        _connect(ray, cluster.address)
    logging.getLogger("ray.data").setLevel(logging.WARNING)  # the run shows its own progress
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield ray
    finally:
        if own:
            ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    settings: dict[str, Any] = {"address": address if address != RAY else os.environ.get("RAY_ADDRESS")}
    if settings["address"] is None:
        # One of our own is open on the loopback only, and tells nobody that it runs.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        settings = {"address": "local", "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(**settings, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"no Ray cluster: {str(error).splitlines()[0]}", place=str(settings["address"]), remedy="is it started?"
        ) from error


def nodes(ray: Any) -> int:
    """The nodes that have a CPU to give."""
    return sum(bool(node["Alive"] and node["Resources"].get("CPU")) for node in ray.nodes())
