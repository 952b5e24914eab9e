"""The journal of a run that any machine may resume: a list on a Redis or Valkey server, under the run's identity."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any

from charter_compiler.diagnostics.errors import OutputError, UsageError
from charter_compiler.executor.redis_address import RedisAddress, redis_errors

LEASE = 10.0
"""Seconds for which a process that writes a journal, and then dies, keeps others from it."""
KEPT_DAYS = 30
"""A journal expires so long after its last line."""
BATCH = 1000
"""Lines that one command reads."""

_OPEN = """
local lines, writer, epoch = KEYS[1], KEYS[2], KEYS[3]
if redis.call('SET', writer, ARGV[1], 'NX', 'PX', ARGV[2]) then
  if ARGV[3] == '1' then redis.call('UNLINK', lines) end
  return {0, redis.call('INCR', epoch), redis.call('LLEN', lines)}
end
return {redis.call('PTTL', writer)}
"""
# Sent again after a lost answer, it finds the list as long as it made it, with its last line there. A writer that slept
# while another took the journal over finds another epoch.
_APPEND = """
local lines, writer, epoch = KEYS[1], KEYS[2], KEYS[3]
if redis.call('GET', epoch) ~= ARGV[2] then return -1 end
local length, before, added = redis.call('LLEN', lines), tonumber(ARGV[5]), #ARGV - 5
if length == before + added and redis.call('LINDEX', lines, -1) == ARGV[#ARGV] then return length end
if length ~= before then return -2 end
for place = 6, #ARGV do redis.call('RPUSH', lines, ARGV[place]) end
redis.call('SET', writer, ARGV[1], 'PX', ARGV[3])
redis.call('EXPIRE', lines, ARGV[4])
redis.call('EXPIRE', epoch, ARGV[4])
return redis.call('LLEN', lines)
"""
_RENEW = "if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end"
_CLOSE = "if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end"


class RedisJournal:
    """A ``JournalStore``; what was appended is as durable as the server is told to be (``appendfsync``).

    Args:
        identity: of the run. The same agent, inputs and options have the same journal on every machine.
        lease: seconds after which a dead writer's journal may be taken; ``open`` waits so long for it.
    """

    def __init__(self, address: RedisAddress, identity: Mapping[str, Any], lease: float = LEASE) -> None:
        self._address = address
        name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
        self._keys = [f"charter:{{journal:{name}}}:{part}" for part in ("lines", "writer", "epoch")]
        self._lease = lease
        self._redis: Any = address.connect()
        self._open, self._append, self._renew, self._close = (
            self._redis.register_script(text) for text in (_OPEN, _APPEND, _RENEW, _CLOSE)
        )
        self._token = uuid.uuid4().hex
        self._epoch = self._length = 0
        self._closed = threading.Event()
        self._renewing: threading.Thread | None = None

    @property
    def place(self) -> str:
        """See ``JournalStore``."""
        return f"{self._address} {self._keys[0]}"

    @property
    def caution(self) -> str | None:
        """What the user should know of the server, ``None`` for nothing."""
        try:
            with self._errors():
                persistence = self._redis.info("persistence")
        except OutputError as error:
            return f"it is not known whether {self._address} keeps an append-only file: {error.message}"
        if persistence.get("aof_enabled"):
            return None
        return f"{self._address} keeps no append-only file: a journal may be lost with it (appendonly yes)"

    def read(self) -> list[bytes] | None:
        """See ``JournalStore``."""
        lines: list[bytes] = []
        with redis_errors(lambda cause: UsageError(f"cannot read the journal: {cause}", place=self.place)):
            while batch := self._redis.lrange(self._keys[0], len(lines), len(lines) + BATCH - 1):
                lines += batch
        return lines or None

    def open(self, *, empty: bool) -> None:
        """See ``JournalStore``. Waits for the lease of a writer that may be dead."""
        arguments = (self._token, self._milliseconds, int(empty))
        with self._errors():
            answer = self._open(self._keys, arguments)
            if len(answer) == 1:
                time.sleep(max(0, answer[0]) / 1000)
                answer = self._open(self._keys, arguments)
        if len(answer) == 1:  # it lives, having renewed its lease
            raise UsageError("another run writes this journal", place=self.place, remedy="wait for its end")
        _, self._epoch, self._length = answer
        self._renewing = threading.Thread(target=self._keep_alive, name="charter-journal-lease", daemon=True)
        self._renewing.start()

    def append(self, lines: bytes) -> None:
        """See ``JournalStore``."""
        new = lines.splitlines()
        settings = (self._token, self._epoch, self._milliseconds, KEPT_DAYS * 86400, self._length)
        with self._errors():
            length = self._append(self._keys, (*settings, *new))
        if length == -2:  # one that failed was written after all
            raise OutputError("the journal holds other lines than this run was told", place=self.place)
        if length < 0:
            raise OutputError("another run took this journal over", place=self.place, remedy="let one of them go on")
        self._length = length

    def close(self) -> None:
        """See ``JournalStore``."""
        self._closed.set()
        if self._renewing is not None:
            self._renewing.join()
            self._renewing = None
            with suppress(OutputError), self._errors():  # else the lease ends
                self._close(self._keys, (self._token,))
        self._redis.close()

    def _keep_alive(self) -> None:
        while not self._closed.wait(self._lease / 3):
            with suppress(OutputError), self._errors():  # the next turn may reach it
                self._renew(self._keys, (self._token, self._milliseconds))

    @property
    def _milliseconds(self) -> int:
        return int(self._lease * 1000)

    def _errors(self) -> AbstractContextManager[None]:
        return redis_errors(lambda cause: OutputError(cause, place=self.place, remedy="is the server there?"))
