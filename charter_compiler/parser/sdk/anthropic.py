"""Anthropic's Python SDK (https://github.com/anthropics/anthropic-sdk-python, api.md)."""

from __future__ import annotations

from charter_compiler.parser.sdk.signature import Sdk, Signature, Transparent, methods

CLIENTS = (
    "anthropic.**.Anthropic",
    "anthropic.**.AsyncAnthropic",
    "anthropic.**.AnthropicBedrock*",
    "anthropic.**.AsyncAnthropicBedrock*",
    "anthropic.**.AnthropicVertex",
    "anthropic.**.AsyncAnthropicVertex",
    "anthropic.**.AnthropicFoundry",
    "anthropic.**.AsyncAnthropicFoundry",
    "anthropic.**.AnthropicAWS",
    "anthropic.**.AsyncAnthropicAWS",
    "anthropic.Client",
    "anthropic.AsyncClient",
)
_MESSAGES = (
    ".messages.create",
    ".messages.stream",
    ".messages.parse",
    ".messages.with_raw_response.create",
    ".messages.with_streaming_response.create",
    ".beta.messages.create",
    ".beta.messages.stream",
    ".beta.messages.parse",
    ".beta.messages.tool_runner",
    ".beta.messages.with_raw_response.create",
    ".beta.prompt_caching.messages.create",
    # What the package instructor adds to a client.
    ".messages.create_with_completion",
    ".messages.create_partial",
    ".messages.create_iterable",
)

SDK = Sdk(
    signatures=(
        Signature(
            api="anthropic.messages",
            callees=(*methods(CLIENTS, *_MESSAGES), *methods(CLIENTS, ".create", ".create_with_completion")),
            # Other services have `messages.create` too, but no argument `messages`.
            tails=(".messages.create", ".messages.stream", ".beta.messages.tool_runner"),
            prompt=("messages",),
            form="messages",
            system="system",
            texts=(".content[0].text", ".parsed_output", ".get_final_text()", ".get_final_message().content[0].text"),
        ),
        Signature(
            api="anthropic.completions",
            # Releases before 0.3 had `Client().completion`.
            callees=methods(CLIENTS, ".completions.create", ".completions.stream", ".completion", ".acompletion"),
            prompt=("prompt",),
            form="text",
            max_tokens=("max_tokens_to_sample",),
            texts=(".completion", "['completion']"),
        ),
    ),
    transparent=(Transparent(methods(CLIENTS, ".with_options", ".copy")),),
    models=CLIENTS,
)
