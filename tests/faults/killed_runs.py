"""``charter run`` as a process that is killed again and again, and what its files must say afterwards."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

AGENT = """
def process(text, llm):
    first = llm.generate(f"{text} Say more:", max_tokens=3)
    second = llm.generate(f"{text} In other words: {first}", max_tokens=3)
    return {"first": first, "second": second}
"""
GUARD = 240.0
"""Seconds for one part of a run, against waiting for ever."""


@dataclass
class KilledRun:
    """A run of ``AGENT`` over ``items`` items in ``folder``, on a running server."""

    folder: Path
    grpc_url: str
    items: int
    parts: int = 0
    output: str = ""
    stops: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "agent.py").write_text(AGENT, encoding="utf-8")
        rows = "".join(json.dumps({"text": f"This is text number {n} of several."}) + "\n" for n in range(self.items))
        (self.folder / "in.jsonl").write_text(rows, encoding="utf-8")

    @property
    def journal(self) -> Path:
        return self.folder / "out.jsonl.journal"

    def command(self) -> list[str]:
        command = [sys.executable, "-m", "charter_compiler.cli.main", "run", f"{self.folder / 'agent.py'}:process"]
        command += ["--inputs", str(self.folder / "in.jsonl"), "-o", str(self.folder / "out.jsonl")]
        command += ["--target", f"triton://{self.grpc_url}/ensemble", "--no-predict", "--no-memo", "--concurrency", "3"]
        return command + (["--resume"] if self.parts else [])

    def start(self, limit: Callable[[], None] | None = None) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(
            self.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
            preexec_fn=limit,
        )  # fmt: skip
        self.parts += 1
        return process

    def finish(self, limit: Callable[[], None] | None = None) -> int:
        """Run to the end; the exit status."""
        process = self.start(limit)
        self.output, _ = process.communicate(timeout=GUARD)
        return process.returncode

    def kill(self, chosen: random.Random) -> bool:
        """Start, and kill -9 when some more lines are in the journal; whether it was still running."""
        before = self.lines()
        process = self.start()
        wanted, deadline = before + chosen.randint(0, 3), time.monotonic() + GUARD
        while process.poll() is None and self.lines() <= wanted:
            assert time.monotonic() < deadline, "the run does not get on"
            time.sleep(0.005)
        time.sleep(chosen.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate(timeout=GUARD)
        assert process.returncode in (0, -signal.SIGKILL), output
        self.stops.append(self.lines())
        return process.returncode != 0

    def lines(self) -> int:
        return self.journal.read_bytes().count(b"\n") if self.journal.exists() else 0

    def check(self) -> None:
        """Every item has its row; no answered call was made again, and its answer is the one that the row has."""
        rows = [json.loads(line) for line in (self.folder / "out.jsonl").read_text(encoding="utf-8").splitlines()]
        assert [row["index"] for row in rows] == list(range(self.items))
        assert all(row["error"] is None for row in rows)
        entries: list[dict[str, Any]] = [
            json.loads(line) for line in self.journal.read_text(encoding="utf-8").splitlines()
        ]
        calls = [entry["call"] for entry in entries if "call" in entry]
        assert max(Counter((item, asked) for item, asked, *_ in calls).values()) == 1, "a call was made twice"
        assert len(calls) == 2 * self.items
        answers = {item: [text for owner, _, text, *_ in calls if owner == item] for item in range(self.items)}
        for row in rows:
            assert [row["output"]["first"], row["output"]["second"]] == answers[row["index"]]
        done = Counter(entry["row"]["index"] for entry in entries if "row" in entry)
        assert set(done.values()) == {1}, "an item was finished twice"


def limit_files(size: int) -> Callable[[], None]:
    """For a process: no file may grow beyond so many bytes. What a full disk does, without filling one."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
