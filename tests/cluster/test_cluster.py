"""A real local Ray cluster of several nodes: the same as a run on one machine, with a node lost in mid-run too."""

from __future__ import annotations

import gzip
import ipaddress
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charter_compiler.api.cluster.connection import Cluster
from charter_compiler.api.cluster.keeper import JournalKeeper, shards_folder
from charter_compiler.api.cluster.places import bring
from charter_compiler.api.cluster.run import batches, cluster_run
from charter_compiler.api.cluster.shards import shards_of
from charter_compiler.api.cluster.worker import ClusterJob, ShardRunner, shard_table
from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.run_request import PredictWhen, RunRequest
from charter_compiler.diagnostics.errors import CharterError, EntryError, InputsError, TargetError, UsageError
from charter_compiler.executor.run.options import RunOptions

# Ray warns of its own settings.
pytestmark = [pytest.mark.ray, pytest.mark.timeout(1200), pytest.mark.filterwarnings("default")]

AGENT = """
def answer(company, question, llm):
    first = llm.generate(company + " A question: " + question, max_tokens=4)
    if question == "number 0007?":
        raise ValueError("no such number")
    return llm.generate(company + " Say it in short: " + first, max_tokens=4)
"""
LISTENING = """
def answer(question, llm):
    import psutil  # Ray brings it along

    driver = psutil.Process().parents()[1]
    sockets = [each for process in (driver, *driver.children(recursive=True)) for each in process.net_connections()]
    listen = [each.laddr.ip for each in sockets if each.status == "LISTEN"]
    return {"text": llm.generate(question, max_tokens=4), "listen": listen}
"""
ITEMS = 40
CALLS = 2 * ITEMS - 1
GUARD = 600.0
IN_TIME = "sim://trtllm?speed=1"
"""Calls take long enough for a node to be lost in the middle."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A head for the driver and the journals, and two nodes of one CPU each for the workers."""
    from local_nodes import local_nodes

    with local_nodes(workers=2, object_store_mb=100) as cluster:
        yield cluster


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charter_compiler.api.cluster.run.shards_of", lambda *rows: shards_of(*rows, items=8))


def rows() -> list[dict[str, Any]]:
    texts = [f"Company {n} makes machines, sells them, and mends them. " * 3 for n in range(5)]
    return [{"company": texts[n % 5], "question": f"number {n:04}?"} for n in range(ITEMS)]


@pytest.fixture
def asked_for(tmp_path: Path) -> RunRequest:
    (tmp_path / "agent.py").write_text(AGENT, encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n\n" for row in rows()), encoding="utf-8")
    return RunRequest(
        f"{tmp_path / 'agent.py'}:answer", tmp_path / "rows.jsonl", tmp_path / "alone.jsonl",
        target="sim", options=RunOptions(concurrency=4), predict=PredictWhen.NEVER,
    )  # fmt: skip


def asked(lines: list[str]) -> Counter[tuple[int, str]]:
    """Of each answered call in a journal: the item, and the digest of prompt and parameters."""
    calls = [json.loads(line).get("call") for line in lines]
    return Counter((call[0], call[1]) for call in calls if call is not None)


def asked_on_cluster(output: Path) -> Counter[tuple[int, str]]:
    """Whole lines alone: one may be being written."""
    texts = [path.read_text(encoding="utf-8") for path in shards_folder(output).glob("*.jsonl")]
    return asked([line for text in texts for line in text[: text.rfind("\n") + 1].splitlines()])


@pytest.mark.usefixtures("small_shards")
def test_rows_and_calls_are_those_of_one_machine_and_a_lost_node_repeats_none(
    nodes: Any, asked_for: RunRequest, tmp_path: Path
) -> None:
    alone = measured_run(asked_for)
    wanted = asked((tmp_path / "alone.jsonl.journal").read_text(encoding="utf-8").splitlines())
    assert sum(wanted.values()) == CALLS

    spread = cluster_run(replace(asked_for, output=tmp_path / "spread.jsonl"), Cluster())
    assert spread.stopped is None
    assert (tmp_path / "spread.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()
    assert asked_on_cluster(tmp_path / "spread.jsonl") == wanted
    assert len(list(shards_folder(tmp_path / "spread.jsonl").glob("*.jsonl"))) == 5
    assert (spread.metrics.items, spread.metrics.failed, spread.metrics.calls) == (ITEMS, 1, CALLS)
    assert spread.first_error == alone.first_error
    assert spread.metrics.prompt_tokens == alone.metrics.prompt_tokens - (alone.metrics.warmup_tokens or 0)

    killed = replace(asked_for, output=tmp_path / "killed.jsonl", target=IN_TIME)
    answered: list[int] = []
    losing = threading.Thread(target=_lose_a_node, args=(nodes, killed.output, answered))
    losing.start()
    outcome = cluster_run(killed, Cluster(workers=2))
    losing.join()
    assert outcome.stopped is None
    assert 0 < answered[0] < CALLS, "the node was not lost in the middle of the run"
    assert killed.output.read_bytes() == (tmp_path / "alone.jsonl").read_bytes()
    assert asked_on_cluster(killed.output) == wanted, "an answered call was asked again, or one is missing"


def _lose_a_node(nodes: Any, output: Path, answered: list[int]) -> None:
    """When a few calls were answered, the node of a worker dies, as by kill -9."""
    deadline = time.monotonic() + GUARD
    while (calls := asked_on_cluster(output).total()) < 6 and time.monotonic() < deadline:
        time.sleep(0.05)
    nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)
    answered.append(calls)


@pytest.mark.usefixtures("nodes")
def test_parquet_and_addresses_of_fsspec_in_and_out_and_a_resumed_run_asks_nothing(
    asked_for: RunRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").mkdir()
    pq.write_table(pa.Table.from_pylist(rows()), tmp_path / "store" / "in.parquet")
    inputs, parquet = f"file://{tmp_path}/store/in.parquet", f"file://{tmp_path}/store/out.parquet"
    outcome = cluster_run(asked_for, Cluster(), inputs=inputs, output=parquet)
    measured_run(asked_for)
    assert outcome.rows == Path("out.jsonl")
    assert outcome.rows.read_bytes() == asked_for.output.read_bytes()
    table = [
        {"index": row["index"]} | {name: row[name] and json.loads(row[name]) for name in ("input", "output", "error")}
        for row in pq.read_table(tmp_path / "store" / "out.parquet").to_pylist()
    ]
    assert table == [json.loads(line) for line in asked_for.output.read_text(encoding="utf-8").splitlines()]

    before = asked_on_cluster(outcome.rows)
    lines = f"file://{tmp_path}/store/out.jsonl"
    again = cluster_run(replace(asked_for, resume=True), Cluster(), inputs=inputs, output=lines)
    assert (tmp_path / "store" / "out.jsonl").read_bytes() == asked_for.output.read_bytes()
    assert (again.metrics.items, again.metrics.failed) == (ITEMS, 1)
    assert asked_on_cluster(outcome.rows) == before


def test_rows_of_a_folder_of_parquet_come_in_the_order_of_its_files(nodes: Any, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    import ray

    folder, number = tmp_path / "in", 0
    folder.mkdir()
    for part, size in enumerate((400_000, 1, 1, 300, 1, 1)):  # the first one is read last
        table = pa.table({"text": pa.array(range(number, number + size)).cast(pa.string())})
        pq.write_table(table, folder / f"{part}.parquet")
        number += size
    before = ray.data.DataContext.get_current().execution_options.preserve_order
    bring(ray, f"file://{folder}", tmp_path / "rows")
    assert ray.data.DataContext.get_current().execution_options.preserve_order is before
    lines = (tmp_path / "rows").read_text(encoding="utf-8").splitlines()
    assert len(lines) == number
    assert all(line == f'{{"text": "{n}"}}' for n, line in enumerate(lines))


@pytest.mark.parametrize("packed", [False, True])
def test_json_lines_from_an_address_are_cut_at_newlines_alone(packed: bool, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    texts = ['{"text": "a\u2028b\u0085c"}\n\n{"text": "d"}', '{"text": "e"}\r\n']
    for part, text in enumerate(texts):
        name = f"{part}.jsonl" + ".gz" * packed
        (tmp_path / "in" / name).write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    (tmp_path / "in" / "_SUCCESS").touch()
    bring(None, f"file://{tmp_path}/in", tmp_path / "rows")
    assert (tmp_path / "rows").read_bytes() == "\n".join(texts).encode()


def test_the_command_starts_a_cluster_that_listens_on_the_loopback_alone(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(LISTENING, encoding="utf-8")
    (tmp_path / "in.jsonl").write_text('{"question": "a"}\n{"question": "b"}\n', encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-m", "charter_compiler.cli.main", "run", "agent.py:answer", "--inputs", "in.jsonl",
         "-o", "out.jsonl", "--target", "sim", "--on", "ray", "--workers", "1"],
        cwd=tmp_path, env=environment | {"HOME": str(tmp_path)}, capture_output=True, text=True, timeout=GUARD,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines():
        listen = json.loads(line)["output"]["listen"]
        assert len(listen) >= 5, "Ray's own processes were not looked at"
        assert all(ipaddress.ip_address(ip.removeprefix("::ffff:")).is_loopback for ip in listen)


@pytest.mark.usefixtures("nodes")
def test_errors_are_charters_own(asked_for: RunRequest, tmp_path: Path) -> None:
    with pytest.raises(InputsError, match="cannot read the inputs"):
        cluster_run(asked_for, Cluster(), inputs=str(tmp_path / "none.parquet"))
    keeper = JournalKeeper(str(shards_folder(asked_for.output)), [])
    keeper.begin()
    with pytest.raises(UsageError, match="another run writes this journal"):
        cluster_run(asked_for, Cluster())
    keeper.end()
    refused = cluster_run(
        replace(asked_for, target="openai://127.0.0.1:9/v1?model=m", plan=_plan_of(asked_for)), Cluster(workers=1)
    )
    assert isinstance(refused.stopped, CharterError)
    assert "127.0.0.1:9" in str(refused.stopped)
    _a_worker_without_the_project_says_so(asked_for)


def _a_worker_without_the_project_says_so(asked_for: RunRequest) -> None:
    job = ClusterJob(
        "/none/agent.py:answer", asked_for.target_options, asked_for.options, _plan_of(asked_for).to_json(), {}
    )
    (stopped,) = ShardRunner(job, None)(shard_table(0, [])).column("stopped").to_pylist()
    assert isinstance(pickle.loads(stopped), EntryError)


@pytest.mark.usefixtures("nodes")
def test_a_worker_that_cannot_begin_is_an_error_of_ours() -> None:
    import ray

    class Broken:
        def __init__(self) -> None:
            raise ModuleNotFoundError("No module named 'agents_own'")

        def __call__(self, table: Any) -> Any:
            return table

    rows = ray.data.range(1).map_batches(Broken, compute=ray.data.ActorPoolStrategy(size=1), num_cpus=1)
    with pytest.raises(TargetError, match="agents_own"):
        list(batches(rows))


def _plan_of(request: RunRequest) -> Any:
    return measured_run(replace(request, limit=1)).plan
