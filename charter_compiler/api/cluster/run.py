"""A run on a Ray cluster, from the driver: inputs cut into shards, shards run, rows written in order."""

from __future__ import annotations

import json
import pickle
import time
from array import array
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from charter_compiler.api.cluster.connection import Cluster, connected, nodes
from charter_compiler.api.cluster.keeper import JournalKeeper, answer_of, shards_folder
from charter_compiler.api.cluster.ordered_rows import OrderedRows
from charter_compiler.api.cluster.places import bring, is_plain, local_name, take
from charter_compiler.api.cluster.shards import Shards, shards_of
from charter_compiler.api.cluster.worker import ClusterJob, ShardRunner, shard_journal, shard_table
from charter_compiler.api.compile_request import CompileRequest
from charter_compiler.api.compile_target import describe_target
from charter_compiler.api.measured_run import SIMULATED, placing_of
from charter_compiler.api.run_identity import run_identity
from charter_compiler.api.run_report import RunReport
from charter_compiler.api.run_request import RunObserver, RunRequest, metrics_path, rows_of
from charter_compiler.diagnostics.errors import CharterError, EntryError, OutputError, TargetError, UsageError
from charter_compiler.executor.entry import load_entry, split_entry
from charter_compiler.executor.fleet.addresses import parse_targets
from charter_compiler.executor.journal import check_journal
from charter_compiler.executor.metrics import CallFigures, Tally, build_metrics
from charter_compiler.executor.recording import discard_recording
from charter_compiler.executor.redis_address import RedisAddress
from charter_compiler.executor.results import ResultRow, RowError, write_json
from charter_compiler.executor.sdk_calls import uses_sdk
from charter_compiler.executor.sim.address import is_sim
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.predict.planning import analyse, calls_of_entry, plan_entry
from charter_compiler.predict.row_index import group_number, index_rows

Finished = Iterator[tuple[ResultRow, list[CallFigures]]]
"""Items that are done, each with its calls."""


def cluster_run(
    request: RunRequest,
    cluster: Cluster,
    observer: RunObserver | None = None,
    *,
    inputs: str | None = None,
    output: str | None = None,
) -> RunReport:
    """Run an agent over its inputs on a Ray cluster. The rows are those of ``measured_run``, in the inputs' order.

    Args:
        inputs: instead of ``request.inputs``: Parquet, or rows in an object store (see ``places``).
        output: instead of ``request.output``, the same; the rows are on this machine too (``places.local_name``).

    Raises:
        UsageError: the extra is not installed, the cluster cannot be reached, the request wants what a cluster does
            not do, another run has the same ``output``, or ``resume`` finds no journal of this run.
        EntryError, InputsError: the entry or a row is broken.
        PlanError, TargetError: as ``measured_run``.
        OutputError: the rows cannot be written.
    """
    _check_request(request)
    with connected(cluster) as ray:
        if output is not None and not is_plain(output):
            request = replace(request, output=local_name(output))
        with _keeper(ray, request) as keeper:
            if inputs is not None and not is_plain(inputs):
                request = replace(request, inputs=_brought(ray, inputs, request))
            report = _run(ray, request, cluster, keeper, observer or RunObserver())
        if output is not None and not is_plain(output):
            take(request.output, output)
    return report


def _check_request(request: RunRequest) -> None:
    budget = request.options.budget
    unsupported = {
        "--record and --report": request.record,
        "--log": request.log is not None,
        "--hints": request.hints,
        "--placement": request.options.placement is not None,
        "--max-failures": request.options.max_failures is not None,
        "budgets": (budget.tokens, budget.seconds, budget.money) != (None, None, None),
        "--layout (compile with it, and give --plan)": request.layout,
        "--memo DIR (a server is reached from every node)": request.memo is not None
        and isinstance(request.memo.place, Path),
        "a file of targets": parse_targets(request.target).file is not None,
    }
    asked = [name for name, value in unsupported.items() if value]
    if asked:
        raise UsageError(f"not on a cluster: {', '.join(asked)}", remedy="run without --on")
    calls = calls_of_entry(request.entry)
    if not calls:
        raise EntryError("no model call was found in the file of the entry", place=request.entry)
    if uses_sdk(calls):
        raise UsageError("not on a cluster: an agent that constructs its own client", remedy="hand it Charter's")


def _brought(ray: Any, place: str, request: RunRequest) -> Path:
    """The inputs as a file of this machine, beside the journals."""
    path = shards_folder(request.output) / "inputs.rows"
    bring(ray, place, path)
    return path


def _run(ray: Any, request: RunRequest, cluster: Cluster, keeper: Any, observer: RunObserver) -> RunReport:
    began = time.perf_counter()
    targets = _targets(request)
    observer.opening(request.target)
    plan = request.plan or _plan(replace(request, target=targets[0]))
    shards = _shards(replace(request, plan=plan))
    job = ClusterJob(
        _absolute(request.entry),
        request.target_options,
        replace(request.options, handle_interrupt=False, schedule=plan.schedule),
        plan.to_json(),
        {**run_identity(request), "shards": shards.digest},
        request.memo if request.memo is not None and isinstance(request.memo.place, RedisAddress) else None,
        request.journal,
    )
    _take_up(request, job, keeper, len(shards))
    workers = cluster.workers or (len(targets) if len(targets) > 1 else max(1, nodes(ray)))
    results = ray.data.from_arrow_refs(_tables(ray, request, shards)).map_batches(
        ShardRunner,
        fn_constructor_args=(job, keeper),
        # One shard at a time: the next one goes to whoever is done first.
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(shards)), max_tasks_in_flight_per_actor=1),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=1,
    )
    observer.running(len(shards.order))
    outcome = Outcome()
    with OrderedRows(request.output, len(shards.order)) as writer:
        if not request.resume:
            discard_recording(request.output)  # of an older run, whose rows are gone only now
        outcome.collect(_finished(results), writer, observer)
    outcome.check(len(shards.order), request.output)
    observer.finished()
    return outcome.report(request, plan, time.perf_counter() - began)


def _absolute(entry: str) -> str:
    """Workers have another current folder."""
    path, name = split_entry(entry)
    return f"{path.resolve()}:{name}"


def _shards(request: RunRequest) -> Shards:
    """Every row is read once, and must fit the entry. 16 bytes a row are kept of it."""
    entry, placing = load_entry(request.entry), placing_of(request, calls_of_entry(request.entry))
    groups, weights = array("q"), array("d")
    for row in rows_of(request):
        entry.bind(row.values, f"{request.inputs}:{row.line}")
        groups.append(group_number(row.values, placing.group_by) if placing.group_by else 0)
        weights.append(placing.weigh(row.values))
    return shards_of(np.array(groups, dtype=np.int64), np.array(weights, dtype=np.float64))


def _tables(ray: Any, request: RunRequest, shards: Shards) -> list[Any]:
    """References to the rows of each shard, in the object store."""
    index = index_rows(request.inputs, limit=request.limit)
    return [
        ray.put(shard_table(shard, index.rows(int(row) for row in shards.rows(shard)))) for shard in range(len(shards))
    ]


def _plan(request: RunRequest) -> ExecutionPlan:
    target = describe_target(
        CompileRequest(request.entry, target=request.target, target_options=request.target_options)
    )
    block_size = target.engine.tokens_per_block
    return plan_entry(
        request.entry,
        analyse(calls_of_entry(request.entry), target.tokenizer, block_size),
        target=request.target,
        model=target.model,
        tokenizer=target.tokenizer,
        block_size=block_size,
        capacity_blocks=target.engine.capacity_blocks,
        engine=target.profile,
    )


def _targets(request: RunRequest) -> list[str]:
    return [each.target for each in parse_targets(request.target).endpoints]


@contextmanager
def _keeper(ray: Any, request: RunRequest) -> Iterator[Any]:
    """On this node: its files are beside the rows. Raises UsageError where another run has them."""
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(JournalKeeper).options(num_cpus=0, scheduling_strategy=here)
    folder = str(shards_folder(request.output.resolve()))
    keeper = actor.remote(folder, _targets(request))
    answer_of(keeper.begin.remote(), folder)
    try:
        yield keeper
    finally:
        with suppress(RayError):  # one that has died holds nothing
            ray.get(keeper.end.remote())


def _take_up(request: RunRequest, job: ClusterJob, keeper: Any, shards: int) -> None:
    """With ``--resume``, the journals must be of this run; without it, those that there are of it are emptied."""
    if request.resume:
        for shard in range(shards):
            store = shard_journal(job, keeper, shard)
            if store.read() or shard == shards - 1:
                check_journal(store, {**job.identity, "shard": shard})
                return
        return
    answer_of(keeper.empty.remote(), str(shards_folder(request.output)))
    if job.journal is not None:
        for shard in range(shards):
            with closing(shard_journal(job, keeper, shard)) as store:
                store.open(empty=True)


@dataclass(slots=True)
class Outcome:
    """What came of the shards so far."""

    tally: Tally = field(default_factory=Tally)
    first_error: tuple[int, RowError] | None = None
    stopped: CharterError | None = None
    interrupted: bool = False

    def collect(self, finished: Finished, writer: OrderedRows, observer: RunObserver) -> None:
        """Until the last shard, Ctrl-C, or an error that ends the run; what was answered is in the journals."""
        try:
            for row, calls in finished:
                writer.add(row)
                for call in calls:
                    self.tally.add_call(call)
                self.tally.add_item(calls)
                if row.error is not None:
                    self._failed(row.index, row.error)
                observer.progress(self.tally)
        except KeyboardInterrupt:
            self.interrupted = True
        except CharterError as error:
            self.stopped = error

    def check(self, count: int, output: Path) -> None:
        """A run that came to its end has all its rows."""
        missing = count - self.tally.items
        if missing and not self.interrupted and self.stopped is None:
            self.stopped = OutputError(
                f"{missing} of {count} rows did not come back", place=str(output), remedy="continue with --resume"
            )

    def _failed(self, index: int, error: RowError) -> None:
        self.tally.failed += 1
        if self.first_error is None or index < self.first_error[0]:
            self.first_error = (index, error)

    def report(self, request: RunRequest, plan: ExecutionPlan, wall_s: float) -> RunReport:
        """Writes the figures."""
        self.tally.totals.attainable = None  # each worker has a cache of its own
        simulated = any(is_sim(target) for target in _targets(request))
        metrics = build_metrics(
            self.tally,
            mode=request.options.mode,
            target=request.target,
            wall_s=wall_s,
            predicted_hit_rate=None,
            layout=bool(plan.layouts),
            simulated=simulated,
        )
        write_json(metrics_path(request.output), metrics.to_json())
        return RunReport(
            entry=request.entry,
            model=plan.model,
            metrics=metrics,
            prediction=None,
            plan=plan,
            rows=request.output,
            metrics_file=metrics_path(request.output),
            recording=None,
            interrupted=self.interrupted,
            stopped=self.stopped,
            first_error=self.first_error,
            notes=(SIMULATED,) if simulated else (),
        )


def _finished(results: Any) -> Finished:
    """The items of each shard that is done, in any order. Raises what ended a worker."""
    for batch in batches(results):
        for line, stopped in zip(*(batch.column(name).to_pylist() for name in ("line", "stopped")), strict=True):
            if stopped is not None:
                raise pickle.loads(stopped)  # noqa: S301  as a worker of ours wrote it
            value = json.loads(line)
            yield ResultRow.from_json(value["row"]), [CallFigures(**call) for call in value["calls"]]


def batches(results: Any) -> Iterator[Any]:
    """The tables of a dataset of Ray's. Raises TargetError for what Ray raises, or a worker that cannot begin."""
    from ray.exceptions import RayError

    try:
        yield from results.iter_batches(batch_size=None, batch_format="pyarrow")
    except RayError as error:
        # Ray gives the traceback of the worker: what it ends with is why.
        raise TargetError(
            f"Ray could not run the work: {str(error).strip().splitlines()[-1]}",
            remedy="see Ray's logs; the same Charter, agent and packages must be on every node",
        ) from error
