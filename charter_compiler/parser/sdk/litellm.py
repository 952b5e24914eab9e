"""LiteLLM (https://docs.litellm.ai/docs/completion/input)."""

from __future__ import annotations

from charter_compiler.parser.sdk.signature import Signature

SIGNATURES = (
    Signature(
        api="litellm.completion",
        callees=("litellm.completion", "litellm.acompletion"),
        prompt=("messages",),
        position=1,
        form="messages",
        max_tokens=("max_completion_tokens", "max_tokens"),
        texts=(".choices[0].message.content", "['choices'][0]['message']['content']"),
    ),
)
