"""Objects that SDKs and libraries make and that the analysis knows, and the methods of values whose kind is known:
templates, messages, chains, files, lists, and functions that call a function they are handed."""

from __future__ import annotations

import ast
import os
from dataclasses import replace

from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Const
from charter_compiler.parser import prompt_files, sdk
from charter_compiler.parser.attributes import TASK_METHODS, Attributes
from charter_compiler.parser.functions import mutate
from charter_compiler.parser.joins import join
from charter_compiler.parser.messages import ROLES
from charter_compiler.parser.recognition import argument_of
from charter_compiler.parser.sdk.signature import Template
from charter_compiler.parser.strings import Arguments, constant_of, constant_text, method_of_text, transformed
from charter_compiler.parser.templates import FILLING, MAKERS, filled
from charter_compiler.parser.texts import text_of
from charter_compiler.parser.values import (
    Chain,
    Either,
    External,
    FilePath,
    FunctionRef,
    Input,
    Opaque,
    PromptTemplate,
    Record,
    Repeated,
    Result,
    Series,
    Text,
    Value,
    deps_of,
    is_text,
    item_of,
)


class LibraryObjects(Attributes):
    """The part of the evaluator that knows what libraries return."""

    def _made(self, callee: External, arguments: Arguments, span: Span) -> Value | None:
        """Objects that SDKs and libraries make and that the analysis knows: templates, messages, clients in wrapping,
        the text of a prompt file."""
        path = callee.path
        if (graph := self.interpreter.graphs.called(callee, arguments, span)) is not None:
            return graph
        chain = callee.argument("chain")
        if isinstance(chain, Chain):
            return self._on_chain(chain, path.rpartition(".")[2], arguments, span)
        first = arguments.positional[0] if arguments.positional else None
        if path in MAKERS and first is not None:
            return PromptTemplate((("raw", first),), MAKERS[path])
        if (syntax := sdk.template(path)) is not None:
            return self._template(syntax, arguments)
        if (role := sdk.message_role(path)) is not None:
            return _message(role, arguments, span)
        if (transparent := sdk.transparent(path)) is not None:
            if not transparent.of:
                return External(path[: path.rindex(".")], callee.given, callee.deps)
            inner = next((each for slot in transparent.of if (each := argument_of(arguments, slot)) is not None), None)
            if inner is not None:
                return inner
        if path in ("functools.partial", "functools.partialmethod") and first is not None:
            return _partial(first, arguments)
        if path == "builtins.getattr" and len(arguments.positional) >= 2:
            name = constant_text(arguments.positional[1])
            if name is not None:
                return self.attribute_of(arguments.positional[0], name, span)
        if prompt_files.is_loader(path) and first is not None:
            return self._loaded(path, first)
        if path in _CALLERS:
            return self._called_by(path, arguments, span)
        return None

    def _on_chain(self, chain: Chain, method: str, arguments: Arguments, span: Span) -> Value:
        template = chain.stages[0]
        if len(chain.stages) == 1 and isinstance(template, PromptTemplate) and method in FILLING:
            if method == "partial":
                return template
            return filled(template, arguments, span)
        if method in ("with_config", "with_retry", "with_fallbacks", "bind", "with_types", "with_structured_output"):
            return chain
        if method == "pipe":
            return Chain((*chain.stages, *arguments.positional))
        return Opaque(f"what .{method}() of a chain returns is not known here", deps_of(chain, *arguments.values()))

    def _template(self, form: Template, arguments: Arguments) -> Value | None:
        text = next((each for slot in form.text if (each := argument_of(arguments, slot)) is not None), None)
        if text is None:
            return None
        if not form.chat:
            syntax = form.syntax
            declared = arguments.keywords.get("template_format")
            if declared is not None and constant_text(declared) in ("jinja2", "mustache"):
                syntax = "jinja"
            if isinstance(text, FilePath | Text) and form.syntax == "format" and isinstance(text, FilePath):
                return None
            return PromptTemplate(((form.role, text),), syntax)
        items = text.items if isinstance(text, Series) else (text,)
        messages: list[tuple[str, Value]] = []
        for item in items:
            match item:
                case Series(items=(Text() as role, content)) if not isinstance(content, Repeated):
                    name = constant_text(role) or "unknown"
                    known = "placeholder" if name == "placeholder" else name if name in ROLES else "user"
                    messages.append((known, _bare(content) if known == "placeholder" else content))
                case PromptTemplate(messages=inner):
                    messages.extend(inner)
                case Record() if (said := item.get("content")) is not None:
                    role_value = item.get("role")
                    messages.append(((constant_text(role_value) if role_value else None) or "user", said))
                case External(path=path) if path.endswith("MessagesPlaceholder()"):
                    messages.append(("placeholder", item.argument("variable_name", 0) or Opaque("a placeholder")))
                case Repeated():
                    messages.append(("placeholder", Opaque("messages that are made at run time")))
                case _:
                    messages.append(("user", item))
        return PromptTemplate(tuple(messages), form.syntax, chat=True)

    def _loaded(self, path: str, first: Value) -> Value | None:
        if isinstance(first, FilePath):
            file = self.interpreter.file(first.path, self.frame.module)
            return prompt_files.loaded(path, file) if file is not None else None
        return prompt_files.parsed(path, first) if isinstance(first, Text) else None

    def _called_by(self, path: str, arguments: Arguments, span: Span) -> Value | None:
        """Functions that call another one: ``map(f, xs)``, ``asyncio.to_thread(f, x)``."""
        position = _CALLERS[path]
        given = arguments.positional
        if len(given) <= position or not isinstance(given[position], FunctionRef | External | Either):
            return None
        rest = given[position + 1 :]
        if path in _MAPPERS:
            rest = [
                join(item_of(value.items), span) if isinstance(value, Series) and value.items else _element(value)
                for value in rest
            ]
        inner = Arguments(rest, dict(arguments.keywords), fields=self.frame.fields)
        value = self.interpreter.handed_over(given[position], inner, span)
        return Series((Repeated((value,)),)) if path in _MAPPERS else value

    def _call_method(
        self, receiver: Value, method: str, arguments: Arguments, node: ast.Call, span: Span
    ) -> Value | None:
        """The method of a value whose type is known; ``None`` for any other."""
        if method == "create_task" and arguments.positional and isinstance(receiver, External):
            return arguments.positional[0]
        if method in _POOL_METHODS and arguments.positional:
            position = 1 if method == "run_in_executor" else 0
            path = f"{'builtins.map' if method in ('map', 'imap', 'starmap') else 'asyncio.to_thread'}"
            value = self._called_by(path, replace(arguments, positional=arguments.positional[position:]), span)
            if value is not None:
                return value
        match receiver:
            case Result() if method in TASK_METHODS:
                return receiver
            case Text():
                if method in TASK_METHODS:
                    return receiver
                return method_of_text(receiver, method, arguments, span)
            case FilePath():
                return self._on_file(receiver, method, arguments)
            case Either() if is_text(receiver):
                return method_of_text(text_of(receiver, span), method, arguments, span)
            case Series() | Record() | Either():
                return mutate(self.env, self.frame, receiver, method, arguments, span)
            case Input() | Opaque() | Result() if method in ("append", "extend") and arguments.positional:
                return mutate(self.env, self.frame, receiver, method, arguments, span)
            case Input() | Result() if all(constant_of(value)[0] for value in arguments.values()):
                shown = [ast.unparse(argument) for argument in node.args]
                return transformed(receiver, method, shown, arguments.keywords)
        return None

    def _on_file(self, receiver: FilePath, method: str, arguments: Arguments) -> Value | None:
        if method in ("resolve", "absolute", "expanduser", "__enter__"):
            return receiver
        if method in ("joinpath", "with_name", "with_suffix"):
            parts = [constant_text(value) for value in arguments.positional]
            if method != "joinpath" or any(part is None for part in parts):
                return None
            return FilePath(os.path.join(receiver.path, *(part for part in parts if part is not None)))
        if method == "open":
            return FilePath(receiver.path, opened=True)
        if method in ("read_text", "read"):
            file = self.interpreter.file(receiver.path, self.frame.module)
            return prompt_files.read(file) if file is not None else None
        return None


_POOL_METHODS = frozenset({"submit", "map", "imap", "starmap", "apply", "apply_async", "run_in_executor"})

_CALLERS: dict[str, int] = {
    "builtins.map": 0,
    "asyncio.to_thread": 0,
    "anyio.to_thread.run_sync": 0,
    "starlette.concurrency.run_in_threadpool": 0,
}
"""Functions that call a function they are given: where it stands among the arguments, the rest being its own."""

_MAPPERS = frozenset({"builtins.map"})


def _element(value: Value) -> Value:
    if isinstance(value, Input):
        return value.shown("item", "loop")
    return value.part("[item]") if isinstance(value, Result) else Opaque("an element", deps_of(value))


def _partial(first: Value, arguments: Arguments) -> Value | None:
    match first:
        case FunctionRef():
            return replace(
                first,
                positional=(*first.positional, *arguments.positional[1:]),
                keywords=(*first.keywords, *arguments.keywords.items()),
            )
        case External():
            return External.made(first.path, (*first.given, *arguments.keywords.items()))
        case Either(options=options):
            made = [each for option in options if (each := _partial(option, arguments)) is not None]
            return Either(tuple(made)) if made else None
    return first if isinstance(first, Input) else None


def _message(role: str, arguments: Arguments, span: Span) -> Value | None:
    """A message object of an SDK, as a dictionary with a role and a content."""
    first = arguments.positional[0] if arguments.positional else None
    content = next((arguments.keywords[key] for key in ("content", "text", "parts") if key in arguments.keywords), None)
    named: Value | None = Text((Const(role, span),))
    if role == "raw":
        named = arguments.keywords.get("role")
        if content is None and len(arguments.positional) > 1:
            named, content = named or first, arguments.positional[1]
    content = content if content is not None else first
    if content is None:
        return None
    return Record((("role", named), ("content", content)) if named is not None else (("content", content),))


def _bare(value: Value) -> Value:
    """The name in ``{history}``."""
    text = constant_text(value)
    if text is None or not isinstance(value, Text) or not value.segments:
        return value
    return Text((Const(text.strip("{} "), value.segments[0].span),))
