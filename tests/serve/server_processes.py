"""What an embedded server has on this machine while it runs, and must not have afterwards."""

from __future__ import annotations

import re
from pathlib import Path

from charter_compiler.serve.supervisor import SHARED_MEMORY


def leftovers() -> set[Path]:
    """Shared memory of embedded servers, of all that run on this machine."""
    return set(SHARED_MEMORY.glob("charter-*"))


def shared_memory_prefix(pid: int) -> str:
    """What the names of a running server's shared memory begin with; its command line says so."""
    command = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    found = re.search(r"shm-region-prefix-name=([\w-]+)", command)
    assert found is not None, command
    return found[1]


def group(pid: int) -> list[int]:
    """Processes of a server's process group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue  # it ended
        if int(fields[2]) == pid and fields[0] != "Z":
            found.append(int(folder.name))
    return found
