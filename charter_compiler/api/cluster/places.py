"""Rows that lie elsewhere than in a JSON Lines file of this machine: through fsspec, Parquet read by Ray Data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from charter_compiler.diagnostics.errors import InputsError, OutputError

PARQUET = (".parquet", ".pq")
ROWS = 4096
"""Rows that are in memory at once."""


def is_plain(place: str) -> bool:
    """Whether a run on one machine reads and writes it as it is: a JSON Lines file of this machine."""
    return "://" not in place and not place.endswith(PARQUET)


def local_name(place: str) -> Path:
    """Where the JSON Lines of a place lie on this machine: its last part, beside it if it is a local one."""
    if "://" not in place:
        return Path(place).with_suffix(".jsonl")
    name = Path(place.rstrip("/").rpartition("/")[2])
    return name.with_suffix(".jsonl") if name.suffix in PARQUET else name


def bring(ray: Any, place: str, path: Path) -> None:
    """Write rows to ``path`` as JSON Lines, in their order. JSON Lines are copied as they are; Parquet is read with Ray
    Data, and a row of it becomes an object of its columns.

    Args:
        place: a file, or a folder (its files by name, those that begin with ``_`` or ``.`` left out), as a path or as
            an address that fsspec knows; compressed JSON Lines too.

    Raises:
        InputsError: it cannot be read.
    """
    from ray.exceptions import RayError

    try:
        filesystem, inner = _filesystem(place)
        files = _files(filesystem, inner)
        with path.open("wb") as rows:
            if all(name.endswith(PARQUET) for name in files):
                rows.writelines(_parquet_lines(ray, filesystem, files))
            else:
                rows.writelines(_text_lines(filesystem, files))
    except (RayError, OSError, ValueError, ImportError) as error:
        cause = getattr(error, "cause", None) or error
        raise InputsError(
            f"cannot read the inputs: {_first_line(cause)}", place=place, remedy="give JSON Lines or Parquet"
        ) from error


def _files(filesystem: Any, inner: str) -> list[str]:
    if not filesystem.isdir(inner):
        return [inner]
    names = sorted(filesystem.find(inner))
    return [name for name in names if not name.rpartition("/")[2].startswith(("_", "."))]


def _text_lines(filesystem: Any, files: list[str]) -> Iterator[bytes]:
    """A line ends at its newline alone: JSON may hold the other characters that ``str.splitlines`` cuts at."""
    for name in files:
        with filesystem.open(name, "rb", compression="infer") as file:
            for line in file:
                yield line if line.endswith(b"\n") else line + b"\n"


def _parquet_lines(ray: Any, filesystem: Any, files: list[str]) -> Iterator[bytes]:
    options = ray.data.DataContext.get_current().execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        rows = ray.data.read_parquet(files, filesystem=filesystem)
        for batch in rows.iter_batches(batch_size=ROWS, batch_format="pyarrow"):
            for row in batch.to_pylist():
                yield json.dumps(row, default=str).encode() + b"\n"
    finally:
        options.preserve_order = before


def take(path: Path, place: str) -> None:
    """Write the rows of a run (``path``, JSON Lines) to another place: as they are, or as Parquet with the columns
    ``index``, and ``input``, ``output`` and ``error`` as JSON texts (an agent may return anything).

    Raises:
        OutputError: it cannot be written.
    """
    try:
        filesystem, inner = _filesystem(place)
        if inner.endswith(PARQUET):
            with filesystem.open(inner, "wb") as file:
                _write_parquet(path, file)
        else:
            filesystem.put_file(str(path), inner)
    except (OSError, ValueError, ImportError) as error:
        raise OutputError(
            f"cannot write: {_first_line(error)}", place=place, remedy=f"the rows are in {path}"
        ) from error


def _write_parquet(path: Path, file: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = ("input", "output", "error")
    schema = pa.schema([("index", pa.int64()), *((name, pa.string()) for name in texts)])
    with pq.ParquetWriter(file, schema) as writer, path.open(encoding="utf-8") as lines:
        rows: list[dict[str, Any]] = []
        for line in lines:
            row = json.loads(line)
            rows.append(
                {"index": row["index"]} | {name: None if row[name] is None else json.dumps(row[name]) for name in texts}
            )
            if len(rows) == ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema))


def _filesystem(place: str) -> tuple[Any, str]:
    import fsspec

    filesystem, inner = fsspec.core.url_to_fs(place)
    return filesystem, str(inner)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
