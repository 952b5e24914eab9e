"""The key/value header of a GGUF file, read as far as tokenizers need it (format: ggml's docs/gguf.md)."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from charter_compiler.diagnostics.errors import TokenizerError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
"""Both have 64-bit counts; version 1 had 32-bit ones and is not found any more."""

STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""GGUF's value types as ``struct`` codes; every integer is little-endian."""


class _Entry(NamedTuple):
    """Where a value lies: its type and the offset of its first byte."""

    kind: int
    offset: int


class GGUFMetadata(Mapping[str, Any]):
    """The header of one file. Values are decoded when they are asked for; the tensors are never touched.

    Raises:
        TokenizerError: the file cannot be read, is not GGUF, or ends inside its header.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: mmap refuses an empty file
            raise TokenizerError(f"cannot be read: {error}", place=str(path)) from error
        if self._data[:4] != MAGIC:
            raise TokenizerError("is not a GGUF file", place=str(path), remedy="give a .gguf file or a tokenizer.json")
        self._entries: dict[str, _Entry] = {}
        try:
            self._scan()
        except (struct.error, UnicodeDecodeError) as error:
            raise TokenizerError(f"the GGUF header is broken: {error}", place=str(path)) from error

    def _scan(self) -> None:
        (version,) = struct.unpack_from("<I", self._data, 4)
        if version not in VERSIONS:
            raise TokenizerError(f"GGUF version {version} is not supported", place=str(self.path))
        (count,) = struct.unpack_from("<Q", self._data, 16)
        offset = 24
        for _ in range(count):
            key, offset = self._string(offset)
            (kind,) = struct.unpack_from("<I", self._data, offset)
            self._entries[key] = _Entry(kind, offset + 4)
            offset = self._skip(kind, offset + 4)

    def _string(self, offset: int) -> tuple[str, int]:
        (length,) = struct.unpack_from("<Q", self._data, offset)
        end = offset + 8 + length
        if end > len(self._data):
            raise struct.error("a string runs past the end of the file")
        return self._data[offset + 8 : end].decode("utf-8"), end

    def _skip(self, kind: int, offset: int) -> int:
        """Offset just past a value. Only strings have to be walked one by one."""
        if kind in SCALARS:
            return offset + struct.calcsize(SCALARS[kind])
        if kind == STRING:
            return offset + 8 + int(struct.unpack_from("<Q", self._data, offset)[0])
        if kind != ARRAY:
            raise struct.error(f"unknown value type {kind}")
        element, count = struct.unpack_from("<IQ", self._data, offset)
        offset += 12
        if element in SCALARS:
            return offset + int(count) * struct.calcsize(SCALARS[element])
        for _ in range(count):
            offset = self._skip(element, offset)
        return offset

    def _decode(self, kind: int, offset: int) -> tuple[Any, int]:
        if kind == STRING:
            return self._string(offset)
        if kind in SCALARS:
            code = SCALARS[kind]
            return struct.unpack_from(f"<{code}", self._data, offset)[0], offset + struct.calcsize(code)
        element, count = struct.unpack_from("<IQ", self._data, offset)
        offset += 12
        if element in SCALARS:
            values = list(struct.unpack_from(f"<{count}{SCALARS[element]}", self._data, offset))
            return values, self._skip(kind, offset - 12)
        items = []
        for _ in range(count):
            item, offset = self._decode(element, offset)
            items.append(item)
        return items, offset

    def __getitem__(self, key: str) -> Any:
        """The value: ``str``, ``int``, ``float``, ``bool``, or a list of them."""
        entry = self._entries[key]
        try:
            return self._decode(entry.kind, entry.offset)[0]
        except (struct.error, UnicodeDecodeError) as error:
            raise TokenizerError(f"the value of {key} is broken: {error}", place=str(self.path)) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
