"""Finding and reading Python files and notebooks."""

from __future__ import annotations

import io
import os
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

SUFFIXES = (".py", ".ipynb")
SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})
"""Folders that hold no source of the project; hidden ones and virtual environments are skipped as well."""


def python_files(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """(file, label) of the files and of the Python files and notebooks in the folders, in a stable order, each once.

    The label is relative to the folder that was given; for a file that was given itself, and where two folders hold
    files of the same label, to the current folder.
    """
    seen: set[str] = set()
    labels: set[str] = set()
    for path in paths:
        for file in _walk(path) if path.is_dir() else [path]:
            real = os.path.realpath(file)
            if real in seen:
                continue
            seen.add(real)
            label = file.relative_to(path).as_posix() if file != path else label_of(file)
            if label in labels:
                label = label_of(file)
            labels.add(label)
            yield file, label


def label_of(path: Path) -> str:
    """The path relative to the current folder, with forward slashes."""
    try:
        return Path(os.path.relpath(path)).as_posix()
    except ValueError:
        # Another drive, on Windows.
        return path.as_posix()


def _walk(folder: Path) -> Iterator[Path]:
    # os.walk does not follow links to folders, so that a loop of links cannot trap it.
    for root, folders, files in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in SKIPPED and not (here / name / "pyvenv.cfg").exists()
        )
        yield from (here / name for name in sorted(files) if name.endswith(SUFFIXES) and not name.startswith("."))


def read_source(path: Path) -> str:
    """The text of a file, in the encoding that it declares.

    Raises:
        OSError: it cannot be read.
        SyntaxError: the declared encoding is unknown.
        UnicodeDecodeError: it is not in that encoding.
    """
    data = path.read_bytes()
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return data.decode(encoding)
