"""Anthropic's Python SDK (https://github.com/anthropics/anthropic-sdk-python, api.md)."""

from __future__ import annotations

from charter_compiler.parser.sdk.signature import Signature, methods

CLIENTS = (
    "anthropic.Anthropic",
    "anthropic.AsyncAnthropic",
    "anthropic.AnthropicBedrock",
    "anthropic.AsyncAnthropicBedrock",
    "anthropic.AnthropicVertex",
    "anthropic.AsyncAnthropicVertex",
)
_MESSAGES = (".messages.create", ".messages.stream", ".beta.messages.create")

SIGNATURES = (
    Signature(
        api="anthropic.messages",
        callees=methods(CLIENTS, *_MESSAGES),
        prompt=("messages",),
        form="messages",
        system="system",
        texts=(".content[0].text",),
    ),
)
