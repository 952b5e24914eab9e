"""Where the rows of a large inputs file lie, and which begin alike: what fits memory where the rows do not."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charter_compiler.diagnostics.errors import InputsError
from charter_compiler.executor.inputs import InputRow, parse_row, unreadable_inputs

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RowIndex:
    """The rows of one JSON Lines file, in its order. 32 bytes a row.

    ``offsets`` and ``sizes`` are in bytes, ``lines`` count from 1; equal ``groups`` stand for equal values of the
    fields that were asked for, all 0 where none were.
    """

    path: Path
    offsets: Integers
    sizes: Integers
    lines: Integers
    groups: Integers

    def __len__(self) -> int:
        return len(self.offsets)

    def rows(self, places: Iterable[int]) -> list[InputRow]:
        """Some of the rows. Raises InputsError where one is broken, or the file cannot be read any more."""
        found = []
        try:
            with self.path.open("rb") as file:
                for place in places:
                    file.seek(int(self.offsets[place]))
                    raw, line = file.read(int(self.sizes[place])), int(self.lines[place])
                    found.append(InputRow(int(place), line, parse_row(raw, f"{self.path}:{line}")))
        except OSError as error:
            raise unreadable_inputs(self.path, error) from error
        return found


def index_rows(path: Path, fields: Sequence[str] = (), limit: int | None = None) -> RowIndex:
    """Read a file once. Rows are parsed only to know the values of ``fields``.

    Raises:
        InputsError: it cannot be read, is empty, or a row that had to be parsed is broken.
    """
    offsets, sizes, lines, groups = (array("q") for _ in range(4))
    offset = 0
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if not raw.isspace():
                    if len(offsets) == limit:
                        break
                    offsets.append(offset)
                    sizes.append(len(raw))
                    lines.append(number)
                    groups.append(group_number(parse_row(raw, f"{path}:{number}"), fields) if fields else 0)
                offset += len(raw)
    except OSError as error:
        raise unreadable_inputs(path, error) from error
    if not offsets:
        raise InputsError("the inputs are empty", place=str(path), remedy="put one JSON object on each line")
    return RowIndex(path, *(np.array(column, dtype=np.int64) for column in (offsets, sizes, lines, groups)))


def group_number(values: Mapping[str, Any], fields: Sequence[str]) -> int:
    """64 bits, with a sign, that stand for a row's values of some fields."""
    text = json.dumps([values.get(name) for name in fields], sort_keys=True, default=str)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
