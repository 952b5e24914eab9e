"""The hashes of the sources that a plan was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from charter_compiler.diagnostics.errors import PlanError, SourceError


@dataclass(frozen=True, slots=True)
class SourceHash:
    """One source file: its path, relative to the plan's root with forward slashes, and the SHA-256 of its bytes."""

    path: str
    sha256: str


def hash_sources(paths: Iterable[Path], root: Path) -> tuple[SourceHash, ...]:
    """Hashes of the files, by path. A file outside ``root`` keeps its absolute path.

    Raises:
        SourceError: a file cannot be read.
    """
    root = root.resolve()
    hashes = set()
    for path in paths:
        full = path.resolve()
        name = full.relative_to(root) if full.is_relative_to(root) else full
        try:
            hashes.add((name.as_posix(), _sha256(full)))
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}", place=str(path)) from error
    return tuple(SourceHash(name, digest) for name, digest in sorted(hashes))


def check_sources(sources: Iterable[SourceHash], root: Path) -> None:
    """Refuse a plan whose sources are not what they were.

    Raises:
        PlanError: a file changed or is gone; all of them are named.
    """
    changed = []
    for source in sources:
        path = root / source.path
        try:
            same = _sha256(path) == source.sha256
        except OSError:
            changed.append(f"{source.path} is gone")
            continue
        if not same:
            changed.append(f"{source.path} changed")
    if changed:
        raise PlanError(f"the plan is stale: {', '.join(changed)}", place=str(root), remedy="run charter compile again")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
