"""Prompt templates: objects that hold a text with fields, and what filling the fields gives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import jinja2
from jinja2 import nodes

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Const, Unknown
from charter_compiler.parser.strings import Arguments, constant_text, entry, format_text
from charter_compiler.parser.texts import choice, concat, limited, normal, repeat, text_of
from charter_compiler.parser.values import (
    Opaque,
    PromptTemplate,
    Record,
    Repeated,
    Result,
    Series,
    Text,
    Value,
    deps_of,
)

MAKERS: dict[str, str] = {
    "string.Template": "dollar",
    "jinja2.Template": "jinja",
    "jinja2.Environment().from_string": "jinja",
}
"""Templates of no SDK; the text is the first argument."""

FILLING = frozenset(
    {
        "format", "format_messages", "format_prompt", "invoke", "ainvoke", "substitute", "safe_substitute", "render",
        "render_async", "partial", "to_messages", "to_string", "fmt",
    }
)  # fmt: skip
"""Methods of templates that fill in values."""

_DOLLAR = re.compile(r"\$(?:(?P<escaped>\$)|(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)\})")


def filled(template: PromptTemplate, arguments: Arguments, span: Span) -> Value:
    """The text or the list of messages that the template gives with these values."""
    if len(arguments.positional) == 1 and not arguments.keywords:
        arguments = Arguments(rest=arguments.positional[0], rest_span=span, fields=arguments.fields)
    if not template.chat and len(template.messages) == 1:
        return _rendered(template.messages[0][1], template.syntax, arguments, span)
    messages: list[Value | Repeated] = []
    for role, content in template.messages:
        if role == "placeholder":
            name = constant_text(content) or ""
            value = _value(name, arguments)
            messages.extend(value.items if isinstance(value, Series) else [Repeated((value,))])
            continue
        name_text = Text((Const(role, span),))
        messages.append(
            Record((("role", name_text), ("content", _rendered(content, template.syntax, arguments, span))))
        )
    return Series(tuple(messages))


def unfilled(template: PromptTemplate, span: Span) -> Value:
    """The template as it stands, each field a value from outside."""
    return filled(template, Arguments(rest=Opaque("the values of the template are not known"), rest_span=span), span)


def _rendered(content: Value, syntax: str, arguments: Arguments, span: Span) -> Value:
    if not isinstance(content, Text):
        return content
    if syntax == "format":
        return format_text(content, arguments, span)
    text = constant_text(content)
    if text is None:
        return text_of(Opaque("a template that is made at run time", deps_of(content, *arguments.values())), span)
    place = content.segments[0].span if content.segments else span
    return _dollar(text, arguments, place, span) if syntax == "dollar" else _jinja(text, arguments, place, span)


def _value(name: str, arguments: Arguments) -> Value:
    if name in arguments.keywords:
        return arguments.keywords[name]
    if arguments.rest is not None:
        return entry(arguments.rest, name, arguments.fields)
    return Opaque(f"the template is given no value for {name}")


def _dollar(text: str, arguments: Arguments, place: Span, span: Span) -> Text:
    parts: list[Text] = []
    end = 0
    for match in _DOLLAR.finditer(text):
        parts.append(Text(normal((Const(text[end : match.start()], place),))))
        name = match["name"] or match["braced"]
        parts.append(Text((Const("$", place),)) if name is None else text_of(_value(name, arguments), span))
        end = match.end()
    parts.append(Text(normal((Const(text[end:], place),))))
    return concat(parts, span)


def _jinja(text: str, arguments: Arguments, place: Span, span: Span) -> Text:
    """A Jinja template, read and not run: fields, conditions and loops; anything else is unknown."""
    try:
        # Only parsed: autoescape plays no part.
        tree = jinja2.Environment(autoescape=True).parse(text)
    except (jinja2.TemplateError, RecursionError) as error:
        return text_of(Opaque(f"Jinja cannot read the template: {error}", deps_of(*arguments.values())), span)
    return concat(_jinja_body(tree.body, arguments, place, span), span)


def _jinja_body(body: Iterable[nodes.Node], arguments: Arguments, place: Span, span: Span) -> Iterator[Text]:
    for node in body:
        match node:
            case nodes.Output():
                for part in node.nodes:
                    if isinstance(part, nodes.TemplateData):
                        yield Text(normal((Const(part.data, place),)))
                    else:
                        yield text_of(_jinja_value(part, arguments, place), span)
            case nodes.If():
                options = [concat(_jinja_body(node.body, arguments, place, span), span)]
                options += [concat(_jinja_body(each.body, arguments, place, span), span) for each in node.elif_]
                options.append(concat(_jinja_body(node.else_, arguments, place, span), span))
                yield limited(choice([option.segments for option in options], span), deps_of(*options), span)
            case nodes.For():
                items = _jinja_value(node.iter, arguments, place)
                targets = [node.target] if isinstance(node.target, nodes.Name) else node.target.find_all(nodes.Name)
                item = Opaque(f"an item of {_written(node.iter)}", deps_of(items))
                known = {**arguments.keywords, **{name.name: item for name in targets}}
                inner = Arguments(
                    keywords=known, rest=arguments.rest, rest_span=arguments.rest_span, fields=arguments.fields
                )
                yield repeat(concat(_jinja_body(node.body, inner, place, span), span), span)
                yield Text((), deps_of(items))
            case _:
                yield Text((Unknown(f"a Jinja {type(node).__name__.lower()} block", span),))


def _jinja_value(node: nodes.Node, arguments: Arguments, place: Span) -> Value:
    match node:
        case nodes.Name(name=name):
            return _value(name, arguments)
        case nodes.Const(value=constant):
            return Text(normal((Const(str(constant), place),)))
        case nodes.Getattr(node=inner, attr=key) | nodes.Getitem(node=inner, arg=nodes.Const(value=str(key))):
            value = _jinja_value(inner, arguments, place)
            return value.part(f".{key}") if isinstance(value, Result) else entry(value, key, arguments.fields)
        case nodes.Filter(node=nodes.Node() as inner, name="trim" | "safe" | "string" | "e" | "escape"):
            return _jinja_value(inner, arguments, place)
    values = [_value(name.name, arguments) for name in node.find_all(nodes.Name)]
    return Opaque(f"{_written(node)} is computed by Jinja", deps_of(*values))


def _written(node: nodes.Node) -> str:
    return " and ".join(name.name for name in node.find_all(nodes.Name)) or "a value"
