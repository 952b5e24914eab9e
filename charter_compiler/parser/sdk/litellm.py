"""LiteLLM (https://docs.litellm.ai/docs/completion/input and https://docs.litellm.ai/docs/routing)."""

from __future__ import annotations

from charter_compiler.parser.sdk.signature import Sdk, Signature, methods

_ROUTER = ("litellm.**.Router",)
_TEXTS = (
    ".choices[0].message.content",
    "['choices'][0]['message']['content']",
    ".choices[0]['message']['content']",
    ".choices[0].message['content']",
    ".choices[0].delta.content",
)

SDK = Sdk(
    signatures=(
        Signature(
            api="litellm.completion",
            callees=(
                "litellm.completion",
                "litellm.acompletion",
                "litellm.main.completion",
                "litellm.main.acompletion",
                "litellm.completion_with_retries",
                "litellm.acompletion_with_retries",
                *methods(_ROUTER, ".completion", ".acompletion"),
            ),
            prompt=("messages", 1),
            form="messages",
            max_tokens=("max_completion_tokens", "max_tokens"),
            texts=_TEXTS,
        ),
        Signature(
            api="litellm.batch_completion",
            callees=(
                "litellm.batch_completion",
                "litellm.batch_completion_models",
                "litellm.batch_completion_models_all_responses",
                *methods(_ROUTER, ".abatch_completion"),
            ),
            prompt=("messages", 1),
            form="messages",
            many=True,
            max_tokens=("max_completion_tokens", "max_tokens"),
            texts=tuple("[0]" + text for text in _TEXTS),
        ),
        Signature(
            api="litellm.text_completion",
            callees=(
                "litellm.text_completion",
                "litellm.atext_completion",
                *methods(_ROUTER, ".text_completion", ".atext_completion"),
            ),
            prompt=("prompt", 0),
            form="text",
            many=True,
            texts=(".choices[0].text", "['choices'][0]['text']"),
        ),
        Signature(
            api="litellm.responses",
            callees=("litellm.responses", "litellm.aresponses", *methods(_ROUTER, ".responses", ".aresponses")),
            prompt=("input", 0),
            form="either",
            system="instructions",
            max_tokens=("max_output_tokens",),
            texts=(".output_text", ".output[0].content[0].text"),
        ),
    ),
    models=_ROUTER,
)
