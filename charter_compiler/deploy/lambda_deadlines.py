"""When each launched instance is to be terminated: kept in a file. ``lambda_guard`` carries it out.

A deadline is written before the launch is sent, so that no moment is left in which an instance could bill without one.
Until the API has told the instance's id, the deadline holds what the instance is known by.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from charter_compiler.diagnostics.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Deadline:
    """``id`` is the instance's, ``None`` until the API has told it; an instance of this ``name``, ``type`` and
    ``ssh_key`` is then the one that was launched. ``at`` and ``sent``, when the launch was last sent, are wall-clock
    times in seconds since the epoch; ``guard`` is the process id of the guard, ``account`` the fingerprint of the API
    key that launched it. ``key`` names the deadline from before there is an id; empty: the id does."""

    id: str | None
    name: str
    at: float
    api_url: str
    guard: int | None = None
    account: str | None = None
    key: str = ""
    type: str | None = None
    ssh_key: str | None = None
    sent: float = 0.0

    @property
    def handle(self) -> str:
        """What the file and the guard know it by."""
        return self.key or self.id or self.name

    @property
    def guarded(self) -> bool:
        """Whether its guard runs, and not another process that has its number by now."""
        return self.guard is not None and f"lambda guard {self.handle} " in f"{_command_line(self.guard)} "


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
                f"cannot be read: {error}",
                place=str(self._path),
                remedy="move it away: charter lambda list then shows what runs without an end",
            ) from error

    def get(self, name: str) -> Deadline | None:
        """By its handle, or by its instance's id."""
        return next((one for one in self.all() if name in (one.handle, one.id)), None)

    def set(self, deadline: Deadline) -> None:
        """Add it, or replace the one of the same handle."""
        with self._locked():
            self._write({**{one.handle: one for one in self.all()}, deadline.handle: deadline})

    def update(self, name: str, **changes: Any) -> Deadline | None:
        """Change what is named of a deadline and leave the rest as it is by now; ``None`` where it was removed."""
        with self._locked():
            known = {one.handle: one for one in self.all()}
            if name not in known:
                return None
            known[name] = replace(known[name], **changes)
            self._write(known)
            return known[name]

    def remove(self, name: str) -> None:
        """Forget one, by its handle or its instance's id; its guard then ends."""
        with self._locked():
            self._write({one.handle: one for one in self.all() if name not in (one.handle, one.id)})

    def log(self, name: str) -> Path:
        """Where the guard of a handle writes."""
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


def as_json(deadline: Deadline | None) -> Any:
    """For ``charter lambda list --json``."""
    return None if deadline is None else asdict(deadline)
