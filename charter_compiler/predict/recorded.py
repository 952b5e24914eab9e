"""Outputs of an earlier run in place of synthetic ones: its recorded calls, or only their lengths from its journal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from charter_compiler.diagnostics.errors import InputsError
from charter_compiler.executor.journal_file import journal_path
from charter_compiler.executor.recording import read_recording, recording_path
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.predict.shapes import Shape
from charter_compiler.predict.synthetic import OutputSource


class RecordedOutputs:
    """What each call of each item was answered in a recorded run; ``otherwise`` answers calls that it did not make."""

    def __init__(self, texts: dict[tuple[int, int], str], otherwise: OutputSource) -> None:
        self._texts = texts
        self._otherwise = otherwise
        self._missed: set[tuple[int, int]] = set()

    def text(self, item: int, ordinal: int, request: GenerationRequest, shape: Shape | None = None) -> str:
        """See ``OutputSource``."""
        known = self._texts.get((item, ordinal))
        if known is not None:
            return known
        self._missed.add((item, ordinal))
        return self._otherwise.text(item, ordinal, request, shape)

    @property
    def missed(self) -> int:
        """Calls so far that the recorded run did not make."""
        return len(self._missed)


class RecordedLengths:
    """Synthetic outputs as long as those of an earlier run, of which only the journal is left."""

    def __init__(self, lengths: dict[tuple[int, int], int], otherwise: OutputSource) -> None:
        self._lengths = lengths
        self._otherwise = otherwise
        self._missed: set[tuple[int, int]] = set()

    def text(self, item: int, ordinal: int, request: GenerationRequest, shape: Shape | None = None) -> str:
        """See ``OutputSource``."""
        known = self._lengths.get((item, ordinal))
        if known is None:
            self._missed.add((item, ordinal))
            return self._otherwise.text(item, ordinal, request, shape)
        return self._otherwise.text(item, ordinal, with_max_tokens(request, known), shape)

    @property
    def missed(self) -> int:
        """Calls so far that the recorded run did not make."""
        return len(self._missed)


def with_max_tokens(request: GenerationRequest, tokens: int) -> GenerationRequest:
    """The request with an output of at most so many tokens, one at least."""
    return replace(request, max_tokens=max(1, min(tokens, request.max_tokens)))


def outputs_of_run(output: Path, otherwise: OutputSource) -> RecordedOutputs | RecordedLengths:
    """The outputs of the run that wrote ``output``: those recorded beside it with ``--record``, else the lengths in its
    journal, whose calls stand in the order in which they were answered.

    Raises:
        InputsError: neither lies there, or one cannot be read.
    """
    if recording_path(output).is_file():
        texts = {
            (call["item"], call["ordinal"]): str(call["output"])
            for call in read_recording(recording_path(output))
            if call["item"] is not None
        }
        return RecordedOutputs(texts, otherwise)
    journal = journal_path(output)
    if not journal.is_file():
        raise InputsError(
            "neither recorded calls nor a journal lie beside it", place=str(output), remedy="run with --record first"
        )
    return RecordedLengths(dict(_lengths(journal)), otherwise)


def _lengths(journal: Path) -> Iterator[tuple[tuple[int, int], int]]:
    for number, line in enumerate(journal.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entry: dict[str, Any] = json.loads(line)
            for ordinal, call in enumerate(entry.get("calls", ())):
                if call["output_tokens"] is not None:
                    yield (entry["row"]["index"], ordinal), call["output_tokens"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputsError(f"the journal is damaged: {error}", place=f"{journal}:{number}") from error
