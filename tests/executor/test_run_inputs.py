from __future__ import annotations

from pathlib import Path

import pytest

from charter_compiler.diagnostics.errors import InputsError
from charter_compiler.executor.inputs import read_inputs


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_bytes(data)
    return path


def test_rows_come_with_their_index_and_line(tmp_path: Path) -> None:
    path = write(tmp_path, b'\xef\xbb\xbf{"a": 1}\n\n  \n{"a": "\xc3\xa4"}')
    rows = list(read_inputs(path))
    assert [(row.index, row.line, row.values) for row in rows] == [(0, 1, {"a": 1}), (1, 4, {"a": "ä"})]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": 1}\n{"a": \n', r"in.jsonl:2: not JSON: Expecting value at column 7 \(each line is one JSON object\)"),
        (b'{"a": 1}\n[1, 2]\n', r"in.jsonl:2: a JSON array, not an object"),
        (b"null\n", r"in.jsonl:1: a JSON null, not an object"),
        (b'{"a": "\xff"}\n', r"in.jsonl:1: not UTF-8 text"),
        (b"[" * 100_000, r"in.jsonl:1: nested too deeply"),
        (b'{"a": ' + b"1" * 5000 + b"}", r"in.jsonl:1: not readable: .*digits.* \(write such a number as a string\)"),
        (b"", r"in.jsonl: the inputs are empty"),
        (b"\n \n", r"in.jsonl: the inputs are empty"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(InputsError, match=message):
        list(read_inputs(write(tmp_path, data)))


def test_rows_before_a_broken_line_are_there_already(tmp_path: Path) -> None:
    rows = read_inputs(write(tmp_path, b'{"a": 1}\nbroken\n'))
    assert next(rows).values == {"a": 1}
    with pytest.raises(InputsError):
        next(rows)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputsError, match="cannot read the inputs: No such file"):
        list(read_inputs(tmp_path / "none.jsonl"))
