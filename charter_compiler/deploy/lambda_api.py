"""Client of Lambda's Cloud API. Foreign errors of httpx end here.

Facts from Lambda's API reference: base address, schema, error codes; about one request a second, a launch every 12
seconds; an instance bills by the minute from its launch until it is terminated, and cannot be paused.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from charter_compiler.deploy.lambda_types import (
    FileSystem,
    Instance,
    InstanceType,
    LaunchRequest,
    read_file_systems,
    read_instance,
    read_instances,
    read_types,
)
from charter_compiler.diagnostics.errors import (
    AuthenticationError,
    NoCapacityError,
    RequestRejectedError,
    TargetError,
    TargetOverloadedError,
    TargetProtocolError,
    TargetTimeoutError,
    TargetUnavailableError,
)
from charter_compiler.executor.attempts import Attempts
from charter_compiler.executor.retry import RetryPolicy

BASE_URL = "https://cloud.lambda.ai/api/v1"
TIMEOUT = 30.0
"""Seconds for one attempt."""
DEADLINE = 180.0
"""Seconds for a call with its retries."""
POLICY = RetryPolicy(max_retries=5, base=2.0, cap=30.0)
CAPACITY = "instance-operations/launch/insufficient-capacity"
Sleep = Callable[[float], None]


class LambdaCloud:
    """Blocking; one connection. Errors never show the key.

    Questions and terminations are retried when the service is away, overloaded or limits the rate. A launch is sent
    again only after an answer that says it was not carried out (429): after a broken connection or a 5xx it may have
    been, and a second one would bill twice; the error says how to look.
    """

    def __init__(
        self,
        key: str,
        *,
        base_url: str = BASE_URL,
        policy: RetryPolicy = POLICY,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._place = base_url
        self._policy, self._sleep, self._key = policy, sleep, key
        # No proxy leads to this machine's own addresses, where the tests have their server.
        local = httpx.URL(base_url).host in {"127.0.0.1", "localhost", "::1"}
        self._http = httpx.Client(
            base_url=base_url, headers={"authorization": f"Bearer {key}"}, timeout=TIMEOUT, trust_env=not local
        )

    def __repr__(self) -> str:
        return f"LambdaCloud({self._place!r})"

    @property
    def account(self) -> str:
        """A fingerprint of the key, to tell accounts apart; the key cannot be had from it."""
        return hashlib.sha256(f"charter lambda {self._key}".encode()).hexdigest()[:16]

    def instance_types(self) -> tuple[InstanceType, ...]:
        """What can be launched, with price and the regions that have room. Raises TargetError."""
        return read_types(self._call("GET", "instance-types"), self._place)

    def instances(self) -> tuple[Instance, ...]:
        """The account's instances. Raises TargetError."""
        return read_instances(self._call("GET", "instances"), self._place)

    def instance(self, name: str) -> Instance:
        """One by its id. Raises TargetError; RequestRejectedError where there is none."""
        return read_instance(self._call("GET", f"instances/{name}"), self._place)

    def ssh_keys(self) -> tuple[str, ...]:
        """Names of the account's keys. Raises TargetError."""
        data = self._call("GET", "ssh-keys")
        if not isinstance(data, list) or not all(isinstance(one, dict) and "name" in one for one in data):
            raise TargetProtocolError("ssh-keys of the answer are not named", place=self._place)
        return tuple(str(one["name"]) for one in data)

    def file_systems(self) -> tuple[FileSystem, ...]:
        """The account's persistent file systems. Raises TargetError."""
        return read_file_systems(self._call("GET", "file-systems"), self._place)

    def launch(self, request: LaunchRequest) -> str:
        """Launch one instance; returns its id.

        Raises:
            NoCapacityError: the region has none of that type now.
            TargetError: else. ``TargetUnavailableError`` and ``TargetTimeoutError`` leave open whether it was launched.
        """
        data = self._call("POST", "instance-operations/launch", request.to_json(), once=True)
        ids = data.get("instance_ids") if isinstance(data, Mapping) else None
        if not isinstance(ids, list) or len(ids) != 1 or not isinstance(ids[0], str):
            raise TargetProtocolError(
                "the answer to a launch names no instance", place=self._place, remedy="look with: charter lambda list"
            )
        return ids[0]

    def terminate(self, ids: Iterable[str]) -> tuple[Instance, ...]:
        """Terminate instances; returns them as the API tells them then. Raises TargetError."""
        data = self._call("POST", "instance-operations/terminate", {"instance_ids": list(ids)})
        found = data.get("terminated_instances") if isinstance(data, Mapping) else None
        return read_instances(found, self._place)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, once: bool = False) -> Any:
        """The ``data`` of an answer, after as many attempts as it takes and is allowed."""
        attempts = Attempts(self._policy, DEADLINE, place=self._place)
        while True:
            try:
                return self._attempt(method, path, body)
            except TargetError as error:
                if once and not isinstance(error, TargetOverloadedError):
                    raise
                delay = attempts.delay_after(error)
            self._sleep(delay)

    def _attempt(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        try:
            response = self._http.request(method, f"/{path}", json=body)
        except httpx.TimeoutException as error:
            raise TargetTimeoutError(
                f"no answer within {TIMEOUT:g} s", place=self._place, remedy="look with: charter lambda list"
            ) from error
        except httpx.TransportError as error:
            raise TargetUnavailableError(f"cannot be reached: {error}", place=self._place) from error
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if response.is_success and isinstance(answer, dict) and "data" in answer:
            return answer["data"]
        raise self._error(response, answer.get("error") if isinstance(answer, dict) else None)

    def _error(self, response: httpx.Response, error: Any) -> TargetError:
        """What an answer says, by its status and its code; messages and suggestions are for people alone."""
        told: Mapping[str, Any] = error if isinstance(error, Mapping) else {}
        code, status = str(told.get("code", "")), response.status_code
        message = str(told.get("message") or f"answered {status} {response.reason_phrase}").replace(self._key, "***")
        suggestion = str(told["suggestion"]).replace(self._key, "***") if told.get("suggestion") else None
        if status in (401, 403):
            return AuthenticationError(message, place=self._place, remedy=suggestion)
        if status == httpx.codes.TOO_MANY_REQUESTS:
            after = response.headers.get("retry-after", "")
            wait = float(after) if after.isdigit() else None
            return TargetOverloadedError(message, place=self._place, remedy=suggestion, retry_after=wait)
        if code == CAPACITY:
            return NoCapacityError(message, place=self._place, remedy=suggestion or "charter lambda types shows where")
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return TargetUnavailableError(message, place=self._place, remedy="look with: charter lambda list")
        if 400 <= status < 500:
            named = f"{message} ({code})" if code else message
            return RequestRejectedError(named, place=self._place, remedy=suggestion)
        return TargetProtocolError(f"an answer without data: {status}", place=self._place)
