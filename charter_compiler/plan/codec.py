"""Frozen dataclasses to JSON values and back, strictly: no key missing, none unknown, every value of its type."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from charter_compiler.diagnostics.errors import PlanError

T = TypeVar("T")


def encode(value: Any) -> Any:
    """JSON form of a dataclass made of dataclasses, tuples, string enumerations and scalars."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    return value


def decode(kind: type[T], value: Any, path: str = "plan") -> T:
    """The dataclass ``kind`` from its JSON form.

    Raises:
        PlanError: a key is missing or unknown, or a value has another type; the message names its path.
    """
    return cast(T, _decode(kind, value, path))


def _decode(kind: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(kind, value, path)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not NoneType)
        return _decode(inner, value, path)
    if origin is tuple:
        if not isinstance(value, list):
            raise PlanError(f"{path} is not a list")
        return tuple(_decode(arguments[0], item, f"{path}[{index}]") for index, item in enumerate(value))
    if origin is Literal:
        if value not in arguments:
            raise PlanError(f"{path} is none of {', '.join(map(repr, arguments))}")
        return value
    if issubclass(kind, StrEnum):
        if value not in list(kind):
            raise PlanError(f"{path} is none of {', '.join(kind)}")
        return kind(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise PlanError(f"{path} is not of type {kind.__name__}")
    return value


def _decode_dataclass(kind: type, value: Any, path: str) -> Any:
    if not isinstance(value, Mapping):
        raise PlanError(f"{path} is not an object")
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    for name in names:
        if name not in value:
            raise PlanError(f"{path}.{name} is missing")
    for name in value:
        if name not in names:
            raise PlanError(f"{path}.{name} is unknown")
    return kind(**{name: _decode(hints[name], value[name], f"{path}.{name}") for name in names})
