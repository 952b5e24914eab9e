"""Rows that lie elsewhere than in a JSON Lines file of this machine: read by Ray Data, written through fsspec."""

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
    """Read rows with Ray Data and write them to ``path`` as JSON Lines, in their order. JSON Lines stay as they are;
    a row of Parquet becomes an object of its columns.

    Args:
        place: a file or folder, as a path or as an address that fsspec knows; compressed JSON Lines too.

    Raises:
        InputsError: it cannot be read.
    """
    from ray.exceptions import RayError

    try:
        filesystem, inner = _filesystem(place)
        rows = (
            ray.data.read_parquet(inner, filesystem=filesystem)
            if inner.endswith(PARQUET)
            else ray.data.read_text(inner, filesystem=filesystem)
        )
        with path.open("w", encoding="utf-8") as file:
            for batch in rows.iter_batches(batch_size=ROWS, batch_format="pyarrow"):
                file.writelines(f"{line}\n" for line in _lines(batch))
    except (RayError, OSError, ValueError, ImportError) as error:
        cause = getattr(error, "cause", None) or error
        raise InputsError(
            f"cannot read the inputs: {_first_line(cause)}", place=place, remedy="give JSON Lines or Parquet"
        ) from error


def _lines(batch: Any) -> Iterator[str]:
    if batch.column_names == ["text"]:
        yield from batch.column("text").to_pylist()
    else:
        for row in batch.to_pylist():
            yield json.dumps(row, default=str)


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
