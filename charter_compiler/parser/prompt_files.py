"""Prompts kept in files of the project: constant paths, and what reading them gives."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import yaml

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Const
from charter_compiler.parser.files import label_of
from charter_compiler.parser.modules import Module
from charter_compiler.parser.strings import constant_text
from charter_compiler.parser.texts import normal
from charter_compiler.parser.values import FilePath, Opaque, Plain, Record, Series, Text, Value

SIZE_LIMIT = 1_000_000
"""Bytes of a prompt file that are read at most."""

SUFFIXES = frozenset(
    {
        "",
        ".txt",
        ".md",
        ".prompt",
        ".prompty",
        ".jinja",
        ".jinja2",
        ".j2",
        ".tmpl",
        ".tpl",
        ".yaml",
        ".yml",
        ".toml",
        ".json",
    }
)
"""What a prompt file is called; anything else is data."""

_LOADERS = {
    "yaml.safe_load": yaml.safe_load,
    "yaml.load": yaml.safe_load,
    "tomllib.load": tomllib.loads,
    "tomllib.loads": tomllib.loads,
    "tomli.load": tomllib.loads,
    "toml.load": tomllib.loads,
    "toml.loads": tomllib.loads,
    "json.load": json.loads,
    "json.loads": json.loads,
}


def as_path(value: Value) -> str | None:
    """The path that a value names; ``None`` where it is not constant."""
    return value.path if isinstance(value, FilePath) else constant_text(value)


def resolve(path: str, module: Module, roots: tuple[Path, ...]) -> Path | None:
    """The file of the project that a program would open: below the root that was inspected, the folder of the module
    or one above it; ``None`` if there is none, or if it lies outside."""
    if module.path is None:
        return None
    folders = [*roots, module.path.parent, *(each for each in module.path.parents if _inside(each, roots))]
    for folder in [Path("/")] if os.path.isabs(path) else folders:
        file = Path(os.path.normpath(folder / path))
        if _inside(file, roots) and file.suffix.lower() in SUFFIXES:
            try:
                if file.is_file() and file.stat().st_size <= SIZE_LIMIT and _inside(file.resolve(), roots):
                    return file
            except OSError:
                return None
    return None


def _inside(file: Path, roots: tuple[Path, ...]) -> bool:
    return any(file.is_relative_to(root) for root in roots)


def read(file: Path) -> Text | None:
    """The text of a prompt file; ``None`` if it is no text."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    return Text(normal((Const(text, _span(file, text)),)))


def loaded(loader: str, file: Path) -> Value | None:
    """What ``yaml.safe_load`` and the like give for the file; ``None`` where it does not parse."""
    try:
        text = file.read_text(encoding="utf-8")
        data = _LOADERS[loader](text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None
    return _value(data, _span(file, text))


def parsed(loader: str, text: Text) -> Value | None:
    """What the loader gives for a constant text; ``None`` where it does not parse."""
    constant = constant_text(text)
    if constant is None or not text.segments or len(constant) > SIZE_LIMIT:
        return None
    try:
        return _value(_LOADERS[loader](constant), text.segments[0].span)
    except (ValueError, yaml.YAMLError, RecursionError):
        return None


def is_loader(path: str) -> bool:
    """Whether a function reads structured data from a file or a text."""
    return path in _LOADERS


def _value(data: object, span: Span) -> Value:
    match data:
        case str():
            return Text(normal((Const(data, span),)))
        case None | bool() | int() | float():
            return Plain(data)
        case dict():
            return Record(tuple((str(key), _value(value, span)) for key, value in data.items()))
        case list():
            return Series(tuple(_value(item, span) for item in data))
    return Opaque(f"a value of type {type(data).__name__} in a file")


def _span(file: Path, text: str) -> Span:
    lines = text.split("\n")
    return Span(label_of(file), 1, 1, len(lines), len(lines[-1]) + 1)
