"""What a run on a cluster consists of, without Ray: shards, rows in order, journals with an owner, places."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter_compiler.api.cluster.connection import Cluster, connected
from charter_compiler.api.cluster.keeper import JournalKeeper
from charter_compiler.api.cluster.ordered_rows import OrderedRows
from charter_compiler.api.cluster.places import is_plain, local_name
from charter_compiler.api.cluster.run import Outcome, cluster_run
from charter_compiler.api.cluster.shards import shards_of
from charter_compiler.api.cluster.worker import item_lines
from charter_compiler.api.memo import MemoOptions
from charter_compiler.api.run_request import RunObserver, RunRequest
from charter_compiler.cli.main import main
from charter_compiler.diagnostics.errors import OutputError, UsageError
from charter_compiler.executor.results import ResultRow
from charter_compiler.executor.run.options import RunOptions

AGENT = "def answer(question, llm):\n    return llm.generate(question, max_tokens=4)\n"


@given(
    st.lists(st.tuples(st.integers(0, 6), st.floats(1, 50)), min_size=1, max_size=200),
    st.integers(1, 40),
)
def test_every_row_is_in_one_shard_and_groups_stay_together(rows: list[tuple[int, float]], items: int) -> None:
    groups = np.array([group for group, _ in rows], dtype=np.int64)
    weights = np.array([weight for _, weight in rows], dtype=np.float64)
    shards = shards_of(groups, weights, items)
    shares = [list(shards.rows(number)) for number in range(len(shards))]
    assert sorted(row for share in shares for row in share) == list(range(len(rows)))
    assert all(shares), "an empty shard"
    assert len(shards) <= max(1, round(len(rows) / items))
    if groups.any():
        in_order = [groups[row] for share in shares for row in share]
        changes = sum(a != b for a, b in pairwise(in_order))
        assert changes == len(set(groups)) - 1, "a group is in two places"
    size = weights.sum() / max(1, round(len(rows) / items))
    small = [n for n in set(groups) if groups.any() and weights[groups == n].sum() < size * 0.999]
    for group in small:
        assert sum(group in groups[share] for share in shares) == 1


def test_the_number_of_workers_is_not_in_the_shards_and_their_digest_says_which_they_are() -> None:
    groups = np.array([1, 2, 1, 2] * 8, dtype=np.int64)
    one, other = shards_of(groups, np.ones(32), 8), shards_of(groups, np.ones(32), 16)
    assert (len(one), len(other)) == (4, 2)
    assert one.digest == shards_of(groups, np.ones(32), 8).digest != other.digest


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(("rows", "shards", "largest"), [(1, 1, 1), (40, 40, 1), (383, 64, 12), (6400, 64, 105)])
def test_a_small_run_has_work_for_many_workers(rows: int, shards: int, largest: int, grouped: bool) -> None:
    groups = np.arange(rows, dtype=np.int64) // 3 + 1 if grouped else np.zeros(rows, dtype=np.int64)
    cut = shards_of(groups, np.ones(rows))
    assert len(cut) == shards or (grouped and len(cut) >= shards // 3)
    assert np.diff(cut.bounds).max() <= max(largest, 3 * grouped)


def test_a_large_run_has_shards_of_256() -> None:
    assert len(shards_of(np.zeros(100_000, dtype=np.int64), np.ones(100_000))) == 391


def test_rows_in_any_order_are_written_in_theirs(tmp_path: Path) -> None:
    rows = [ResultRow(n, {"text": "é" * n + "\ud800"}, n, None) for n in range(100)]
    wanted = [(row.text + "\n").encode("utf-8", "backslashreplace") for row in rows]
    path = tmp_path / "out.jsonl"
    early = rows.copy()
    Random(1).shuffle(early)
    with OrderedRows(path, len(rows)) as writer:
        for row in early:
            writer.add(row)
    assert path.read_bytes() == b"".join(wanted)
    assert list(tmp_path.iterdir()) == [path]
    with OrderedRows(path, len(rows)) as writer:  # a run that ends early: those that are missing are left out
        for row in (rows[7], rows[0], rows[3]):
            writer.add(row)
    assert path.read_bytes() == wanted[0] + wanted[3] + wanted[7]


def test_who_takes_a_shard_up_closes_it_to_the_one_before(tmp_path: Path) -> None:
    keeper = JournalKeeper(str(tmp_path / "shards"), ["a", "b"])
    keeper.begin()
    assert [keeper.target(worker) for worker in ("one", "two", "three", "one")] == ["a", "b", "a", "a"]
    keeper.open(3, "one", empty=True)
    keeper.append(3, "one", b"first\n")
    keeper.open(3, "two", empty=False)
    keeper.append(3, "two", b"second\n")
    with pytest.raises(OutputError, match="another worker took this shard over"):
        keeper.append(3, "one", b"too late\n")
    keeper.close(3, "one")  # is not its own any more
    keeper.append(3, "two", b"third\n")
    assert keeper.read(3) == [b"first", b"second", b"third"]
    keeper.end()


def test_one_run_alone_has_the_journals(tmp_path: Path) -> None:
    one, other = (JournalKeeper(str(tmp_path / "shards"), ["a"]) for _ in range(2))
    one.begin()
    one.open(0, "worker", empty=True)
    one.append(0, "worker", b"first\n")
    with pytest.raises(UsageError, match="another run writes this journal"):
        other.begin()
    one.end()
    with pytest.raises(OutputError, match="another worker took this shard over"):
        one.append(0, "worker", b"too late\n")
    with pytest.raises(OutputError, match="the run has ended"):
        one.open(0, "worker", empty=True)
    other.begin()
    assert other.read(0) == [b"first"]
    other.empty()
    assert other.read(0) is None
    other.end()


def test_rows_that_do_not_come_back_are_an_error(tmp_path: Path) -> None:
    outcome = Outcome()
    with OrderedRows(tmp_path / "out.jsonl", 3) as writer:
        outcome.collect(((ResultRow(n, {}, n, None), []) for n in (0, 2)), writer, RunObserver())
    outcome.check(3, tmp_path / "out.jsonl")
    with pytest.raises(OutputError, match="1 of 3 rows did not come back"):
        raise outcome.stopped or AssertionError
    stopped = Outcome(stopped=UsageError("why"))
    stopped.check(3, tmp_path / "out.jsonl")
    assert str(stopped.stopped) == "why"


def test_an_item_that_was_done_twice_has_its_last_line() -> None:
    lines = [b'{"journal": 2}', b'{"row": {"index": 4}, "n": 1}', b'{"call": []}', b'{"row": {"index": 4}, "n": 2}']
    assert item_lines(lines) == {4: lines[-1]}


def test_places() -> None:
    assert [is_plain(place) for place in ("a/in.jsonl", "in.parquet", "s3://bucket/in.jsonl")] == [True, False, False]
    places = {"a/out.parquet": "a/out.jsonl", "s3://b/c/out.jsonl": "out.jsonl", "gs://b/out.parquet": "out.jsonl"}
    assert {place: str(local_name(place)) for place in places} == places


def test_what_a_cluster_does_not_do_is_refused_before_ray_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT, encoding="utf-8")
    request = RunRequest(f"{tmp_path / 'agent.py'}:answer", tmp_path / "in.jsonl", tmp_path / "out.jsonl", target="sim")
    with pytest.raises(UsageError, match="not on a cluster: --record and --report, --max-failures"):
        cluster_run(replace(request, record=True, options=RunOptions(max_failures=1)), Cluster())
    with pytest.raises(UsageError, match="not on a cluster: --memo DIR"):
        cluster_run(replace(request, memo=MemoOptions(place=tmp_path)), Cluster())
    with pytest.raises(UsageError, match="no cluster 'slurm'"):
        Cluster("slurm")


def test_ray_client_is_refused_before_ray_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    remedy = "run this on a node of the cluster, with --on ray and RAY_ADDRESS=head:6379"
    with pytest.raises(UsageError, match=remedy):
        Cluster("ray://head:10001")
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=remedy), connected(Cluster()):
        pass


def test_the_command_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "agent.py").write_text(AGENT, encoding="utf-8")
    (tmp_path / "in.jsonl").write_text('{"question": "a"}\n', encoding="utf-8")
    command = ["run", f"{tmp_path / 'agent.py'}:answer", "--target", "sim", "-o", str(tmp_path / "out.jsonl")]
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([*command, "--inputs", str(tmp_path / "in.jsonl"), "--on", "ray"]) == 2
    assert "--on ray needs the package ray (pip install '.[ray]' in the checkout)" in capsys.readouterr().err
    assert main([*command, "--inputs", "s3://bucket/in.jsonl"]) == 2
    assert "give --on ray" in capsys.readouterr().err
