"""Inputs of a run: JSON Lines, one object a row, read as a stream with line numbers."""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charter_compiler.diagnostics.errors import InputsError


@dataclass(frozen=True, slots=True)
class InputRow:
    """One item. ``index`` counts rows from 0, ``line`` lines of the file from 1; they differ where lines are blank."""

    index: int
    line: int
    values: dict[str, Any]


def read_inputs(path: Path) -> Iterator[InputRow]:
    """The rows of a JSON Lines file, one at a time; blank lines are skipped.

    Raises:
        InputsError: the file cannot be read, is empty, or a line is not a JSON object; the place names the line.
    """
    index = 0
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if raw.isspace():
                    continue
                yield InputRow(index, number, parse_row(raw, f"{path}:{number}"))
                index += 1
    except OSError as error:
        raise unreadable_inputs(path, error) from error
    if index == 0:
        raise InputsError("the inputs are empty", place=str(path), remedy="put one JSON object on each line")


def unreadable_inputs(path: Path, error: OSError) -> InputsError:
    return InputsError(
        f"cannot read the inputs: {error.strerror}", place=str(path), remedy="give a JSON Lines file with --inputs"
    )


def parse_row(raw: bytes, place: str) -> dict[str, Any]:
    """One line of a JSON Lines file. Raises InputsError where it is not a JSON object."""
    try:
        value = json.loads(raw.removeprefix(codecs.BOM_UTF8).decode().rstrip("\r\n"))
    except UnicodeDecodeError as error:
        raise InputsError(
            f"not UTF-8 text (byte {error.start} of the line)", place=place, remedy="save it as UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        raise InputsError(
            f"not JSON: {error.msg} at column {error.colno}", place=place, remedy="each line is one JSON object"
        ) from error
    except ValueError as error:  # valid JSON that Python does not read: a number with thousands of digits
        raise InputsError(f"not readable: {error}", place=place, remedy="write such a number as a string") from error
    except RecursionError:  # its traceback would hold a frame for each level
        raise InputsError("nested too deeply", place=place, remedy="each line is one JSON object") from None
    if not isinstance(value, dict):
        raise InputsError(
            f"a JSON {_json_type(value)}, not an object", place=place, remedy='write {"parameter": value, ...}'
        )
    return value


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {bool: "boolean", int: "number", float: "number", str: "string", list: "array"}
    return names[type(value)]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
