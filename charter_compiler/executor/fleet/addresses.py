"""Several targets by name: a list with commas, or a file that is read again while a run goes on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml

from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.defaults import KNOWN_TARGETS, LOCAL
from charter_compiler.executor.sim.address import is_sim
from charter_compiler.executor.targets import check_target

FILE_REMEDY = "one target a line, or a YAML list of them (under the key 'endpoints', or alone)"


@dataclass(frozen=True, slots=True)
class Address:
    """One endpoint: a name of its own, and the target that it is."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class Addresses:
    """The endpoints of a run; ``file`` is where they were read, ``None`` for a list."""

    endpoints: tuple[Address, ...]
    file: Path | None = None

    @property
    def several(self) -> bool:
        """Whether the run may ever have more than one."""
        return self.file is not None or len(self.endpoints) > 1


def parse_targets(spec: str) -> Addresses:
    """``T``, ``T,T,...`` or the path of a file; connects to nothing.

    Raises:
        UsageError: as ``check_target``; the file names no target, or one twice.
    """
    parts = [part.strip() for part in spec.split(",") if part.strip()]
    if len(parts) == 1 and "://" not in parts[0] and parts[0] != LOCAL and not is_sim(parts[0]):
        path = Path(parts[0])
        if not path.is_file():
            raise UsageError(
                f"there is no target '{spec}', and no file of that name",
                remedy=f"targets are {KNOWN_TARGETS}; a file has {FILE_REMEDY}",
            )
        return Addresses(read_targets(path), path)
    if not parts:
        raise UsageError(f"there is no target in '{spec}'", remedy=f"targets are {KNOWN_TARGETS}")
    return Addresses(_named(parts, None))


def read_targets(path: Path) -> tuple[Address, ...]:
    """The endpoints that a file names now.

    Raises:
        UsageError: it cannot be read, or names none, or what is no target, or one twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
        is_yaml = bool(lines) and lines[0].startswith(("-", "[", "{", "endpoints:"))
        value = yaml.safe_load(text) if is_yaml else lines
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise UsageError(f"cannot read endpoints: {why}", place=str(path), remedy=FILE_REMEDY) from error
    if isinstance(value, dict):
        value = value.get("endpoints")
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise UsageError("names no endpoints", place=str(path), remedy=FILE_REMEDY)
    return _named(value, str(path))


def _named(targets: list[str], place: str | None) -> tuple[Address, ...]:
    """The same server twice is a mistake; servers that the run starts, and simulated ones, are as many as are named."""
    seen: Counter[str] = Counter()
    found = []
    for target in targets:
        check_target(target)
        seen[target] += 1
        if seen[target] > 1 and target != LOCAL and not is_sim(target):
            raise UsageError(f"{target} is named twice", place=place, remedy="name each endpoint once")
        found.append(Address(target if seen[target] == 1 else f"{target}#{seen[target]}", target))
    return tuple(found)
