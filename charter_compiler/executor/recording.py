"""Recorded calls: what was sent, what came back, and when; and the comparison of two recorded runs.

``OUT.jsonl.calls.jsonl`` has one object a call, warm-ups included, in the order in which they were answered. It holds
prompts and outputs, so only its owner can read it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from charter_compiler.diagnostics.errors import InputsError
from charter_compiler.executor.calls import CallRecord
from charter_compiler.executor.results import open_private, unwritable


def recording_path(output: Path) -> Path:
    """Where the recorded calls of a run lie."""
    return output.with_name(output.name + ".calls.jsonl")


def discard_recording(output: Path) -> None:
    """Remove the recording of an older run, whose rows are replaced. Raises OutputError."""
    path = recording_path(output)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


class Recorder:
    """Writes recorded calls.

    Args:
        after: go on with the recording of a run's earlier parts, which took so many seconds: the times of its calls
            follow theirs. A last line that was cut by a crash is dropped. ``None`` begins an empty one.

    Attributes:
        went_on: there was a recording to go on with.

    Raises:
        OutputError: when the disk does not take them.
        InputsError: the recording to go on with is none.
    """

    def __init__(self, path: Path, *, after: float | None = None) -> None:
        self._path = path
        self._began = 0.0 if after is None else after
        self._file = open_private(path, keep=after is not None)
        self.went_on = False
        if after is not None:
            try:
                self._go_on()
            except BaseException:
                self._file.close()
                raise

    def _go_on(self) -> None:
        length, last = 0, b""
        try:
            with self._path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        length, last = length + len(line), line
            self._file.truncate(length)
        except OSError as error:
            raise unwritable(self._path, error) from error
        if last:
            self.went_on = True
            try:  # the journal's clock stands at the last finished item: calls may have been answered since
                self._began = max(self._began, json.loads(last)["done_s"])
            except (ValueError, KeyError, TypeError) as error:
                raise InputsError(
                    "its last line is not a recorded call", place=str(self._path), remedy="move it away"
                ) from error

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError):  # of a line that could not be written, which was told then: each is flushed
            self._file.close()

    def write(self, record: CallRecord) -> None:
        try:
            self._file.write(json.dumps(_to_json(record, self._began), ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise unwritable(self._path, error) from error


def _to_json(record: CallRecord, began: float) -> dict[str, Any]:
    """``began``: seconds of the whole run when this part of it began."""
    request, result, site = record.request, record.result, record.site
    sent = {"prompt": request.prompt, "messages": request.messages and [dict(m) for m in request.messages]}
    return {
        "item": record.item,
        "ordinal": record.ordinal,
        "call": site and site.label,
        "line": site and site.line,
        **sent,
        "prompt_sha256": hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest(),
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_k": request.top_k,
        "top_p": request.top_p,
        "seed": request.seed,
        "stop": list(request.stop),
        "response_format": request.response_format and dict(request.response_format),
        "output": result.text,
        "finish_reason": result.finish_reason,
        "prompt_tokens": result.prompt_tokens,
        "cached_tokens": result.cached_tokens,
        "output_tokens": result.output_tokens,
        "kv_cache": {name: value for name, value in result.details.items() if name.startswith("kv_cache_")},
        "memoized": record.memoized,
        "submitted_s": began + record.submitted,
        "sent_s": began + record.sent,
        "first_token_s": None if record.first_token is None else began + record.first_token,
        "done_s": began + record.done,
    }


def read_recording(path: Path) -> Iterator[dict[str, Any]]:
    """The recorded calls of a run.

    Raises:
        InputsError: the file cannot be read, or a line is not JSON.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise InputsError(
                        "not a recorded call", place=f"{path}:{number}", remedy="run again with --record"
                    ) from error
    except OSError as error:
        raise InputsError(f"cannot read the recording: {error.strerror}", place=str(path)) from error


@dataclass(frozen=True, slots=True)
class RecordingComparison:
    """Two runs of one agent, call by call.

    A call is compared when the earlier outputs of its item are the same in both runs; ``different_prompts`` lists those
    of them, as (item, ordinal), whose prompt or sampling differs all the same: none, if both runs are exact.
    ``different_outputs`` are compared calls with the same prompt and another output: the engine's own doing.
    """

    compared: int
    not_compared: int
    different_prompts: tuple[tuple[int, int], ...] = field(default=())
    different_outputs: tuple[tuple[int, int], ...] = field(default=())


_REQUEST_KEYS = ("prompt", "messages", "max_tokens", "temperature", "top_k", "top_p", "seed", "stop", "response_format")


def compare_recordings(first: Path, second: Path) -> RecordingComparison:
    """Compare two recorded runs over the same inputs; calls are matched by item and ordinal, warm-ups left out."""
    a, b = _by_item(first), _by_item(second)
    compared = not_compared = 0
    prompts: list[tuple[int, int]] = []
    outputs: list[tuple[int, int]] = []
    for item in sorted(a.keys() | b.keys()):
        left, right = a.get(item, {}), b.get(item, {})
        same_so_far = True
        for ordinal in sorted(left.keys() | right.keys()):
            one, other = left.get(ordinal), right.get(ordinal)
            if not same_so_far or one is None or other is None:
                not_compared += 1
                same_so_far = False
                continue
            compared += 1
            if any(one[key] != other[key] for key in _REQUEST_KEYS):
                prompts.append((item, ordinal))
                same_so_far = False
            elif one["output"] != other["output"]:
                outputs.append((item, ordinal))
                same_so_far = False
    return RecordingComparison(compared, not_compared, tuple(prompts), tuple(outputs))


def _by_item(path: Path) -> dict[int, dict[int, Mapping[str, Any]]]:
    items: dict[int, dict[int, Mapping[str, Any]]] = {}
    for call in read_recording(path):
        if call["item"] is not None:
            items.setdefault(call["item"], {})[call["ordinal"]] = call
    return items
