"""A tree of frozen dataclasses as the schema of a settings file: what stands in YAML becomes them, or is an error.

Every error names the place by its path (``tests.delta_matching.items``). An unknown key is one, with the key that comes
nearest to it; so is a value of another type, out of range, or none of the words that are allowed.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from charter_compiler.config.yaml_file import parse, read_mapping
from charter_compiler.diagnostics.errors import ConfigError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, both allowed; ``None`` for none. Written as ``Annotated[int, Range(1)]``."""

    least: float | None = None
    most: float | None = None

    def check(self, value: float, path: str, place: str) -> None:
        """Raises ConfigError where ``value`` lies outside."""
        if self.least is not None and value < self.least:
            raise ConfigError(f"{path} is {value}", place=place, remedy=f"give {self.least:g} or more")
        if self.most is not None and value > self.most:
            raise ConfigError(f"{path} is {value}", place=place, remedy=f"give at most {self.most:g}")


def load(kind: type[T], path: Path, changes: Iterable[str] = ()) -> T:
    """The settings in a YAML file; what is left out has its default.

    Args:
        changes: each ``a.b=VALUE``, VALUE in YAML, in place of what the file has there.

    Raises:
        ConfigError: the file is missing or no YAML, or a key or a value is wrong; one line with place and remedy.
    """
    try:
        values = read_mapping(path)
    except FileNotFoundError as error:
        raise ConfigError("there is no such file", place=str(path), remedy="give --config FILE") from error
    for change in changes:
        _change(values, change)
    return build(kind, values, place=str(path))


def _change(values: dict[Any, Any], change: str) -> None:
    name, equals, text = change.partition("=")
    *sections, last = name.split(".")
    if not equals or not all((*sections, last)):
        raise ConfigError(f"{change!r} changes no setting", place="--set", remedy="write NAME=VALUE")
    for section in sections:
        inner = values.get(section)
        values[section] = dict(inner) if isinstance(inner, Mapping) else {}
        values = values[section]
    values[last] = parse(text, place=f"--set {name}")


def build(kind: type[T], values: Mapping[Any, Any], *, place: str) -> T:
    """The settings in a mapping. Raises ConfigError, as ``load``."""
    return cast(T, _dataclass(kind, values, "", place))


def _dataclass(kind: type, values: Any, path: str, place: str) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path} is not a mapping of names to values", place=place)
    hints = get_type_hints(kind, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in values:
        if name not in fields:
            raise ConfigError(f"there is no setting {_join(path, name)}", place=place, remedy=_nearest(name, fields))
    missing = [n for n, f in fields.items() if n not in values and _has_no_default(f)]
    if missing:
        raise ConfigError(f"{_join(path, missing[0])} is missing", place=place)
    return kind(**{name: _value(hints[name], value, _join(path, name), place) for name, value in values.items()})


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _nearest(name: object, fields: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(str(name), fields, n=1)
    return f"did you mean {near[0]}?" if near else f"one of {', '.join(fields)}"


def _join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _value(kind: Any, value: Any, path: str, place: str) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value, path, place)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        checked = _value(arguments[0], value, path, place)
        for bounds in arguments[1:]:
            if checked is not None:
                bounds.check(checked, path, place)
        return checked
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not NoneType)
        return _value(inner, value, path, place)
    if origin is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{path} is not a list", place=place)
        return tuple(_value(arguments[0], item, f"{path}[{index}]", place) for index, item in enumerate(value))
    if issubclass(kind, StrEnum):
        if value not in list(kind):
            raise ConfigError(f"{path} is {value!r}", place=place, remedy=f"one of {', '.join(kind)}")
        return kind(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{path} is {value!r}, which is not of type {kind.__name__}", place=place)
    return value
