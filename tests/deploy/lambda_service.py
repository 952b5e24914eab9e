"""A local HTTP server in place of Lambda's cloud: paths, fields, statuses and error codes of its documented API (1.10).

Like the real one it wants the key, refuses what its schema does not know, and keeps a list of instances. ``fail`` makes
the next requests to a path fail: with an error of the documented form, or with a broken connection.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "secret_tests_0123456789abcdef"
OTHER_KEY = "secret_of_another_account_012345"
"""Of an account that sees none of ``KEY``'s instances, and has none."""
REGIONS = {"us-west-1": "California, USA", "us-east-1": "Virginia, USA"}
LAUNCH_FIELDS = {
    "region_name", "instance_type_name", "ssh_key_names", "file_system_names", "file_system_mounts", "hostname", "name",
    "image", "user_data", "tags", "firewall_rulesets",
}  # fmt: skip
ERRORS = {
    401: ("global/invalid-api-key", "API key was invalid, expired, or deleted."),
    403: ("global/account-inactive", "Your account is inactive."),
    404: ("global/object-does-not-exist", "Specified instance does not exist."),
    429: ("global/unknown", "Too many requests."),
    500: ("global/unknown", "An internal error occurred."),
}
CAPACITY = ("instance-operations/launch/insufficient-capacity", "Not enough capacity to fulfill launch request.")
BROKEN = -1
"""As a status of ``fail``: the connection is closed without an answer."""
Answer = tuple[int, dict[str, Any]]


def instance_type(name: str, gpu: str, gpus: int, cents: int) -> dict[str, Any]:
    return {
        "name": name,
        "description": f"{gpus}x {gpu}",
        "gpu_description": gpu,
        "price_cents_per_hour": cents,
        "specs": {"vcpus": 26 * gpus, "memory_gib": 200 * gpus, "storage_gib": 1024 * gpus, "gpus": gpus},
    }


TYPES = {
    one["name"]: one
    for one in (
        instance_type("gpu_8x_h100_sxm5", "H100 (80 GB SXM5)", 8, 3432),
        instance_type("gpu_1x_a10", "A10 (24 GB PCIe)", 1, 129),
        instance_type("gpu_1x_gh200", "GH200 (96 GB)", 1, 229),
    )
}
"""Prices as seen in September 2026 (a claim of the reference; here they are test data)."""


class LambdaService:
    """``requests`` holds method, path and body of each request in order. ``free`` are regions with room by type;
    ``lose_answer``: launches are carried out and the connection breaks before the answer; ``hide``: so many lists of
    instances leave out what was launched last."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self.free = {"gpu_1x_a10": ["us-west-1"], "gpu_1x_gh200": ["us-west-1", "us-east-1"], "gpu_8x_h100_sxm5": []}
        self.full: set[str] = set()
        self.instances: dict[str, dict[str, Any]] = {}
        self.ssh_keys, self.file_systems = ["laptop"], {"models": "us-west-1"}
        self.boots_after = 1
        self.lose_answer = False
        self.hide = 0
        self._failures: dict[str, list[tuple[int, dict[str, str]]]] = {}
        self._ids = (f"{number:032x}" for number in itertools.count(1))

    def fail(self, path: str, status: int, times: int = 1, **headers: str) -> None:
        """The next requests to a path fail so."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._failures.setdefault(path, []).extend([(status, named)] * times)

    def answer(self, method: str, path: str, key: str, body: Any) -> tuple[int, dict[str, str], dict[str, Any]] | None:
        """Status, headers and JSON; ``None`` for a broken connection."""
        self.requests.append((method, path, body))
        failures = self._failures.get(path)
        if failures:
            status, headers = failures.pop(0)
            return None if status == BROKEN else (status, headers, _error(status)[1])
        if key not in (f"Bearer {KEY}", f"Bearer {OTHER_KEY}"):
            return 401, {}, _error(401)[1]
        if key == f"Bearer {OTHER_KEY}" and path == "/instances":
            return 200, {}, {"data": []}
        if key == f"Bearer {OTHER_KEY}" and path.endswith("terminate"):
            return 404, {}, _error(404)[1]
        handler = {
            ("GET", "/instance-types"): self._types,
            ("GET", "/instances"): self._list,
            ("GET", "/ssh-keys"): lambda body: (200, {"data": [_named(name) for name in self.ssh_keys]}),
            ("GET", "/file-systems"): lambda body: (200, {"data": [self._files(name) for name in self.file_systems]}),
            ("POST", "/instance-operations/launch"): self._launch,
            ("POST", "/instance-operations/terminate"): self._terminate,
        }.get((method, path))
        if handler is not None:
            status, data = handler(body)
            lost = self.lose_answer and path.endswith("launch") and status == 200
            return None if lost else (status, {}, data)
        found = self.instances.get(path.removeprefix("/instances/"))
        if method == "GET" and found is not None:
            return 200, {}, {"data": self._seen(found)}
        return 404, {}, _error(404)[1]

    def _files(self, name: str) -> dict[str, Any]:
        return {**_named(name), "region": _region(self.file_systems[name]), "mount_point": f"/lambda/nfs/{name}"}

    def _types(self, body: Any) -> Answer:
        data = {
            name: {
                "instance_type": kind,
                "regions_with_capacity_available": [_region(region) for region in self.free[name]],
            }
            for name, kind in TYPES.items()
        }
        return 200, {"data": data}

    def _list(self, body: Any) -> Answer:
        shown = list(self.instances.values())
        if self.hide and shown:
            self.hide -= 1
            shown.pop()
        return 200, {"data": [self._seen(one) for one in shown]}

    def _launch(self, body: Any) -> Answer:
        required = {"region_name", "instance_type_name", "ssh_key_names"}
        if not required <= set(body) <= LAUNCH_FIELDS or len(body["ssh_key_names"]) != 1:
            return _error(400, ("global/invalid-parameters", f"Invalid request data: {sorted(body)}"))
        if body["instance_type_name"] not in TYPES or body["ssh_key_names"][0] not in self.ssh_keys:
            return _error(404)
        region = body["region_name"]
        if any(self.file_systems.get(name) != region for name in body.get("file_system_names", [])):
            return _error(400, ("global/invalid-parameters", "The file system is not in this region."))
        if region not in self.free[body["instance_type_name"]] or region in self.full:
            return _error(400, CAPACITY)
        name = next(self._ids)
        self.instances[name] = {
            "id": name,
            "name": body.get("name"),
            "status": "booting",
            "ssh_key_names": body["ssh_key_names"],
            "file_system_names": body.get("file_system_names", []),
            "region": _region(region),
            "instance_type": TYPES[body["instance_type_name"]],
            "actions": {},
        }
        return 200, {"data": {"instance_ids": [name]}}

    def _terminate(self, body: Any) -> Answer:
        if set(body) != {"instance_ids"}:
            return _error(400, ("global/invalid-parameters", "Invalid request data."))
        if any(name not in self.instances for name in body["instance_ids"]):
            return _error(404)
        for name in body["instance_ids"]:
            self.instances[name]["status"] = "terminating"
        return 200, {"data": {"terminated_instances": [self.instances[name] for name in body["instance_ids"]]}}

    def _seen(self, instance: dict[str, Any]) -> dict[str, Any]:
        """An instance as it is told now; it has booted after so many looks."""
        instance["looks"] = instance.get("looks", 0) + 1
        if instance["status"] == "booting" and instance["looks"] > self.boots_after:
            instance |= {"status": "active", "ip": "198.51.100.2", "jupyter_token": "not for logs"}
        return {name: value for name, value in instance.items() if name != "looks"}

    def count(self, path: str) -> int:
        return sum(one == path for _, one, _ in self.requests)


def _named(name: str) -> dict[str, Any]:
    return {"id": name, "name": name}


def _region(name: str) -> dict[str, str]:
    return {"name": name, "description": REGIONS[name]}


def _error(status: int, error: tuple[str, str] | None = None) -> Answer:
    code, message = error or ERRORS[status]
    return status, {"error": {"code": code, "message": message, "suggestion": "Read the documentation."}}


@contextmanager
def serving(service: LambdaService) -> Iterator[str]:
    """The service on a free loopback port; gives its base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve("GET")

        def do_POST(self) -> None:
            self._serve("POST")

        def _serve(self, method: str) -> None:
            length = int(self.headers.get("content-length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            found = service.answer(method, self.path.removeprefix("/api/v1"), self.headers["authorization"], body)
            if found is None:
                self.close_connection = True
                return
            status, headers, answer = found
            data = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {
                **headers,
                "content-type": "application/json",
                "content-length": str(len(data)),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # the base class's name
            """Tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/api/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
