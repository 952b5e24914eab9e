"""OpenAI's Python SDK (https://github.com/openai/openai-python, api.md)."""

from __future__ import annotations

from charter_compiler.parser.sdk.signature import Signature, methods

CLIENTS = ("openai.OpenAI", "openai.AsyncOpenAI", "openai.AzureOpenAI", "openai.AsyncAzureOpenAI")
_CHAT = (".chat.completions.create", ".chat.completions.parse", ".beta.chat.completions.parse")
_RESPONSES = (".responses.create", ".responses.parse")

SIGNATURES = (
    Signature(
        api="openai.chat.completions",
        callees=(
            *methods(CLIENTS, *_CHAT),
            "openai.chat.completions.create",
            # The module-level form of releases before 1.0.
            "openai.ChatCompletion.create",
            "openai.ChatCompletion.acreate",
        ),
        tails=_CHAT,
        prompt=("messages",),
        form="messages",
        max_tokens=("max_completion_tokens", "max_tokens"),
        texts=(".choices[0].message.content", "['choices'][0]['message']['content']"),
    ),
    Signature(
        api="openai.responses",
        callees=(*methods(CLIENTS, *_RESPONSES), "openai.responses.create"),
        tails=_RESPONSES,
        prompt=("input",),
        form="either",
        system="instructions",
        max_tokens=("max_output_tokens",),
        texts=(".output_text",),
    ),
    Signature(
        api="openai.completions",
        callees=(
            *methods(CLIENTS, ".completions.create"),
            "openai.completions.create",
            "openai.Completion.create",
            "openai.Completion.acreate",
        ),
        prompt=("prompt",),
        form="text",
        texts=(".choices[0].text", "['choices'][0]['text']"),
    ),
)
