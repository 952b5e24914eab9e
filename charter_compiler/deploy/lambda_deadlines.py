"""When each launched instance is to be terminated: kept in a file, and carried out by a guard process of its own.

Lambda's API knows no such time, and an instance goes on billing for ever. The guard runs on this machine. While that
sleeps or is off nothing is terminated; the guard goes by the wall clock, so that it acts as soon as the machine is
awake, and `charter lambda list`, `wait` and `launch` terminate what is overdue and start guards that are missing.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from charter_compiler.deploy.lambda_api import LambdaCloud
from charter_compiler.diagnostics.errors import CharterError, ConfigError, RequestRejectedError

LONGEST_SLEEP = 30.0
"""Seconds: the guard looks at the wall clock and at the file so often."""
AGAIN = 60.0
"""Seconds after which a guard tries again whose termination failed; it does so until it succeeds."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """``at`` is a wall-clock time in seconds since the epoch; ``guard`` the process id of the guard."""

    id: str
    name: str
    at: float
    api_url: str
    guard: int | None = None

    @property
    def guarded(self) -> bool:
        """Whether its guard runs, and not another process that has its number by now."""
        return self.guard is not None and f"lambda guard {self.id}" in _command_line(self.guard)


def _command_line(pid: int) -> str:
    """Of a process; empty where there is none, or it has ended and nobody has asked how."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            return ""
    listed = subprocess.run(
        ["ps", "-ww", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False
    )
    return listed.stdout


class Deadlines:
    """The file. Safe to use from several processes: each change is made under a lock."""

    def __init__(self, folder: Path | None = None) -> None:
        state = os.environ.get("XDG_STATE_HOME")
        default = (Path(state) if state else Path.home() / ".local" / "state") / "charter" / "lambda"
        self.folder = folder or Path(os.environ.get("CHARTER_LAMBDA_STATE") or default)
        self._path = self.folder / "deadlines.json"

    def all(self) -> tuple[Deadline, ...]:
        """Raises ConfigError where the file is damaged."""
        if not self._path.exists():
            return ()
        try:
            return tuple(Deadline(**value) for value in json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"cannot be read: {error}", place=str(self._path), remedy="see charter lambda list, then remove it"
            ) from error

    def get(self, name: str) -> Deadline | None:
        """That of an instance, by its id."""
        return next((one for one in self.all() if one.id == name), None)

    def set(self, deadline: Deadline) -> None:
        """Add it, or replace that of the same instance."""
        with self._locked():
            self._write({**{one.id: one for one in self.all()}, deadline.id: deadline})

    def remove(self, name: str) -> None:
        """Forget an instance's; its guard then ends."""
        with self._locked():
            self._write({one.id: one for one in self.all() if one.id != name})

    def log(self, name: str) -> Path:
        """Where the guard of an instance writes."""
        return self.folder / f"guard-{name}.log"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / "lock").open("w", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _write(self, deadlines: Mapping[str, Deadline]) -> None:
        text = json.dumps([asdict(one) for one in deadlines.values()], indent=1)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=self.folder, delete=False) as file:
            file.write(text)
        os.replace(file.name, self._path)


def start_guard(deadlines: Deadlines, deadline: Deadline) -> Deadline:
    """Start the process that will terminate the instance; it outlives this one, and its terminal."""
    # -P: what lies in the current folder is not imported.
    command = [sys.executable, "-P", "-m", "charter_compiler.cli.main", "lambda", "guard", deadline.id]
    deadlines.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with Path(os.devnull).open("rb") as nothing, deadlines.log(deadline.id).open("ab") as log:
        # Not by subprocess, whose object would have to be kept: nobody waits for the guard.
        pid = os.posix_spawn(
            sys.executable,
            command,
            {**os.environ, "CHARTER_LAMBDA_STATE": str(deadlines.folder)},
            file_actions=[(os.POSIX_SPAWN_DUP2, file.fileno(), to) for file, to in ((nothing, 0), (log, 1), (log, 2))],
            setsid=True,
        )
    guarded = replace(deadline, guard=pid)
    deadlines.set(guarded)
    return guarded


def guard(
    cloud: LambdaCloud,
    deadlines: Deadlines,
    name: str,
    say: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait for the deadline of an instance, as the file has it at each look, and terminate it; returns then, or when
    the deadline was removed."""
    while (deadline := deadlines.get(name)) is not None:
        left = deadline.at - clock()
        if left > 0:
            sleep(min(left, LONGEST_SLEEP))
            continue
        try:
            terminate_and_forget(cloud, deadlines, name)
        except CharterError as error:
            say(f"not terminated, trying again in {AGAIN:g} s: {error}")
            sleep(AGAIN)
            continue
        say(f"terminated {name} at its deadline")
        return
    say(f"{name} has no deadline any more")


def terminate_and_forget(cloud: LambdaCloud, deadlines: Deadlines, name: str) -> None:
    """Terminate an instance, one that is gone already too, and forget its deadline. Raises TargetError."""
    try:
        cloud.terminate([name])
    except RequestRejectedError:
        if any(one.id == name and one.billed for one in cloud.instances()):
            raise
    deadlines.remove(name)


def enforce(
    cloud: LambdaCloud, deadlines: Deadlines, api_url: str, clock: Callable[[], float] = time.time
) -> list[str]:
    """Terminate what is overdue and start guards that are missing; returns a line for each. Raises TargetError."""
    lines = []
    for deadline in deadlines.all():
        if deadline.api_url != api_url:
            continue
        if deadline.at <= clock():
            terminate_and_forget(cloud, deadlines, deadline.id)
            lines.append(f"terminated {deadline.name} ({deadline.id}), which was overdue")
        elif not deadline.guarded:
            start_guard(deadlines, deadline)
            lines.append(f"started the guard of {deadline.name} ({deadline.id}) again")
    return lines


def as_json(deadline: Deadline | None) -> Any:
    """For ``charter lambda list --json``."""
    return None if deadline is None else asdict(deadline)
