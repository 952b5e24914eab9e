"""OpenAI's Python SDK (https://github.com/openai/openai-python, api.md, and the README of 0.28 for the older form)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from charter_compiler.parser.sdk.signature import Sdk, Signature, Transparent, methods

CLIENTS = (
    "openai.**.OpenAI",
    "openai.**.AsyncOpenAI",
    "openai.**.AzureOpenAI",
    "openai.**.AsyncAzureOpenAI",
    "openai.Client",
    "openai.AsyncClient",
    # Clients of other makers with the same methods.
    "langfuse.openai.**.*OpenAI",
    "posthog.ai.openai.*OpenAI",
)
_MODULES = ("openai", "langfuse.openai.openai", "helicone.openai_proxy.openai")
CHAT = (
    ".chat.completions.create",
    ".chat.completions.parse",
    ".chat.completions.stream",
    ".chat.completions.with_raw_response.create",
    ".chat.completions.with_streaming_response.create",
    ".beta.chat.completions.parse",
    ".beta.chat.completions.stream",
    # What the package instructor adds to a client.
    ".chat.completions.create_with_completion",
    ".chat.completions.create_partial",
    ".chat.completions.create_iterable",
)
RESPONSES = (
    ".responses.create",
    ".responses.parse",
    ".responses.stream",
    ".responses.with_raw_response.create",
    ".responses.with_streaming_response.create",
)
COMPLETIONS = (".completions.create", ".completions.with_raw_response.create")
_CHAT = Signature(
    api="openai.chat.completions",
    callees=(),
    prompt=("messages",),
    form="messages",
    max_tokens=("max_completion_tokens", "max_tokens"),
    texts=(
        ".choices[0].message.content",
        "['choices'][0]['message']['content']",
        ".choices[0]['message']['content']",
        ".choices[0].message['content']",
        ".choices[0].message.parsed",
        ".choices[0].delta.content",
        ".parse().choices[0].message.content",
    ),
)
_RESPONSES = Signature(
    api="openai.responses",
    callees=(),
    prompt=("input",),
    form="either",
    system="instructions",
    max_tokens=("max_output_tokens",),
    texts=(".output_text", ".output_parsed", ".output[0].content[0].text"),
)
_COMPLETIONS = Signature(
    api="openai.completions",
    callees=(),
    prompt=("prompt",),
    form="text",
    many=True,
    texts=(".choices[0].text", "['choices'][0]['text']", ".choices[0]['text']"),
)


def chat_completions(api: str, clients: Iterable[str], *more: str) -> Signature:
    """Chat completions of an SDK that is modelled on this one; ``more`` are further callees."""
    return replace(_CHAT, api=api, callees=(*methods(clients, *CHAT), *more))


def text_completions(api: str, clients: Iterable[str]) -> Signature:
    """Completions of an SDK that is modelled on this one."""
    return replace(_COMPLETIONS, api=api, callees=methods(clients, *COMPLETIONS))


SDK = Sdk(
    signatures=(
        replace(
            _CHAT,
            callees=(
                *methods(CLIENTS, *CHAT),
                # What instructor makes of a client has a `create` of its own.
                *methods(CLIENTS, ".create", ".create_with_completion", ".create_partial", ".create_iterable"),
                *(module + name for module in _MODULES for name in CHAT),
                # The module-level form of releases before 1.0.
                *(f"{module}.ChatCompletion.{name}" for module in _MODULES for name in ("create", "acreate")),
                "openai.ChatCompletion().create",
            ),
            tails=CHAT,
        ),
        replace(
            _RESPONSES,
            callees=(*methods(CLIENTS, *RESPONSES), *(module + name for module in _MODULES for name in RESPONSES)),
            tails=RESPONSES,
        ),
        replace(
            _COMPLETIONS,
            callees=(
                *methods(CLIENTS, *COMPLETIONS),
                *(module + name for module in _MODULES for name in COMPLETIONS),
                *(f"{module}.Completion.{name}" for module in _MODULES for name in ("create", "acreate")),
            ),
        ),
    ),
    transparent=(Transparent(methods(CLIENTS, ".with_options", ".copy")),),
    models=CLIENTS,
)
