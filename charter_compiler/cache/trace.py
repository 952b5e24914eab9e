"""A recorded trace of requests: which blocks each prompt is made of, as arrays.

One JSON object a line: ``timestamp`` (milliseconds), ``input_length`` and ``output_length`` (tokens), ``hash_ids`` (one
id a block of the prompt; the last may stand for a partial block), and optionally ``priority`` (0 to 100, 35 where it is
missing). The format is that of the Mooncake traces (FAST'25).
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charter_compiler.cache.block_keys import chain
from charter_compiler.cache.retention import DEFAULT_PRIORITY, MAX_PRIORITY, MIN_PRIORITY
from charter_compiler.diagnostics.errors import InputsError

_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
"""Odd constants of the splitmix64 generator (Steele, Lea, Flood 2014)."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Requests in the order of the file. Request ``r`` has the prompt blocks ``nodes[offsets[r]:offsets[r + 1]]``.

    A node is a place in the tree of all prompts, numbered from 0: the same id after other blocks is another node,
    because the KV of a block depends on everything before it. ``parents`` is the node above, -1 at the start.
    """

    block_size: int
    offsets: NDArray[np.int64]
    nodes: NDArray[np.int64]
    parents: NDArray[np.int64]
    lengths: NDArray[np.int64]
    outputs: NDArray[np.int64]
    timestamps: NDArray[np.float64]
    priorities: NDArray[np.int64]

    @property
    def requests(self) -> int:
        return len(self.lengths)

    @property
    def distinct_blocks(self) -> int:
        return len(self.parents)

    @property
    def overlong(self) -> int:
        """Requests that name more blocks than their length holds at this block size; those blocks count no tokens."""
        return int(np.count_nonzero(np.diff(self.offsets) > -(-self.lengths // self.block_size)))

    def full_blocks(self) -> NDArray[np.int64]:
        """Of each request: how many of its blocks are full."""
        return np.minimum(self.lengths // self.block_size, np.diff(self.offsets))

    def partial_apart(self) -> Trace:
        """The same requests, but a partial last block is another node than the full block of the same id: it takes
        room, and engines of full blocks do not find it."""
        counts = np.diff(self.offsets)
        inside = np.arange(len(self.nodes)) - np.repeat(self.offsets[:-1], counts)
        partial = inside >= np.repeat(self.full_blocks(), counts)
        nodes = np.where(partial, self.nodes + self.distinct_blocks, self.nodes)
        parents = np.concatenate((self.parents, self.parents))
        before = np.concatenate((np.zeros(1, dtype=bool), partial[:-1])) & (inside > 0)
        parents[nodes[before]] = nodes[np.flatnonzero(before) - 1]
        return _renumbered(self, counts, nodes, parents)

    def first(self, requests: int) -> Trace:
        """The first requests alone."""
        counts = np.diff(self.offsets)[:requests]
        return _renumbered(self, counts, self.nodes[: int(self.offsets[requests])], self.parents)

    def next_uses(self, *, full_only: bool = False) -> NDArray[np.int64]:
        """For each block of each request, the next request that has it too; the number of requests where none does, or
        with ``full_only`` where the block is partial."""
        order = np.argsort(self.nodes, kind="stable")
        counts = np.diff(self.offsets)
        owner = np.repeat(np.arange(self.requests), counts)
        following = np.full(len(self.nodes), self.requests, dtype=np.int64)
        same = self.nodes[order[:-1]] == self.nodes[order[1:]]
        following[order[:-1][same]] = owner[order[1:][same]]
        if full_only:
            inside = np.arange(len(self.nodes)) - np.repeat(self.offsets[:-1], counts)
            following[inside >= np.repeat(self.full_blocks(), counts)] = self.requests
        return following


def build_trace(
    block_size: int,
    counts: NDArray[np.int64],
    ids: NDArray[np.int64],
    lengths: NDArray[np.int64],
    outputs: NDArray[np.int64],
    timestamps: NDArray[np.float64],
    priorities: NDArray[np.int64],
) -> Trace:
    """A trace from the ids of all prompts, one after another; ``counts`` says how many each has.

    Places in the tree are told apart by a 64-bit hash of the path: two different ones are taken for one with a chance
    of 2**-64 a pair.
    """
    offsets = _offsets(counts)
    depth = np.arange(len(ids), dtype=np.uint64) - np.repeat(offsets[:-1], counts).astype(np.uint64)
    mixed = _mix(ids.astype(np.uint64) + (depth + np.uint64(1)) * _MIX[0])
    total = np.concatenate((np.zeros(1, dtype=np.uint64), np.cumsum(mixed, dtype=np.uint64)))
    paths = total[1:] - np.repeat(total[offsets[:-1]], counts)
    del mixed, total
    _, first, nodes = np.unique(paths, return_index=True, return_inverse=True)
    # Numbered in the order of the file, so that what is used together lies together.
    place = np.empty(len(first), dtype=np.int64)
    order = np.argsort(first)
    place[order] = np.arange(len(first))
    nodes, first = place[nodes], first[order]
    parents = np.where(depth[first] == 0, -1, nodes[np.maximum(first - 1, 0)])
    return Trace(block_size, offsets, nodes, parents, lengths, outputs, timestamps, priorities)


def parse_trace(lines: Iterable[str | bytes], block_size: int, place: str = "trace") -> Trace:
    """Read a trace; blank lines are skipped.

    Raises:
        InputsError: a line is not a request, or there is none; the place names the line.
    """
    counts, ids = array("q"), array("q")
    lengths, outputs, priorities, timestamps = array("q"), array("q"), array("q"), array("d")
    for number, line in enumerate(lines, start=1):
        if line.isspace() or not line:
            continue
        row = _parse(line, f"{place}:{number}")
        try:
            _check(row)
            blocks = row["hash_ids"]
            try:
                ids.extend(array("q", blocks))
            except (TypeError, OverflowError):
                ids.extend(array("q", [_number(block) for block in blocks]))
            lengths.append(row["input_length"])
            outputs.append(row.get("output_length") or 0)
            timestamps.append(row.get("timestamp") or 0)
            priorities.append(row.get("priority", DEFAULT_PRIORITY))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            what = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
            raise InputsError(
                f"not a request: {what}",
                place=f"{place}:{number}",
                remedy='write {"timestamp": 0, "input_length": 1024, "output_length": 10, "hash_ids": [1, 2]}',
            ) from error
        counts.append(len(blocks))
    if not counts:
        raise InputsError("the trace is empty", place=place, remedy="put one request on each line")
    return build_trace(
        block_size,
        np.frombuffer(counts, dtype=np.int64),
        np.frombuffer(ids, dtype=np.int64) if ids else np.zeros(0, dtype=np.int64),
        np.frombuffer(lengths, dtype=np.int64),
        np.frombuffer(outputs, dtype=np.int64),
        np.frombuffer(timestamps, dtype=np.float64),
        np.frombuffer(priorities, dtype=np.int64),
    )


def trace_of_prompts(prompts: Sequence[Sequence[int]], block_size: int) -> Trace:
    """A trace of token sequences, without what lies behind their last full block."""
    ids, counts = array("Q"), array("q")
    for prompt in prompts:
        names = chain(prompt, block_size, 0)
        ids.extend(name & 0xFFFFFFFFFFFFFFFF for name in names)
        counts.append(len(names))
    nothing = np.zeros(len(prompts), dtype=np.int64)
    return build_trace(
        block_size,
        np.frombuffer(counts, dtype=np.int64),
        np.frombuffer(ids, dtype=np.uint64).astype(np.int64) if ids else nothing[:0],
        np.array([len(prompt) for prompt in prompts], dtype=np.int64),
        nothing,
        nothing.astype(np.float64),
        nothing + DEFAULT_PRIORITY,
    )


def _parse(line: str | bytes, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputsError(f"not JSON: {error}", place=place, remedy="each line is one JSON object") from error
    if not isinstance(row, dict):
        raise InputsError("not a JSON object", place=place, remedy="each line is one JSON object")
    return row


def _check(row: dict[str, Any]) -> None:
    if not isinstance(row["hash_ids"], list):
        raise TypeError("hash_ids is not a list")
    for name, value in (("input_length", row["input_length"]), ("output_length", row.get("output_length") or 0)):
        if type(value) is not int or value < 0:
            raise ValueError(f"{name} is not a count of tokens")
    if not MIN_PRIORITY <= row.get("priority", DEFAULT_PRIORITY) <= MAX_PRIORITY:
        raise ValueError(f"priority is not from {MIN_PRIORITY} to {MAX_PRIORITY}")


def _number(block: object) -> int:
    """A 63-bit number for an id that is text, or too large."""
    if not isinstance(block, int | str):
        raise TypeError("a hash id is neither a whole number nor text")
    return int.from_bytes(hashlib.blake2b(repr(block).encode(), digest_size=8).digest(), "little") >> 1


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)))


def _renumbered(trace: Trace, counts: NDArray[np.int64], nodes: NDArray[np.int64], parents: NDArray[np.int64]) -> Trace:
    """The trace's first requests with other blocks, whose nodes are numbered again without gaps."""
    used, numbers = np.unique(nodes, return_inverse=True)
    place = np.full(len(parents) + 1, -1, dtype=np.int64)  # the last one is for parent -1
    place[used] = np.arange(len(used))
    requests = len(counts)
    return Trace(
        trace.block_size,
        _offsets(counts),
        numbers.astype(np.int64),
        place[parents[used]],
        trace.lengths[:requests],
        trace.outputs[:requests],
        trace.timestamps[:requests],
        trace.priorities[:requests],
    )


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * _MIX[1]
    values = (values ^ (values >> np.uint64(27))) * _MIX[2]
    return values ^ (values >> np.uint64(31))
