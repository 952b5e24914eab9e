"""The shape of an output that an agent can parse, and seeded JSON of that shape and of a given length."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from charter_compiler.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Text:
    """A string; one of ``choices`` where there are any."""

    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Number:
    """A number from ``least`` to ``most``, whole or not."""

    least: float = 1
    most: float = 10
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""


@dataclass(frozen=True, slots=True)
class Items:
    """A list; ``count`` elements of one shape."""

    each: Shape
    count: int = 3


@dataclass(frozen=True, slots=True)
class Object:
    """An object with these keys."""

    fields: tuple[tuple[str, Shape], ...] = ()


Shape: TypeAlias = Text | Number | Flag | Items | Object

ANYTHING = Object((("answer", Text()),))
"""For code that parses JSON and asks for no key of it."""


def sample(shape: Shape, chosen: random.Random, words: Callable[[int], str], length: int) -> Any:
    """A value of the shape; ``words(n)`` is a text of n words, ``length`` the words of each free text."""
    match shape:
        case Text(choices):
            return chosen.choice(choices) if choices else words(length)
        case Number(least, most, whole):
            return chosen.randint(round(least), round(most)) if whole else round(chosen.uniform(least, most), 2)
        case Flag():
            return chosen.random() < 0.5
        case Items(each, count):
            return [sample(each, chosen, words, length) for _ in range(count)]
        case Object(fields):
            return {name: sample(each, chosen, words, length) for name, each in fields}


def free_texts(shape: Shape) -> int:
    """How many texts of the shape have no fixed value."""
    match shape:
        case Text(choices):
            return 0 if choices else 1
        case Items(each, count):
            return count * free_texts(each)
        case Object(fields):
            return sum(free_texts(each) for _, each in fields)
    return 0


def json_text(
    shape: Shape, tokenizer: Tokenizer, tokens: int, seed: str, words: Callable[[random.Random, int], str]
) -> str:
    """JSON of the shape, of at most ``tokens`` tokens where that is possible, its free texts as long as they may be.

    ``words(random, n)`` makes a text of n words. The same arguments give the same text.
    """

    def written(length: int) -> str:
        chosen = random.Random(seed)  # noqa: S311  text to fill a prompt, not a secret
        return json.dumps(sample(shape, chosen, lambda count: words(chosen, count), length), ensure_ascii=False)

    length = 1
    texts = free_texts(shape)
    if texts:
        room = tokens - len(tokenizer.encode(written(0)))
        length = max(1, room // texts)
        while length > 1 and len(tokenizer.encode(written(length))) > tokens:
            length -= 1
    return written(length)


def shape_of_schema(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Shape:
    """The shape that a JSON schema asks for; what it leaves open is a text."""
    root = schema if root is None else root
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        target: Any = root
        for part in reference[2:].split("/"):
            target = target.get(part, {}) if isinstance(target, Mapping) else {}
        return shape_of_schema(target, root) if target is not schema else Text()
    for union in ("anyOf", "oneOf", "allOf"):
        options = [option for option in schema.get(union, ()) if option.get("type") != "null"]
        if options:
            return shape_of_schema(options[0], root)
    if "const" in schema:
        return Text((str(schema["const"]),))
    if schema.get("enum"):
        return Text(tuple(str(value) for value in schema["enum"]))
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "string")
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        fields = tuple((name, shape_of_schema(each, root)) for name, each in properties.items())
        return Object(fields) if fields else ANYTHING
    if kind == "array":
        least, most = schema.get("minItems", 0), schema.get("maxItems", 3)
        return Items(shape_of_schema(schema.get("items", {}), root), max(least, min(3, most)))
    if kind in ("integer", "number"):
        least = float(schema.get("minimum", 1))
        most = float(schema.get("maximum", max(10.0, least)))
        return Number(least, most, kind == "integer")
    return Flag() if kind == "boolean" else Text()


def shape_of_response_format(response_format: Mapping[str, Any]) -> Shape | None:
    """The shape that an OpenAI-style ``response_format`` asks for; ``None`` for plain text."""
    kind = response_format.get("type")
    if kind == "json_object":
        return ANYTHING
    if kind == "json_schema":
        described = response_format.get("json_schema", {})
        return shape_of_schema(described.get("schema", described))
    return None
