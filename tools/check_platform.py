"""Ends with one clear line where the embedded server has no wheels, instead of a failure far from its cause."""

from __future__ import annotations

import platform
import sys


def main() -> int:
    here = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    if sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info[:2] in {(3, 11), (3, 12)}:
        return 0
    print(
        f"make: the embedded server needs Linux x86-64 and Python 3.11 or 3.12; this is {here} "
        "(make clean, then PYTHON=/path/to/python3.11; the tests that need no server: "
        'make check, then .venv/bin/pytest -m "not server and not system and not soak")',
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
