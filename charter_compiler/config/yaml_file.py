"""Reads YAML that a person wrote: safe types only, a mapping at the top, one line for what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from charter_compiler.diagnostics.errors import ConfigError


def read_mapping(path: Path) -> dict[Any, Any]:
    """The mapping in a YAML file; an empty file is an empty one. No tag makes an object.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: it cannot be read, is not YAML, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", place=str(path)) from error
    values = parse(text, place=str(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError("is not a mapping of names to values", place=str(path))
    return values


def parse(text: str, *, place: str) -> Any:
    """The value that a YAML text stands for. Raises ConfigError where it is none."""
    try:
        return yaml.load(text, Loader=_UniqueKeys)  # noqa: S506  # a safe loader
    except yaml.YAMLError as error:
        raise ConfigError(f"is not YAML: {' '.join(str(error).split())}", place=place) from error


class _UniqueKeys(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """PyYAML's safe loader, which would take the last of two equal keys without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        written = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        twice = next((key for key in written if written.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} stands twice", node.start_mark)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping
