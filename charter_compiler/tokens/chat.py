"""Chat templates: messages to the text of a prompt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from charter_compiler.diagnostics.errors import TokenizerError


def _raise(message: str) -> NoReturn:
    """``raise_exception`` of the templates: how they refuse messages that they cannot render."""
    raise TemplateError(message)


def _tojson(value: object, indent: int | None = None) -> str:
    """JSON as the models were trained on it: not escaped for HTML, which Jinja's own filter would do."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    # `strftime_now` is not defined on purpose: templates that find it put today's date near the top of every prompt,
    # and no prefix outlives midnight; those that do not find it use a fixed date of their own.
    return environment


class ChatTemplate:
    """A model's Jinja template, run in a sandbox that lets it change nothing.

    Raises:
        TokenizerError: the template does not compile.
    """

    def __init__(self, source: str, *, bos_token: str | None = None, eos_token: str | None = None) -> None:
        self.source = source
        self._tokens = {"bos_token": bos_token or "", "eos_token": eos_token or ""}
        try:
            self._template = _environment().from_string(source)
        except TemplateError as error:
            raise TokenizerError(f"the chat template does not compile: {error}") from error

    def render(self, messages: Iterable[Mapping[str, Any]], *, add_generation_prompt: bool = True) -> str:
        """The prompt for ``messages`` (each ``{"role", "content"}``), special tokens spelled out.

        Raises:
            TokenizerError: the template refuses the messages.
        """
        try:
            return self._template.render(
                messages=[dict(message) for message in messages],
                add_generation_prompt=add_generation_prompt,
                **self._tokens,
            )
        except (TemplateError, TypeError) as error:  # TypeError: it joins text with a content that is none
            raise TokenizerError(f"the chat template refuses these messages: {error}") from error
