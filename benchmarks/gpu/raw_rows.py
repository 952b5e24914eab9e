"""What the parts share: rows written as they are measured, the time that is left, and what was measured on."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import subprocess
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "transformers", "tokenizers", "aiohttp", "httpx", "openai", "charter-compiler")

Row: TypeAlias = dict[str, Any]


class Rows:
    """One JSON object a line, on the disk as soon as it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, row: Row) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def guarded(self, part: str, measure: Callable[[], None]) -> None:
        """Run a part; if it fails, that is a row, and the others go on."""
        try:
            measure()
        except Exception as error:  # noqa: BLE001, whatever a part dies of is shown and costs no other part
            traceback.print_exc()
            self.write({"part": part, "error": f"{type(error).__name__}: {error}"[:2000]})


class Budget:
    """Seconds for everything. ``allows`` says whether what took so long before still fits, with a tenth to spare."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._end = now() + seconds

    @property
    def left(self) -> float:
        return self._end - self._now()

    def allows(self, seconds: float) -> bool:
        return self.left > 1.1 * seconds


def conditions(commit: str | None, device: str) -> Row:
    """Machine, driver, versions, commit and time."""
    return {
        "part": "conditions",
        "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit or _commit(),
        "device": _device(device),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name)) is not None},
    }


def _commit() -> str | None:
    command = ["git", "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device(device: str) -> Row:
    if device != "cuda":
        return {"name": device, "machine": platform.machine(), "system": platform.platform()}
    fields = "name,driver_version,memory.total,clocks.sm,clocks.mem,power.limit"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()[0]
    return dict(zip(fields.split(","), (each.strip() for each in told.split(",")), strict=True))
