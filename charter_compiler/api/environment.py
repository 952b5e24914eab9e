"""The machine and the versions that a measurement was made with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("charter-compiler", "nvidia-pytriton", "xllamacpp", "tritonclient", "numpy", "tokenizers")


def describe_environment() -> tuple[tuple[str, str], ...]:
    """Name and value of each fact, in the order to show them; what this machine does not tell is left out."""
    facts = [("processor", _processor()), ("cores", str(_cores())), ("memory", _memory())]
    facts += [("system", platform.platform()), ("Python", platform.python_version())]
    facts += [(name, _version(name)) for name in PACKAGES]
    return tuple((name, value) for name, value in facts if value)


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor()


def _memory() -> str:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return ""
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
