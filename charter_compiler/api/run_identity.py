"""What must be the same for a run to be resumed, and the journal that holds it to that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from charter_compiler.api.run_request import RunRequest
from charter_compiler.executor.entry import package_root, split_entry
from charter_compiler.executor.inputs import file_sha256
from charter_compiler.executor.journal import JournalState, JournalStore
from charter_compiler.executor.journal_file import JournalFile, journal_path
from charter_compiler.executor.journal_redis import RedisJournal
from charter_compiler.executor.targets import OpenTarget
from charter_compiler.passes.template import PlannedLayout
from charter_compiler.plan.codec import encode
from charter_compiler.plan.sources import hash_sources
from charter_compiler.predict.effects import project_files


def run_identity(request: RunRequest) -> dict[str, object]:
    """What must be the same for a run to be resumed, as far as it is known before the target is opened. It is the same
    wherever the project lies: paths are relative to the folder that the agent's modules are imported from.

    Raises:
        SourceError: a file of the agent's project cannot be read.
    """
    path, name = split_entry(request.entry)
    path = path.resolve()
    root = package_root(path)
    return {
        "entry": f"{path.relative_to(root).as_posix()}:{name}",
        "sources": _sources_sha256(path, root),
        "inputs": file_sha256(request.inputs),
        "limit": request.limit,
        "target": request.target,
        "mode": str(request.options.mode),
        "max_tokens": request.options.max_tokens,
        "merges": [request.options.merges, request.options.merge_sampling],
    }


def journal_store(request: RunRequest, identity: Mapping[str, object]) -> JournalStore:
    """Where the run's journal lies: beside its rows, or on the server that it names."""
    if request.journal is None:
        return JournalFile(journal_path(request.output))
    return RedisJournal(request.journal, identity)


def _sources_sha256(path: Path, root: Path) -> str:
    """Of the entry's file and of the project's files that importing it executes."""
    sources = [[source.path, source.sha256] for source in hash_sources(project_files(path, root), root)]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def target_identity(target: OpenTarget, warm_ups: Sequence[str], layouts: Sequence[PlannedLayout]) -> dict[str, object]:
    """The rest of it: what the target serves, and the plan's warm-ups and layouts. ``None`` for what the target
    does not state."""
    return {
        "model": target.facts.model,
        "tokenizer": None if target.tokenizer is None else target.tokenizer.fingerprint,
        "warm_ups": hashlib.sha256(json.dumps(warm_ups).encode()).hexdigest(),
        "layouts": hashlib.sha256(json.dumps(encode(tuple(layouts))).encode()).hexdigest(),
    }


def is_cold(target: OpenTarget, state: JournalState, items: int) -> bool:
    """Whether the warm-ups are to be sent: items are left, and no earlier run has warmed this very server."""
    return len(state.items) < items and (target.server is not None or not state.warm_ups)
