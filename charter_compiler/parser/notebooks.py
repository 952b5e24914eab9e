"""Jupyter notebooks: the code cells as one module, and where its lines stand. Nothing of a notebook is run.

The module is the code cells in the order of the file, which is the order in which a notebook is meant to be run; what
is IPython's and not Python's (magics, shell lines, requests for help) is blanked, line by line, so that lines keep
their places.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from charter_compiler.diagnostics.span import Span
from charter_compiler.parser.modules import parse

SUFFIX = ".ipynb"

_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What ``ast.parse`` raises."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One code cell. ``number`` counts all cells of the notebook from 1, ``first`` is the line of the module with which
    it begins, ``places`` are the lines of the notebook's own file on which its lines stand."""

    number: int
    first: int
    lines: tuple[str, ...]
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BrokenCell:
    """A cell that is left out; ``line`` is that within the cell, where the error has one."""

    number: int
    error: BaseException


@dataclass(frozen=True, slots=True)
class Notebook:
    """The code cells of a notebook; ``source`` is the module that they form together."""

    source: str
    cells: tuple[Cell, ...]
    broken: tuple[BrokenCell, ...] = ()

    def at(self, line: int) -> Cell:
        """The cell with that line of the module."""
        return self.cells[max(0, bisect_right(self.cells, line, key=lambda cell: cell.first) - 1)]

    def within(self, span: Span) -> Span:
        """The span in lines of its cell, ``file`` naming the cell as well."""
        cell = self.at(span.line)
        shift = cell.first - 1
        return replace(
            span, file=f"{span.file}:cell {cell.number}", line=span.line - shift, end_line=span.end_line - shift
        )

    def in_file(self, line: int) -> int:
        """The line of the notebook's own file (its JSON) on which a line of the module stands."""
        cell = self.at(line)
        return cell.places[min(max(line - cell.first, 0), len(cell.places) - 1)]


def is_notebook(path: Path) -> bool:
    """Whether a file is one by its name."""
    return path.suffix == SUFFIX


def read_notebook(data: str) -> Notebook:
    """The notebook in the text of a file, of version 3 or 4 of the format.

    Raises:
        ValueError: it is not one.
        RecursionError: it is nested too deeply.
    """
    try:
        content = json.loads(data)
    except json.JSONDecodeError as error:
        raise ValueError(f"not a notebook: {error.msg} in line {error.lineno}") from None
    written = list(_cells(content))
    places = _places(data)
    if not _is_python(content):
        return Notebook("", ())
    lines: list[str] = []
    cells: list[Cell] = []
    broken: list[BrokenCell] = []
    for number, (kind, parts) in enumerate(written, start=1):
        if kind != "code":
            continue
        own, at = _lines(parts, places.get(number - 1, []))
        blanked = without_magics(own)
        try:
            parse("\n".join(blanked) + "\n", f"cell {number}")
        except _UNREADABLE as error:
            broken.append(BrokenCell(number, error))
            continue
        cells.append(Cell(number, len(lines) + 1, tuple(own), tuple(at)))
        lines.extend(blanked)
    return Notebook("\n".join(lines) + "\n" if lines else "", tuple(cells), tuple(broken))


def _cells(content: Any) -> Iterator[tuple[str, list[str]]]:
    """(kind, strings of the source) of every cell."""
    try:
        sheets = [content] if "cells" in content else content["worksheets"]
        for cell in (cell for sheet in sheets for cell in sheet["cells"]):
            source = cell.get("source", cell.get("input", ""))
            parts = [source] if isinstance(source, str) else list(source)
            if not all(isinstance(part, str) for part in parts):
                raise TypeError
            yield str(cell["cell_type"]), parts
    except (TypeError, KeyError, AttributeError):
        raise ValueError("not a notebook: its cells cannot be found") from None


def _is_python(content: dict[str, Any]) -> bool:
    """Whether the notebook's language is Python, as far as it says."""
    metadata = content.get("metadata")
    for key in ("language_info", "kernelspec"):
        about = metadata.get(key) if isinstance(metadata, dict) else None
        language = about.get("name" if key == "language_info" else "language") if isinstance(about, dict) else None
        if isinstance(language, str):
            return "python" in language.lower()
    return True


def _lines(parts: list[str], places: list[int]) -> tuple[list[str], list[int]]:
    """The lines of a cell, and on which line of the file each stands."""
    at = [place for place, part in zip(places, parts, strict=False) for _ in range(_breaks(part))]
    lines = re.split(r"\r\n|\r|\n", "".join(parts))
    at.extend([places[-1] if places else 1] * (len(lines) - len(at)))
    return lines, at


def _breaks(text: str) -> int:
    return len(re.findall(r"\r\n|\r|\n", text))


_JSON = re.compile(r'("(?:[^"\\]|\\.)*+")(\s*:)?|[{}\[\]]')
_CELLS = (["cells"], ["worksheets", "cells"])


def _places(data: str) -> dict[int, list[int]]:
    """On which lines of the file the strings of each cell's source stand, by the index of the cell."""
    found: dict[int, list[int]] = {}
    keys: list[str] = []  # the key that is being read in each object around
    line, end, cell = 1, 0, -1
    for match in _JSON.finditer(data):
        line += data.count("\n", end, match.start())
        end = match.start()
        match match[0]:
            case "{":
                keys.append("")
                cell += keys[:-1] in _CELLS
            case "}":
                if keys:
                    keys.pop()
            case "[" | "]":
                pass
            case _ if match[2] is not None and keys:
                keys[-1] = match[1][1:-1]
            case _ if keys[:-1] in _CELLS and keys[-1] in ("source", "input"):
                found.setdefault(cell, []).append(line)
    return found


_LINE_MAGIC = re.compile(r"\s*(?:[%!?](?!=)|[%\w.*]+\?\??\s*$)")
_ASSIGNED = re.compile(r"(\s*[\w.,\[\]\"' ]+?=\s*)[%!](?!=)")
_TIMED = re.compile(r"(\s*(?:[\w.,\[\]\"' ]+?=\s*)?)%time (?=\s*[^\s-])")
_CELL_MAGIC = re.compile(r"%%(\w+)")
_OF_PYTHON = frozenset({"time", "timeit", "capture", "prun", "python", "python3", "memit", "mprun", "pypy"})
"""Cell magics below which Python follows."""

_STRING_OR_BRACKET = re.compile(r"""\\.|\\$|#|'{3}|"{3}|['"]|[(\[{]|[)\]}]""", re.DOTALL)


def without_magics(lines: list[str]) -> list[str]:
    """The lines of a cell, those that are IPython's blanked: what they assign is not known, and nothing else of them
    stays. A line inside a string or a bracket is none of them."""
    first = next((line for line in lines if line.strip()), "")
    if (magic := _CELL_MAGIC.match(first)) is not None and magic[1] not in _OF_PYTHON:
        return [""] * len(lines)
    result: list[str] = []
    quote, depth, goes_on, magic_goes_on = "", 0, False, False
    for line in lines:
        starts = not (quote or depth or goes_on)
        timed = _TIMED.match(line) if starts and not magic_goes_on else None
        if timed is not None:
            # What is timed is Python; as wide as before, so that columns stay.
            line = timed[1] + ("      " if timed[1].strip() else "pass; ") + line[timed.end() :]
        if magic_goes_on:
            result.append("")
        elif starts and _LINE_MAGIC.match(line):
            # A statement stays, so that a block is not left without any.
            result.append(line[: len(line) - len(line.lstrip())] + "pass")
        elif starts and (assigned := _ASSIGNED.match(line)) is not None:
            result.append(assigned[1] + "...")
        else:
            result.append(line)
            quote, depth, goes_on = _state(line, quote, depth)
            continue
        magic_goes_on = line.endswith("\\")
    return result


def _state(line: str, quote: str, depth: int) -> tuple[str, int, bool]:
    """Behind a line: the quotes of the string that is open, how many brackets are, and whether the line goes on."""
    for match in _STRING_OR_BRACKET.finditer(line):
        mark = match[0]
        if quote:
            quote = "" if mark == quote or (len(quote) == 1 and mark == quote * 3) else quote
        elif mark[0] in "'\"":
            quote = mark
        elif mark == "#":
            return quote, depth, False
        elif mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth = max(0, depth - 1)
        elif mark == "\\":
            return quote, depth, True
    goes_on = line.endswith("\\")
    return quote if len(quote) == 3 or goes_on else "", depth, goes_on
