"""``charter cache``: the memo store, in which answers of calls are kept."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from charter_compiler.api.memo import memo_place, open_store
from charter_compiler.diagnostics.errors import MemoError
from charter_compiler.executor.memo.sqlite_store import memo_dir, remove_store
from charter_compiler.executor.memo.store import MemoStats
from charter_compiler.executor.redis_address import RedisAddress


def run(args: argparse.Namespace) -> int:
    """Run one action. Raises ``MemoError``."""
    place = memo_place(args.memo)
    if args.action == "clear":
        return _clear(place, args.older_than)
    with closing(open_store(place)) as store:
        if args.action == "stats":
            stats = store.stats()
            print(json.dumps(asdict(stats)) if args.format == "json" else _describe(stats))
            return 0
        check = store.verify()
    print(f"{check.entries} entries, {check.corrupt} corrupt")
    named = str(place or memo_dir())
    if check.damage is not None:
        raise MemoError(f"the store is damaged: {check.damage}", place=named, remedy="run: charter cache clear")
    if check.corrupt:
        raise MemoError(
            f"{check.corrupt} entries are corrupt",
            place=named,
            remedy="they are computed again when they are needed; charter cache clear erases all",
        )
    return 0


def _clear(place: Path | RedisAddress | None, older_than: float | None) -> int:
    try:
        with closing(open_store(place)) as store:
            print(f"{store.clear(older_than or 0.0)} entries erased")
    except MemoError as error:
        if not error.damaged or older_than is not None or isinstance(place, RedisAddress):
            raise
        remove_store(place)
        print("the store could not be read; its files were deleted")
    return 0


def _describe(stats: MemoStats) -> str:
    lines = [stats.place, f"  {stats.entries} entries, {stats.bytes / 1e6:.1f} MB"]
    if stats.oldest is not None and stats.newest is not None:
        lines.append(f"  written from {_date(stats.oldest)} to {_date(stats.newest)}")
    return "\n".join([*lines, *(f"  {count} of {model}" for model, count in stats.models.items())])


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
