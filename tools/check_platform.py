"""Ends with one clear line where the embedded server has no wheels, instead of a failure far from its cause."""

from __future__ import annotations

import platform
import sys

PYTHONS = {(3, 11), (3, 12)}
GLIBC = (2, 35)
"""The oldest that the wheel of ``nvidia-pytriton`` runs with."""


def supported() -> bool:
    library, version = platform.libc_ver()
    return (
        sys.platform == "linux"
        and platform.machine() == "x86_64"
        and sys.version_info[:2] in PYTHONS
        and library == "glibc"
        and tuple(int(part) for part in version.split(".")[:2]) >= GLIBC
    )


def main() -> int:
    if supported():
        return 0
    here = f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver()) or 'no glibc'}"
    print(
        "make: the embedded server needs Linux x86-64 with glibc 2.35 or later and Python 3.11 or 3.12; "
        f"this is {here}, Python {platform.python_version()} (for another Python: make clean, then make "
        "PYTHON=/path/to/python3.11 ...; without the server: make check, then .venv/bin/pytest -m "
        "'not server and not system and not soak and not peer')",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
