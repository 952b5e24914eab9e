"""Reads the server's log for the reason why it did not start."""

from __future__ import annotations

import re
from pathlib import Path

TAIL_BYTES = 65536
PORT_TAKEN = re.compile(r"Socket '[^']*:(?P<port>\d+)' already in use")
_REASONS = (
    # Triton prints the exception of a model and, after an escaped line break, where it was raised.
    re.compile(
        r"failed to load '(?P<model>\w+)' version \d+: [\w ]+: (?:\w+(?:Exception|Error): )?"
        r"(?P<reason>.+?)(?:\\n|\"?$)"
    ),
    re.compile(r"(?P<reason>failed to start \w+ service: .+?)\s*\"?$"),
    re.compile(r"(?P<reason>error while loading shared libraries: .+)"),
    re.compile(r"(?P<reason>error: .+)"),
)


def tail(log: Path) -> str:
    """The end of the log, at most ``TAIL_BYTES`` of it; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def reason(text: str) -> str | None:
    """What the log says went wrong, in one line; ``None`` if it says nothing that is known to be a reason.

    The first line counts that matches the most telling pattern: what follows a failure are its consequences.
    """
    lines = text.splitlines()
    for pattern in _REASONS:
        for line in lines:
            if match := pattern.search(line):
                found = match.groupdict()
                return f"model {found['model']}: {found['reason']}" if "model" in found else found["reason"]
    return None
