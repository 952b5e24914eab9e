"""What an embedded server has on this machine while it runs, and must not have afterwards."""

from __future__ import annotations

import tempfile
from pathlib import Path

from charter_compiler.serve.supervisor import SHARED_MEMORY


def leftovers() -> set[Path]:
    """Shared memory and temporary folders of embedded servers, of all that run."""
    return {*SHARED_MEMORY.glob("charter-*"), *Path(tempfile.gettempdir()).glob("charter-serve-*")}


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
